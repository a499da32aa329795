"""Orders, permutation-invariant loss, gains and stitching, against enumeration and other packages."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.parts.metrics import si_sdr
from harmonia.parts.separation import Stitcher, best_order, mixture_gains, pairwise_si_snr, pit_si_snr


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_the_best_order_and_its_margin_are_those_of_enumeration(count):
    score = noise(count, count, seed=count)
    order = best_order(score)
    sums = {each: sum(score[i, j] for i, j in enumerate(each)) for each in permutations(range(count))}
    ranked = sorted(sums.values(), reverse=True)
    assert sums[tuple(order.permutation.tolist())] == pytest.approx(ranked[0])
    assert order.margin == (pytest.approx((ranked[0] - ranked[1]) / 2) if count > 1 else float("inf"))


def test_bad_scores_are_refused():
    for score in (np.zeros((2, 3)), np.array([[np.nan]])):
        with pytest.raises(InputError, match="square"):
            best_order(score)


@pytest.mark.parametrize("sources", [1, 2, 3])
def test_the_loss_is_that_of_all_permutations_by_fast_bss_eval(sources):
    estimate, reference = noise(2, sources, 400), noise(2, sources, 400, seed=1)
    reference -= reference.mean(-1, keepdims=True)
    estimate += 0.5 * reference[:, ::-1]
    loss, order = pit_si_snr(torch.from_numpy(estimate), torch.from_numpy(reference))
    expected = []
    for batch in range(2):
        centred = estimate[batch] - estimate[batch].mean(-1, keepdims=True)
        sums = {
            each: np.mean([si_sdr(reference[batch, i], centred[j]) for i, j in enumerate(each)])
            for each in permutations(range(sources))
        }
        best = max(sums, key=lambda each: sums[each])
        assert tuple(order[batch].tolist()) == best
        expected.append(sums[best])
    assert float(loss) == pytest.approx(-np.mean(expected), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(gain=st.floats(0.1, 100), offset=st.floats(-1, 1), seed=st.integers(0, 99))
def test_si_snr_knows_neither_gain_nor_offset_nor_sign(gain, offset, seed):
    e, s = (torch.from_numpy(noise(1, 2, 300, seed=seed + i)) for i in (0, 100))
    plain = pairwise_si_snr(e, s)
    moved = pairwise_si_snr(-gain * e + offset, s)
    torch.testing.assert_close(10 ** (moved / 10), 10 ** (plain / 10), atol=1e-6, rtol=1e-3)


def test_the_loss_has_a_gradient_that_ignores_the_other_orders():
    reference = torch.from_numpy(noise(1, 2, 200))
    estimate = (reference.flip(1) + 0.3 * torch.from_numpy(noise(1, 2, 200, seed=3))).requires_grad_()
    loss, order = pit_si_snr(estimate, reference)
    (grad,) = torch.autograd.grad(loss, estimate)
    fixed = -torch.stack([pairwise_si_snr(estimate, reference)[0, i, 1 - i] for i in range(2)]).mean()
    torch.testing.assert_close(grad, torch.autograd.grad(fixed, estimate)[0])
    assert order.tolist() == [[1, 0]]


def test_shapes_must_agree():
    with pytest.raises(InputError, match="differ in shape"):
        pit_si_snr(torch.zeros(1, 2, 5), torch.zeros(1, 3, 5))


def test_gains_restore_scale_and_sign():
    sources = noise(3, 500)
    gains = np.array([0.01, -3.0, 40.0])
    np.testing.assert_allclose(mixture_gains(sources.sum(0), gains[:, None] * sources), 1 / gains, rtol=1e-3)
    assert (mixture_gains(sources[0], np.zeros((2, 500))) == 0).all()
    echo = mixture_gains(sources[0], np.stack([sources[0] + 0.2 * sources[1], sources[1]]))
    assert echo[0] == pytest.approx(1 / 1.04, rel=0.05)
    assert abs(echo[1]) < 0.1
    same = mixture_gains(sources[0], np.stack([sources[0], sources[0]]))
    np.testing.assert_allclose(same, 0.5, rtol=1e-3)


@pytest.mark.parametrize("sources", [2, 3])
def test_chunks_in_random_orders_are_put_into_one(sources):
    rate, size, hop = 8000, 8000, 4000
    truth, random = noise(sources, 40 * hop + size), np.random.default_rng(1)
    stitcher = Stitcher(sources, rate)
    reference = None
    for start in range(0, truth.shape[1] - size, hop):
        given_order = random.permutation(sources)
        chunk = truth[given_order, start : start + size]
        order = stitcher.place(start, chunk)
        reference = given_order if reference is None else reference
        np.testing.assert_array_equal(given_order[order.permutation], reference)
        assert order.margin > 0.8


def test_a_pause_in_the_overlap_is_bridged_by_the_spectra():
    rate = 8000
    time = np.arange(3 * rate) / rate
    low, high = (np.sign(np.sin(2 * np.pi * hz * time)) * 0.1 for hz in (110, 700))
    gap = np.ones_like(time)
    gap[rate : 2 * rate] = 0
    stitcher = Stitcher(2, rate)
    stitcher.place(0, np.stack([low, high])[:, : 2 * rate] * gap[: 2 * rate])
    order = stitcher.place(rate, np.stack([high, low])[:, rate:] * gap[rate:])
    assert order.permutation.tolist() == [1, 0]
    assert 0 < order.margin <= 0.5


def test_silence_keeps_the_order_without_confidence():
    stitcher = Stitcher(2, 8000)
    stitcher.place(0, np.zeros((2, 8000)))
    order = stitcher.place(4000, np.zeros((2, 8000)))
    assert order.permutation.tolist() == [0, 1]
    assert order.margin == 0


def test_chunks_come_from_left_to_right():
    stitcher = Stitcher(2, 8000)
    stitcher.place(4000, np.zeros((2, 8000)))
    with pytest.raises(InputError, match="left to right"):
        stitcher.place(0, np.zeros((2, 8000)))
