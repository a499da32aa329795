"""The cards of methods that are planned: complete, consistent, and found by the words a user would type."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from harmonia.core.card import Card
from harmonia.core.registry import PACKAGE, methods, search

PATHS = sorted((PACKAGE / "catalogue").glob("*.toml"))
CARDS = {path.stem: Card.load(path) for path in PATHS}
ROOT = Path(__file__).parents[2]

each_card = pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)


@each_card
def test_file_is_named_after_its_slug(card):
    assert CARDS[card.slug] is card


@each_card
def test_year_is_that_of_the_arxiv_identifier(card):
    assert card.year == 2000 + int(card.arxiv[:2])


@each_card
def test_summary_fits_one_line_of_a_listing(card):
    assert 20 <= len(card.summary) <= 100
    assert not card.summary.endswith(".")


@each_card
def test_texts_are_whole_sentences_without_leftovers(card):
    assert card.gives.endswith(".")
    assert "  " not in card.gives
    assert "\n" not in card.gives
    assert "unverified:" not in repr(card)


@each_card
def test_numbers_say_where_they_stand_and_what_they_measure(card):
    assert card.claims
    for claim in card.claims:
        assert claim.place
        assert len({claim.name for claim in card.claims}) == len(card.claims)


@each_card
def test_recalled_numbers_are_marked_alike(card):
    for claim in card.claims:
        if "recalled" in claim.note:
            assert claim.note.startswith("recalled, unverified")


@each_card
def test_licences_are_written_one_way(card):
    licences = [text for weights in card.weights for text in weights.license]
    licences += [data.license for data in card.datasets if data.license]
    for text in licences:
        assert not re.search(r"\bCC BY|Apache 2|apache|\bcc-by|\bmit\b", text), text


@each_card
def test_weights_can_be_found(card):
    for weights in card.weights:
        assert weights.repo or weights.note or weights.file
        if weights.repo:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", weights.repo)


@each_card
def test_errata_say_what_is_wrong_and_what_we_do(card):
    for erratum in card.errata:
        assert erratum.defect[0].isupper()
        assert erratum.ours
        assert not erratum.ours.endswith(".")


@each_card
def test_extras_exist(card):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(card.extras) <= set(project["optional-dependencies"])


def test_no_two_cards_are_for_the_same_paper():
    every = [method.card for method in methods()]
    for key in ("arxiv", "title", "summary"):
        values = [getattr(card, key) for card in every]
        assert len(set(values)) == len(values)


def test_planned_methods_are_listed_as_such():
    for method in methods():
        if method.slug in CARDS:
            assert method.status == "planned"
            assert method.folder is None


@pytest.mark.parametrize(
    ("words", "slug"),
    [
        ("separate speakers in a meeting", "mossformer2"),
        ("knowledge graph links", "nfe"),
        ("shrink a network without data", "ifm"),
        ("lyrics to melody", "songmass"),
        ("vibrato", "gtsinger"),
        ("differential privacy", "private-kde"),
        ("kubernetes autoscaling", "harmony"),
        ("generated song detection", "sonics"),
        ("music for a video", "video2music"),
        ("partial differential equation", "gp-hm"),
        ("novel classes in a table", "tabular-ncd"),
        ("recommender bias", "kernel-balancing"),
        ("missing stems", "mt-musicldm"),
        ("mood of a song", "unified-mer"),
    ],
)
def test_search_finds_a_method_by_what_it_does(words, slug):
    assert slug in [method.slug for method in search(words)][:3]
