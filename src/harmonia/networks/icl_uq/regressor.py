"""Regression on a table in one forward pass: the training rows are the prompt."""

from __future__ import annotations

import copy
import warnings
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from scipy.stats import norm
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.core.weights import write_safetensors
from harmonia.networks.icl_uq.checkpoint import Pretrained, checkpoint, load_checkpoint
from harmonia.networks.icl_uq.network import InContextConfig, InContextTransformer
from harmonia.networks.icl_uq.prior import TaskPrior
from harmonia.networks.icl_uq.scaling import Scaling
from harmonia.networks.icl_uq.surprise import surprise
from harmonia.networks.icl_uq.training import pretrain, schedule
from harmonia.parts.conjugate import StudentT
from harmonia.parts.gpt import Cache
from harmonia.parts.training import Trained, device_of

FOLDS = 10
"""Parts of the context, each predicted from the others, that calibrate the intervals."""

TABLES = TaskPrior(4, a=3.0, b=1.0, mean=0.0, covariates="correlated", drop_inputs=True)
"""The prior of the embedded weights: four standardised inputs or fewer."""


class Exact(NamedTuple):
    """The exact Bayesian answer under the linear prior, and how far the network is from it.

    Attributes:
        mean, std: Of every row, in the target's units.
        gap: Distance of the network's mean from the exact one, in exact standard deviations.
    """

    mean: Float64[ndarray, " rows"]
    std: Float64[ndarray, " rows"]
    gap: Float64[ndarray, " rows"]


class InContextRegressor(RegressorMixin, BaseEstimator):
    """Mean and standard deviation of new rows by a transformer that was pretrained once and reads the rows as prompt.

    `fit` learns nothing: it puts the rows into the network's memory. Several `members` read them in random orders, and
    where there are more rows than the network was trained to read, each reads a random part; what they say is combined
    as a mixture, ``mu = mean mu_i``, ``sigma^2 = mean(sigma_i^2 + mu_i^2) - mu^2``.

    Inputs and target are standardised by the rows, the target to the prior's own spread, unless `standardize` is off.
    A warning says when the targets are less likely under the prior than 99 % of its own draws.

    Arguments:
        weights: Pretrained ones: ``embedded`` (four inputs), ``embedded:linear`` (the paper's prior, two inputs), a
            file, ``hub:<owner>/<name>/<file>`` or a `Pretrained` network. `pretrain` puts its network here, so that
            copies of the estimator have it too.
        prior: What to pretrain on; that of the embedded weights by default.
        d_model, n_layers, n_heads, positions, tokens: The network to pretrain, see `InContextConfig`.
        context: Pairs it reads in training. Weights of another prior or shape than was asked for are refused.
        members: Orders of the rows.
        rows: Most rows that a member reads. Unless given, `fit` reads as many as the network was trained on, and a
            stream goes on with a warning. More are possible without position embeddings.
        excess: What to do with more inputs than the network has: ``error``, or ``select`` those that correlate most
            with the target.
        standardize: Whether inputs and target are standardised.
        calibrate: Whether intervals are as wide as the context's own rows need, each predicted from others, rather
            than as a normal distribution has them.
        random_state: Seed of orders and parts, and of pretraining.
        device: ``auto``, ``cpu`` or ``cuda``.

    Attributes:
        model_: The network, in double precision.
        prior_: Its prior; None where the weights do not tell.
        scaling_: The columns in use (``scaling_.columns``) and their units.
        surprise_: Share of the prior's draws whose targets are less likely than these; None where it is not known.

    Raises:
        InputError: inputs that are too many or not finite, no weights, those of another prior or shape, or options that
            do not exist.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> x = generator.standard_normal((40, 2))
        >>> y = x @ [3.0, -2.0] + generator.standard_normal(40)
        >>> model = InContextRegressor().fit(x, y)
        >>> mean, std = model.predict([[1.0, 1.0]], return_std=True)
        >>> bool(abs(mean[0] - 1.0) < 3 * std[0])
        True
    """

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        *,
        weights="embedded",
        prior=None,
        d_model=64,
        n_layers=3,
        n_heads=2,
        positions="none",
        tokens="joint",
        context=48,
        members=8,
        rows=None,
        excess="error",
        standardize=True,
        calibrate=True,
        random_state=0,
        device="cpu",
    ):
        self.weights = weights
        self.prior = prior
        self.d_model = d_model
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.positions = positions
        self.tokens = tokens
        self.context = context
        self.members = members
        self.rows = rows
        self.excess = excess
        self.standardize = standardize
        self.calibrate = calibrate
        self.random_state = random_state
        self.device = device

    # --------------------------------------------------------------------------------------------- the network

    def pretrain(
        self, steps: int = 4000, *, batch: int = 64, learning_rate: float = 2e-3, folder: str | Path | None = None
    ) -> Trained[InContextTransformer]:
        """Train a network on the prior and make it the `weights`. An unfinished run in `folder` is resumed.

        Raises:
            InputError: a prior that is no `TaskPrior`, or an impossible network.
        """
        prior = TABLES if self.prior is None else self.prior
        if not isinstance(prior, TaskPrior):
            mend = "Pass a TaskPrior, or train a network itself with harmonia.networks.icl_uq.pretrain."
            raise InputError("the regressor takes the target's units from a TaskPrior", type(prior).__name__, mend)
        seed = int(check_random_state(self.random_state).randint(2**31))
        config = InContextConfig(
            prior.dim, self.context, self.d_model, self.n_layers, self.n_heads, self.positions, self.tokens
        )
        plan = schedule(steps, learning_rate=learning_rate, evaluate_every=max(1, steps // 20), seed=seed)
        trained = pretrain(
            InContextTransformer(config, seed),
            prior,
            plan,
            batch=batch,
            folder=None if folder is None else Path(folder),
            device=self.device,
        )
        self.weights = Pretrained(trained.model, prior)
        return trained

    def save(self, path: str | Path) -> Path:
        """Write the network with its prior as safetensors, for ``InContextRegressor(weights=path)``."""
        model, prior = self._pretrained()
        if prior is None:
            raise InputError("these weights came without a prior", "nothing to save", "Copy their file.")
        kept = checkpoint(model, prior, {})
        return write_safetensors(path, kept.tensors, kept.metadata)

    @classmethod
    def load(cls, path: str | Path, **options: Any) -> InContextRegressor:
        """An estimator with saved weights."""
        model = cls(weights=str(path), **options)
        model.model_, model.prior_ = model._pretrained()
        return model

    def _pretrained(self) -> Pretrained:
        """A copy of the weights' network, which is the one that was asked for."""
        if self.weights is None:
            raise InputError("there is no network yet", "weights=None", "Call pretrain first, or pass weights.")
        device = device_of(self.device)
        model, prior = self.weights if isinstance(self.weights, Pretrained) else load_checkpoint(self.weights)
        if model.config.n_out != 2:
            raise InputError("these weights give means only", "n_out=1", "Use InContextTransformer, or other weights.")
        asked = InContextConfig(
            model.config.dim, self.context, self.d_model, self.n_layers, self.n_heads, self.positions, self.tokens
        )
        other = model.config.departures(asked)
        if other or self.prior not in (None, prior):
            got = other or f"prior={self.prior}"
            mend = "Call pretrain first, or leave prior and shape at their defaults."
            raise InputError("the weights are of another prior or shape than was asked for", got, mend)
        # float64, so that what a row gets does not depend on the others with it
        return Pretrained(copy.deepcopy(model).to(device, torch.float64), prior)

    # --------------------------------------------------------------------------------------------- the context

    def fit(self, X: Any, y: Any) -> InContextRegressor:
        """Read rows as context."""
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        if not isinstance(self.members, Integral) or self.members < 1 or self.excess not in ("error", "select"):
            got = f"members={self.members}, excess={self.excess}"
            raise InputError("the regressor has no such choice", got, "See InContextRegressor.")
        model, prior = self._pretrained()
        config = model.config
        most = config.context - (config.positions == "learned")  # a table of positions has to hold the question too
        rows = most if self.rows is None else int(self.rows)
        if rows < 1 or (rows > most and config.positions != "none"):
            raise InputError("the network cannot read so many rows", f"rows={rows}, at most {most}", "Change rows.")
        if rows > config.context:
            _warn_of_length(config, rows)
        y = np.asarray(y, dtype=np.float64)
        select = self.excess == "select"
        self.scaling_ = Scaling.of(X, y, config.dim, prior, standardize=self.standardize, select=select)
        self.model_, self.prior_, self._rows = model, prior, rows
        self._x, self._y = self._units(X, y)
        generator = torch.Generator().manual_seed(int(check_random_state(self.random_state).randint(2**31)))
        self._memory = self._read(self._x, self._y, int(self.members), generator)
        self.surprise_ = surprise(prior, self._x.cpu(), self._y.cpu(), rows, generator)
        self._errors = self._left_out(generator) if self.calibrate else None
        return self

    def partial_fit(self, X: Any, y: Any) -> InContextRegressor:
        """Read further rows after those before, at the cost of the new ones.

        Units and the calibration of intervals stay those of the first rows. A warning says when a stream without
        `rows` becomes longer than the network's prompts in training.

        Raises:
            InputError: more than `rows` rows, or than the network's table of positions has.
        """
        if not hasattr(self, "_memory"):
            return self.fit(X, y)
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, reset=False)
        config, members, read = self.model_.config, len(self._memory[0].keys), self._memory[0].keys.shape[2] // 2
        total = read + len(X)
        if total > self._rows and (self.rows is not None or config.positions != "none"):
            got = f"{total} rows, at most {self._rows}"
            raise InputError("the network cannot read so many rows", got, "Raise rows, or fit anew.")
        if read <= config.context < total:
            _warn_of_length(config, total)
        x, target = self._units(X, y)
        with torch.no_grad():
            self._memory = self.model_.read(x.expand(members, -1, -1), target.expand(members, -1), self._memory)
        self._x, self._y = torch.cat([self._x, x]), torch.cat([self._y, target])
        return self

    def _units(self, X: ndarray, y: ndarray) -> tuple[Tensor, Tensor]:
        """Rows with their targets, as the network reads them."""
        device = device_of(self.device)
        target = self.scaling_.target(np.asarray(y, dtype=np.float64))
        return self.scaling_.inputs(X).to(device), target.to(device)

    def _inputs(self, X: Any) -> Tensor:
        """Rows to predict, checked, as the network reads them."""
        check_is_fitted(self, "scaling_")
        return self.scaling_.inputs(validate_data(self, X, dtype=np.float64, reset=False)).to(self._x.device)

    @torch.no_grad()
    def _read(self, x: Tensor, y: Tensor, members: int, generator: torch.Generator) -> Cache:
        """Members' memories of random orders of at most `rows` rows."""
        orders = torch.stack([torch.randperm(len(x), generator=generator) for _ in range(members)])
        orders = orders[:, : self._rows].to(x.device)
        return self.model_.read(x[orders], y[orders])

    def _left_out(self, generator: torch.Generator) -> Float64[ndarray, " rows"]:
        """Sorted errors of the context's rows in predicted standard deviations, each fold predicted from the others."""
        count = len(self._x)
        folds = torch.randperm(count, generator=generator).tensor_split(min(FOLDS, count))
        errors = []
        for fold in folds:
            rest = torch.ones(count, dtype=torch.bool).scatter(0, fold, False)
            memory = self._read(self._x[rest], self._y[rest], min(self.members, 4), generator)
            mean, std = self._mixture(self._x[fold], memory)
            errors.append(((self._y[fold] - mean) / std).abs())
        return torch.cat(errors).sort().values.cpu().numpy()

    # ------------------------------------------------------------------------------------------- the prediction

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Mean of every row, and its standard deviation if wanted; rows do not see each other."""
        mean, std = (value.cpu().numpy() for value in self._mixture(self._inputs(X), self._memory))
        mean = self.scaling_.middle + self.scaling_.unit * mean
        return (mean, self.scaling_.unit * std) if return_std else mean

    def predict_interval(
        self, X: Any, coverage: float = 0.9
    ) -> tuple[Float64[ndarray, " rows"], Float64[ndarray, " rows"]]:
        """Lower and upper ends of intervals ``mu -+ q sigma`` that hold the target with the stated probability.

        With `calibrate`, q is the ``ceil((n + 1) coverage)``-th smallest of the context's own errors
        ``|y - mu| / sigma``, each row predicted from others (as conformal prediction across folds); where the context
        is too short for the coverage, the larger of the normal quantile and the largest error. Without, it is the
        normal quantile.

        Raises:
            InputError: a coverage outside of (0, 1).
        """
        if not 0 < coverage < 1:
            raise InputError("the coverage of an interval lies in (0, 1)", coverage, "Pass for instance 0.9.")
        mean, std = self.predict(X, return_std=True)
        half = self._quantile(coverage) * std
        return mean - half, mean + half

    def pit(self, X: Any, y: Any) -> Float64[ndarray, " rows"]:
        """Probability integral transforms of targets under the distributions whose central intervals are ours."""
        mean, std = self.predict(X, return_std=True)
        z = (np.asarray(y, dtype=np.float64) - mean) / std
        if self._errors is None:
            return np.asarray(norm.cdf(z))
        level = np.searchsorted(self._errors, np.abs(z)) / (len(self._errors) + 1)
        return 0.5 + 0.5 * np.sign(z) * level

    def _quantile(self, coverage: float) -> float:
        usual = float(norm.ppf(0.5 + coverage / 2))
        if self._errors is None:
            return usual
        rank = int(np.ceil((len(self._errors) + 1) * coverage))
        return float(self._errors[rank - 1]) if rank <= len(self._errors) else max(usual, float(self._errors[-1]))

    def predict_exact(self, X: Any) -> Exact:
        """The exact Bayesian answer from the same rows, and the network's distance: whether to believe it.

        Raises:
            InputError: the network was trained on other than linear tasks, where nobody knows the exact answer.
        """
        known, mean = self.predictive_exact(X), self.predict(X)
        location, std = known.location.numpy(), known.variance.sqrt().numpy()
        return Exact(location, std, np.abs(mean - location) / std)

    def predictive_exact(self, X: Any) -> StudentT:
        """The exact posterior of every row's target, in its own units; see `predict_exact`."""
        x = self._inputs(X).cpu()
        if self.prior_ is None or not self.prior_.is_linear:
            raise InputError("the exact answer is known for linear tasks only", self.prior_, "Use linear weights.")
        known = self.prior_.belief().absorb(self._x.cpu(), self._y.cpu())
        df, location, scale = known.expand(len(x)).predict(x)
        return StudentT(df, self.scaling_.middle + self.scaling_.unit * location, self.scaling_.unit * scale)

    @torch.no_grad()
    def _mixture(self, x: Tensor, memory: Cache) -> tuple[Tensor, Tensor]:
        members = memory[0].keys.shape[0]
        parts = [self.model_.answer(part.expand(members, -1, -1), memory) for part in x.split(4096)]
        means, stds = torch.cat([p.mean for p in parts], 1), torch.cat([p.std for p in parts], 1)  # type: ignore[misc]
        mean = means.mean(0)
        return mean, (stds.square().mean(0) + means.var(0, correction=0)).sqrt()


def _warn_of_length(config: InContextConfig, rows: int) -> None:
    warnings.warn(f"The network was trained on {config.context} rows and reads {rows}.", stacklevel=3)
