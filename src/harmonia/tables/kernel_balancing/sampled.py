"""The paper's own algorithm: a weight network balanced on minibatches, beside the recommender, all by Adam.

Each batch holds B observed pairs and G B pairs drawn from all. A second factorisation times inverse propensities gives
the weights; its loss is their entropy and the hinge of the imbalance at J anchors of the batch,

    mean w log w + gamma sum_j max(0, |mean_D k(x_j, .) - mean_O w k(x_j, .)| - C),

one step of which is taken before each step of the recommender. `KernelBalancer` solves the same problem exactly, for
all pairs and hundreds of anchors; this is here to compare with, and to reproduce the released code (``compat``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from numpy import ndarray
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.checks import as_numbers, check_whole
from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.tables.kernel_balancing.balancer import standardised
from harmonia.tables.kernel_balancing.inputs import checked_weights, finite_table, indices
from harmonia.tables.kernel_balancing.pairs import median_distance
from harmonia.tables.kernel_balancing.released import KERNELS, PairNet

_PATIENCE = 7
"""Epochs without an improvement before training ends."""

_STALLED = {"ips": 0.2, "dr": 0.4, "worst": 0.5}
"""Relative change of the anchor search's loss below which it takes further steps."""

_SEARCH_STEPS = 3


class SampledKernelBalancing(BaseEstimator):
    """Recommender and weights trained together on minibatches, as the paper's code does (KB, WKB, AKB; IPS and DR).

    Arguments:
        loss: "ips" or "dr".
        anchors: "random" (KB), "worst" (WKB), "adaptive" (AKB); "none": given weights are kept.
        kernel: "gaussian" or "exponential", of the concatenated covariates.
        n_anchors: J.
        tol: C.
        strength: gamma, of the balancing loss.
        counterfactuals: G, pairs drawn for each observed one.
        batch_size: B.
        n_factors: Of each factorisation.
        lr, decay: Learning rate and weight decay of the recommender, with Adam.
        imputation_lr, imputation_decay: Of the imputation; those of the recommender unless given.
        weight_lr, weight_decay: Of the weights.
        search_lr, search_decay: Of the search for anchors.
        epochs: At most.
        stop_tol: Smallest relative improvement of an epoch that counts.
        compat: "official" reproduces the released code: imbalances are summed before the hinge, the doubly robust
            loss lacks the weight of its imputed term, the kernel is nearly constant (covariates / 8, gamma 0.1), the
            worst case is normalised by a square of sums, the last incomplete batch is dropped, and patience never
            starts again.
        random_state: Seed.

    Attributes:
        prediction_, weight_, imputation_: The networks; imputation only for "dr".
        epochs_: Epochs taken.

    Example:
        >>> from harmonia.tables.kernel_balancing import semi_synthetic
        >>> truth = semi_synthetic()
        >>> pairs = np.argwhere(truth.observed)
        >>> model = SampledKernelBalancing(epochs=1)
        >>> model = model.fit(pairs, (truth.liking[truth.observed] > 0) * 1.0, truth.user_features, truth.item_features)
        >>> model.predict(pairs[:3]).shape
        (3,)
    """

    def __init__(
        self,
        loss: Literal["ips", "dr"] = "ips",
        anchors: Literal["random", "worst", "adaptive", "none"] = "random",
        kernel: Literal["gaussian", "exponential"] = "gaussian",
        *,
        n_anchors: int = 3,
        tol: float = 1e-2,
        strength: float = 1.0,
        counterfactuals: int = 5,
        batch_size: int = 128,
        n_factors: int = 4,
        lr: float = 1e-2,
        decay: float = 1e-3,
        imputation_lr: float | None = None,
        imputation_decay: float | None = None,
        weight_lr: float = 5e-3,
        weight_decay: float = 5e-2,
        search_lr: float = 3e-2,
        search_decay: float = 1e-3,
        epochs: int = 1000,
        stop_tol: float = 1e-5,
        compat: Literal["official"] | None = None,
        random_state: int = 0,
    ) -> None:
        self.loss = loss
        self.anchors = anchors
        self.kernel = kernel
        self.n_anchors = n_anchors
        self.tol = tol
        self.strength = strength
        self.counterfactuals = counterfactuals
        self.batch_size = batch_size
        self.n_factors = n_factors
        self.lr = lr
        self.decay = decay
        self.imputation_lr = imputation_lr
        self.imputation_decay = imputation_decay
        self.weight_lr = weight_lr
        self.weight_decay = weight_decay
        self.search_lr = search_lr
        self.search_decay = search_decay
        self.epochs = epochs
        self.stop_tol = stop_tol
        self.compat = compat
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        user_features: ArrayLike,
        item_features: ArrayLike,
        *,
        base_weights: ArrayLike | None = None,
    ) -> SampledKernelBalancing:
        """Train.

        Arguments:
            X: (n, 2): user and item of each observed pair, as rows of the features.
            y: (n,) labels, 0 or 1.
            user_features, item_features: (users, p) and (items, q) covariates.
            base_weights: (n,) inverse propensities, which the weight network multiplies (`naive_bayes_weights`); 1
                unless given. Their scale matters here, for it works against the weight decay.

        Raises:
            InputError: options out of range, labels that are not 0 or 1, or arrays that do not fit or are not finite.
        """
        if self.compat not in (None, "official") or self.kernel not in KERNELS:
            raise InputError(
                "there is no such variant", f"{self.kernel}, {self.compat}", 'Use compat="official" or None.'
            )
        if self.loss not in ("ips", "dr") or self.anchors not in ("random", "worst", "adaptive", "none"):
            raise InputError("there is no such variant", f"{self.loss}, {self.anchors}", "See the arguments.")
        for name in ("n_anchors", "counterfactuals", "batch_size", "n_factors", "epochs"):
            check_whole(name, getattr(self, name))
        tables = [finite_table(x, of) for x, of in ((user_features, "user"), (item_features, "item"))]
        shape = len(tables[0]), len(tables[1])
        rows, known = _labelled(X, y, shape)
        inverse = np.ones(len(known)) if base_weights is None else checked_weights(base_weights, len(known))
        self._covariates(*tables)
        generator = torch.Generator().manual_seed(self.random_state)
        self.start(shape, generator)
        pairs, labels, weights = torch.from_numpy(rows), torch.from_numpy(known).float(), torch.from_numpy(inverse)
        size = min(self.batch_size, len(rows))
        whole = len(rows) // size if self.compat else -(-len(rows) // size)
        last, waited, self.epochs_ = float("inf"), 0, 0
        for _ in track(range(self.epochs), "Training"):
            order = torch.randperm(len(rows), generator=generator)
            drawn = self._drawn(shape[0] * shape[1], whole * size * self.counterfactuals, generator)
            total = 0.0
            for batch in range(whole):
                chosen = order[batch * size : (batch + 1) * size]
                others = drawn[batch * size * self.counterfactuals : (batch + 1) * size * self.counterfactuals]
                sampled = torch.stack([others // shape[1], others % shape[1]], 1)
                anchors = torch.randint(len(sampled), (self.n_anchors,), generator=generator)
                total += self.step(pairs[chosen], labels[chosen], weights[chosen].float(), sampled, anchors)
            self.epochs_ += 1
            improved = last == float("inf") or (last - total) / (last + 1e-10) >= self.stop_tol
            waited = waited + (not improved) if self.compat or not improved else 0
            if waited >= _PATIENCE:
                break
            last = total
        return self

    def _drawn(self, pairs: int, count: int, generator: torch.Generator) -> Int[Tensor, " n"]:
        """All pairs in random order, and over again where a dense table has too few of them for an epoch."""
        orders = [torch.randperm(pairs, generator=generator) for _ in range(-(-count // pairs))]
        return torch.cat(orders)[:count]

    def start(self, shape: tuple[int, int], generator: torch.Generator) -> None:
        """New networks and optimisers, untrained."""
        make = [PairNet(*shape, self.n_factors, generator) for _ in range(3 if self.loss == "dr" else 2)]
        self.prediction_, self.weight_, self.imputation_ = make[0], make[1], make[2] if self.loss == "dr" else None
        self._by_prediction = self._adam(make[0], self.lr, self.decay)
        self._by_weight = self._adam(make[1], self.weight_lr, self.weight_decay)
        if self.imputation_ is not None:
            lr = self.lr if self.imputation_lr is None else self.imputation_lr
            decay = self.decay if self.imputation_decay is None else self.imputation_decay
            self._by_imputation = self._adam(self.imputation_, lr, decay)
        size = self.batch_size * self.counterfactuals
        self.epsilon_ = nn.Parameter(torch.rand(size, generator=generator))
        self._by_search = torch.optim.Adam([self.epsilon_], lr=self.search_lr, weight_decay=self.search_decay)
        self._search_loss = 0.0

    def _adam(self, net: nn.Module, lr: float, decay: float) -> torch.optim.Adam:
        return torch.optim.Adam(net.parameters(), lr=lr, weight_decay=decay)

    def _covariates(self, user_features: ndarray, item_features: ndarray) -> None:
        """Official: all divided by their number. Ours: in units of the median distance, where k is exp(-1/2)."""
        if self.compat:
            count = user_features.shape[1] + item_features.shape[1]
            tables, self._gamma = [x / count for x in (user_features, item_features)], 0.1
        else:
            tables = [standardised(x, of) for x, of in ((user_features, "user"), (item_features, "item"))]
            tables = [x / (median_distance(x) * 2**0.5) for x in tables]
            self._gamma = 0.5
        self._users, self._items = (torch.from_numpy(np.asarray(x, dtype=np.float32)) for x in tables)

    def _at(self, pairs: Tensor) -> Float32[Tensor, "n d"]:
        return torch.cat([self._users[pairs[:, 0]], self._items[pairs[:, 1]]], 1)

    def step(
        self,
        pairs: Int[Tensor, "n 2"],
        labels: Float[Tensor, " n"],
        inverse: Float[Tensor, " n"],
        sampled: Int[Tensor, "m 2"],
        anchors: Int[Tensor, " j"],
    ) -> float:
        """One step of the weights, of the recommender and of the imputation; returns the epoch loss's share.

        Arguments:
            pairs, labels, inverse: Observed pairs, their labels and inverse propensities.
            sampled: Pairs drawn from all.
            anchors: Rows of `sampled` to balance, unless they are searched for.
        """
        if self.anchors == "none":
            return self._predict_step(pairs, labels, inverse, sampled)
        kernel, here, everywhere = KERNELS[self.kernel], self._at(pairs), self._at(sampled)
        if self.anchors != "random":
            rows = kernel(everywhere, here, gamma=self._gamma)
            anchors = self._search(pairs, labels, inverse, sampled, rows, everywhere)
        at = everywhere[anchors]
        goal = kernel(everywhere, at, gamma=self._gamma).mean(0)
        features = kernel(here, at, gamma=self._gamma)
        w = self.weight_(pairs) * inverse
        imbalance = goal - w @ features / len(w)
        loss = w @ w.log() / len(w) + self.strength * self._hinge(imbalance)
        _descend(self._by_weight, loss)
        with torch.no_grad():
            w = self.weight_(pairs) * inverse
        return self._predict_step(pairs, labels, w, sampled)

    def _hinge(self, imbalance: Tensor) -> Tensor:
        if self.compat:
            imbalance = imbalance.sum()
        return (imbalance.abs() - self.tol).clamp(min=0).sum()

    def _predict_step(self, pairs: Tensor, labels: Tensor, w: Tensor, sampled: Tensor) -> float:
        found = self.prediction_(pairs)
        if self.imputation_ is None:
            loss = F.binary_cross_entropy(found, labels, weight=w)
            _descend(self._by_prediction, loss)
            return loss.item()
        with torch.no_grad():
            imputed, imputed_all = self.imputation_(pairs), self.imputation_(sampled)
        own = F.binary_cross_entropy(found, labels, weight=w, reduction="sum")
        guessed = F.binary_cross_entropy(found, imputed, weight=None if self.compat else w, reduction="sum")
        direct = F.binary_cross_entropy(self.prediction_(sampled), imputed_all)
        _descend(self._by_prediction, (own - guessed) / len(w) + direct)
        with torch.no_grad():
            found = self.prediction_(pairs)
            error = F.binary_cross_entropy(found, labels, reduction="none")
        error_guess = F.binary_cross_entropy(self.imputation_(pairs), found, reduction="none")
        _descend(self._by_imputation, w @ (error - error_guess).square())
        return own.item()

    def _search(
        self, pairs: Tensor, labels: Tensor, inverse: Tensor, sampled: Tensor, rows: Tensor, everywhere: Tensor
    ) -> Tensor:
        """The anchors with the largest coefficients of a function that errors, or imbalance, are fitted with."""
        epsilon = self.epsilon_[: len(sampled)]
        if self.anchors == "worst":
            loss_of, limit = self._worst_case(pairs, inverse, rows, everywhere), _STALLED["worst"]
        else:
            loss_of, limit = self._error_fit(pairs, labels, inverse, rows), _STALLED[self.loss]
        with torch.no_grad():
            loss = float(loss_of(epsilon))
        change = (loss - self._search_loss) if self.anchors == "worst" else (self._search_loss - loss)
        if change / (self._search_loss + 1e-10) < limit:
            for _ in range(_SEARCH_STEPS):
                value = loss_of(self.epsilon_[: len(sampled)])
                _descend(self._by_search, value)
            loss = value.item()
        self._search_loss = loss
        return self.epsilon_.detach()[: len(sampled)].abs().topk(min(self.n_anchors, len(sampled))).indices

    def _worst_case(
        self, pairs: Tensor, inverse: Tensor, rows: Tensor, everywhere: Tensor
    ) -> Callable[[Tensor], Tensor]:
        with torch.no_grad():
            w = self.weight_(pairs) * inverse
            total = KERNELS[self.kernel](everywhere, everywhere, gamma=self._gamma).sum(1)
        if not self.compat:
            w, total = w / len(w), total / len(total)

        def loss(epsilon: Tensor) -> Tensor:
            f = epsilon @ rows
            norm = f.sum().square() if self.compat else f.square().sum()
            return -(w @ f - epsilon @ total).square() / norm

        return loss

    def _error_fit(self, pairs: Tensor, labels: Tensor, inverse: Tensor, rows: Tensor) -> Callable[[Tensor], Tensor]:
        with torch.no_grad():
            found = self.prediction_(pairs)
            error = F.binary_cross_entropy(found, labels, reduction="none")
            if self.imputation_ is not None:
                error = error - F.binary_cross_entropy(self.imputation_(pairs), found, reduction="none")
        return lambda epsilon: inverse @ (error - epsilon @ rows).square()

    def predict(self, X: ArrayLike) -> Float32[ndarray, " n"]:
        """Probabilities of a positive rating.

        Arguments:
            X: (n, 2): user and item of each pair, as rows of the features.

        Raises:
            InputError: other than two columns, or pairs without features.
        """
        check_is_fitted(self, "prediction_")
        with torch.no_grad():
            return self.prediction_(torch.from_numpy(_pairs(X, (len(self._users), len(self._items))))).numpy()


def _pairs(X: ArrayLike, shape: tuple[int, int]) -> Int[ndarray, "n 2"]:
    pairs = np.asarray(X)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
        raise InputError("ratings are pairs of user and item", f"shape {pairs.shape}", "Pass two columns.")
    return np.stack([indices(pairs[:, j], shape[j], of) for j, of in enumerate(("user", "item"))], 1)


def _labelled(X: ArrayLike, y: ArrayLike, shape: tuple[int, int]) -> tuple[Int[ndarray, "n 2"], Float[ndarray, " n"]]:
    pairs, labels = _pairs(X, shape), as_numbers(y, "labels")
    if labels.shape != (len(pairs),) or not np.isin(labels, (0, 1)).all():
        raise InputError("labels are 0 or 1, one a pair", labels.shape, "Binarise the ratings.")
    return pairs, labels


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
