"""The identities hold, the embedded weights point where they should; the dear claims go through on a small budget."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.audio.sonics import claim
from harmonia.audio.sonics.claims import costs, hearing
from harmonia.audio.sonics.efficiency import Cost
from harmonia.core.claim import HOLDS, claims_in
from harmonia.data import demo_truth

CLAIMS = {entry.name: entry for entry in claims_in(claim)}


@pytest.mark.parametrize("name", [name for name, entry in CLAIMS.items() if entry.tier == "quick"])
def test_quick_claims_hold(name):
    finding = CLAIMS[name].check(seed=1)
    assert finding.verdict in HOLDS, finding


def test_every_claim_is_listed():
    assert len(CLAIMS) == 24
    assert {entry.tier for entry in CLAIMS.values()} == {"quick", "full"}


def test_costs_are_judged(monkeypatch):
    table = {"alpha": (1.0, 74), "beta": (0.5, 40), "gamma": (0.3, 30), "ViT": (1.5, 100), "ConvNeXt": (1.1, 220)}
    found = {name: Cost(name, 120.0, 0, 0, seconds, memory) for name, (seconds, memory) in table.items()}
    monkeypatch.setattr(costs, "_costs", lambda: found)
    verdicts = {entry.name: entry.check().verdict for entry in claims_in(costs) if "5 s" not in entry.name}
    assert verdicts.pop("Alpha is faster than ConvNeXt at 120 s") == "direction holds"
    assert verdicts.pop("Beta is at least twice as fast as the ViT at 120 s") == "direction holds"
    assert verdicts.pop("Gamma is at least three times as fast as the ViT at 120 s") == "direction holds"
    assert verdicts.pop("Gamma's attention matrices at 120 s are a fraction of the ViT's") == "direction holds"
    assert set(verdicts.values()) == {"reproduced"}


def test_what_a_detector_hears_is_measured_on_rendered_songs(monkeypatch):
    monkeypatch.setattr("harmonia.data.render.corpus", lambda split, count: [demo_truth()])
    monkeypatch.setattr(hearing, "SEEN", ("codec-64",))
    monkeypatch.setattr(hearing, "UNSEEN", ("codec-80", "codec-60"))
    hearing._logits.cache_clear()
    for entry in (hearing.known_machines, hearing.unknown_codec, hearing.unknown_vocoder, hearing.compressed_songs):
        assert 0 <= entry.check().measured <= 1
    hearing._logits.cache_clear()


def test_without_a_renderer_the_verdict_is_beyond_this_machine(monkeypatch):
    monkeypatch.setattr(hearing, "_logits", lambda: None)
    for entry in (hearing.known_machines, hearing.unknown_codec, hearing.unknown_vocoder, hearing.compressed_songs):
        assert entry.check().verdict == "beyond this machine"


def test_the_long_context_is_measured_on_a_small_budget():
    measured = hearing.long_context.measure(0, steps=1, tests=4)
    assert np.isfinite(measured.value)
