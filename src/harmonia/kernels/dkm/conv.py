"""Convolution, pooling and patches for Gram matrices of images (Milsom et al. 2024, arXiv:2309.09814).

``G_ti`` has one row for each position of each image, (n, height, width, P); inducing points stay patches.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.kernels.dkm.gram_layer import not_negative
from harmonia.kernels.dkm.network import Entry
from harmonia.kernels.dkm.triple import TripleLayer, Whitening


class ImagePatches(Entry):
    """Inner products of inducing patches with the patches around every position of an image, padded with zeros.

    Arguments:
        patches: Where the inducing patches start (P, channels, size, size), size odd.
        whitening: Applied to images first, e.g. `ImageWhitening`.
        learned: Whether patches move.
    """

    def __init__(
        self, patches: Float[Tensor, "p c s s"], whitening: nn.Module | None = None, learned: bool = True
    ) -> None:
        super().__init__()
        if patches.shape[-1] % 2 == 0:
            raise InputError("patches have a middle", f"size {patches.shape[-1]}", "Choose an odd size.")
        self.patches = nn.Parameter(patches.clone(), requires_grad=learned)
        self.whitening = whitening

    def inducing(self) -> Tensor:
        rows = self.patches.flatten(1)
        return rows @ rows.mT / rows.shape[1]

    def points(self, x: Float[Tensor, "n c h w"]) -> tuple[Tensor, Tensor]:
        if self.whitening is not None:
            x = self.whitening(x)
        size = self.patches.shape[-1]
        ti = F.conv2d(x, self.patches, padding=size // 2) / self.patches[0].numel()
        return ti.permute(0, 2, 3, 1), _local_mean(x.square().mean(1), size)


def _local_mean(values: Tensor, size: int, stride: int = 1) -> Tensor:
    """Mean over a window around every position (n, h, w), of what lies inside the image."""
    return F.avg_pool2d(values[:, None], size, stride, size // 2, count_include_pad=False)[:, 0]


class ConvGramMixup(TripleLayer):
    """A convolution: kernels averaged over a window, and inducing points mixed by learned weights so as to follow.

    ``M_ii`` is the mean over the window's positions d of ``C_d K_ii C_d^T``, and ``M_ti`` the convolution of ``K_ti``
    with C, over the number of positions. Parameters are of ``sqrt(inputs) C``.

    Arguments:
        inputs: Inducing points that come in.
        outputs: Inducing points that go out.
        size: Of the window, odd.
        stride: Of its steps.
        noise: Standard deviation of noise on the weights in training, drawn as the Wishart noise of `GramLayer`.
        generator: Draws the first weights.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int = 3,
        stride: int = 1,
        noise: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.size, self.stride, self.noise = size, stride, noise
        shape = (outputs, inputs, size, size)
        self.weights = nn.Parameter(torch.randn(shape, dtype=torch.float64, generator=generator))

    def inducing(self, ii: Tensor) -> tuple[Tensor, Tensor]:
        weights = _mixing(self)
        by_position = weights.permute(2, 3, 0, 1).flatten(0, 1)
        return (by_position @ ii @ by_position.mT).mean(0), weights

    def points(self, ti: Tensor, t: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        mixed = F.conv2d(ti.permute(0, 3, 1, 2), known, padding=self.size // 2, stride=self.stride) / self.size**2
        return mixed.permute(0, 2, 3, 1), _local_mean(t, self.size, self.stride)


class GramMixup(TripleLayer):
    """The same at no position: inducing points mixed by one matrix, ``C K_ii C^T`` and ``K_ti C^T``."""

    def __init__(self, inputs: int, outputs: int, noise: float = 0.0, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.noise = noise
        self.weights = nn.Parameter(torch.randn(outputs, inputs, dtype=torch.float64, generator=generator))

    def inducing(self, ii: Tensor) -> tuple[Tensor, Tensor]:
        weights = _mixing(self)
        return weights @ ii @ weights.mT, weights

    def points(self, ti: Tensor, t: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        return ti @ known.mT, t


def _mixing(layer: ConvGramMixup | GramMixup) -> Tensor:
    weights = layer.weights / math.sqrt(layer.weights.shape[1])
    if layer.training and layer.noise:
        weights = weights + layer.noise * torch.randn_like(weights)
    return weights


class WholeImageMixup(TripleLayer):
    """A convolution as large as the image: its own mixing matrix at every position.

    Arguments:
        inputs: Inducing points that come in.
        outputs: Inducing points that go out.
        positions: Height and width of the image.
        generator: Draws the first weights.
    """

    def __init__(
        self, inputs: int, outputs: int, positions: tuple[int, int], generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        shape = (outputs, math.prod(positions), inputs)
        self.weights = nn.Parameter(torch.randn(shape, dtype=torch.float64, generator=generator))

    def inducing(self, ii: Tensor) -> tuple[Tensor, Tensor]:
        weights = self.weights / math.sqrt(self.weights.shape[2])
        by_position = weights.transpose(0, 1)
        return (by_position @ ii @ by_position.mT).mean(0), weights

    def points(self, ti: Tensor, t: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        return ti.flatten(1) @ known.flatten(1).mT / known.shape[1], t.mean((1, 2))


class MeanPool(TripleLayer):
    """Plain means over positions: the kernel of a sum of independent functions of patches, on top of the best model."""

    def inducing(self, ii: Tensor) -> tuple[Tensor, None]:
        return ii, None

    def points(self, ti: Tensor, t: Tensor, known: None) -> tuple[Tensor, Tensor]:
        return ti.mean((1, 2)), t.mean((1, 2))


class NystromPool(TripleLayer):
    """Global average pooling: the mean over all pairs of positions, as far as inducing points explain it.

    What they leave of each position with itself is added: its sum over (positions)^2.
    """

    def inducing(self, ii: Tensor) -> tuple[Tensor, Tensor]:
        return ii, Whitening.of(ii).inverse

    def points(self, ti: Tensor, t: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        mean = ti.mean((1, 2))
        left = t - (ti @ known.mT).square().sum(-1)
        own = left.sum((1, 2)) / left[0].numel() ** 2
        return mean, not_negative((mean @ known.mT).square().sum(-1) + own, "the pooling")
