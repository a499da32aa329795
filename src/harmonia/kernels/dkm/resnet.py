"""The convolutional deep kernel machine of the papers: a residual network of kernels (arXiv:2309.09814, 2410.06171)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.kernels.dkm.conv import (
    ConvGramMixup,
    GramMixup,
    ImagePatches,
    MeanPool,
    NystromPool,
    WholeImageMixup,
)
from harmonia.kernels.dkm.gram_kernels import gram_kernel
from harmonia.kernels.dkm.gram_layer import GramLayer, Objective
from harmonia.kernels.dkm.network import Machine
from harmonia.kernels.dkm.norm import GramNorm
from harmonia.kernels.dkm.output import InducingOutput
from harmonia.kernels.dkm.triple import Mean, Stack, TripleLayer, untriangle

TOPS = ("gap", "gap-mixup", "bfc", "bfc-mixup")


@dataclass(frozen=True)
class ConvDeepKernelMachineConfig:
    """Sizes and choices of a machine for images.

    Sizes and connections are those of both papers. The other defaults are of arXiv:2309.09814, except for the kernel
    after the top, which came with arXiv:2410.06171. The regularised model of the latter has ``dof=0.001``,
    ``kernel="normalized-gaussian"``, ``top="bfc"``, ``objective="taylor"`` and ``wishart=0.25``, in float32.

    Attributes:
        image_shape: Channels, height and width.
        outputs: Classes.
        scale: Multiplies the numbers of inducing points; the papers have 1 to 32.
        widths: Inducing points of the entry and of each stage, before `scale`.
        blocks: Residual blocks of each stage; the first halves height and width.
        dof: Price of learning in every layer: the more, the closer kernels stay to fixed ones; infinity for those.
        kernel: As of `DeepKernelMachineConfig`.
        top: From positions to the image: ``"gap"``: global average pooling; ``"bfc"``: plain means; both ``-mixup``:
            with learned weights.
        kernel_after_top: Whether another kernel follows (2410.06171) or not (2309.09814).
        i_norm, t_norm, i_scale, t_scale, batch_stats: As of `GramNorm`.
        objective, relative, wishart: As of `GramLayer`.
        weight_noise: As of `ConvGramMixup`.
        tempered: As of `InducingOutput`.
        jitter: Of every kernel.
    """

    image_shape: tuple[int, int, int] = (3, 32, 32)
    outputs: int = 10
    scale: int = 1
    widths: tuple[int, ...] = (16, 16, 32, 64)
    blocks: int = 3
    dof: float = 0.01
    kernel: str = "relu"
    top: str = "gap"
    kernel_after_top: bool = True
    i_norm: str = "global"
    t_norm: str = "global"
    i_scale: str = "global"
    t_scale: str = "global"
    batch_stats: bool = False
    objective: Objective = "kl"
    relative: bool = False
    wishart: float = 0.0
    weight_noise: float = 0.0
    tempered: bool = True
    jitter: float = 1e-4

    def __post_init__(self) -> None:
        if min(self.image_shape) < 1 or self.scale < 1 or self.blocks < 1 or len(self.widths) < 2:
            raise InputError("sizes of the network are at least 1", self, "Change them.")
        if self.top not in TOPS:
            raise InputError("no such top", repr(self.top), f"Use one of: {', '.join(TOPS)}.")

    @property
    def inducing(self) -> list[int]:
        """Inducing points of the entry and of each stage."""
        return [self.scale * width for width in self.widths]


class ConvDeepKernelMachine(Machine):
    """A deep kernel machine for images.

    Patches, kernel, convolution, Gram matrix; stages of residual blocks of [kernel, convolution, Gram matrix, norm]
    twice; pooling; a Gaussian posterior of the classes' functions.

    Arguments:
        config: Sizes and choices.
        patches: Where the inducing patches start (P, channels, 3, 3), e.g. `random_patches`; standard normal unless
            given.
        whitening: Of images, e.g. `ImageWhitening`.
        generator: Draws the weights.

    Example:
        >>> config = ConvDeepKernelMachineConfig((1, 8, 8), outputs=3, widths=(8, 8), blocks=1)
        >>> machine = ConvDeepKernelMachine(config, generator=torch.Generator().manual_seed(0))
        >>> machine(torch.randn(2, 1, 8, 8, dtype=torch.float64)).mean.shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        config: ConvDeepKernelMachineConfig,
        patches: Float[Tensor, "p c 3 3"] | None = None,
        whitening: nn.Module | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        first, *stages = config.inducing
        shape = (first, config.image_shape[0], 3, 3)
        if patches is None:
            patches = torch.randn(shape, dtype=torch.float64, generator=generator)
        if patches.shape != shape:
            raise InputError("the inducing patches do not fit", tuple(patches.shape), f"Pass {shape}.")
        build = _Build(config, generator)
        layers: list[TripleLayer] = [build.kernel(), *build.learned(first, stages[0], 1)]
        width = stages[0]
        for count in stages:
            layers.append(build.stage(width, count))
            width = count
        layers += build.top(width)
        output = InducingOutput(
            width,
            config.outputs,
            objective=config.objective,
            relative=config.relative,
            tempered=config.tempered,
        )
        super().__init__(ImagePatches(patches.double(), whitening), Stack(layers), output)
        self.config = config
        if not config.relative:
            self._start_output(generator)

    def _start_output(self, generator: torch.Generator | None) -> None:
        """Random, as in the official code: mean standard normal, covariance a Wishart draw."""
        mu, v = self.output.mu, self.output.V
        with torch.no_grad():
            mu.copy_(torch.randn(mu.shape, dtype=mu.dtype, generator=generator))
            draw = torch.randn(v.shape, dtype=v.dtype, generator=generator)
            unit = torch.eye(len(v), dtype=v.dtype)
            factor = torch.linalg.cholesky(draw @ draw.mT / len(v) + 1e-4 * unit) * math.sqrt(len(v))
            v.copy_(untriangle(factor))


@dataclass
class _Build:
    """Makes the layers of a network, and knows how large the image is at each."""

    config: ConvDeepKernelMachineConfig
    generator: torch.Generator | None
    positions: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.positions = self.config.image_shape[1:]

    def kernel(self) -> TripleLayer:
        return gram_kernel(self.config.kernel, self.config.jitter)

    def norm(self, size: int, spatial: bool = True) -> TripleLayer:
        c = self.config
        flat = {} if spatial else {"location": "global", "image": "local"}
        t_norm, t_scale = flat.get(c.t_norm, c.t_norm), flat.get(c.t_scale, c.t_scale)
        return GramNorm(
            c.i_norm,
            t_norm,
            c.i_scale,
            t_scale,
            size=size,
            positions=self.positions if spatial else None,
            batch_stats=c.batch_stats,
        )

    def gram(self, size: int) -> list[TripleLayer]:
        c = self.config
        if c.dof == math.inf:
            return []
        return [GramLayer(size, c.dof, objective=c.objective, relative=c.relative, wishart=c.wishart)]

    def convolution(self, inputs: int, outputs: int, size: int, stride: int) -> TripleLayer:
        return ConvGramMixup(inputs, outputs, size, stride, self.config.weight_noise, self.generator)

    def learned(self, inputs: int, outputs: int, stride: int) -> list[TripleLayer]:
        """Convolution, Gram matrix, norm."""
        return [self.convolution(inputs, outputs, 3, stride), *self.gram(outputs), self.norm(outputs)]

    def stage(self, inputs: int, outputs: int) -> Stack:
        """Residual blocks, of which the first halves height and width."""
        height, width = self.positions
        self.positions = (height + 1) // 2, (width + 1) // 2
        shortcut = Stack([self.convolution(inputs, outputs, 1, 2), self.norm(outputs)])
        others = range(self.config.blocks - 1)
        return Stack([self._block(inputs, outputs, 2, shortcut), *(self._block(outputs, outputs, 1) for _ in others)])

    def _block(self, inputs: int, outputs: int, stride: int, shortcut: Stack | None = None) -> Mean:
        first = [self.kernel(), *self.learned(inputs, outputs, stride)]
        second = [self.kernel(), *self.learned(outputs, outputs, 1)]
        return Mean([shortcut or Stack([]), Stack([*first, *second])])

    def top(self, size: int) -> list[TripleLayer]:
        c, g = self.config, self.generator
        pools: dict[str, list[TripleLayer]] = {
            "gap": [NystromPool()],
            "gap-mixup": [Stack([NystromPool(), GramMixup(size, size, c.weight_noise, g)])],
            "bfc": [MeanPool()],
            "bfc-mixup": [WholeImageMixup(size, size, self.positions, g)],
        }
        kernel = [self.kernel()] if c.kernel_after_top else []
        return [*pools[c.top], *kernel, self.norm(size, spatial=False)]
