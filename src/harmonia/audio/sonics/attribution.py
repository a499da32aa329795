"""Where a network's verdict comes from: by token, exactly; by point of the spectrogram, along a path.

The verdict is linear in the tokens after the last block: ``logit = b + sum_i w . x_i / n``. Token i adds
``w . x_i / n``, a moment's or a band's share of the logit, though attention has let it see all others before.

Integrated gradients (arXiv 1703.01365) go back to the spectrogram: ``x_j int_0^1 d logit / d x_j (a x) da`` adds up
over all points j to the logit of x minus that of a spectrogram that is its mean everywhere.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.audio.sonics.network import SpecTTTra


class TokenEvidence(NamedTuple):
    """Shares of tokens in the logit of a window; with `rest` they add up to it.

    Attributes:
        time: Of each temporal token.
        band: Of each spectral token.
        rest: The bias.
    """

    time: Float[Tensor, "batch temporal"]
    band: Float[Tensor, "batch spectral"]
    rest: float


@torch.no_grad()
def token_evidence(model: SpecTTTra, spectrograms: Float[Tensor, "batch bands frames"]) -> TokenEvidence:
    """What every token adds to the logit.

    Example:
        >>> from harmonia.audio.sonics.network import SpecTTTraConfig
        >>> model = SpecTTTra(SpecTTTraConfig.tiny()).eval()
        >>> spectrogram = torch.randn(1, 128, 32)
        >>> evidence = token_evidence(model, spectrogram)
        >>> total = evidence.time.sum() + evidence.band.sum() + evidence.rest
        >>> bool((total - model(spectrogram)).abs() < 1e-5)
        True
    """
    shares = (model.tokens(spectrograms) @ model.classifier.weight[0]) / model.config.tokens
    time, band = shares.split([model.config.temporal_tokens, model.config.spectral_tokens], dim=1)
    return TokenEvidence(time, band, float(model.classifier.bias))


def integrated_gradients(
    model: SpecTTTra, spectrogram: Float[Tensor, "bands frames"], steps: int = 16
) -> Float[Tensor, "bands frames"]:
    """What every point of a standardised spectrogram adds to the logit, by the midpoint rule.

    Arguments:
        model: The network, in evaluation mode.
        spectrogram: What it sees of a window.
        steps: Points on the path; the sum is exact in the limit.
    """
    total = torch.zeros_like(spectrogram)
    for step in range(steps):
        point = ((step + 0.5) / steps * spectrogram)[None].requires_grad_()
        (gradient,) = torch.autograd.grad(model(point).sum(), point)
        total += gradient[0]
    return spectrogram * total / steps
