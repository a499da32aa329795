"""Parity: the scan without couplings with mambapy's, forwards and backwards; volumes under the surface with aeon's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harmonia.sequences.chimera import anomaly_scores, selective_scan_2d
from harmonia.sequences.chimera.claims.grids import random_grid

pytestmark = pytest.mark.peer


def test_without_couplings_it_is_mambapys_block():
    mamba = pytest.importorskip("mambapy.mamba")
    config = mamba.MambaConfig(d_model=4, n_layers=1, d_state=6, expand_factor=2)
    x, delta, other, A1, A2, _, A4, B1, B2, C1, C2 = random_grid(2, 3, 33, 8, 6, 0)
    inputs = [each.requires_grad_() for each in (x, delta, A1, B1, C1)]
    none = torch.zeros_like(A2)
    ours = selective_scan_2d(x, delta, other, A1, none, none, A4, B1, B2, C1, 0 * C2, hold="euler")
    block = mamba.MambaBlock(config)
    skip = torch.zeros(8)
    rows = (each.flatten(0, 1) for each in (x, delta, B1, C1))
    values, steps, b, c = rows
    theirs = block.selective_scan(values, steps, A1, b, c, skip).unflatten(0, (2, 3))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    target = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1))
    gradients = [torch.autograd.grad(found, inputs, target, retain_graph=True) for found in (ours, theirs)]
    for one, other_one in zip(*gradients):
        torch.testing.assert_close(one, other_one, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shift", [0.3, 1.0])
def test_volumes_are_near_aeons(shift):
    """Both approximate the same volume: aeon at sampled thresholds, ours at all of them."""
    peer = pytest.importorskip("aeon.benchmarking.metrics.anomaly_detection")
    random = np.random.default_rng(0)
    labels = np.zeros(600, bool)
    labels[150:180] = labels[400:420] = True
    scores = random.random(600) + shift * labels
    found = anomaly_scores(labels, scores, 0.9, buffer=20)
    roc = peer.range_roc_vus_score(labels.astype(int), scores, max_buffer_size=20)
    assert found.vus_roc == pytest.approx(roc, abs=0.05)
