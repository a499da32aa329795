"""The identities hold, the embedded weights beat the trivial; the dear claims can be measured on a small budget."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.audio.mossformer2 import MossFormer2Config, Speaker, claim
from harmonia.audio.mossformer2.claims import embedded, memory
from harmonia.core.claim import Claim, claims_in

CLAIMS = {entry.name: entry for entry in claims_in(claim)}
TINY = MossFormer2Config(
    n_filters=16, kernel=32, depth=1, group=32, qk_dim=8, fsmn_dim=8, order=3, dropout=0.0, sample_rate=8000
)


@pytest.mark.parametrize("name", [name for name, entry in CLAIMS.items() if entry.better == "zero"])
def test_identities_hold(name: str) -> None:
    finding = CLAIMS[name].check(seed=1)
    assert finding.verdict == "exact", finding


@pytest.mark.parametrize(
    "entry", [claim.identities.large_size, claim.stitching.orders_recovered], ids=lambda entry: entry.name
)
def test_what_needs_no_training_holds(entry: Claim) -> None:
    assert entry.check(seed=1).verdict in ("reproduced", "direction holds")


@pytest.mark.parametrize(
    "entry", [embedded.embedded_conversation, embedded.long_conversation], ids=lambda entry: entry.name
)
def test_the_embedded_weights_beat_the_trivial(entry: Claim) -> None:
    finding = entry.check(seed=1)
    assert finding.measured is not None
    assert finding.baseline is not None
    assert finding.measured > finding.baseline, finding


def test_every_tier_has_claims() -> None:
    assert {entry.tier for entry in CLAIMS.values()} == {"quick", "full", "gpu"}


def few(split: str, rate: int, sentences: int = 40) -> list[Speaker]:
    random = np.random.default_rng(len(split))
    return [Speaker(f"{split}{n}", (random.integers(-3000, 3000, 2 * rate).astype(np.int16),)) for n in range(3)]


def test_the_memory_can_be_compared_on_a_small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "rendered", few)
    runs = memory.compare.__wrapped__(TINY, 0, steps=2, seeds=2, tests=1)
    assert runs is not None
    assert {name: len(gains) for name, gains in runs.items()} == {"with": 2, "without": 2}


def test_the_attention_only_network_has_as_many_parameters() -> None:
    width = memory.without_memory(memory.SMALL)
    sizes = [memory._size(memory.MossFormer2(memory.SMALL)), memory._size(memory._attention_only(width, 0))]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.03)


def test_dear_claims_can_be_measured_on_a_small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "rendered", few)
    monkeypatch.setattr(memory, "SMALL", TINY)
    assert embedded.held_out_voices.measure(0, count=1) is not None
    assert memory.memory_is_fast.measure(0, repeats=1).value > 0
    assert np.isfinite(memory.overfit.measure(0, steps=2).value)
