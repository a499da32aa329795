"""Consecutive layers collapse: weights that meet features linearly are multiplied out.

``W2 (Psi Phi(x)) = (W2 Psi) Phi(x)`` removes a linear layer behind a scalable one, and ``max(G (Psi Phi(x)), c)`` is
``max((G Psi) Phi(x), c)``, which removes Psi between two of them. What is left is one trainable matrix behind fixed
features: a linear model, whose best weights for squared loss have a closed form.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.kernels.snnk.feature_maps import ReluFeatures
from harmonia.kernels.snnk.layers import SNNKLinear
from harmonia.kernels.snnk.normalising import Normalize, scaled


@dataclass(frozen=True, eq=False)
class _Affine:
    weight: Tensor
    bias: Tensor | None

    def then(self, weight: Tensor, bias: Tensor | None) -> _Affine:
        if self.bias is not None:
            pushed = weight @ self.bias
            bias = pushed if bias is None else bias + pushed
        return _Affine(weight @ self.weight, bias)

    def module(self) -> nn.Linear:
        layer = nn.Linear(self.weight.shape[1], len(self.weight), self.bias is not None)
        layer.weight = nn.Parameter(self.weight.clone())
        if self.bias is not None:
            layer.bias = nn.Parameter(self.bias.clone())
        return layer


@torch.no_grad()
def bundle(model: nn.Module) -> nn.Sequential:
    """An equivalent module with fewer layers: fixed features, and what remains linear in one matrix.

    Linear layers merge with what is before and behind them; Psi between two ReLU-SNNK layers without normalisation
    merges with the later one's directions and is then no longer trainable. Anything else stays as it is; dropout, which
    does nothing in a finished model, is left out.

    Raises:
        InputError: a module that is no Sequential.

    Example:
        >>> deep = nn.Sequential(SNNKLinear(8, 32, 64), SNNKLinear(32, 16, 48), nn.Linear(16, 3))
        >>> small = bundle(deep)
        >>> x = torch.randn(5, 8)
        >>> bool(torch.allclose(small(x), deep(x), atol=1e-5)), [type(layer).__name__ for layer in small]
        (True, ['ReluFeatures', 'ReluFeatures', 'Linear'])
    """
    if not isinstance(model, nn.Sequential):
        raise InputError("layers are bundled one after the other", type(model).__name__, "Pass an nn.Sequential.")
    found: list[nn.Module] = []
    pending: _Affine | None = None
    for layer in model:
        if isinstance(layer, nn.Linear):
            pending = _Affine(layer.weight, layer.bias) if pending is None else pending.then(layer.weight, layer.bias)
        elif isinstance(layer, SNNKLinear):
            features = layer.features
            if pending is not None and isinstance(features, ReluFeatures) and layer.normalize is None:
                features = features.after(pending.weight, pending.bias)
                pending = None
            if pending is not None:
                found.append(pending.module())
            found.append(features if layer.normalize is None else Scaled(layer.normalize, features))
            weight = layer.weight if layer.gain is None else layer.weight * layer.gain
            pending = _Affine(weight, layer.bias)
        elif not isinstance(layer, (nn.Identity, nn.Dropout)):
            if pending is not None:
                found.append(pending.module())
                pending = None
            found.append(layer)
    if pending is not None:
        found.append(pending.module())
    return nn.Sequential(*found)


class Scaled(nn.Module):
    """Features of normalised rows.

    Arguments:
        normalize: ``row`` or ``dim``, see `SNNKLinear`.
        features: Of the normalised rows.
    """

    def __init__(self, normalize: Normalize, features: nn.Module) -> None:
        super().__init__()
        self.normalize, self.features = normalize, features

    def forward(self, x: Tensor) -> Tensor:
        return self.features(scaled(x, self.normalize))
