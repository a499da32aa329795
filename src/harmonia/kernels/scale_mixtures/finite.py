"""Random finite networks, exactly in law and without their weight matrices.

Given the features ``h`` (width, points) of a layer, the pre-activations of the next layer's units are independent
draws from ``N(0, w_std^2 h^T h / width + b_std^2)``. So a network of any width, on a few points, needs only that small
covariance: thousands of networks in a second.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class RandomNetworks(NamedTuple):
    """Many networks at the same points.

    Attributes:
        features: Of the last hidden layer (networks, width, points).
        outputs: Of the readout with unit-variance weights in NTK parameterisation (networks, points).
    """

    features: Float[Tensor, "nets width points"]
    outputs: Float[Tensor, "nets points"]

    @property
    def gram(self) -> Float[Tensor, "nets points points"]:
        """Each network's own kernel of its last layer, ``h^T h / width``."""
        return self.features.mT @ self.features / self.features.shape[1]


def random_erf_networks(
    x: Float[Tensor, "points d"],
    count: int,
    *,
    width: int = 512,
    depth: int = 3,
    w_std: float = 8.0,
    b_std: float = 0.05,
    generator: torch.Generator,
) -> RandomNetworks:
    """Draw fully connected erf networks at initialisation.

    Arguments:
        x: Points.
        count: Networks.
        width: Units of every hidden layer.
        depth: Hidden layers.
        w_std: Scale of the weights.
        b_std: Scale of the biases.
        generator: Source of the draws.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
        >>> nets = random_erf_networks(x, 2000, width=64, generator=torch.Generator().manual_seed(0))
        >>> bool((nets.gram.mean(0) - torch.cov(nets.outputs.T)).abs().max() < 0.1)
        True
    """
    points = len(x)
    covariance = (x @ x.T / x.shape[1]).double().expand(count, points, points)
    jitter = 1e-10 * torch.eye(points, dtype=torch.float64)
    features = torch.empty(0)
    for _ in range(depth):
        root = torch.linalg.cholesky(w_std**2 * covariance + b_std**2 + jitter)
        normal = torch.randn(count, width, points, dtype=torch.float64, generator=generator)
        features = (normal @ root.mT).erf_()
        covariance = features.mT @ features / width
    readout = torch.randn(count, 1, width, dtype=torch.float64, generator=generator)
    return RandomNetworks(features, (readout @ features)[:, 0] / width**0.5)
