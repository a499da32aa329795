"""The identities hold, the embedded weights beat the trivial; the dear claims can be measured on a small budget."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.audio.unified_mer import claim
from harmonia.audio.unified_mer.claims import comparisons
from harmonia.audio.unified_mer.statistics import WIDTH
from harmonia.audio.unified_mer.world import TAGS, World, emotion_of, rated, tagged
from harmonia.core.claim import claims_in

CLAIMS = {entry.name: entry for entry in claims_in(claim)}


def small_world(pieces: int = 200) -> World:
    """Two of the statistics tell the emotion; nothing is rendered."""
    random = np.random.default_rng(0)
    emotion = np.stack([emotion_of(number) for number in range(pieces)])
    music = random.normal(size=(pieces, WIDTH)).astype(np.float32)
    music[:, :2] += emotion - 5
    none = np.zeros((pieces, 100), dtype=np.int64)
    return World(music, none, none, np.zeros(pieces, dtype=np.int64), emotion)


@pytest.mark.parametrize("name", [name for name, entry in CLAIMS.items() if entry.better == "zero"])
def test_identities_hold(name: str) -> None:
    assert CLAIMS[name].check(seed=1).verdict == "exact"


@pytest.mark.debian
def test_the_embedded_weights_beat_the_mean() -> None:
    finding = claim.identities.unheard_pieces.check()
    assert finding.verdict == "direction holds", finding


def test_all_ways_of_training_can_be_compared_on_a_small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "_world", small_world)
    comparisons.compare.cache_clear()
    runs = comparisons.compare.__wrapped__(0, seeds=1, steps=2, scale=0.1)
    assert set(runs) == {"single", "joint", "mse_bce", "official", "no harmony"}
    assert np.isfinite([each for scores in runs.values() for each in scores]).all()


def test_without_a_renderer_the_verdict_is_beyond_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparisons, "_world", lambda: None)
    comparisons.compare.cache_clear()
    for entry in CLAIMS.values():
        if entry.tier == "full":
            assert entry.check().verdict == "beyond this machine"
    comparisons.compare.cache_clear()


def test_claims_differ_and_cover_two_tiers() -> None:
    assert len(CLAIMS) == len(claims_in(claim)) == 15
    assert {entry.tier for entry in CLAIMS.values()} == {"quick", "full"}


def test_raters_err_exaggerate_and_lean() -> None:
    world, rows = small_world(), np.arange(200)
    exact = rated(world, rows, "x", noise=0.0)
    assert np.allclose(exact.labels, world.emotion, atol=1e-5)
    leaning = rated(world, rows, "x", noise=0.0, spread=0.5, offset=1.0)
    assert np.allclose(leaning.labels, 5 + 0.5 * (world.emotion - 5) + 1, atol=1e-5)
    noisy = rated(world, rows, "x", noise=0.5).labels - world.emotion
    assert 0.35 < noisy.std() < 0.55


def test_every_piece_has_a_tag_and_tags_lie_near_its_emotion() -> None:
    world, rows = small_world(), np.arange(200)
    labels = tagged(world, rows, "x").labels
    assert (labels.sum(1) >= 1).all()
    assert 2 < labels.sum(1).mean() < 7
    happy, sad = (world.emotion[labels[:, TAGS.index(tag)] == 1].mean(0) for tag in ("happy", "sad"))
    assert happy[0] > 6 > 4 > sad[0]
