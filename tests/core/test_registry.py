import shutil
from pathlib import Path

import pytest

from harmonia.core import registry, results
from harmonia.core.claim import Measured, claim
from harmonia.core.errors import InputError

CARD = """
slug = "{slug}"
title = "Counting sheep"
arxiv = "2001.00001"
year = 2020
field = "{field}"
summary = "Count sheep"
gives = "A number."
inputs = ["sheep"]
outputs = ["number"]
"""


@pytest.fixture
def house(tmp_path, monkeypatch):
    """An empty package that the registry looks into."""
    (tmp_path / "catalogue").mkdir()
    monkeypatch.setattr(registry, "PACKAGE", tmp_path)
    monkeypatch.setattr(results, "results_folder", lambda: tmp_path / "results")
    registry.methods.cache_clear()
    yield tmp_path
    registry.methods.cache_clear()


def plan(house: Path, slug: str) -> None:
    (house / "catalogue" / f"{slug}.toml").write_text(CARD.format(slug=slug, field="tables"))


def build(house: Path, slug: str, field: str = "tables") -> Path:
    folder = house / field / slug.replace("-", "_")
    folder.mkdir(parents=True)
    (folder / "card.toml").write_text(CARD.format(slug=slug, field=field))
    for name in ("__init__.py", "task.py", "claim.py"):
        (folder / name).write_text("")
    return folder


@claim("Sheep are counted", place="Sec. 1", unit="sheep", better="near", paper=3, tier="quick")
def counted(seed):
    return Measured(3)


def test_status_follows_from_what_is_there(house):
    plan(house, "sheep")
    assert registry.find("sheep").status == "planned"

    (house / "catalogue" / "sheep.toml").unlink()
    folder = build(house, "sheep")
    registry.methods.cache_clear()
    method = registry.find("sheep")
    assert method.status == "built"

    results.record("sheep", method.code, findings=[counted.check()])
    assert method.status == "measured"
    assert not method.outdated

    (folder / "task.py").write_text("JOBS = ()")
    assert method.outdated

    (folder / "claim.py").unlink()
    assert method.status == "planned"


def test_a_planned_method_says_so(house):
    plan(house, "sheep")
    with pytest.raises(InputError, match="'sheep' is planned and not built yet"):
        registry.find("sheep").module("task")


def test_an_unknown_name_offers_the_nearest(house):
    plan(house, "mel-roformer")
    with pytest.raises(InputError, match="Did you mean mel-roformer"):
        registry.find("mel-rofomer")
    assert registry.find("Mel_RoFormer").slug == "mel-roformer"


@pytest.mark.parametrize("text", ["slug = ", "slug = 3", CARD.format(slug="Wolf!", field="tables")])
def test_an_unreadable_card_is_named_and_the_rest_goes_on(house, caplog, text):
    plan(house, "sheep")
    (build(house, "big-wolf") / "card.toml").write_text(text)
    assert [method.slug for method in registry.methods()] == ["sheep"]
    assert "big_wolf/card.toml" in caplog.text
    assert registry.find("sheep").status == "planned"
    with pytest.raises(InputError, match="big_wolf"):
        registry.find("big-wolf")


def test_two_cards_for_one_method_are_refused(house):
    plan(house, "sheep")
    build(house, "sheep")
    with pytest.raises(InputError, match="two cards for 'sheep'"):
        registry.methods()


def test_a_card_in_the_wrong_field_is_refused(house):
    folder = build(house, "sheep")
    shutil.move(str(folder.parent), str(house / "audio"))
    with pytest.raises(InputError, match="wrong place"):
        registry.methods()


def test_findings_left_over_from_older_code_keep_the_record_outdated(house):
    build(house, "sheep")
    method = registry.find("sheep")
    other = counted.check().__class__(**{**_fields(counted.check()), "name": "Sheep sleep"})
    results.record("sheep", "older", findings=[counted.check(), other])
    results.record("sheep", method.code, findings=[counted.check()])
    assert method.outdated
    results.record("sheep", method.code, findings=[counted.check(), other])
    assert not method.outdated


def test_what_is_claimed_no_more_leaves_the_record(house):
    build(house, "sheep")
    other = counted.check().__class__(**{**_fields(counted.check()), "name": "Sheep sleep"})
    race = results.RaceResult("shepherd", "1", "counting", 2.0, None, 1, "cpu", True)
    results.record("sheep", "code", findings=[counted.check(), other], races=[race])
    assert results.record("sheep", "code", workloads={"shearing"}).races == []
    kept = results.record("sheep", "code", findings=[counted.check()], claims={counted.name})
    assert [finding.name for finding in kept.findings] == [counted.name]


def _fields(struct):
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def test_broken_promises():
    held = counted.check()
    lost = held.__class__(**{**_fields(held), "verdict": "not reproduced"})
    old = results.Results("sheep", "", "", "", {}, findings=[held])
    assert results.broken_promises(old, [lost]) == [lost]
    assert results.broken_promises(old, [held]) == []
    assert results.broken_promises(None, [lost]) == []


def test_a_corrupt_record_is_named(house):
    (house / "results").mkdir()
    (house / "results" / "sheep.json").write_text("{")
    with pytest.raises(InputError, match="harmonia verify sheep"):
        results.read_results("sheep")
