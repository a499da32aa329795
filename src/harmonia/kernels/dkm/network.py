"""Deep kernel machines with inducing points: from inputs through Gram matrices to functions.

    G_0 -> kernel -> [learned Gram matrix -> normalisation -> kernel] x layers -> Gaussian posterior of functions

A pass costs O(layers (P^3 + n P^2)) for n rows and P inducing points.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.configuration import config_of
from harmonia.core.errors import InputError
from harmonia.kernels.dkm.gram_kernels import gram_kernel
from harmonia.kernels.dkm.gram_layer import GramLayer, Objective, Passed
from harmonia.kernels.dkm.norm import GramNorm
from harmonia.kernels.dkm.output import InducingOutput, Posterior
from harmonia.kernels.dkm.triple import Stack, TripleLayer
from harmonia.parts.gram import Marginals


class Entry(nn.Module, ABC):
    """From inputs to the first triple: inner products with inducing inputs."""

    @abstractmethod
    def inducing(self) -> Tensor:
        """``G_ii``."""

    @abstractmethod
    def points(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``G_ti`` and ``G_t`` of rows."""


class InnerProducts(Entry):
    """``X X_i^T / features``: the kernel of a linear layer of infinite width.

    Arguments:
        inputs: Where the inducing inputs start (P, features).
        learned: Whether they move.
    """

    def __init__(self, inputs: Float[Tensor, "p features"], learned: bool = True) -> None:
        super().__init__()
        self.Xi = nn.Parameter(inputs.clone(), requires_grad=learned)

    def inducing(self) -> Tensor:
        return self.Xi @ self.Xi.mT / self.Xi.shape[1]

    def points(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x @ self.Xi.mT / x.shape[-1], x.square().mean(-1)


class Frozen(NamedTuple):
    """A machine whose inducing points are done with: what rows need, and nothing else.

    It is of the parameters as they were; other rows then cost O(layers P^2) each.
    """

    machine: Machine
    known: list[Any]
    posterior: Posterior

    def triple(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``K_ti`` and ``K_t`` after the last layer."""
        return self.machine.stack.points(*self.machine.entry.points(x), self.known)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Whitened features (n, P) of the last kernel, and the kernel of each row with itself."""
        ti, t = self.triple(x)
        return ti @ self.posterior.inverse.mT, t

    def __call__(self, x: Tensor) -> Marginals:
        """The functions' mean and variance at each row, for itself."""
        return self.machine.output.points(*self.triple(x), self.posterior)


class Machine(nn.Module):
    """Entry, layers and output: any deep kernel machine.

    Arguments:
        entry: From inputs to the first triple.
        stack: The layers.
        output: From the last kernel to functions.
    """

    def __init__(self, entry: Entry, stack: Stack, output: InducingOutput) -> None:
        super().__init__()
        self.entry, self.stack, self.output = entry, stack, output
        for number, layer in enumerate(self.gram_layers(), 1):
            layer.place = f"layer {number}"

    def frozen(self) -> Frozen:
        """Pass the inducing points through; differentiable."""
        ii, known = self.stack.inducing(self.entry.inducing())
        return Frozen(self, known, self.output.inducing(ii))

    def forward(self, x: Tensor) -> Marginals:
        """Mean (n, outputs) and variance (n,) of the functions at rows."""
        return self.frozen()(x)

    def divergence(self) -> Tensor:
        """The penalty of all layers and of the output, of the last pass."""
        return self.output.divergence() + self.stack.divergence()

    def gram_layers(self) -> list[GramLayer]:
        """The layers that learn, from the input on."""
        return [layer for layer in self.modules() if isinstance(layer, GramLayer)]

    @torch.no_grad()
    def gram_matrices(self) -> list[Passed]:
        """The learned Gram matrices between inducing points beside the kernels they replace, from the input on."""
        self.frozen()
        return [layer.passed for layer in self.gram_layers()]


@dataclass(frozen=True)
class DeepKernelMachineConfig:
    """Sizes and choices of a machine for tables.

    Attributes:
        features: Columns of the inputs.
        outputs: Functions.
        n_inducing: Inducing points P.
        n_layers: Learned Gram matrices.
        dof: Price of learning, the degrees of freedom nu of every layer: the more, the closer kernels stay to fixed
            ones; infinity gives the NNGP, without layers to learn.
        kernel: ``"relu"``, ``"normalized-gaussian"``, ``"sqexp"`` or ``"linear"``.
        i_norm, t_norm, i_scale, t_scale: As of `GramNorm`.
        batch_stats: As of `GramNorm`.
        objective: As of `GramLayer`.
        relative: As of `GramLayer` and `InducingOutput`.
        wishart: As of `GramLayer`.
        jitter: Of every kernel.
        tempered: As of `InducingOutput`.
    """

    features: int
    outputs: int
    n_inducing: int
    n_layers: int = 2
    dof: float = 1.0
    kernel: str = "relu"
    i_norm: str = "global"
    t_norm: str = "inducing"
    i_scale: str = "global"
    t_scale: str = "inducing"
    batch_stats: bool = False
    objective: Objective = "kl"
    relative: bool = True
    wishart: float = 0.0
    jitter: float = 1e-4
    tempered: bool = False

    @classmethod
    def of(cls, config: DeepKernelMachineConfig | Mapping[str, Any]) -> DeepKernelMachineConfig:
        """A config from itself or from its fields; see `config_of`."""
        return config_of(cls, config)

    def __post_init__(self) -> None:
        for name, lowest in (("features", 1), ("outputs", 1), ("n_inducing", 1), ("n_layers", 0)):
            if getattr(self, name) < lowest:
                raise InputError(f"'{name}' is at least {lowest}", getattr(self, name), "Change it.")


class DeepKernelMachine(
    Machine,
    PyTorchModelHubMixin,
    library_name="harmonia",
    tags=["deep-kernel-machine", "tabular-regression", "tabular-classification"],
    paper_url="https://arxiv.org/abs/2108.13097",
):
    """A deep kernel machine for rows of numbers (Yang et al. 2023, arXiv:2108.13097), in float64.

    Arguments:
        config: A `DeepKernelMachineConfig`, or a mapping of its fields.
        inducing_inputs: Where the inducing inputs start (P, features); standard normal unless given.
        learn_inducing: Whether they move.
        generator: Draws them.

    Raises:
        InputError: sizes that do not fit.

    Example:
        >>> x = torch.linspace(-1, 1, 5, dtype=torch.float64)[:, None]
        >>> machine = DeepKernelMachine(DeepKernelMachineConfig(features=1, outputs=2, n_inducing=3), x[::2])
        >>> found = machine(x)  # the prior: nothing was learned yet
        >>> found.mean.shape, bool((found.variance > 0).all()), float(machine.divergence())
        (torch.Size([5, 2]), True, 0.0)
    """

    def __init__(
        self,
        config: DeepKernelMachineConfig | Mapping[str, Any],
        inducing_inputs: Float[Tensor, "p features"] | None = None,
        *,
        learn_inducing: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        config = DeepKernelMachineConfig.of(config)
        shape = (config.n_inducing, config.features)
        if inducing_inputs is None:
            inducing_inputs = torch.randn(shape, dtype=torch.float64, generator=generator)
        if inducing_inputs.shape != shape:
            raise InputError("the inducing inputs do not fit", tuple(inducing_inputs.shape), f"Pass {shape}.")

        def block() -> list[TripleLayer]:
            norm = GramNorm(
                config.i_norm,
                config.t_norm,
                config.i_scale,
                config.t_scale,
                size=config.n_inducing,
                batch_stats=config.batch_stats,
            )
            learned = GramLayer(
                config.n_inducing,
                config.dof,
                objective=config.objective,
                relative=config.relative,
                wishart=config.wishart,
            )
            first = [] if config.dof == math.inf else [learned]
            return [*first, norm, gram_kernel(config.kernel, config.jitter)]

        layers = [layer for _ in range(config.n_layers) for layer in block()]
        output = InducingOutput(
            config.n_inducing,
            config.outputs,
            objective=config.objective,
            relative=config.relative,
            tempered=config.tempered,
        )
        super().__init__(
            InnerProducts(inducing_inputs.double(), learn_inducing),
            Stack([gram_kernel(config.kernel, config.jitter), *layers]),
            output,
        )
        self.config = config
