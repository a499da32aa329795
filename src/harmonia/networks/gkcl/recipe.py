"""The parameters of kernel continual learning, checked, and what they build."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.networks.gkcl.backbones import MLP, RandomBackbone, SlimResNet
from harmonia.networks.gkcl.class_gaussians import GaussiansConfig
from harmonia.networks.gkcl.head import kernel_of
from harmonia.networks.gkcl.memory import Coreset, SupportMemory
from harmonia.networks.gkcl.vae import VAEConfig
from harmonia.networks.gkcl.variational import FixedBases, VariationalBases
from harmonia.parts.gram import Linear, squared_distances
from harmonia.parts.training import device_of

MemoryName = Literal["coreset", "generator", "gaussians", "statistics"]
Adapt = Literal["auto", "always", "first", "never"]

LEAST_RATE = 5e-5
"""Learning rate below which no decay takes a task (the official code's), so that late tasks still learn."""


def rate_of_task(learning_rate: float, decay: float, task: int) -> float:
    """Learning rate of a task, counted from 0: ``max(learning_rate decay^task, 5e-5)``, and never above the first.

    Example:
        >>> rate_of_task(1e-3, 0.8, 1), rate_of_task(1e-3, 0.8, 50), rate_of_task(1e-5, 0.8, 50)
        (0.0008, 5e-05, 1e-05)
    """
    return max(learning_rate * decay**task, min(learning_rate, LEAST_RATE))


@dataclass(frozen=True)
class Recipe:
    """Parameters of `KernelContinualClassifier`, which documents them.

    Raises:
        InputError: parameters that are no such choice, out of range, or do not go together.
    """

    backbone: Any
    kernel: Any
    memory: Any
    n_per_class: Any
    n_test_per_class: Any
    generator: Any
    contrastive: Any
    task_aware: Any
    adapt: Any
    n_bases: Any
    penalty: Any
    scale: Any
    kl_weight: Any
    epochs: Any
    batch_size: Any
    learning_rate: Any
    decay: Any
    device: Any
    random_state: Any

    def __post_init__(self) -> None:
        for name, value, choices in (("memory", self.memory, MemoryName), ("adapt", self.adapt, Adapt)):
            if value not in get_args(choices):
                raise InputError(f"no such '{name}'", repr(value), f"Use one of: {', '.join(get_args(choices))}.")
        device_of(self.device)  # refuses what there is not
        if not self.batch_size >= 2:
            mend = "Give at least 2: there is no variance in a batch of one."
            raise InputError("'batch_size' is too small", self.batch_size, mend)
        for name in ("n_per_class", "n_test_per_class", "epochs"):
            if not getattr(self, name) >= 1:
                raise InputError(f"'{name}' is positive", getattr(self, name), "Give at least 1.")
        for name in ("scale", "learning_rate", "decay"):
            if not getattr(self, name) > 0:
                raise InputError(f"'{name}' is positive", getattr(self, name), "Change it.")
        for name in ("penalty", "contrastive", "kl_weight"):
            if not getattr(self, name) >= 0:
                raise InputError(f"'{name}' is not negative", getattr(self, name), "Change it.")
        if not self.n_bases >= 2:
            raise InputError("there are too few random features", self.n_bases, "Give n_bases >= 2.")
        inferred = self.kernel == "vrf" or isinstance(self.kernel, VariationalBases)
        linear = isinstance(kernel_of(self.kernel), Linear) and not inferred
        if self.memory == "statistics":
            if self.adapt == "always":
                mend = "Use 'first' or 'never'."
                raise InputError("sums hold for features that stay as they are", "adapt='always'", mend)
            if not linear:
                mend = "Use 'linear' or 'rff'; with n_bases random features a Gaussian kernel is near."
                raise InputError("sums of features are enough for linear kernels only", self.kernel, mend)
        if isinstance(self.backbone, str):
            if self.backbone != "encoder":
                mend = "Pass a module, 'encoder' or None."
                raise InputError("there is no such backbone", repr(self.backbone), mend)
            if self.memory != "generator" or not self.task_aware:
                got = f"memory={self.memory!r}, task_aware={self.task_aware}"
                mend = "Use memory='generator' and task_aware=True."
                raise InputError("an encoder's features need the generator, and the task", got, mend)
        wanted = {"generator": VAEConfig, "gaussians": GaussiansConfig}.get(self.memory)
        if self.generator is not None and not (wanted and isinstance(self.generator, wanted)):
            mend = f"Pass a {wanted.__name__}." if wanted else "Leave it out; only generators have one."
            raise InputError("the generator's configuration does not fit the memory", self.generator, mend)

    @property
    def torch_device(self) -> torch.device:
        """Where networks are."""
        return device_of(self.device)

    @property
    def n_support(self) -> int:
        """Rows a class that predictions rest on: all that are stored, or as many as are to be made up."""
        count: int = self.n_per_class if self.memory == "coreset" else self.n_test_per_class
        return count

    @property
    def frozen(self) -> bool:
        """Whether the backbone never learns."""
        return self.adapt == "never" or (self.adapt == "auto" and self.memory == "statistics")

    def learns(self, first: bool) -> bool:
        """Whether the backbone learns with a task."""
        return not self.frozen and (first or self.adapt != "first")

    def make_backbone(self, x: Tensor, generator: torch.Generator) -> nn.Module | None:
        """The network for rows like these; None: the generator's encoder.

        Of networks that are trained the weights come from torch's default generator.
        """
        if isinstance(self.backbone, str):
            return None
        if self.backbone is not None:
            return copy.deepcopy(self.backbone)
        if self.frozen:
            some = x[:500].flatten(1).double()
            distances = squared_distances(some).sqrt()
            lengthscale = float(distances[distances > 0].median()) if (distances > 0).any() else 1.0
            return RandomBackbone(some.shape[1], 2 * -(-self.n_bases // 2), lengthscale, generator)
        return SlimResNet(x.shape[1]) if x.ndim == 4 else MLP(x[0].numel())

    def make_memory(self, shape: tuple[int, ...]) -> SupportMemory | None:
        """The memory for rows of a shape; None where sums are kept."""
        if self.memory == "statistics":
            return None
        if self.memory == "coreset":
            return Coreset(self.n_per_class)
        config = self.generator or (VAEConfig() if self.memory == "generator" else GaussiansConfig())
        memory: SupportMemory = config.build(tuple(shape), self.contrastive)
        return memory

    def make_bases(self, width: int, generator: torch.Generator) -> FixedBases | VariationalBases | None:
        """Random Fourier features between backbone and kernel, if the kernel has any."""
        if isinstance(self.kernel, VariationalBases):
            return copy.deepcopy(self.kernel)
        if self.kernel == "rff":
            return FixedBases(width, self.n_bases, generator)
        return VariationalBases(width, self.n_bases, generator) if self.kernel == "vrf" else None
