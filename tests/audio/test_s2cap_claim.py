"""The identities hold; the dear claims can be measured on a small budget, and not without the renderer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars
import pytest

from harmonia.audio.s2cap import claim
from harmonia.audio.s2cap.attributes import LEXICON
from harmonia.audio.s2cap.claims import arms as compared
from harmonia.audio.s2cap.claims import data_set, embedded
from harmonia.audio.s2cap.manifest import Clip
from harmonia.audio.s2cap.small import SmallConfig
from harmonia.core.claim import claims_in
from harmonia.media import Audio

CLAIMS = {entry.name: entry for entry in claims_in(claim)}
STYLE = {name: next(iter(values)) for name, values in LEXICON.items()}


@pytest.mark.parametrize("name", [n for n, entry in CLAIMS.items() if entry.better == "zero" and entry.tier == "quick"])
def test_identities_hold(name: str) -> None:
    finding = CLAIMS[name].check(seed=1)
    assert finding.verdict == "exact", finding


def test_the_tiers_have_claims() -> None:
    assert {entry.tier for entry in CLAIMS.values()} == {"quick", "full"}


@pytest.fixture
def few(tmp_path: Path) -> list[Clip]:
    random = np.random.default_rng(0)
    clips = []
    for number in range(4):
        paths = [tmp_path / f"{number}{suffix}.flac" for suffix in ("", "_v")]
        for path in paths:
            Audio(random.normal(size=16000) / 10, 16000).write(path)
        clips.append(Clip(paths[0], 0.0, None, ("A woman sings softly.", "She sings."), STYLE, paths[1]))
    return clips


def test_arms_can_be_compared_on_a_small_budget(monkeypatch: pytest.MonkeyPatch, few: list[Clip]) -> None:
    monkeypatch.setattr(compared, "rendered", lambda *_: few)
    config = SmallConfig(dim=16, encoder_layers=1, decoder_layers=1, heads=2, vocabulary=300)
    arms = compared.compare.__wrapped__(0, clips=4, tests=4, steps=2, seeds=2, config=config)
    assert list(arms) == ["base", "cre", "dem", "both", "vocals"]
    for arm in arms.values():
        assert [len(values) for values in arm] == [2, 2, 2, 2]
        assert np.isfinite(arm).all()
    monkeypatch.setattr(compared, "compare", lambda seed: arms)
    for entry in (
        compared.additions_help,
        compared.additions_keep_cider,
        compared.demix_helps_in_noise,
        compared.gap_closed,
    ):
        assert entry.check().measured is not None


def test_agreement_is_that_of_the_worst(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = polars.DataFrame(
        {
            "pitch": ["low", "low"],
            "true_pitch": ["low", "low"],
            "volume": ["low", "high"],
            "true_volume": ["low", "low"],
        }
    )
    monkeypatch.setattr(data_set, "built", lambda: frame)
    measured = data_set._agreement(("pitch", "volume"))
    assert measured is not None
    assert measured.value == 0.5


def test_without_a_renderer_the_verdict_is_beyond_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (compared, data_set, embedded):
        monkeypatch.setattr(module, "rendered", lambda *_: None)
    compared.compare.cache_clear()
    data_set.built.cache_clear()
    for entry in CLAIMS.values():
        if entry.tier == "full":
            assert entry.check().verdict == "beyond this machine"
