"""Ensembles of finite networks whose output scales are drawn from the prior: the limit's finite counterpart."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.kernels.scale_mixtures.scales import ScaleDistribution


class ScaleMixtureEnsemble:
    """Networks ``s_j f_j(x)`` with ``s_j^2`` drawn from a prior, trained side by side.

    In NTK parameterisation the factor is the standard deviation of the last layer's weights, so a wide ensemble is a
    scale mixture of Gaussian processes before training and after (arXiv:2107.01408). All members are trained at once
    by one vectorised Adam.

    Arguments:
        build: Makes a member from a seed; all of one architecture, such as
            ``lambda seed: net.to_torch(512, (8,), seed=seed)`` of an infinitely wide network.
        prior: Distribution of s2.
        n_members: Networks.
        loss: ``"classification"`` (cross entropy) or ``"regression"`` (squares).
        epochs: Passes over the data.
        batch_size: Rows of a step.
        learning_rate: Of Adam.
        random_state: Seed.

    Attributes:
        scales_: s of the members.

    Raises:
        InputError: an ensemble without members, or an unknown loss.

    Example:
        >>> from harmonia.kernels.scale_mixtures.scales import InverseGamma
        >>> from harmonia.parts import infwidth
        >>> net = infwidth.Sequential(infwidth.Dense(1.5, 0.3), infwidth.ReLU(), infwidth.Dense())
        >>> x = torch.linspace(-1, 1, 20)[:, None]
        >>> build = lambda seed: net.to_torch(64, (1,), seed=seed)
        >>> ensemble = ScaleMixtureEnsemble(build, InverseGamma(2.0, 2.0), n_members=8, loss="regression")
        >>> outputs = ensemble.fit(x, x.abs()).outputs(x)
        >>> outputs.shape, bool((outputs.mean(0) - x.abs()).abs().max() < 0.2)
        (torch.Size([8, 20, 1]), True)
    """

    def __init__(
        self,
        build: Callable[[int], nn.Module],
        prior: ScaleDistribution,
        n_members: int = 16,
        *,
        loss: Literal["classification", "regression"] = "classification",
        epochs: int = 100,
        batch_size: int = 250,
        learning_rate: float = 1e-2,
        random_state: int = 0,
    ) -> None:
        if n_members < 1:
            raise InputError("an ensemble has at least one member", n_members, "Give n_members >= 1.")
        if loss not in ("classification", "regression"):
            raise InputError("no such loss", repr(loss), "Use 'classification' or 'regression'.")
        self.loss, self.epochs, self.batch_size, self.learning_rate = loss, epochs, batch_size, learning_rate
        self.generator = torch.Generator().manual_seed(random_state)
        drawn = prior.sample(n_members, np.random.default_rng(random_state))
        self.scales_ = torch.from_numpy(np.sqrt(drawn))
        members = [build(random_state + j) for j in range(n_members)]
        self._weights, self._buffers = stack_module_state(members)
        self._skeleton = copy.deepcopy(members[0]).to("meta")

    def fit(self, x: Float[Tensor, "n ..."], y: Shaped[Tensor, " n *k"]) -> ScaleMixtureEnsemble:
        """Train all members; `y` holds class indices (n,), or numbers (n, k)."""
        optimizer = torch.optim.Adam(self._weights.values(), self.learning_rate)
        for _ in track(range(self.epochs), "Training networks"):
            for rows in torch.randperm(len(x), generator=self.generator).split(self.batch_size):
                optimizer.zero_grad()
                self._total_loss(self._forward(x[rows]), y[rows]).backward()
                optimizer.step()
        return self

    @torch.no_grad()
    def outputs(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "members n k"]:
        """Outputs (logits) of every member."""
        return self._forward(x)

    def predict_proba(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """Class probabilities of the mean logits, as in the paper's experiments."""
        return self.outputs(x).mean(0).softmax(1)

    def _forward(self, x: Tensor) -> Tensor:
        def member(weights: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
            return functional_call(self._skeleton, (weights, buffers), (x,))

        found = vmap(member, randomness="different")(self._weights, self._buffers)
        return self.scales_.to(found)[:, None, None] * found

    def _total_loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Summed over members, so that each has its own gradient."""
        if self.loss == "regression":
            return (outputs - y).square().mean((1, 2)).sum()
        rows = outputs.flatten(0, 1)
        return F.cross_entropy(rows, y.repeat(len(outputs)), reduction="sum") / len(y)
