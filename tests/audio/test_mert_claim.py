"""The identities hold; the dear claims can be measured on a small budget."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from harmonia.audio.mert import MERTConfig, claim, pretrainer
from harmonia.audio.mert.claims import features, teachers
from harmonia.audio.mert.probes import ProbeTask, constant_q, key_gains, log_mel, note_tasks
from harmonia.core.claim import claims_in
from harmonia.parts.probing import Gain

CLAIMS = {entry.name: entry for entry in claims_in(claim)}
SMALL = dataclasses.replace(
    MERTConfig.tiny(),
    cqt_bins=0,
    dim=16,
    layers=1,
    heads=2,
    feed_forward=24,
    conv_dim=(8,) * 7,
    pos_kernel=10,
    pos_groups=4,
)


@pytest.mark.parametrize("name", [name for name, entry in CLAIMS.items() if entry.better == "zero"])
def test_identities_hold(name: str) -> None:
    finding = CLAIMS[name].check(seed=1)
    assert finding.verdict == "exact", finding


def test_half_precision_stays_finite_only_when_queries_are_divided() -> None:
    finding = claim.identities.half_precision.check(seed=1)
    assert finding.measured == 1.0
    assert finding.baseline == 0.0


def test_every_tier_has_claims() -> None:
    assert {entry.tier for entry in CLAIMS.values()} == {"quick", "full", "gpu"}


def test_key_gains_are_those_of_mir_eval() -> None:
    key = pytest.importorskip("mir_eval.key")
    names = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
    keys = [f"{name} {mode}" for mode in ("major", "minor") for name in names]
    expected = [[key.weighted_score(row, column) for column in keys] for row in keys]
    assert np.array_equal(key_gains(), np.array(expected))


def tones(count: int = 96, classes: int = 4) -> ProbeTask:
    """Tones of a few pitches, which any spectrum tells apart."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    time = np.arange(12000) / 24000
    clips = np.sin(2 * np.pi * 220 * 2 ** (labels[:, None] / 3) * time + rng.uniform(0, 6, (count, 1)))
    clips = (0.3 * clips + 0.01 * rng.standard_normal(clips.shape)).astype(np.float32)
    return ProbeTask("tones", clips, labels, np.arange(count) >= count // 2, Gain())


def test_spectra_tell_tones_apart_also_under_noise() -> None:
    task = tones()
    for front in (log_mel, constant_q):
        assert task.score(front(task.clips)).score == 1.0
    noise = np.random.default_rng(1).standard_normal((5, 12000)).astype(np.float32)
    mixed = task.mixed(noise, -6.0)
    added = np.sqrt(np.square(mixed.clips - task.clips).mean(1) / np.square(task.clips).mean(1))
    assert np.abs(20 * np.log10(added) + 6).max() < 0.1
    assert mixed.score(constant_q(mixed.clips)).score == 1.0


@pytest.mark.debian
def test_notes_are_rendered_with_their_labels() -> None:
    pitch, family = note_tasks(2)
    assert pitch.clips is family.clips
    assert pitch.clips.shape == (176, 24000)
    assert family.targets.tolist() == np.repeat(np.arange(11), 16).tolist()
    assert pitch.test.sum() == 44


@pytest.mark.debian
def test_teachers_can_be_compared_on_a_small_budget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = ("key", "family", "pitch class", "chord")
    heard = tones(24)
    tasks = tuple(dataclasses.replace(heard, name=name) for name in names)
    monkeypatch.setattr(teachers, "all_tasks", lambda seed: tasks)
    monkeypatch.setattr(pretrainer, "_HEARD_BY_TEACHERS", 4)
    monkeypatch.setenv("HARMONIA_CACHE", str(tmp_path))
    scale = {"config": SMALL, "steps": 1, "batch": 1, "pieces": 2}
    found = teachers.compare_teachers(0, **scale)
    assert set(found) == {"rvq+cqt", "rvq", "kmeans"}
    assert all(0 <= value <= 100 for values in found.values() for value in values.values())
    measured = teachers.mixture_helps.measure(0, noises=2, **scale)
    assert 0 <= measured.value <= 100
    assert teachers.pretrained.cache_info().misses == 4  # five arms, of which two are the same run
    for cached in (teachers.pretrained, teachers.compare_teachers):
        cached.cache_clear()


@pytest.mark.debian
def test_unseen_roots_are_unseen() -> None:
    task = features.unseen_roots(0, programs=2)
    assert task.clips.shape == (48, 24000)
    assert task.test.reshape(4, 12).sum(1).tolist() == [4, 4, 4, 4]
    assert task.targets.reshape(2, 2, 12).std((0, 2)).max() == 0


@pytest.mark.debian
@pytest.mark.parametrize("entry", [features.embedded_notes, features.embedded_families], ids=lambda entry: entry.name)
def test_the_embedded_weights_can_be_measured(entry) -> None:
    finding = entry.check(seed=1)
    assert finding.measured is not None
    assert 0 < finding.measured <= 100
