"""A layer whose inputs and weights meet in one dot product of features."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.kernels.snnk.feature_maps import (
    FeatureMap,
    ReluFeatures,
    Split,
    SplitName,
    UniversalFeatures,
    dense_directions,
    warn_of_noise,
)
from harmonia.kernels.snnk.fourier_series import FourierSeries, Function, as_function
from harmonia.kernels.snnk.normalising import Normalize, check_normalize, scaled, scaled_weights
from harmonia.kernels.snnk.solving import solve
from harmonia.parts.linear import linear

Kernel = str | Function | FourierSeries


_SEEN = 16
"""Rows of inputs and of weights of which noise is predicted."""


def default_features(inputs: int) -> int:
    """``max(16, inputs / 4)``."""
    return max(16, inputs // 4)


class SNNKLinear(nn.Module):
    """``y = Psi Phi(x) + bias``: a feed-forward layer with `n_features` trainable numbers an output, not `in_features`.

    Phi is drawn once, never trained, and saved with the module. Psi starts as the features of random weights
    (`from_linear`: of given ones) and is then free; `solve` fits it in closed form.

    Arguments:
        in_features: Width of the input.
        out_features: Width of the output.
        n_features: m; ``max(16, in_features // 4)`` unless given; of universal features an even number.
        kernel: ``"relu"``: the arc-cosine kernel; a name in `FUNCTIONS` or a function: universal random features of it.
        orthogonal: Directions are orthogonal in blocks, which lowers the variance.
        split: Of universal features.
        normalize: ``"row"``: rows of inputs and weights have length 1, biases are divided by the lengths of their rows
            of weights, and one learned number scales the output; ``"dim"``: both are divided by
            ``in_features ** 0.25``; None; ``"auto"``: ``"row"`` for universal features, whose noise grows exponentially
            with these lengths, None for ReLU features.
        bias: Whether the features see a constant input and the output has an offset.
        radius: Largest ``|w . x + b|`` of a function that is no sine or cosine.
        threshold: Of ``"relu"``.
        seed: Of directions and weights.

    Raises:
        InputError: sizes that are no whole numbers of at least 1, an odd number of universal features, or an unknown
            kernel, split or normalisation.

    Warns:
        UserWarning: universal features without ``"row"`` have more noise than size at inputs of variance 1.

    Example:
        >>> layer = SNNKLinear(768, 3072, 128)
        >>> layer(torch.randn(2, 5, 768)).shape, sum(p.numel() for p in layer.parameters())
        (torch.Size([2, 5, 3072]), 396288)
    """

    features: FeatureMap
    bias: nn.Parameter | None
    gain: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        n_features: int | None = None,
        kernel: Kernel = "relu",
        *,
        orthogonal: bool = True,
        split: SplitName = "symmetric",
        normalize: Normalize | Literal["auto"] = "auto",
        bias: bool = True,
        radius: float = 1.0,
        threshold: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        universal = not (isinstance(kernel, str) and kernel == "relu")
        m = _checked(in_features, out_features, n_features, universal)
        normalize = _chosen(normalize, universal)
        dtype = torch.get_default_dtype()
        features: FeatureMap
        if not universal:
            directions = dense_directions(in_features, m, orthogonal, generator, dtype)
            offsets = torch.randn(m, generator=generator) if bias else None
            features = ReluFeatures(directions, offsets, threshold)
        else:
            features = UniversalFeatures.draw(
                FourierSeries.of(kernel, radius, product=radius, features=m),
                in_features,
                m,
                generator=generator,
                orthogonal=orthogonal,
                split=Split.named(split),
                product=radius,
                dtype=dtype,
            )
        bound = in_features**-0.5
        weight = torch.empty(out_features, in_features).uniform_(-bound, bound, generator=generator)
        start = torch.empty(out_features).uniform_(-bound, bound, generator=generator) if bias else None
        self._assemble(features, weight, start, bias, normalize)
        if normalize != "row":
            self._warn(torch.randn(_SEEN, in_features, generator=generator), weight)

    def _assemble(
        self, features: FeatureMap, weight: Tensor, start: Tensor | None, bias: bool, normalize: Normalize
    ) -> None:
        check_normalize(normalize)
        if weight.shape[1] != features.projection.shape[1]:
            got = f"weights {tuple(weight.shape)}, directions {tuple(features.projection.shape)}"
            raise InputError("rows of weights are as long as directions of features", got, "Pass rows of that length.")
        self.in_features, self.out_features = weight.shape[1], len(weight)
        self.normalize = normalize
        self.features = features
        self.weight = nn.Parameter(features.of_weights(*scaled_weights(weight, start, normalize)))
        self.bias = nn.Parameter(torch.zeros_like(self.weight[:, 0])) if bias else None
        self.gain = nn.Parameter(torch.ones_like(self.weight[0, 0])) if normalize == "row" else None

    @classmethod
    def of(
        cls,
        features: FeatureMap,
        weight: Float[Tensor, "o inputs"],
        start: Float[Tensor, " o"] | None = None,
        *,
        bias: bool = True,
        normalize: Normalize = None,
    ) -> SNNKLinear:
        """The layer of given features whose Psi starts at those of weight rows and their biases."""
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._assemble(features, weight, start, bias, normalize)
        return layer

    @classmethod
    def from_linear(
        cls,
        layer: nn.Linear,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        n_features: int | None = None,
        *,
        kernel: Literal["relu", "same"] = "relu",
        sample: Float[Tensor, "*batch inputs"] | None = None,
        targets: Float[Tensor, "*rows outputs"] | None = None,
        orthogonal: bool = True,
        normalize: Normalize | Literal["auto"] = "auto",
        seed: int = 0,
    ) -> SNNKLinear:
        """In place of ``activation(layer(x))``, in the layer's precision; half precision is fitted in float32.

        Arguments:
            layer: The linear layer.
            activation: What follows it.
            n_features: m.
            kernel: ``"relu"``: the arc-cosine kernel of the pretrained weights (which is another function; fit it);
                ``"same"``: universal features that estimate the activation itself, of rows and weights as `normalize`
                leaves them: with ``"row"`` that of ``(w . x / |x| + b) / |w|``.
            sample: Inputs of the layer. Psi is then fitted in closed form to the layer's outputs of them, with
                `fit_error` the relative error of rows left out; universal features are adapted to them.
            targets: What the sample is to be answered; the layer's outputs unless given.
            orthogonal, normalize, seed: As of the class.

        Raises:
            InputError: an unknown activation or kernel, sizes as of the class, or a sample or targets of another shape.

        Warns:
            UserWarning: universal features have more noise than size; without a sample, at inputs of length 1.

        Example:
            >>> rows = torch.randn(2000, 16, generator=torch.Generator().manual_seed(0))
            >>> layer = SNNKLinear.from_linear(nn.Linear(16, 8), "gelu", 256, sample=rows)
            >>> layer.fit_error < 0.3
            True
        """
        f = as_function(activation)
        if kernel not in ("relu", "same"):
            raise InputError("no such kernel of a replaced layer", repr(kernel), "Use 'relu' or 'same'.")
        m = _checked(layer.in_features, layer.out_features, n_features, kernel == "same")
        normalize = _chosen(normalize, kernel == "same")
        kept = layer.weight.dtype
        dtype = torch.promote_types(kept, torch.float32)
        weight, start = layer.weight.detach().to(dtype), None if layer.bias is None else layer.bias.detach().to(dtype)
        rows = None if sample is None else _rows(sample.detach().to(dtype), layer.in_features)
        generator = torch.Generator().manual_seed(seed)
        features: FeatureMap
        if kernel == "relu":
            directions = dense_directions(layer.in_features, m, orthogonal, generator, dtype)
            features = ReluFeatures(directions, torch.randn(m, generator=generator, dtype=dtype))
        else:
            features = _adapted(f, weight, start, rows, m, orthogonal, normalize, generator)
        # Rounded before the fit, which is then that of the directions that are kept.
        made = cls.of(features.to(weight.device, kept).to(dtype), weight, start, normalize=normalize)
        if rows is None:
            made._warn(nn.functional.normalize(torch.randn(_SEEN, made.in_features, generator=generator)), weight)
        else:
            with torch.no_grad():
                made.solve(rows, f(nn.functional.linear(rows, weight, start)) if targets is None else targets)
        return made.to(kept)

    @property
    def fit_error(self) -> float:
        """Relative error of rows left out at the last `solve`: root mean square over that of the mean as a guess."""
        return self._fit_error

    _fit_error: float = math.nan

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """Apply to the last axis."""
        y = linear(self.phi(x), self.weight)
        if self.gain is not None:
            y = y * self.gain
        return y if self.bias is None else y + self.bias

    def phi(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch m"]:
        """Features of the inputs."""
        if x.shape[-1] != self.in_features:
            raise InputError("the layer takes rows of one length", tuple(x.shape), f"Pass (..., {self.in_features}).")
        return self.features(scaled(x, self.normalize))

    @torch.no_grad()
    def solve(
        self, x: Float[Tensor, "*batch inputs"], y: Float[Tensor, "*rows outputs"], penalty: float | None = None
    ) -> float:
        """Fit Psi and the offset to targets in closed form, by ridge regression; gives `fit_error`.

        Arguments:
            x: Inputs.
            y: What the layer should answer.
            penalty: Of the ridge; the one with the least leave-one-out error unless given.

        Raises:
            InputError: inputs and targets of other shapes, fewer than two rows, or values that are not finite.

        Warns:
            UserWarning: universal features without ``normalize="row"`` have more noise than size at such inputs.
        """
        rows, targets = _rows(x, self.in_features), _rows(y, self.out_features)
        if len(rows) != len(targets):
            got = f"{tuple(x.shape)} and {tuple(y.shape)}"
            raise InputError("every row of inputs has one of targets", got, "Pass as many targets as inputs.")
        if self.normalize != "row":  # the starting weights are not known any more: others of length 1
            self._warn(rows[:: max(1, len(rows) // _SEEN)], nn.functional.normalize(self.features.projection))
        found = solve(self.phi(rows), targets, penalty, intercept=self.bias is not None)
        self.weight.copy_(found.weights.T)
        if self.bias is not None:
            self.bias.copy_(found.constant)
        if self.gain is not None:
            self.gain.fill_(1.0)
        self._fit_error = found.relative_error
        return found.relative_error

    def _warn(self, rows: Tensor, weight: Tensor) -> None:
        """If universal features of such rows and weights are mostly noise."""
        if isinstance(self.features, UniversalFeatures):
            pairs = [scaled(part[:_SEEN].to(weight), self.normalize) for part in (rows, weight)]
            warn_of_noise(self.features.relative_error(*pairs))

    def extra_repr(self) -> str:
        options = f", normalize={self.normalize!r}" if self.normalize else ""
        return f"{self.in_features} -> {self.out_features}, bias={self.bias is not None}{options}"


def _adapted(
    f: Callable[[Tensor], Tensor],
    weight: Tensor,
    start: Tensor | None,
    rows: Tensor | None,
    m: int,
    orthogonal: bool,
    normalize: Normalize,
    generator: torch.Generator,
) -> UniversalFeatures:
    """Universal features of an activation for given weights, and for given inputs if there are any."""
    inputs = weight.shape[1]
    x = torch.randn(256, inputs, generator=generator) if rows is None else rows[:256].cpu().float()
    x = scaled(nn.functional.normalize(x) if rows is None else x, normalize)
    weight, start = scaled_weights(weight, start, normalize)
    w = weight[torch.randperm(len(weight), generator=generator)[:256]].cpu().float()
    offset = 0.0 if start is None else float(start.abs().max())
    radius = 1.2 * float((x @ w.T).abs().max()) + offset
    product = float(x.norm(dim=1).mean() * w.norm(dim=1).mean())
    series = FourierSeries.of(f, radius, product=product, features=m)
    return UniversalFeatures.draw(
        series, inputs, m, generator=generator, orthogonal=orthogonal, sample=(x, w), dtype=weight.dtype
    )


def _rows(x: Tensor, width: int) -> Tensor:
    if x.shape[-1] != width:
        raise InputError("rows have another length", tuple(x.shape), f"Pass (..., {width}).")
    return x.reshape(-1, width)


def _checked(inputs: Any, outputs: Any, features: Any, universal: bool) -> int:
    """How many features there are to be."""
    sizes = (inputs, outputs) if features is None else (inputs, outputs, features)
    if not all(isinstance(size, Integral) and int(size) >= 1 for size in sizes):
        got = f"{inputs!r} inputs, {outputs!r} outputs, {features!r} features"
        raise InputError("a layer has whole numbers of inputs, outputs and features", got, "Ask for at least one each.")
    if features is not None:
        return int(features)
    default = default_features(inputs)
    return default + default % 2 if universal else default


def _chosen(normalize: Any, universal: bool) -> Normalize:
    if normalize == "auto":
        return "row" if universal else None
    check_normalize(normalize)
    return normalize
