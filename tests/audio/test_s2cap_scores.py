"""Attribute scores counted by hand, manifests in both layouts, and tables that are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harmonia.audio.s2cap.manifest import read_manifest, read_mono
from harmonia.audio.s2cap.scores import attribute_scores, caption_metrics
from harmonia.core.errors import InputError
from harmonia.media import Audio


def test_scores_are_counted() -> None:
    truths = [{"gender": "male", "tempo": "slow", "mood": "sad"}, {"gender": "female", "tempo": "fast"}]
    captions = ["A man sings at a slow tempo, joyful.", "A man sings."]
    scores = attribute_scores(captions, truths)
    # stated: male, slow, joyful; male. right: male, slow. true: five.
    assert scores.micro_f1 == pytest.approx(2 * 2 / (4 + 5))
    assert scores.hallucination == pytest.approx(0.5)
    assert scores.f1 == pytest.approx({"gender": 2 * 1 / (2 + 2), "tempo": 2 * 1 / (1 + 2), "mood": 0.0})
    assert scores.macro_f1 == pytest.approx(np.mean([0.5, 2 / 3, 0]))
    assert scores.omission == pytest.approx(1 / 5)


def test_saying_both_is_saying_one_wrong() -> None:
    assert attribute_scores(["a man and a woman"], [{"gender": "male"}]).hallucination == 0.5


def test_silence_omits_everything_and_makes_nothing_up() -> None:
    scores = attribute_scores(["Somebody sings."], [{"gender": "male", "pitch": "low"}])
    assert scores[:4] == (0.0, 0.0, 0.0, 1.0)


def test_only_the_asked_attributes_count() -> None:
    truth = {"gender": "male", "tempo": "slow"}
    assert attribute_scores(["A man sings at a fast tempo."], [truth], ("gender",)).micro_f1 == 1


def test_metrics_come_in_one_dictionary() -> None:
    said = ["A man sings quietly.", "A woman sings loudly."]
    measured = caption_metrics(said, [[text] for text in said], [{"gender": "male"}, {"gender": "female"}])
    assert measured["attribute_f1"] == 1
    assert measured["cider_d"] == pytest.approx(10)
    assert set(caption_metrics(said, [[text] for text in said])) < set(measured)
    with pytest.raises(InputError):
        attribute_scores([], [])


def write(folder: Path, name: str, seconds: float = 2.0) -> None:
    Audio(np.linspace(-0.5, 0.5, round(seconds * 8000)), 8000).write(folder / name)


def test_the_layout_of_s2cap_is_read_with_sound_of_ones_own(tmp_path: Path) -> None:
    write(tmp_path, "abc123.wav")
    table = tmp_path / "train.csv"
    table.write_text(
        "id,caption,begin,end,youtube_id\n1,A man sings softly.,0.5,1.5,abc123\n2,A man sings.,0.5,1.5,abc123\n"
    )
    (clip,) = read_manifest(table)
    assert clip.captions == ("A man sings softly.", "A man sings.")
    assert clip.attributes == {"gender": "male", "volume": "low"}
    assert (clip.begin, clip.end, clip.vocals_path) == (0.5, 1.5, None)
    assert len(read_mono(clip.path, 16000, clip.begin, clip.end)) == 16000


def test_the_plain_layout_tells_vocals_and_attributes(tmp_path: Path) -> None:
    write(tmp_path, "a.wav")
    write(tmp_path, "a_vocals.wav")
    table = tmp_path / "list.csv"
    table.write_text("path,caption,vocals_path,gender,mood\na.wav,She sings.,a_vocals.wav,female,sad\n")
    (clip,) = read_manifest(table)
    assert clip.vocals_path == tmp_path / "a_vocals.wav"
    assert clip.attributes == {"gender": "female", "mood": "sad"}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("name,caption\na,b\n", "no captioned clips"),
        ("path,caption\na.wav,\n", "no caption"),
        ("path,caption\nmissing.wav,A man sings.\n", "not there"),
        ("path,caption,begin,end\na.wav,A man sings.,3,2\n", "before it begins"),
        ("path,caption,gender\na.wav,A man sings.,robot\n", "no such gender"),
    ],
    ids=["columns", "caption", "file", "times", "value"],
)
def test_wrong_tables_are_refused(tmp_path: Path, text: str, match: str) -> None:
    write(tmp_path, "a.wav")
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InputError, match=match):
        read_manifest(tmp_path / "list.csv")


def test_a_clip_behind_its_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.wav")
    with pytest.raises(InputError, match="behind"):
        read_mono(tmp_path / "a.wav", 8000, 3.0, 4.0)
