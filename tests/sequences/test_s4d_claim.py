"""The quick claims hold; the comparisons behind the others run at a reduced size."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from harmonia.core.claim import HOLDS, claims_in
from harmonia.data.render.digits import SpokenDigits
from harmonia.sequences.s4d import claim
from harmonia.sequences.s4d.claims import initializations, small_tasks
from harmonia.sequences.s4d.initialization import hippo_legs

CLAIMS = claims_in(claim)


@pytest.mark.parametrize("each", [c for c in CLAIMS if c.tier == "quick"], ids=lambda c: c.measure.__name__)
def test_quick_claims_hold(each):
    assert each.check().verdict in HOLDS


def test_names_differ_and_every_full_claim_has_a_bound_or_a_baseline():
    assert len({each.name for each in CLAIMS}) == len(CLAIMS)
    assert sum(each.tier == "full" for each in CLAIMS) == 7


def test_pictures_are_beyond_a_machine_without_them(monkeypatch):
    monkeypatch.delenv(claim.pictures.FOLDER, raising=False)
    assert claim.pictures.sequential_cifar.check().verdict == "beyond this machine"


def test_the_dense_kernel_is_s4s():
    """Against HiPPO's own real matrices, discretised by the bilinear rule and run step by step."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kernel = small_tasks.DenseS4Kernel(2, d_state=8).double()
        kernel.B.data.copy_(torch.view_as_real(small_tasks.legs(8).drive))  # not clipped
    a, drive = hippo_legs(8)
    # A change of basis leaves the kernel alone: the readout in HiPPO's own coordinates is C V*.
    basis = small_tasks.legs(8).basis
    readout = 2 * torch.einsum("chn,mn->chm", torch.view_as_complex(kernel.C), basis.conj()).real
    found = kernel.kernel(30)
    for head in range(2):
        half = float(kernel.step_size()[head, 0]) * a / 2
        inverse = torch.linalg.inv(torch.eye(8, dtype=torch.float64) - half)
        multiplier = inverse @ (torch.eye(8, dtype=torch.float64) + half)
        state, expected = float(kernel.step_size()[head, 0]) * inverse @ drive, []
        for _ in range(30):
            expected.append(float(readout[0, head] @ state))
            state = multiplier @ state
        np.testing.assert_allclose(found[0, head].detach().numpy(), expected, atol=1e-5)


def test_comparisons_run_small():
    random = np.random.default_rng(0)
    labels = np.arange(20) % 10
    clips = (0.1 * random.standard_normal((20, 64))).astype(np.float32)
    data = SpokenDigits(clips, labels, 4000, ("nobody",) * 20)
    found = initializations.compare(data, data, seed=0, epochs=1)
    assert list(found) == ["lin", "inv", "legs", "rand", "real", "GRU", "CNN"]
    assert all(0 <= value <= 100 for each in found.values() for value in each)


def test_s4_and_the_ablations_run_small(monkeypatch):
    few = tuple(each[:600] for each in small_tasks.digits())
    monkeypatch.setattr(small_tasks, "digits", lambda: few)
    monkeypatch.setattr(small_tasks, "SEEDS", (0,))
    found = small_tasks.accuracies.__wrapped__(epochs=1)
    assert list(found) == ["S4", *small_tasks.ABLATIONS]


@pytest.mark.skipif(find_spec("aeon") is None, reason="needs the data of aeon: pip install --no-deps aeon")
def test_real_series_run_small(monkeypatch):
    monkeypatch.setattr(small_tasks, "REAL", ("BasicMotions",))
    found = small_tasks.real_series.__wrapped__(epochs=1)
    assert list(found) == ["lin", "inv", "legs", "rand", "real"]
