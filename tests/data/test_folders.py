"""Users' data sets are read in their published layouts; another layout says what was expected and what is there."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from harmonia.core.errors import InputError
from harmonia.data import mir_st500, msst_songs, msst_stems, musdb_hq, musdb_mp4
from harmonia.media import Audio

RATE = 8000
PARTS = ("mixture", "vocals", "drums", "bass", "other")


def tone(hertz: float, seconds: float = 0.25) -> Audio:
    wave = 0.2 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)
    return Audio(np.stack([wave, wave]).astype(np.float32), RATE)


@pytest.fixture
def hq(tmp_path: Path) -> Path:
    for split, song in (("train", "A - One"), ("train", "B - Two"), ("test", "C - Three")):
        for number, part in enumerate(PARTS):
            tone(100.0 * (number + 1)).write(tmp_path / split / song / f"{part}.wav")
    return tmp_path


def test_musdb_hq(hq: Path) -> None:
    songs = musdb_hq(hq)
    assert [song.name for song in songs] == ["A - One", "B - Two"]
    assert songs[0].stems == ("vocals", "drums", "bass", "other")
    assert np.array_equal(songs[0].read("bass").samples, tone(400.0).samples)
    assert len(musdb_hq(hq, "test")) == 1
    with pytest.raises(InputError, match=r"has no stem 'piano'.*vocals, drums, bass, other"):
        songs[0].read("piano")


def test_musdb_hq_with_a_missing_stem_names_the_song(hq: Path) -> None:
    (hq / "train" / "B - Two" / "bass.wav").unlink()
    with pytest.raises(InputError) as caught:
        musdb_hq(hq)
    assert "'B - Two' is laid out differently" in str(caught.value)
    assert "drums.wav, mixture.wav" in str(caught.value)
    assert "bass.wav" in caught.value.mend


def test_other_folders_are_refused(hq: Path, tmp_path: Path) -> None:
    empty = tmp_path / "train" / "A - One" / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"an empty folder.*folders train and test"):
        musdb_hq(empty)
    with pytest.raises(InputError, match=r"<song>.stem.mp4 in train"):
        musdb_mp4(hq)
    with pytest.raises(InputError, match="nothing of this name"):
        musdb_hq(tmp_path / "nowhere")
    with pytest.raises(InputError, match="a file"):
        msst_songs(hq / "train" / "A - One" / "bass.wav")
    with pytest.raises(InputError, match="no such split"):
        musdb_hq(hq, "valid")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"'test' holds vocals\.wav, piano\.wav"):
        msst_songs(hq, ("vocals", "piano"))
    with pytest.raises(InputError, match="sound files in vocals/"):
        msst_stems(hq)


def test_msst_type_1_adds_the_mixture_where_there_is_none(tmp_path: Path) -> None:
    tone(200.0).write(tmp_path / "song" / "vocals.flac")
    tone(300.0).write(tmp_path / "song" / "other.flac")
    [song] = msst_songs(tmp_path)
    both = song.read("vocals").samples + song.read("other").samples
    assert np.array_equal(song.read("mixture").samples, both)
    tone(300.0, seconds=0.5).write(tmp_path / "song" / "other.flac")
    with pytest.raises(InputError, match="don't fit together"):
        song.read("mixture")


def test_msst_type_2(tmp_path: Path) -> None:
    for stem, count in (("vocals", 2), ("other", 3)):
        for number in range(count):
            tone(200.0).write(tmp_path / stem / f"{number}.wav")
    found = msst_stems(tmp_path)
    assert {stem: len(files) for stem, files in found.items()} == {"vocals": 2, "other": 3}
    assert found["vocals"][0].read().rate == RATE


def test_musdb_mp4_reads_the_right_sound_track(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    rate, path = 44100, tmp_path / "train" / "A - One.stem.mp4"
    path.parent.mkdir()
    with av.open(str(path), "w", format="mp4") as container:
        tracks = [container.add_stream("aac", rate=rate, layout="stereo") for _ in range(5)]
        for number, track in enumerate(tracks):
            wave = 0.3 * np.sin(2 * np.pi * 200 * (number + 1) * np.arange(rate) / rate)
            frame = av.AudioFrame.from_ndarray(
                np.stack([wave, wave]).astype(np.float32), format="fltp", layout="stereo"
            )
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            container.mux(track.encode(frame))
            container.mux(track.encode(None))
    [song] = musdb_mp4(tmp_path)
    assert song.name == "A - One"
    for part, hertz in (("mixture", 200), ("drums", 400), ("bass", 600), ("other", 800), ("vocals", 1000)):
        samples = song.read(part).samples[0, 4096 : 4096 + 22050]
        assert abs(np.argmax(np.abs(np.fft.rfft(samples))) * 2 - hertz) <= 2


def annotated(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "notes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_mir_st500_finds_songs_wherever_they_lie(tmp_path: Path) -> None:
    notes = {str(i): [[0.1, 0.5, 60], [0.5, 0.9, 62.0]] for i in (1, 2, 401, 402)}
    annotation = annotated(tmp_path, notes)
    tone(200.0).write(tmp_path / "audio" / "1.wav")
    tone(200.0).write(tmp_path / "audio" / "train" / "2" / "Mixture.wav")
    tone(200.0).write(tmp_path / "audio" / "test" / "401.flac")
    songs = mir_st500(annotation, tmp_path / "audio")
    assert [song.name for song in songs] == ["1", "2", "401"]
    assert songs[0].notes == ((0.1, 0.5, 60.0), (0.5, 0.9, 62.0))
    assert songs[1].sound.read().seconds == 0.25
    assert [song.name for song in mir_st500(annotation, tmp_path / "audio", "test")] == ["401"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("{", "no JSON"),
        ([1, 2], "maps no song to notes"),
        ({"1": [[0.1, 60]]}, "song '1' have another form"),
        ({"1": 5}, "song '1' have another form"),
        ({"1": [[0.5, 0.1, 60]]}, "impossible note"),
        ({"1": [[0.1, 0.5, 60]]}, "named as in the JSON"),
    ],
)
def test_mir_st500_of_another_form_is_refused(content: object, what: str, tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    with pytest.raises(InputError, match=what):
        mir_st500(annotated(tmp_path, content), tmp_path / "audio")
