"""Loaders of labelled sequences: layouts made here by hand, and what a wrong one says."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.core.errors import InputError
from harmonia.data import long_range_arena as arena
from harmonia.data.labelled_sequences import spoken_commands, ts_file
from harmonia.data.render.digits import WORDS, render_digits
from harmonia.media import Audio, Image


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_ts_files_of_numbers(tmp_path):
    found = ts_file(write(tmp_path / "a.ts", "# BIDMC\n@targetlabel true\n@data\n1,2:3,4:71.5\n\n5,6:7,8:60\n"))
    assert found.is_class is False
    assert found.labels.tolist() == [71.5, 60.0]
    assert found.values[1].tolist() == [[5, 7], [6, 8]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3\n", "no .ts file with labels"),
        ("@classLabel true a\n@data\n", "no sequences"),
        ("@classLabel true a\n@timestamps true\n@data\n", "timestamps"),
        ("@classLabel true a\n@data\n1,x:a\n", "line 3"),
        ("@classLabel true a\n@data\n1,2:3,4,5:a\n", "line 3"),
        ("@classLabel true a\n@data\n1,2:a\n1,?:a\n", "line 4"),
        ("@classLabel true a\n@data\n1,2:a\n1,2:3,4:a\n", "line 4"),
    ],
    ids=str,
)
def test_bad_ts_files_are_refused(text, message, tmp_path):
    with pytest.raises(InputError, match=message):
        ts_file(write(tmp_path / "bad.ts", text))


def test_speech_commands_layout(tmp_path):
    for word in ("yes", "no", "_background_noise_"):
        (tmp_path / word).mkdir()
        for i in range(3):
            Audio(np.ones(100) * 0.1, 1000).write(tmp_path / word / f"{i}.wav")
    with pytest.raises(InputError, match="which clips are for testing"):
        spoken_commands(tmp_path, "train")
    write(tmp_path / "testing_list.txt", "yes/0.wav\nno/1.wav\n")
    write(tmp_path / "validation_list.txt", "yes/1.wav\n")
    assert len(spoken_commands(tmp_path)) == 6
    assert [(c.word, c.path.name) for c in spoken_commands(tmp_path, "test")] == [("no", "1.wav"), ("yes", "0.wav")]
    assert len(spoken_commands(tmp_path, "train")) == 3
    assert spoken_commands(tmp_path, "validation", words=["yes"])[0].read().rate == 1000
    with pytest.raises(InputError, match="no such words"):
        spoken_commands(tmp_path, words=["maybe"])
    with pytest.raises(InputError, match="needs a folder"):
        spoken_commands(tmp_path / "nowhere")


def test_listops(tmp_path):
    write(tmp_path / "listops" / "basic_val.tsv", "Source\tTarget\n( ( ( [MAX 4 ) 3 ) ] )\t4\n")
    found = arena.listops(tmp_path, "validation")
    assert found.values[0].tolist() == [2, 10, 9, 5]
    assert (found.labels.tolist(), found.vocabulary) == ([4], 16)
    write(tmp_path / "listops" / "basic_train.tsv", "Source\tTarget\n[MEAN 4 ]\t4\n")
    with pytest.raises(InputError, match="line 2"):
        arena.listops(tmp_path)
    with pytest.raises(InputError, match="not the archive"):
        arena.listops(tmp_path, "test")


def test_retrieval_and_text(tmp_path):
    write(tmp_path / "aan" / "new_aan_pairs.eval.tsv", "1.0\ta\tb\tone\ttwo!\n")
    first, second = arena.retrieval(tmp_path, "validation", length=3)
    assert bytes((first.values[0] - 1).tolist()) == b"one"
    assert len(second.values[0]) == 3
    for part in ("train", "test"):
        write(tmp_path / part / "pos" / "0.txt", "a" * 20)
        write(tmp_path / part / "neg" / "0.txt", "ab")
    found = arena.text(tmp_path, "test")
    # a is common, b is not, and the end is the last symbol.
    assert [each.tolist() for each in found.values] == [[2, 1, 3], [2] * 20 + [3]]
    assert found.labels.tolist() == [0, 1]
    with pytest.raises(InputError, match="IMDB"):
        arena.text(tmp_path / "aan")


def test_pictures_as_sequences(tmp_path):
    folder = tmp_path / "pathfinder" / "pathfinder32" / "curv_contour_length_14"
    write(folder / "metadata" / "0.npy", "imgs/0 a.png 0 1 x\n")
    (folder / "imgs" / "0").mkdir(parents=True)
    Image(np.full((32, 32), 255, dtype=np.uint8)).write(folder / "imgs" / "0" / "a.png")
    ((pixels, label),) = arena.pathfinder(tmp_path)
    assert (pixels.shape, float(pixels.min()), label) == ((1024,), 1.0, 1)
    with pytest.raises(InputError, match="no Pathfinder"):
        next(arena.pathfinder(tmp_path, 64))
    raw = np.zeros((2, 3073), np.uint8)
    raw[:, 0], raw[0, 1], raw[0, 1025] = (3, 7), 200, 100
    raw.tofile(tmp_path / "test_batch.bin")
    colours, labels = arena.cifar10(tmp_path, "test")
    assert colours[0, 0].tolist() == [200, 100, 0]
    assert labels.tolist() == [3, 7]
    grey, _ = arena.image(tmp_path, "test")
    assert grey[0, 0] == pytest.approx(((0.299 * 200 + 0.587 * 100) / 255 - 122.6 / 255) / (61 / 255), rel=1e-5)
    with pytest.raises(InputError, match="binary version"):
        arena.cifar10(tmp_path)


@pytest.mark.debian
def test_spoken_digits_are_what_they_say(tmp_path, monkeypatch):
    monkeypatch.setenv("HARMONIA_CACHE", str(tmp_path))
    first, again = (render_digits("test", 12, 2000) for _ in range(2))
    np.testing.assert_array_equal(first.clips, again.clips)
    assert first.labels.tolist() == [i % len(WORDS) for i in range(12)]
    assert first.clips.shape == (12, 2000)
    assert float(np.abs(first.clips).max()) <= 1
    assert not {voice.partition("+")[2] for voice in first.voices} & {
        voice.partition("+")[2] for voice in render_digits("train", 12, 2000).voices
    }
    with pytest.raises(InputError):
        render_digits("train", 0)
