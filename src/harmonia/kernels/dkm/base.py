"""What estimators of tables share: parameters, checked and standardised inputs, the machine, what is shown of it."""

from __future__ import annotations

import warnings
from collections import Counter
from numbers import Real
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from harmonia.core.checks import check_number, check_whole
from harmonia.core.errors import InputError
from harmonia.kernels.dkm.export import DeepKernel
from harmonia.kernels.dkm.fitting import PORTION, Schedule
from harmonia.kernels.dkm.gram_kernels import KERNELS
from harmonia.kernels.dkm.gram_layer import GramLayer
from harmonia.kernels.dkm.network import DeepKernelMachine, DeepKernelMachineConfig
from harmonia.parts.gram import Marginals, choose_landmarks
from harmonia.parts.spread import spread_of, varies

JITTER = 1e-6
"""Of every kernel: enough in float64."""

NORMS = ("inducing", "local", "none")


class DeepKernelEstimator(BaseEstimator):
    """What regression and classification share."""

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        n_layers=2,
        n_inducing=256,
        dof=1.0,
        kernel="relu",
        *,
        norm="inducing",
        objective="kl",
        lr=1e-2,
        max_iter=200,
        batch_size=None,
        learn_inducing=True,
        warm_start=False,
        random_state=None,
    ):
        self.n_layers = n_layers
        self.n_inducing = n_inducing
        self.dof = dof
        self.kernel = kernel
        self.norm = norm
        self.objective = objective
        self.lr = lr
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learn_inducing = learn_inducing
        self.warm_start = warm_start
        self.random_state = random_state

    def _check_parameters(self) -> None:
        whole = [("n_layers", self.n_layers, 0), ("n_inducing", self.n_inducing, 1), ("max_iter", self.max_iter, 1)]
        if self.batch_size is not None:
            whole.append(("batch_size", self.batch_size, 1))
        for name, value, lowest in whole:
            check_whole(name, value, lowest)
        if not isinstance(self.dof, Real) or not float(self.dof) >= 0:
            raise InputError("'dof' is a number >= 0", repr(self.dof), "Give e.g. 1, or infinity for a fixed kernel.")
        check_number("lr", self.lr, above=0)
        choices = (("kernel", tuple(KERNELS)), ("norm", NORMS), ("objective", ("kl", "taylor")))
        for name, known in choices:
            if getattr(self, name) not in known:
                raise InputError(f"no such {name}", repr(getattr(self, name)), f"Use one of: {', '.join(known)}.")

    def _training_data(self, X: Any, y: Any, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets as arrays, once the parameters are known to be in range."""
        self._check_parameters()
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_all_finite=False, **options)
        return self._finite(X), y

    def _finite(self, X: np.ndarray) -> np.ndarray:
        bad = np.flatnonzero(~np.isfinite(X).all(0))
        if len(bad):
            got = f"NaN or infinity in column {', '.join(map(str, self._names()[bad][:5]))}"
            raise InputError("inputs are finite numbers", got, "Fill or drop what is missing.")
        return X

    def _start(self, X: np.ndarray, outputs: int) -> Tensor:
        """Scale the inputs and build the machine."""
        spread, used = spread_of(X), varies(X)
        if not used.all() and len(X) > 1:
            shown = ", ".join(map(str, self._names()[~used][:5]))
            warnings.warn(f"columns that do not vary are ignored: {shown}", stacklevel=3)
        if self.n_inducing > len(X):
            told = f"n_inducing={self.n_inducing} is more than the rows: all {len(X)} are inducing points"
            warnings.warn(told, stacklevel=3)
        # Of inputs that all stay the same one column is kept, so that there is something to predict from.
        self.kept_ = np.flatnonzero(used) if used.any() else np.array([0])
        self.x_mean_ = X[:, self.kept_].mean(0)
        self.x_scale_ = spread[self.kept_]
        x = self._tensor(X)
        self._seed = int(check_random_state(self.random_state).randint(2**31))
        rows = choose_landmarks(x, min(self.n_inducing, len(x)), seed=self._seed)
        config = DeepKernelMachineConfig(
            features=x.shape[1],
            outputs=outputs,
            n_inducing=len(rows),
            n_layers=int(self.n_layers),
            dof=float(self.dof),
            kernel=self.kernel,
            i_norm="global" if self.norm == "inducing" else self.norm,
            t_norm=self.norm,
            objective=self.objective,
            jitter=JITTER,
        )
        before = getattr(self, "machine_", None) if self.warm_start else None
        self.machine_ = DeepKernelMachine(config, x[rows], learn_inducing=bool(self.learn_inducing))
        if before is not None:
            _go_on(before, self.machine_)
        return x

    def _names(self) -> np.ndarray:
        """Of the columns, or their numbers."""
        return getattr(self, "feature_names_in_", np.arange(self.n_features_in_))

    def _schedule(self) -> Schedule:
        size = None if self.batch_size is None else int(self.batch_size)
        return Schedule(int(self.max_iter), size, float(self.lr), self._seed)

    def _finish(self) -> None:
        self.n_iter_ = len(self.elbo_path_)
        self.inducing_points_ = self.machine_.entry.get_parameter("Xi").detach().numpy() * self.x_scale_ + self.x_mean_
        with torch.no_grad():
            frozen = self.machine_.frozen()
        passed = [layer.passed for layer in self.machine_.gram_layers()]
        self.gram_matrices_ = [layer.gram.numpy() for layer in passed]
        self.replaced_kernels_ = [layer.kernel.numpy() for layer in passed]
        self.layer_divergences_ = np.array([float(layer.price) for layer in passed])
        self.deep_kernel_ = DeepKernel(frozen, self.n_features_in_, self.kept_, self.x_mean_, self.x_scale_)

    def _tensor(self, X: np.ndarray) -> Tensor:
        return torch.from_numpy((X[:, self.kept_] - self.x_mean_) / self.x_scale_)

    @torch.no_grad()
    def _marginals(self, X: Any) -> Marginals:
        check_is_fitted(self)
        x = self._tensor(self._finite(validate_data(self, X, dtype=np.float64, ensure_all_finite=False, reset=False)))
        parts = [self.deep_kernel_.frozen(part) for part in x.split(PORTION)]
        mean, variance = torch.cat([part.mean for part in parts]), torch.cat([part.variance for part in parts])
        if not (mean.isfinite().all() and variance.isfinite().all()):
            got = "a prediction that is not finite"
            raise InputError("rows are too far from those of the training", got, "Check their units.")
        return Marginals(mean, variance)


@torch.no_grad()
def _go_on(before: DeepKernelMachine, machine: DeepKernelMachine) -> None:
    """Fill a machine with what another of the same sizes found.

    Gram matrices that the other did not learn, as its kernels were fixed, stay at their start, which are those kernels.
    """
    old, new = _tensors(before), _tensors(machine)
    learned = GramLayer.__name__
    fixed = [{name: v.shape for name, v in part.items() if not name.startswith(learned)} for part in (old, new)]
    if fixed[0] == fixed[1]:
        for name in old.keys() & new.keys():
            new[name].copy_(old[name])


def _tensors(machine: DeepKernelMachine) -> dict[str, Tensor]:
    """Those of the state by the kind of their layer and its number among that kind."""
    found: dict[str, Tensor] = {}
    seen: Counter[str] = Counter()
    for part in (machine.entry, *machine.stack, machine.output):
        kind = type(part).__name__
        found |= {f"{kind} {seen[kind]} {name}": value for name, value in part.state_dict().items()}
        seen[kind] += 1
    return found
