"""The constant-Q transform beside its definition, written out as a sum over samples, and beside its own invariances."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.parts.constant_q import ConstantQ

SMALL = ConstantQ(8000, 100, fmin=110.0, bins=30, bins_per_octave=12, tolerance=1e-9)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_definition(constant_q, audio):
    """A sum over samples for every bin and frame."""
    frames = 1 + len(audio) // constant_q.hop_length
    longest = int(constant_q.lengths[0])
    padded = torch.nn.functional.pad(audio, (longest, longest + constant_q.hop_length))
    spectrum = torch.zeros(constant_q.bins, frames, dtype=torch.complex128)
    for k in range(constant_q.bins):
        length, hz = int(constant_q.lengths[k]), float(constant_q.frequencies[k])
        n = torch.arange(length, dtype=torch.float64)
        window = 0.5 - 0.5 * torch.cos(2 * math.pi * n / length)
        n = n - math.ceil(length / 2)
        atom = window / window.sum() * torch.exp(2j * math.pi * hz / constant_q.sample_rate * n)
        for t in range(frames):
            start = longest + t * constant_q.hop_length - math.ceil(length / 2)
            spectrum[k, t] = math.sqrt(length) * (padded[start : start + length] * atom.conj()).sum()
    return spectrum


@pytest.mark.parametrize("samples", [1, 99, 100, 2345])
def test_it_is_the_sum_it_stands_for(samples):
    audio = noise(samples)
    expected = by_definition(SMALL, audio)
    found = SMALL(audio)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-10 * expected.abs().max()


def test_bins_near_half_the_sample_rate_wrap_around():
    constant_q = ConstantQ(8000, 40, fmin=2000.0, bins=12, bins_per_octave=12, tolerance=1e-9)
    audio = noise(500)
    expected = by_definition(constant_q, audio)
    assert (constant_q(audio) - expected).abs().max() <= 1e-10 * expected.abs().max()


def test_the_tolerance_bounds_what_is_left_out():
    audio = noise(4000)
    exact = SMALL(audio)
    errors = []
    for tolerance in (1e-3, 1e-4, 1e-5):
        rough = ConstantQ(8000, 100, fmin=110.0, bins=30, tolerance=tolerance)(audio)
        errors.append(float((rough - exact).abs().max() / exact.abs().max()))
        assert errors[-1] <= 10 * tolerance
    assert errors == sorted(errors, reverse=True)


def test_a_tone_at_the_frequency_of_a_bin_has_half_its_amplitude_times_the_root_of_the_window():
    time = torch.arange(24000, dtype=torch.float64) / 8000
    for k in (0, 12, 29):
        spectrum = SMALL(0.7 * torch.cos(2 * math.pi * float(SMALL.frequencies[k]) * time))
        middle = spectrum[k, 100:140].abs()
        expected = 0.35 * math.sqrt(float(SMALL.lengths[k]))
        assert (middle / expected - 1).abs().max() < 1e-4


def test_long_signals_are_cut_into_blocks_without_a_trace():
    constant_q = ConstantQ(8000, 10, fmin=440.0, bins=12)
    audio = noise(25_000)  # 2,501 frames, blocks of 1,024 and more
    whole = constant_q(audio)
    for first in (0, 1000, 2000):
        margin = int(constant_q.lengths[0]) // 10 + 1
        start, stop = max(0, first - margin), min(2500, first + 200 + margin)
        part = constant_q(audio[10 * start : 10 * stop])
        inside = part[:, first - start : first - start + 200]
        assert (inside - whole[:, first : first + 200]).abs().max() <= 1e-4 * whole.abs().max()


def test_a_batch_is_its_members():
    audio = noise(2, 3, 1500)
    together = SMALL(audio)
    assert together.shape == (2, 3, 30, 16)
    for i in range(2):
        for j in range(3):
            assert torch.allclose(together[i, j], SMALL(audio[i, j]), atol=1e-12)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 40), st.floats(-3, 3), st.floats(-3, 3))
def test_it_is_linear_and_moves_with_the_signal(frames, a, b):
    x, y = noise(4000, seed=1), noise(4000, seed=2)
    assert torch.allclose(SMALL(a * x + b * y), a * SMALL(x) + b * SMALL(y), atol=1e-9)
    later = torch.nn.functional.pad(x, (100 * frames, 0))
    assert torch.allclose(SMALL(later)[:, frames:], SMALL(x), atol=1e-10)


def test_its_gradient_is_that_of_the_sum():
    constant_q = ConstantQ(8000, 50, fmin=880.0, bins=6)
    audio = noise(120).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: constant_q(x).abs().square(), (audio,))


def test_a_bank_made_in_inference_mode_serves_training():
    constant_q = ConstantQ(8000, 50, fmin=881.0, bins=6)
    with torch.inference_mode():
        constant_q(noise(300))
    audio = noise(300).requires_grad_()
    constant_q(audio).abs().sum().backward()
    assert audio.grad.isfinite().all()


def test_single_precision_is_close_to_double():
    audio = noise(4000)
    exact, single = SMALL(audio), SMALL(audio.float())
    assert single.dtype == torch.complex64
    assert (single - exact).abs().max() <= 1e-6 * exact.abs().max()


@pytest.mark.parametrize("pad_mode", ["constant", "reflect", "replicate"])
def test_the_padding_is_what_one_would_put_there_by_hand(pad_mode):
    constant_q = ConstantQ(8000, 50, fmin=440.0, bins=6, pad_mode=pad_mode)
    plain = ConstantQ(8000, 50, fmin=440.0, bins=6)
    audio, margin = noise(3000), 1000
    by_hand = torch.nn.functional.pad(audio[None], (margin, margin), mode=pad_mode)[0]
    assert torch.allclose(constant_q(audio), plain(by_hand)[:, 20:81], atol=1e-4)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="half the sample rate"):
        ConstantQ(8000, 100, fmin=1000.0, bins=36)
    with pytest.raises(InputError, match="positive sizes"):
        ConstantQ(8000, 0)
    with pytest.raises(InputError, match="too short"):
        ConstantQ(8000, 100, pad_mode="reflect")(noise(50))
    with pytest.raises(InputError, match="too short"):
        SMALL(noise(0))
