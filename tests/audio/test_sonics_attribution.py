"""Attribution: shares of tokens add up exactly, gradients along a path in the limit, both by other routes."""

from __future__ import annotations

import pytest
import torch

from harmonia.audio.sonics import SpecTTTra, SpecTTTraConfig, integrated_gradients, token_evidence

CONFIG = SpecTTTraConfig.tiny()


@pytest.fixture(scope="module")
def model() -> SpecTTTra:
    torch.manual_seed(0)
    return SpecTTTra(CONFIG).eval()


def spectrogram(batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, *CONFIG.input_shape, generator=torch.Generator().manual_seed(1))


def test_shares_of_tokens_add_up_to_the_logit(model):
    x = spectrogram(3)
    evidence = token_evidence(model, x)
    assert evidence.time.shape == (3, CONFIG.temporal_tokens)
    assert evidence.band.shape == (3, CONFIG.spectral_tokens)
    torch.testing.assert_close(evidence.time.sum(1) + evidence.band.sum(1) + evidence.rest, model(x))


def test_integrated_gradients_add_up_to_the_change_of_the_logit(model):
    x = spectrogram()[0]
    with torch.no_grad():
        change = float(model(x[None]) - model(torch.zeros_like(x)[None]))
    errors = [abs(float(integrated_gradients(model, x, steps).sum()) - change) for steps in (4, 64)]
    assert errors[1] < 1e-3 * max(1, abs(change))
    assert errors[1] < errors[0]


def test_a_model_that_sees_one_band_has_evidence_there_only():
    class Tilted(SpecTTTra):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, 7].sum(-1).square()

    x = spectrogram()[0]
    evidence = integrated_gradients(Tilted(CONFIG), x, steps=2)  # the midpoint rule is exact for a square
    assert evidence[:7].abs().max() == 0
    torch.testing.assert_close(evidence[7], x[7] * x[7].sum(), rtol=1e-4, atol=1e-5)
