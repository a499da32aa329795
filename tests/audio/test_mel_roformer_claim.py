"""The identities hold, the embedded weights beat the trivial; the dear claims can be measured on a small budget."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.audio.mel_roformer import MelBandRoformerConfig, claim
from harmonia.audio.mel_roformer.claims import comparisons, embedded
from harmonia.audio.mel_roformer.claims.songs import periodicity_notes
from harmonia.audio.mel_roformer.stems import Stems
from harmonia.core.claim import Claim, claims_in

CLAIMS = {entry.name: entry for entry in claims_in(claim)}


@pytest.mark.parametrize("name", [name for name, entry in CLAIMS.items() if entry.better == "zero"])
def test_identities_hold(name: str) -> None:
    finding = CLAIMS[name].check(seed=1)
    assert finding.verdict == "exact", finding


@pytest.mark.parametrize("entry", [embedded.embedded_song, embedded.embedded_melody], ids=lambda entry: entry.name)
def test_the_embedded_weights_beat_the_trivial(entry: Claim) -> None:
    finding = entry.check(seed=1)
    assert finding.measured is not None
    assert finding.baseline is not None
    assert finding.measured > finding.baseline, finding


def test_every_tier_has_claims() -> None:
    assert {entry.tier for entry in CLAIMS.values()} == {"quick", "full", "gpu"}


def test_the_simplest_transcription_hears_a_tone() -> None:
    time = np.arange(16000) / 16000
    notes = periodicity_notes(np.sin(2 * np.pi * 220 * time), 16000)
    assert {midi for *_, midi in notes} == {57.0}
    assert periodicity_notes(np.zeros(16000), 16000) == []


def few(split: str, count: int, rate: int, channels: int = 2) -> list[Stems]:
    random = np.random.default_rng(0)
    return [Stems.of(split, *random.normal(size=(2, channels, 2 * rate)) / 10, [(0.2, 1.0, 60)]) for _ in range(count)]


def test_pretraining_can_be_measured_on_a_small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "rendered", few)
    measured = comparisons.pretraining_helps.measure(0, steps=1, songs=1, tests=1)
    assert 0 <= measured.value <= 100
    assert 0 <= measured.baseline <= 100


def test_splits_can_be_compared_on_a_small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "rendered", few)
    config = MelBandRoformerConfig(
        **{**vars(comparisons.BANDS), "sample_rate": 4000, "n_fft": 256, "hop_length": 80, "num_bands": 8, "dim": 8}
    )
    runs = comparisons.compare_splits.__wrapped__(0, config, steps=2, seeds=2, songs=2, tests=1)
    assert {split: len(values) for split, values in runs.items()} == {"mel": 2, "heuristic": 2, "uniform": 2}
    assert np.isfinite([value for values in runs.values() for value in values]).all()


def test_without_a_renderer_the_verdict_is_beyond_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (comparisons, embedded):
        monkeypatch.setattr(module, "rendered", lambda *_: None)
    for entry in CLAIMS.values():
        if entry.tier == "full":
            comparisons.compare_splits.cache_clear()
            assert entry.check().verdict == "beyond this machine"
