"""The jobs: a song described, a data set built, a captioner trained, and what bad input says."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import polars
import pytest

from harmonia.audio.s2cap import analysis, measures, speakers, task
from harmonia.audio.s2cap.analysis import clips_of, describe, listen
from harmonia.audio.s2cap.attributes import LEXICON, MANDATORY, parse_attributes
from harmonia.audio.s2cap.builder import StyleDatasetBuilder, faults, read_facts
from harmonia.audio.s2cap.captioner import NOBODY
from harmonia.audio.s2cap.manifest import read_manifest
from harmonia.core.errors import InputError
from harmonia.core.progress import watched
from harmonia.core.task import jobs_in
from harmonia.core.weights import read_metadata
from harmonia.data import demo_truth
from harmonia.media import Audio
from harmonia.parts.sound_stream import SoundSource

JOBS = {job.name: job for job in jobs_in(task)}


class Listener:
    def __init__(self) -> None:
        self.said: list[str] = []

    def step(self, label: str, done: int, total: int | None) -> None: ...

    def say(self, message: str) -> None:
        self.said.append(message)


def known_voice(mixture: Audio) -> Audio:
    """A separator that is right about the demo song and gives other sounds back."""
    whole = demo_truth()
    starts = range(0, whole.mixture.samples.shape[1], whole.mixture.rate // 2)
    pieces = {start: whole.mixture.samples[:, start : start + 500] for start in starts}
    start = next((start for start, piece in pieces.items() if np.array_equal(piece, mixture.samples[:, :500])), None)
    if start is None:
        return mixture
    return Audio(whole.stems["vocals"].samples[:, start : start + mixture.samples.shape[1]], mixture.rate)


def test_caption_is_the_default_and_all_jobs_are_described() -> None:
    assert list(JOBS) == ["caption", "build", "train"]
    for job in JOBS.values():
        assert all(parameter.field.help for parameter in job.parameters)
        assert all(output.field.help for output in job.outputs)


def test_the_demo_song_is_described(tmp_path: Path) -> None:
    outputs = JOBS["caption"].run({"song": demo_truth().mixture.cut(4.0, 10.0), "device": "cpu", "confidence": 0.0})
    frame = outputs["clips"].frame
    for row in frame.iter_rows(named=True):
        assert faults(row["caption"], {name: row[name] for name in LEXICON}) == []
        assert 100 < row["f0_hz"] < 600
        assert all(0 <= row[f"{name}_confidence"] <= 1 for name in LEXICON)
    assert outputs["caption"].text.splitlines() == frame["caption"].to_list()
    files = JOBS["caption"].save(outputs, tmp_path, "song")
    assert [path.name for path in files] == ["song_caption.txt", "song_clips.csv", "song_report.png"]


def test_the_captioner_can_word_it_bound_to_the_same_attributes() -> None:
    song = demo_truth().stems["vocals"].cut(2.0, 8.0)
    outputs = task.caption(SoundSource(song), separation="none", wording="captioner", device="cpu")
    (row,) = outputs["clips"].frame.rows(named=True)
    told = parse_attributes(row["caption"])
    assert told
    assert all(row[name] == value for name, value in told.items())


def test_a_mono_file_of_another_rate_is_taken() -> None:
    song = demo_truth().stems["vocals"].mono().resampled(22050).cut(2.0, 8.0)
    outputs = task.caption(SoundSource(song), separation="none", device="cpu")
    assert outputs["clips"].frame.height == 1


@pytest.mark.parametrize("without", ["age", "age,gender"])
def test_age_and_gender_can_be_left_out(without: str) -> None:
    song = demo_truth().stems["vocals"].cut(2.0, 8.0)
    outputs = task.caption(SoundSource(song), separation="none", without=without, confidence=0.0, device="cpu")  # type: ignore[arg-type]
    for text in outputs["caption"].text.splitlines():
        assert not set(without.split(",")) & set(parse_attributes(text))


@pytest.mark.parametrize("seconds", [0.3, 7.0])
def test_where_nobody_sings_the_result_says_so(seconds: float) -> None:
    listener = Listener()
    with watched(listener):
        outputs = task.caption(SoundSource(Audio(np.zeros(round(seconds * 8000)), 8000)), device="cpu")
    assert outputs["caption"].text == NOBODY
    assert outputs["clips"].frame["caption"].to_list() == [NOBODY]
    assert NOBODY in listener.said


def test_an_instrumental_is_not_given_a_singer() -> None:
    outputs = task.caption(SoundSource(demo_truth().stems["instrumental"].cut(4.0, 10.0)), device="cpu")
    assert outputs["caption"].text == NOBODY


def test_a_song_is_listened_to_in_pieces_as_in_one() -> None:
    song = demo_truth().stems["vocals"]
    three = Audio(np.concatenate([song.samples] * 3, axis=1)[:, : 45 * song.rate], song.rate)
    heard = listen(SoundSource(three), None)
    assert heard.seconds == pytest.approx(45.0, abs=0.01)
    assert np.abs(heard.mix[: 10 * 16000] - song.mono().resampled(16000).samples[0, : 10 * 16000]).max() < 1e-3
    assert all(5 <= end - begin <= 15.01 for begin, end in clips_of(heard, 5.0, 15.0))


def test_describing_takes_memory_of_a_piece_not_of_the_song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (measures, speakers):
        monkeypatch.setattr(module, "PIECE", 2 * 16000)
    monkeypatch.setattr(analysis, "PIECE_S", 2.0)
    voice = demo_truth().stems["vocals"].mono().resampled(16000).cut(4.0, 8.0)
    peaks = []
    for times in (2, 10):
        Audio(np.tile(voice.samples, times), 16000).write(tmp_path / "song.flac")
        tracemalloc.start()
        heard = listen(SoundSource.read(tmp_path / "song.flac"), None)
        described = describe(heard, clips_of(heard, 2.0, 4.0))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(described) >= times
    # What is given back grows: 4 s of song have 400 frames of five numbers.
    assert peaks[1] < 1.25 * peaks[0]


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("songs")
    demo_truth().mixture.cut(0.0, 10.0).write(folder / "one.wav")
    demo_truth().mixture.cut(10.0, 20.0).write(folder / "deep" / "two.wav")
    Audio(np.zeros(16000 * 6), 16000).write(folder / "silent.wav")
    (folder / "broken.mp3").write_bytes(b"no sound at all" * 40)
    return folder


def test_a_data_set_is_built_with_its_checks(songs: Path, tmp_path: Path) -> None:
    (tmp_path / "facts.csv").write_text("file,artist,genre,birth_year\none.wav,Slow Joe,Jazz,1991\n")
    listener = Listener()
    with watched(listener):
        frame = StyleDatasetBuilder(separator=known_voice).build(songs, tmp_path / "set", tmp_path / "facts.csv")
    assert set(frame["song"]) == {"one.wav", "two.wav"}
    assert any("broken.mp3" in line for line in listener.said)
    for row in frame.iter_rows(named=True):
        assert faults(row["caption"], {name: row[name] for name in LEXICON}, ["Slow Joe"]) == []
        assert 5 <= row["end"] <= 30
    assert set(frame.filter(polars.col("song") == "one.wav")["genre"]) == {"jazz"}
    clips = read_manifest(tmp_path / "set" / "captions.csv")
    assert len(clips) == len(frame)
    assert all(set(MANDATORY) <= set(clip.attributes) for clip in clips)
    mix, voice = Audio.read(clips[0].path), Audio.read(clips[0].vocals_path)
    assert mix.samples.shape == voice.samples.shape


def test_own_models_and_captions_take_the_place_of_ours_unless_they_are_wrong(songs: Path, tmp_path: Path) -> None:
    listener = Listener()
    builder = StyleDatasetBuilder(
        separator=known_voice,
        attribute_models={"timbre": lambda mix, voice: "breathy"},
        caption_fn=lambda attributes: "Someone sings.",
    )
    with watched(listener):
        frame = builder.build(songs, tmp_path / "set")
    assert set(frame["timbre"]) == {"breathy"}
    assert all(parse_attributes(text)["timbre"] == "breathy" for text in frame["caption"])
    assert any("unsaid" in line for line in listener.said)
    with pytest.raises(InputError, match="attribute"):
        StyleDatasetBuilder(attribute_models={"colour": lambda mix, voice: "red"}).build(songs, tmp_path / "other")


def test_songs_that_metadata_rules_out_are_left_out(songs: Path, tmp_path: Path) -> None:
    (tmp_path / "facts.csv").write_text("file,birth_year,duration\none.wav,1950,\ntwo.wav,,11.0\n")
    with pytest.raises(InputError, match="nobody sings"):
        StyleDatasetBuilder(separator=known_voice).build(songs, tmp_path / "set", tmp_path / "facts.csv")
    assert not (tmp_path / "set" / "captions.csv").exists()


def test_folders_and_metadata_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no songs"):
        StyleDatasetBuilder().build(tmp_path, tmp_path / "set")
    (tmp_path / "facts.csv").write_text("name\none.wav\n")
    with pytest.raises(InputError, match="names its songs"):
        read_facts(tmp_path / "facts.csv")


def test_levels_are_quantiles_of_each_gender_where_there_are_enough() -> None:
    rows = [
        {"id": str(n), "gender": ("male", "female")[n % 2], "f0_hz": 100.0 + n, "volume_db": -30.0 + n / 10}
        for n in range(40)
    ]
    named = StyleDatasetBuilder()._named(rows)
    for gender in ("male", "female"):
        part = [row["pitch"] for row in named if row["gender"] == gender]
        assert part == ["low"] * 7 + ["normal"] * 6 + ["high"] * 7
    assert [row["volume"] for row in named].count("low") == 13


def test_the_build_job_needs_no_separator_for_voices(songs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "voices"
    folder.mkdir()
    demo_truth().stems["vocals"].cut(2.0, 9.0).write(folder / "v.wav")
    outputs = JOBS["build"].run(
        {"folder": folder, "dataset": str(tmp_path / "set"), "separation": "none", "device": "cpu"}
    )
    assert outputs["captions"].frame.height == 1
    assert (tmp_path / "set" / "captions.csv").is_file()
    assert len(JOBS["build"].save(outputs, tmp_path, "x")) == 2


def test_training_from_a_manifest_gives_weights_that_caption(tmp_path: Path) -> None:
    rows = ["path,caption,vocals_path"]
    for number in range(3):
        for stem, suffix in (("mixture", ""), ("vocals", "_v")):
            demo_truth().sound(stem).cut(3.0 + number, 5.0 + number).write(tmp_path / f"{number}{suffix}.flac")
        rows.append(f"{number}.flac,A woman sings softly.,{number}_v.flac")
    (tmp_path / "list.csv").write_text("\n".join(rows) + "\n")
    options = {
        "manifest": tmp_path / "list.csv",
        "held_out": tmp_path / "list.csv",
        "steps": 2,
        "batch": 2,
        "device": "cpu",
        "keep": str(tmp_path / "run"),
    }
    outputs = JOBS["train"].run(options)
    path = outputs["weights"].write(tmp_path / "captioner.safetensors")
    made = json.loads(read_metadata(path)["made"])
    assert made["clips"] == 3
    assert made["scores"]["step"] == 2
    voice = SoundSource(demo_truth().stems["vocals"].cut(3.0, 5.0))
    again = task.caption(voice, weights=str(path), separation="none", device="cpu")
    assert again["caption"].text
    with pytest.raises(InputError):
        JOBS["train"].run({**options, "manifest": tmp_path / "run"})
