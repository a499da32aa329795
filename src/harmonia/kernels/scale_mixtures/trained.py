"""What wide networks with a random output scale become when they are trained by gradient descent.

With the last layer's weights N(0, s2) and the squared loss, networks trained to the end are, given s2, a Gaussian
process whose mean does not depend on s2 and whose covariance is proportional to it (arXiv:2107.01408, theorem on
training): of the last layer alone the posterior of the NNGP, of all layers the ensemble of the tangent kernel. So the
marginals are mixtures over the *prior* of s2: for InverseGamma(a, b) Student's t with 2a degrees of freedom, however
many data there are, where the Bayesian posterior has 2a + n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64

from harmonia.core.errors import InputError
from harmonia.kernels.ntk import InfiniteEnsemble
from harmonia.kernels.scale_mixtures.predictive import Predictive
from harmonia.kernels.scale_mixtures.scales import ScaleDistribution
from harmonia.parts import infwidth


@dataclass(frozen=True)
class TrainedLimit:
    """Networks of infinite width with a random output scale, trained to the end on data.

    Attributes:
        network: The network at ``s2 = 1``.
        x: Training inputs.
        ensemble: Their mean and covariance at ``s2 = 1``.
        prior: Distribution of s2.
    """

    network: infwidth.Sequential
    x: torch.Tensor
    ensemble: InfiniteEnsemble
    prior: ScaleDistribution

    def predict(self, X: Float64[np.ndarray, "m ..."]) -> Predictive:
        """The distribution (m, k) of the outputs of trained networks at new inputs."""
        at = torch.from_numpy(X)
        start = self.network.diagonal(at, get="nngp")
        if self.ensemble.bayesian:
            cross = self.network.kernel(at, self.x, get="nngp")
            mean, variance = self.ensemble.predict(cross, prior=start)
        else:
            nngp, ntk = self.network.kernel(at, self.x)
            mean, variance = self.ensemble.predict(ntk, nngp, start)
        assert variance is not None
        return self.prior.mix(mean.numpy(), variance[:, None].expand_as(mean).numpy())


def nngp_trained_limit(
    net: infwidth.Sequential,
    X: Float64[np.ndarray, "n ..."],
    y: Float64[np.ndarray, " n *k"],
    prior: ScaleDistribution,
    layers: Literal["last", "all"] = "last",
) -> TrainedLimit:
    """The limit of networks with a random output scale, trained by gradient descent on the squared loss.

    Arguments:
        net: The network; its last layer has unit weights and no bias, for s2 to scale.
        X: Training inputs.
        y: Training targets.
        prior: Distribution of s2.
        layers: Which layers are trained.

    Raises:
        InputError: other layers, or a kernel that is singular on the inputs.

    Example:
        >>> from harmonia.kernels.scale_mixtures.scales import InverseGamma
        >>> net = infwidth.Sequential(infwidth.Dense(1.5, 0.3), infwidth.Erf(), infwidth.Dense())
        >>> X, y = np.array([[-1.0], [0.0], [1.0]]), np.array([1.0, 0.0, 1.0])
        >>> limit = nngp_trained_limit(net, X, y, InverseGamma(2.0, 2.0), "all").predict(np.array([[0.0], [2.0]]))
        >>> float(limit.df), bool(limit.scale[0, 0] < 1e-5 < limit.scale[1, 0])
        (4.0, True)
    """
    if layers not in ("last", "all"):
        raise InputError("no such choice of layers", repr(layers), "Use 'last' or 'all'.")
    x, targets = torch.from_numpy(X), torch.from_numpy(y)
    nngp, ntk = net.kernel(x)
    return TrainedLimit(net, x, InfiniteEnsemble(nngp, targets, ntk if layers == "all" else None), prior)
