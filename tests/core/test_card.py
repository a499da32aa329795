from pathlib import Path

import pytest

from harmonia.core.card import Card
from harmonia.core.errors import InputError

GOOD = """
slug = "mel-roformer"
title = "A paper"
arxiv = "2409.04702"
year = 2024
field = "audio"
summary = "Separate vocals"
gives = "Vocals and the rest."
inputs = ["a song"]
outputs = ["vocals"]

[[weights]]
name = "KJ"
repo = "owner/name"
file = "model.ckpt"
license = ["MIT", "CC-BY-NC-SA-4.0"]

[[errata]]
defect = "Clicks at joints."
ours = "Mended."
compat = "msst"
"""


def load(tmp_path: Path, text: str) -> Card:
    path = tmp_path / "card.toml"
    path.write_text(text)
    return Card.load(path)


def test_a_good_card(tmp_path):
    card = load(tmp_path, GOOD)
    assert card.module == "mel_roformer"
    assert card.url == "https://arxiv.org/abs/2409.04702"
    assert card.weights[0].license == ["MIT", "CC-BY-NC-SA-4.0"]
    assert card.errata[0].compat == "msst"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("summary =", "sumary =", ["card.toml", "'sumary'", "Did you mean 'summary'?"]),
        ('compat = "msst"', 'kompat = "msst"', ["'errata.kompat'", "Did you mean 'compat'?", "defect, ours, compat"]),
        ('title = "A paper"', "", ["card.toml", "title"]),
        ("year = 2024", 'year = "2024"', ["year"]),
        ('field = "audio"', 'field = "sound"', ["field"]),
        ('slug = "mel-roformer"', 'slug = "Mel_RoFormer"', ["slug"]),
        ('arxiv = "2409.04702"', 'arxiv = "cs/01"', ["arxiv"]),
        ('license = ["MIT", "CC-BY-NC-SA-4.0"]', "license = []", ["license"]),
        ('summary = "Separate vocals"', 'summary = ""', ["summary"]),
        ('inputs = ["a song"]', "inputs = []", ["inputs"]),
        ('repo = "owner/name"', 'repo = "owner/name"\nsha256 = "abc"', ["sha256"]),
        ('slug = "mel-roformer"', "slug = ", ["card.toml", "TOML"]),
    ],
)
def test_a_bad_card_names_file_and_key(tmp_path, old, new, says):
    assert old in GOOD
    with pytest.raises(InputError) as error:
        load(tmp_path, GOOD.replace(old, new))
    for words in says:
        assert words in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Card.load(tmp_path / "none.toml")
