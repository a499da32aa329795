"""Infinitely wide networks: layers in sequence and in parallel."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import add, mul
from typing import ClassVar, Literal, NamedTuple, overload

from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.parts.infwidth.evaluation import diagonal_of, kernel_of
from harmonia.parts.infwidth.layers import Layer, finer
from harmonia.parts.infwidth.state import KernelState, Spatial

Name = Literal["nngp", "ntk"]


class Kernels(NamedTuple):
    """The two kernels of an infinitely wide network, or their diagonals."""

    nngp: Tensor
    ntk: Tensor


class Sequential(Layer):
    """Layers one after another: an infinitely wide network.

    Its kernels are those of Jacot et al. 2018 (arXiv:1806.07572): `nngp`, the covariance of the Gaussian process that
    the network is at initialisation, and `ntk`, the kernel of its training by gradient descent.

    Arguments:
        layers: The layers; sequences nest.

    Example:
        >>> import torch
        >>> from harmonia.parts.infwidth import Dense, ReLU
        >>> net = Sequential(Dense(2**0.5, 0.1), ReLU(), Dense(1.0))
        >>> nngp, ntk = net.kernel(torch.eye(3), torch.ones(1, 3))
        >>> ntk
        tensor([[0.6228],
                [0.6228],
                [0.6228]])
    """

    def __init__(self, *layers: Layer) -> None:
        for layer in layers:
            if not isinstance(layer, Layer):
                raise InputError(
                    "not a layer of an infinite network", layer, "Pass e.g. Dense(), ReLU() (with brackets)."
                )
        self.layers = layers

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.layers))})"

    @property
    def fresh(self) -> bool:  # type: ignore[override]
        """Whether new weights follow the last activation, so that the output is centred given the input."""
        return next((layer.fresh for layer in reversed(self.layers) if layer.fresh is not None), False)

    @property
    def homogeneous(self) -> bool:  # type: ignore[override]
        """Whether all layers are."""
        return all(layer.homogeneous for layer in self.layers)

    def propagate(self, state: KernelState) -> KernelState:
        for layer in self.layers:
            state = layer(state)
        return state

    __call__ = propagate

    def requires(self, covariance: Spatial, variance: Spatial) -> tuple[Spatial, Spatial]:
        for layer in reversed(self.layers):
            covariance, variance = layer.requires(covariance, variance)
        return covariance, variance

    @overload
    def kernel(self, x1: Tensor, x2: Tensor | None = ..., get: tuple[Name, Name] = ...) -> Kernels: ...

    @overload
    def kernel(self, x1: Tensor, x2: Tensor | None, get: Name) -> Tensor: ...

    @overload
    def kernel(self, x1: Tensor, x2: Tensor | None, get: Name | tuple[Name, Name]) -> Kernels | Tensor: ...

    @overload
    def kernel(self, x1: Tensor, x2: Tensor | None = ..., *, get: Name) -> Tensor: ...

    def kernel(
        self,
        x1: Float[Tensor, "n1 channels *positions"],
        x2: Float[Tensor, "n2 channels *others"] | None = None,
        get: Name | tuple[Name, Name] = ("nngp", "ntk"),
    ) -> Kernels | Tensor:
        """The kernels between two sets of inputs, differentiable in inputs and hyperparameters.

        Arguments:
            x1: Inputs, channels on the second axis: ``(n, d)``, ``(n, C, T)``, ``(n, C, H, W)``.
            x2: Other inputs; None for the kernels of `x1` with itself.
            get: ``"nngp"``, ``"ntk"`` or both.

        Returns:
            One tensor ``(n1, n2)`` for one name, else `Kernels`. Positions that no layer has pooled or flattened stay
            as further axes.

        Raises:
            InputError: inputs that are not floating point, not finite, or do not fit each other or the network.
        """
        return _pick(kernel_of(self, x1, x2, ntk="ntk" in get), get)

    @overload
    def diagonal(self, x: Tensor, get: tuple[Name, Name] = ...) -> Kernels: ...

    @overload
    def diagonal(self, x: Tensor, get: Name) -> Tensor: ...

    @overload
    def diagonal(self, x: Tensor, get: Name | tuple[Name, Name]) -> Kernels | Tensor: ...

    def diagonal(
        self, x: Float[Tensor, "n channels *positions"], get: Name | tuple[Name, Name] = ("nngp", "ntk")
    ) -> Kernels | Tensor:
        """The diagonals of ``kernel(x)``, in linear time.

        Example:
            >>> import torch
            >>> from harmonia.parts.infwidth import Dense, ReLU
            >>> Sequential(Dense(), ReLU(), Dense()).diagonal(torch.eye(2), get="ntk")
            tensor([0.5000, 0.5000])
        """
        return _pick(diagonal_of(self, x, ntk="ntk" in get), get)

    def to_torch(self, width: int, input_shape: Sequence[int], outputs: int = 1, seed: int = 0) -> nn.Module:
        """A finite network of this architecture, freshly initialised: see `harmonia.parts.infwidth.finite.to_torch`."""
        from harmonia.parts.infwidth.finite import to_torch

        return to_torch(self, width, input_shape, outputs, seed)


def _pick(kernels: tuple[Tensor, Tensor | None], get: Name | tuple[Name, Name]) -> Kernels | Tensor:
    nngp, ntk = kernels
    found = nngp if get == "nngp" else ntk
    if get not in ("nngp", "ntk", ("nngp", "ntk")) or found is None:
        raise InputError("unknown kernel", get, 'Use "nngp", "ntk" or ("nngp", "ntk").')
    return found if isinstance(get, str) else Kernels(nngp, found)


class FanIn(Layer):
    """Base of the layers that feed one input to several branches and combine their outputs.

    Given the input, outputs of branches that end in new weights are independent and centred, so covariances between
    branches vanish; at most one branch may do without.
    """

    def __init__(self, *branches: Layer) -> None:
        if len(branches) < 2:
            raise InputError(f"{type(self).__name__} needs at least two branches", len(branches), "Pass more branches.")
        if sum(not branch.fresh for branch in branches) > 1:
            raise InputError(
                f"two branches of {type(self).__name__} share features, so their outputs are correlated",
                [branch for branch in branches if not branch.fresh],
                "Let all branches but one end in an affine layer such as Dense().",
            )
        self.branches = branches

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.branches))})"

    @property
    def fresh(self) -> bool:  # type: ignore[override]
        return all(branch.fresh for branch in self.branches)

    def requires(self, covariance: Spatial, variance: Spatial) -> tuple[Spatial, Spatial]:
        needs = [branch.requires(covariance, variance) for branch in self.branches]
        return finer(*(need[0] for need in needs)), finer(*(need[1] for need in needs))

    @abstractmethod
    def combine(self, states: Sequence[KernelState]) -> KernelState:
        """Kernels of the output from those of the branches."""

    def propagate(self, state: KernelState) -> KernelState:
        states = [branch(state) for branch in self.branches]
        shapes = {branch.shape for branch in states}
        if len(shapes) > 1:
            raise InputError(
                f"branches of {type(self).__name__} differ in shape", sorted(shapes), "Match strides and pads."
            )
        after = self.combine(states)
        if state.left is None:
            return after
        left = self.combine([branch.left for branch in states if branch.left])
        right = left if state.x1_is_x2 else self.combine([branch.right for branch in states if branch.right])
        return replace(after, left=left, right=right)

    __call__ = propagate


class FanInSum(FanIn):
    """The sum of branches: ``K = sum_b K_b``, ``T = sum_b T_b``.

    Example:
        >>> import torch
        >>> from harmonia.parts.infwidth import Dense
        >>> Sequential(FanInSum(Dense(2.0), Dense(1.0))).kernel(torch.ones(1, 1), get="nngp")
        tensor([[5.]])
    """

    @property
    def homogeneous(self) -> bool:  # type: ignore[override]
        """Whether all branches are."""
        return all(branch.homogeneous for branch in self.branches)

    def combine(self, states: Sequence[KernelState]) -> KernelState:
        nngp, ntk = _columns(states)
        return states[0].with_kernels(
            reduce(add, nngp),
            None if ntk is None else reduce(add, ntk),
            is_gaussian=all(state.is_gaussian for state in states),
        )


class FanInConcat(FanIn):
    """Concatenation of channels: the mean of the branches' kernels, weighted by their share of the channels.

    Arguments:
        branches: Two or more layers.
        shares: The branches' shares of the channels, by default equal.
    """

    def __init__(self, *branches: Layer, shares: Sequence[float] | None = None) -> None:
        super().__init__(*branches)
        shares = [1.0] * len(branches) if shares is None else list(shares)
        if len(shares) != len(branches) or min(shares) < 0 or sum(shares) <= 0:
            raise InputError("shares of FanInConcat must be one number >= 0 per branch", shares, "Pass e.g. [1, 3].")
        self.shares = [share / sum(shares) for share in shares]

    def __repr__(self) -> str:
        return f"FanInConcat({', '.join(map(repr, self.branches))}, shares={self.shares})"

    def combine(self, states: Sequence[KernelState]) -> KernelState:
        nngp, ntk = _columns(states)
        widths = [state.fan_in for state in states]
        return states[0].with_kernels(
            reduce(add, [k * share for k, share in zip(nngp, self.shares)]),
            None if ntk is None else reduce(add, [t * share for t, share in zip(ntk, self.shares)]),
            is_gaussian=False,
            fan_in=None if None in widths else sum(width for width in widths if width),
        )


class FanInProd(FanIn):
    """The elementwise product of branches: ``K = prod_b K_b``, ``T = sum_b T_b prod_{c != b} K_c``."""

    def combine(self, states: Sequence[KernelState]) -> KernelState:
        nngp, ntk = _columns(states)
        tangent = None
        if ntk is not None:
            others = [reduce(mul, nngp[:b] + nngp[b + 1 :]) for b in range(len(nngp))]
            tangent = reduce(add, [t * other for t, other in zip(ntk, others)])
        return states[0].with_kernels(reduce(mul, nngp), tangent, is_gaussian=False)


def _columns(states: Sequence[KernelState]) -> tuple[list[Tensor], list[Tensor] | None]:
    ntk = [state.ntk for state in states if state.ntk is not None]
    return [state.nngp for state in states], ntk if len(ntk) == len(states) else None


class Scaled(Layer):
    """Multiplication of all features by a constant: both kernels times ``scale^2``."""

    homogeneous: ClassVar[bool] = True

    def __init__(self, scale: float | Tensor) -> None:
        self.scale = scale

    def propagate(self, state: KernelState) -> KernelState:
        return state.mapped(lambda covariance: covariance * self.scale**2)


class Residual(FanInSum):
    """``layers(x) + skip x``: a residual block.

    Arguments:
        layers: The block; it ends in an affine layer.
        skip: Factor of the skip connection.

    Example:
        >>> import torch
        >>> from harmonia.parts.infwidth import Dense, ReLU
        >>> Sequential(Dense(), Residual(ReLU(), Dense(2**0.5), skip=0.5)).kernel(torch.ones(1, 1), get="nngp")
        tensor([[1.2500]])
    """

    def __init__(self, *layers: Layer, skip: float | Tensor = 1.0) -> None:
        super().__init__(Sequential(*layers), Scaled(skip))
        self.layers, self.skip = layers, skip

    def __repr__(self) -> str:
        return f"Residual({', '.join(map(repr, self.layers))}, skip={self.skip})"
