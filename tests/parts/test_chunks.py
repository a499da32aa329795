"""Overlapping chunks: they cover the signal, and what they agree on comes back bit for bit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from harmonia.core.errors import InputError
from harmonia.parts.chunks import Chunk, OverlapAdd, chunk_weights, even_chunks

SIZE = 40


def joined(chunks: list[Chunk], results: list[np.ndarray]) -> np.ndarray:
    overlap_add, blocks = OverlapAdd(), []
    for chunk, result in zip(chunks, results, strict=True):
        overlap_add.add(chunk.start, result, chunk.weights)
        blocks.append(overlap_add.take(chunk.settled))
    return np.concatenate(blocks, axis=-1)


@pytest.mark.parametrize("total", [1, 2, SIZE - 1, SIZE, SIZE + 1, 2 * SIZE + 17, 1501])
@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.25, 0.5, 2 / 3, 0.75, 0.8, 5 / 6, 6 / 7, 0.875, 0.99])
@pytest.mark.parametrize("window", ["hann", "triangle", lambda n: 1.0 + np.arange(n)])
def test_agreeing_chunks_return_the_signal_exactly(total, overlap, window):
    signal = np.random.default_rng(total).normal(size=(2, 3, total)).astype(np.float32)
    chunks = even_chunks(total, SIZE, overlap, window)
    np.testing.assert_array_equal(joined(chunks, [signal[..., c.start : c.stop] for c in chunks]), signal)


@pytest.mark.parametrize("total", [10, 40, 41, 97, 1501])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
def test_chunks_keep_their_overlap_and_end_at_the_end(total, overlap):
    chunks = even_chunks(total, SIZE, overlap)
    assert chunks[0].start == 0
    assert chunks[-1].stop == chunks[-1].settled == total
    for a, b in pairwise(chunks):
        assert a.stop - b.start >= overlap * SIZE
        assert a.settled == b.start
    assert len(chunks) == 1 or (len(chunks) - 2) * SIZE * (1 - overlap) < total - SIZE


def test_disagreeing_chunks_are_averaged_by_weight():
    rng = np.random.default_rng(0)
    chunks = even_chunks(100, SIZE, 0.7)
    results = [rng.normal(size=SIZE) for _ in chunks]
    numerator, denominator = np.zeros(100), np.zeros(100)
    for chunk, result in zip(chunks, results, strict=True):
        numerator[chunk.start : chunk.stop] += chunk.weights * result
        denominator[chunk.start : chunk.stop] += chunk.weights
    np.testing.assert_allclose(joined(chunks, results), numerator / denominator, rtol=1e-12)


def test_a_joint_is_a_smooth_cross_fade():
    chunks = even_chunks(1500, 1000, 0.5)
    out = joined(chunks, [np.zeros(1000), np.ones(1000)])
    assert (np.diff(out) >= 0).all()
    assert np.diff(out).max() < 0.005


def test_memory_does_not_grow_with_the_signal():
    overlap_add = OverlapAdd()
    for chunk in even_chunks(100_000, SIZE, 0.75):
        overlap_add.add(chunk.start, np.ones((2, SIZE)), chunk.weights)
        overlap_add.take(chunk.settled)
        assert overlap_add._mean.size < 2 * SIZE


@pytest.mark.parametrize("overlap", [-0.1, 1.0, float("nan")])
def test_impossible_overlaps_are_refused(overlap):
    with pytest.raises(InputError, match="overlap"):
        even_chunks(100, SIZE, overlap)


@pytest.mark.parametrize("window", [lambda n: np.zeros(n), lambda n: np.ones(n + 1), lambda n: np.full(n, np.nan)])
def test_impossible_windows_are_refused(window):
    with pytest.raises(InputError, match="window"):
        chunk_weights(window, SIZE)
