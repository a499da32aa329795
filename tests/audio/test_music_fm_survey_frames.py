"""Tasks over time: decoders against closed forms, the probe against a refit, layouts of public data sets."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.audio.music_fm_survey.beats import BEATS_BPM, DOWNBEATS_BPM, track_beats
from harmonia.audio.music_fm_survey.frame_encoders import FRAME_ENCODERS, FrameEncoder, load_frame_encoders
from harmonia.audio.music_fm_survey.frame_job import frames
from harmonia.audio.music_fm_survey.frame_probe import frame_table, probe_frames
from harmonia.audio.music_fm_survey.frame_songs import true_songs
from harmonia.audio.music_fm_survey.frame_tasks import Beats, Chords, Melody, Notes, TrueSong, Vocals, frame_tasks
from harmonia.core.errors import InputError
from harmonia.media import Audio, Score
from harmonia.parts.metrics import sdr
from harmonia.parts.probing.ridge import ALPHAS

RATE = 22050


def tone(hz: float, seconds: float = 4.0) -> Audio:
    return Audio(0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE), RATE)


def piece(number: int, seconds: float = 8.0) -> TrueSong:
    """A click on each beat, and a note on it whose pitch is drawn; all truth exact."""
    rng = np.random.default_rng(number)
    gap = float(rng.uniform(0.35, 0.8))
    times = np.arange(0.1, seconds - 0.3, gap)
    clock = np.arange(round(seconds * RATE)) / RATE
    voice, clicks, notes = np.zeros(len(clock)), np.zeros(len(clock)), []
    for time in times:
        pitch = int(rng.choice([50, 55, 57, 62]))
        inside = (clock >= time) & (clock < time + 0.8 * gap)
        voice[inside] += 0.2 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * clock[inside])
        click = (clock >= time) & (clock < time + 0.02)
        clicks[click] += 0.3 * rng.normal(size=int(click.sum()))
        notes.append((float(time), float(time + 0.8 * gap), float(pitch)))
    beats = tuple((float(time), i % 4 + 1) for i, time in enumerate(times))
    return TrueSong(
        f"piece {number}",
        lambda: Audio(voice + clicks, RATE),
        seconds,
        beats=beats,
        melody=tuple(notes),
        notes=tuple(notes),
        chords=tuple((on, off, ("C:maj", "A:min")[int(pitch) % 2]) for on, off, pitch in notes),
        vocals=lambda: Audio(voice, RATE),
    )


PIECES = [piece(number) for number in range(6)]


# ---------------------------------------------------------------------------------------------------------------- beats


@settings(max_examples=15, deadline=None)
@given(bpm=st.floats(60, 200), first=st.floats(0.1, 0.4), scale=st.floats(0.01, 10), shift=st.floats(-3, 3))
def test_steady_beats_are_found_at_any_tempo_and_on_any_scale(bpm, first, scale, shift):
    times = np.arange(first, 7.9, 60 / bpm)
    song = TrueSong("steady", lambda: tone(440), 8.0, beats=tuple((float(time), 1) for time in times))
    found = track_beats(scale * Beats().target(song)[:, 0] + shift, 50.0)
    hits = sum(np.abs(found - time).min() < 0.021 for time in times)
    assert hits >= len(times) - 2
    assert abs(len(found) - len(times)) <= 2


def test_beats_that_are_not_heard_are_filled_in_and_stray_ones_left_out():
    activation = np.zeros(500)
    activation[10::25] = 1
    activation[10 + 8 * 25] = 0
    activation[10 + 4 * 25 + 12] = 1
    np.testing.assert_allclose(track_beats(activation, 50.0) * 50, np.arange(10, 500, 25), atol=1.01)


def test_beats_follow_a_change_of_tempo():
    times = np.concatenate([np.arange(0.2, 6, 0.5), np.arange(6.2, 12, 0.4)])
    activation = np.zeros(600)
    activation[np.round(times * 50).astype(int)] = 1
    found = track_beats(activation, 50.0)
    assert np.mean([np.abs(found - time).min() < 0.05 for time in times]) > 0.9


def test_beats_of_nothing_and_of_nonsense():
    assert len(track_beats(np.zeros(0), 50.0)) == 0
    assert np.isfinite(track_beats(np.zeros(200), 50.0)).all()
    with pytest.raises(InputError, match="finite frames"):
        track_beats(np.full(100, np.nan), 50.0)
    with pytest.raises(InputError, match="two frames a beat"):
        track_beats(np.zeros(100), 4.0)


# ---------------------------------------------------------------------------------------------------------------- tasks


@pytest.mark.parametrize("task", frame_tasks(), ids=lambda task: task.name)
def test_the_truth_scores_high_and_better_than_its_reverse(task):
    song = PIECES[0]
    assert task.known(song)
    assert not task.known(TrueSong("unknown", song.read, song.seconds))
    truth = np.asarray(task.target(song), dtype=float)
    assert truth.shape[0] == task.count(song)
    assert 0 <= truth.min() <= truth.max() <= 1
    best = task.score(song, truth)
    assert best > (9.0 if task.name == "vocals" else 0.8)
    assert best > task.score(song, truth[::-1])


def test_scores_do_not_depend_on_the_scale_of_beat_activations():
    truth = Beats().target(PIECES[1])
    assert Beats().score(PIECES[1], truth) == Beats().score(PIECES[1], 0.2 * truth - 1)


def test_downbeats_are_every_fourth_beat():
    every, first = Beats(), Beats(downbeats=True)
    assert (first.target(PIECES[0]) == 1).sum() == -(-(every.target(PIECES[0]) == 1).sum() // 4)
    assert BEATS_BPM[1] > DOWNBEATS_BPM[1]


CHORDS = [(0.0, 1.0, "C:maj"), (1.0, 2.0, "A:min7"), (2.0, 3.0, "G:7"), (3.0, 4.0, "D:sus4")]


def test_chords_are_told_by_their_third():
    song = replace(PIECES[0], seconds=4.0, chords=tuple(CHORDS))
    classes = Chords().target(song).argmax(1)
    np.testing.assert_array_equal(classes.reshape(4, -1)[:, 5], [0, 12 + 9, 7, 24])
    with pytest.raises(InputError, match="no chord label"):
        Chords().target(replace(song, chords=((0.0, 1.0, "H:maj"),)))


def test_melody_equals_mir_eval_by_hand():
    song, task = PIECES[2], Melody()
    truth = task.target(song)
    transposed = np.roll(truth[:, 1:], 1, axis=1)
    shifted = np.concatenate([truth[:, :1], transposed], 1)
    assert task.score(song, truth) == pytest.approx(1.0)
    assert task.score(song, shifted) == pytest.approx(truth[:, 0].mean(), abs=0.01)


def test_notes_are_runs_of_frames():
    roll = np.zeros((50, 88))
    roll[5:15, 39] = 1
    roll[20:30, 43] = 1
    roll[40, 50] = 1
    found = Notes().decoded(roll)
    assert found == [(0.2, 0.6, 60.0), (0.8, 1.2, 64.0)]


def test_an_ideal_mask_separates_and_a_full_one_gives_the_mixture():
    task, song = Vocals(), PIECES[3]
    voice, rest = task._parts(song)
    ones = np.ones((task.count(song), task.bands))
    mixture = task.separated(voice + rest, ones)
    inner = slice(4096, -4096)
    assert sdr(voice[inner] + rest[inner], mixture[inner]) > 12  # the filters leave out the ends of the spectrum
    assert task.score(song, task.target(song)) > task.score(song, ones)
    silent = replace(song, vocals=lambda: Audio(np.zeros(8 * RATE), RATE))
    assert np.isnan(task.score(silent, ones))


# ------------------------------------------------------------------------------------------------------ representations


def test_frames_lie_where_they_sound():
    sound = np.zeros(3 * RATE)
    sound[round(1.5 * RATE) : round(1.52 * RATE)] = np.random.default_rng(0).normal(size=round(0.02 * RATE))
    for name in ("log-mel", "mert-random"):
        rows = load_frame_encoders([name])[name].on_grid(Audio(sound, RATE), 50.0, 150)
        change = np.abs(rows - np.median(rows, 0)).sum(1)
        assert abs(change.argmax() / 50 - 1.51) < 0.06, name


def test_long_sounds_are_read_in_windows_and_short_ones_filled():
    encoder = FrameEncoder("samples", 1000, 0.001, 0.0, lambda sound: sound[0][:, None])
    ramp = Audio(np.arange(70_000) / 70_000, 1000)
    for step in (1, 4):
        found = encoder.on_grid(ramp, 1000 / step, 70_000 // step)[:, 0]
        np.testing.assert_allclose(found, np.arange(0, 70_000, step) / 70_000, atol=1e-6)
    assert encoder.on_grid(Audio(np.ones(3), 1000), 50.0, 20).shape == (20, 1)
    with pytest.raises(InputError, match="not finite"):
        replace(encoder, frames=lambda sound: sound[0][:, None] * np.nan).on_grid(ramp, 50.0, 10)


def test_unknown_representations_are_refused():
    with pytest.raises(InputError, match="no such representation"):
        load_frame_encoders(["ears"])
    assert set(load_frame_encoders(["cqt"])) == {"cqt"} <= set(FRAME_ENCODERS)


# ---------------------------------------------------------------------------------------------------------------- probe


def oracle(task) -> FrameEncoder:
    """A representation that knows the truth of a task, found by the sound's content, and four columns of noise."""

    def read(sound):
        import torch

        heard = sound[0].numpy()
        song = next(s for s in PIECES if np.allclose(s.read().samples[0], heard, atol=1e-6))
        truth = np.asarray(task.target(song), dtype=np.float32)
        noise = np.random.default_rng(len(song.beats)).normal(size=(len(truth), 4)).astype(np.float32)
        return torch.from_numpy(np.concatenate([truth, noise], 1))

    return FrameEncoder("truth", RATE, 1 / task.rate, 0.0, read)


@pytest.mark.parametrize("task", [Beats(), Notes()], ids=lambda task: task.name)
def test_a_representation_that_holds_the_truth_reaches_the_ceiling(task):
    deaf = FrameEncoder("noise", RATE, 1 / task.rate, 0.0, lambda sound: oracle(task).frames(sound)[:, -4:])
    knows, guesses = probe_frames(task, PIECES, {"truth": oracle(task), "noise": deaf}, folds=3, resamples=50)
    assert knows.score.score == pytest.approx(knows.ceiling, abs=0.05)
    assert guesses.score.score < knows.score.score - 0.3
    assert knows.floor == guesses.floor < knows.ceiling
    assert knows.score.low <= knows.score.score <= knows.score.high
    assert frame_table([knows, guesses]).frame["encoder"].to_list() == ["truth", "noise"]


def test_the_probe_is_ridge_regression_without_the_song(monkeypatch):
    """Against a refit by hand with a single penalty, for the songs of one fold."""
    from harmonia.audio.music_fm_survey import frame_probe

    monkeypatch.setattr(frame_probe, "ALPHAS", (ALPHAS[3],))
    rng = np.random.default_rng(0)
    features = [rng.normal(size=(40, 6)) for _ in range(6)]
    targets = [rng.normal(size=(40, 2)) for _ in range(6)]
    fold = np.array([0, 1, 2, 0, 1, 2])
    predicted = frame_probe._predicted(features, targets, fold)
    seen = np.concatenate([features[i] for i in (1, 2, 4, 5)])
    aim = np.concatenate([targets[i] for i in (1, 2, 4, 5)])
    z, mean, scale = (seen - seen.mean(0)) / seen.std(0), seen.mean(0), seen.std(0)
    weights = np.linalg.solve(z.T @ z + len(z) * ALPHAS[3] * np.eye(6), z.T @ (aim - aim.mean(0)))
    np.testing.assert_allclose(predicted[3], (features[3] - mean) / scale @ weights + aim.mean(0), atol=1e-9)


def test_a_published_test_set_is_what_is_scored():
    songs = [replace(song, test=number >= 4) for number, song in enumerate(PIECES)]
    [cell] = probe_frames(Beats(), songs, load_frame_encoders(["log-mel"]), folds=3, resamples=50)
    assert len(cell.songs) == 2
    assert cell.score.score > cell.floor
    with pytest.raises(InputError, match="fewer songs than folds"):
        probe_frames(Beats(), songs, {}, folds=5)
    with pytest.raises(InputError, match="fewer songs than folds"):
        probe_frames(Chords(), [replace(song, chords=()) for song in PIECES], {}, folds=3)


# -------------------------------------------------------------------------------------------------------------- layouts


def write(path: Path, song: TrueSong) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, song.read().samples[0], RATE)


def test_gtzan_rhythm(tmp_path):
    for number, song in enumerate(PIECES):
        write(tmp_path / "genres" / "rock" / f"rock.{number}.wav", song)
        rows = {"beat": song.beats, "downbeat": [beat for beat in song.beats if beat[1] == 1]}
        annotations = [
            {"namespace": "beat", "sandbox": {"annotation_type": kind}, "data": [{"time": time} for time, _ in told]}
            for kind, told in rows.items()
        ]
        if number == 1:  # older files hold columns
            for each in annotations:
                each["data"] = {"time": [row["time"] for row in each["data"]]}
        folder = tmp_path / "GTZAN-Rhythm_v2_ismir2015_lbd" / "jams"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"rock.{number}.wav.jams").write_text(json.dumps({"annotations": annotations}))
    for split, numbers in {"train": (0, 1, 2), "valid": (3,), "test": (4, 5)}.items():
        (tmp_path / f"{split}_filtered.txt").write_text("".join(f"rock/rock.{n}.wav\n" for n in numbers))
    songs = true_songs(tmp_path, "gtzan-beats", seconds=8.0)
    assert [song.test for song in songs] == [False] * 4 + [True] * 2
    for song, truth in zip(songs, PIECES):
        assert song.beats == truth.beats
    out = frames(tmp_path, layout="gtzan-beats", encoders=["log-mel"], seconds=8.0, folds=3)
    assert out["scores"].frame["task"].to_list() == ["beats", "downbeats"]
    assert out["scores"].frame["songs"].to_list() == [2, 2]
    (tmp_path / "test_filtered.txt").unlink()
    with pytest.raises(InputError, match="lacks test_filtered"):
        true_songs(tmp_path, "gtzan-beats")


def test_maestro(tmp_path):
    rows = []
    for number, song in enumerate(PIECES[:2]):
        write(tmp_path / "2018" / f"{number}.wav", song)
        Score.from_notes(song.notes).write(tmp_path / "2018" / f"{number}.mid")
        files = {"audio_filename": f"2018/{number}.wav", "midi_filename": f"2018/{number}.mid"}
        rows.append({"split": ("train", "test")[number], **files})
    with (tmp_path / "maestro-v3.0.0.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    songs = true_songs(tmp_path, "maestro", seconds=5.0)
    assert [song.test for song in songs] == [False, True]
    assert songs[0].read().seconds == pytest.approx(5.0)
    np.testing.assert_allclose(songs[0].notes, PIECES[0].notes, atol=0.01)
    (tmp_path / "maestro-v3.0.0.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="lacks split"):
        true_songs(tmp_path, "maestro")


def test_musdb(tmp_path):
    for split in ("train", "test"):
        for name in ("mixture", "vocals", "drums", "bass", "other"):
            write(tmp_path / split / "A song" / f"{name}.wav", PIECES[0])
    train, test = true_songs(tmp_path, "musdb18", seconds=6.0)
    assert (train.test, test.test) == (False, True)
    assert test.vocals is not None
    assert test.vocals().seconds == pytest.approx(6.0)


def test_chords_beside_sounds_and_in_lines_of_json(tmp_path):
    for number, song in enumerate(PIECES[:3]):
        write(tmp_path / f"{number}.wav", song)
        lines = [f"{on} {off} {label}" for on, off, label in song.chords]
        (tmp_path / f"{number}.lab").write_text("\n".join(lines))
    assert [song.chords for song in true_songs(tmp_path, "chords")] == [song.chords for song in PIECES[:3]]
    assert len(true_songs(tmp_path, "chords", most=2)) == 2
    told = [{"start_time": on, "end_time": off, "chord_str": label} for on, off, label in PIECES[0].chords]
    (tmp_path / "Chords1217.test.jsonl").write_text(json.dumps({"audio_path": "0.wav", "label": told}))
    assert [song.test for song in true_songs(tmp_path, "chords")] == [False] * 3 + [True]
    (tmp_path / "0.lab").write_text("0.0 one C\n")
    with pytest.raises(InputError, match=r"line 1 of 0\.lab"):
        true_songs(tmp_path, "chords")
    (tmp_path / "1.wav").unlink()
    (tmp_path / "0.lab").unlink()
    with pytest.raises(InputError, match="lacks its sound"):
        true_songs(tmp_path, "chords")


def test_what_does_not_go_together_is_refused(tmp_path):
    with pytest.raises(InputError, match="go together"):
        frames(tmp_path)
    with pytest.raises(InputError, match="go together"):
        frames(None, layout="maestro")
    with pytest.raises(InputError, match="no such task"):
        frames(tmp_path, layout="maestro", tasks=["beats"])
    with pytest.raises(InputError, match="maestro-v"):
        true_songs(tmp_path, "maestro")
    with pytest.raises(InputError, match="is a folder"):
        true_songs(tmp_path / "none", "chords")
    with pytest.raises(InputError, match="holds no songs"):
        true_songs(tmp_path, "chords")
    with pytest.raises(InputError, match="not read from a folder"):
        true_songs(tmp_path, "rendered")
