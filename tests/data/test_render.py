"""The renderer keeps its word: pitch, times, sums and bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harmonia.core.errors import InputError, MissingDependency
from harmonia.data.render import Manner, corpus, prompts, render_song, sing, voices, write_corpus
from harmonia.data.render.band import Part, Strike
from harmonia.data.render.lyrics import lines
from harmonia.data.render.speakers import speak
from harmonia.data.render.speech import FRAME
from harmonia.data.render.synth import play
from harmonia.data.song import Song
from harmonia.parts.pitch import PitchTracker

FONT = "TimGM6mb"
LINE = "tell me again what the moon said"
PITCHES = [52.0, 55.0, 57.0, 55.0, 52.0, 50.0, 48.0, 52.0]


def measured_f0(samples: np.ndarray, rate: int) -> np.ndarray:
    """F0 as WORLD's DIO hears it, which the renderer doesn't use."""
    pyworld = pytest.importorskip("pyworld")
    raw, times = pyworld.dio(samples.astype(float), rate, f0_floor=60.0, f0_ceil=700.0, frame_period=1000 * FRAME)
    return np.asarray(pyworld.stonemask(samples.astype(float), raw, times, rate))


def held_notes() -> list[tuple[float, float, float]]:
    onsets = 0.4 + 0.6 * np.arange(len(PITCHES))
    return [(float(on), float(on + 0.6), pitch) for on, pitch in zip(onsets, PITCHES)]


@pytest.mark.debian
@pytest.mark.parametrize("voice", ["festival:ked_diphone", "flite:awb"])
def test_held_notes_are_in_tune_and_on_time(voice: str) -> None:
    notes = held_notes()
    sung = sing(LINE, notes, voice, manner=Manner(vibrato=0.0))
    f0 = measured_f0(sung.audio.samples[0], sung.audio.rate)
    off_by, late = [], []
    for onset, offset, pitch in notes:
        middle = f0[int((onset + 0.15) / FRAME) : int((offset - 0.2) / FRAME)]
        middle = middle[middle > 0]
        assert len(middle) > 10
        off_by.extend(1200 * np.log2(middle / (440 * 2 ** ((pitch - 69) / 12))))
        around = f0[int((onset - 0.1) / FRAME) : int((onset + 0.3) / FRAME)]
        near = (around > 0) & (np.abs(1200 * np.log2(np.maximum(around, 1) / 440) - 100 * (pitch - 69)) < 50)
        stretch = near[: round(0.2 / FRAME)][::-1]  # back from 0.1 s into the note
        late.append(0.1 - FRAME * int(np.argmin(stretch)))
    assert np.median(np.abs(off_by)) < 10
    assert np.abs(late).max() < 0.06


@pytest.mark.debian
def test_told_f0_is_the_sounding_f0() -> None:
    sung = sing(LINE, held_notes(), "flite:awb", manner=Manner(vibrato=40.0))
    f0 = measured_f0(sung.audio.samples[0], sung.audio.rate)
    length = min(len(f0), len(sung.f0))
    both = (f0[:length] > 0) & (sung.f0[:length] > 0)
    cents = 1200 * np.log2(f0[:length][both] / sung.f0[:length][both])
    assert both.sum() > 300
    assert np.median(np.abs(cents)) < 5


@pytest.mark.debian
def test_phonemes_are_in_order_and_vowels_start_on_notes() -> None:
    notes = held_notes()
    sung = sing(LINE, notes, "flite:awb")
    starts = [start for start, _, _ in sung.phonemes]
    assert starts == sorted(starts)
    assert all(min(abs(start - onset) for start in starts) < 1e-6 for onset, _, _ in notes)
    assert [symbol for *_, symbol in sung.phonemes][:4] == ["t", "eh", "l", "m"]


@pytest.mark.debian
def test_same_seed_same_bits_and_another_seed_others() -> None:
    first, again, other = (sing(LINE, held_notes(), "flite:awb", seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.audio.samples, again.audio.samples)
    assert not np.array_equal(first.audio.samples, other.audio.samples)


@pytest.mark.debian
def test_a_dash_holds_a_syllable() -> None:
    sung = sing("home -", [(0.3, 0.8, 50.0), (0.8, 1.3, 55.0)], "flite:awb", manner=Manner(vibrato=0.0))
    assert len(sung.syllables) == 1
    f0 = measured_f0(sung.audio.samples[0], sung.audio.rate)
    second = f0[int(0.95 / FRAME) : int(1.1 / FRAME)]
    assert abs(69 + 12 * np.log2(np.median(second[second > 0]) / 440) - 55) < 0.2


@pytest.mark.debian
def test_wrong_number_of_notes_says_how_many() -> None:
    with pytest.raises(InputError, match=r"2 notes, 8 syllables, 0 '-'.*Pass 8 notes"):
        sing(LINE, held_notes()[:2], "flite:awb")


@pytest.mark.parametrize(
    ("notes", "what"),
    [
        ([], "no notes"),
        ([(0.0, 1.0, 50.0), (0.5, 1.5, 52.0)], "note 2 begins before note 1 ends"),
        ([(1.0, 1.0, 50.0)], "note 1 ends before it begins"),
        ([(0.0, float("nan"), 50.0)], "note 1 ends before it begins"),
        ([(0.0, 1.0, 500.0)], "can't be sung"),
        ([(-1.0, 1.0, 50.0)], "note 1 begins before 0 s"),
        ([(0.0, 1e9, 50.0)], "too long"),
    ],
)
def test_bad_melodies_are_refused(notes: list[tuple[float, float, float]], what: str) -> None:
    with pytest.raises(InputError, match=what):
        sing("la", notes)


@pytest.fixture(scope="module")
def song() -> Song:
    return render_song(3, "test", seconds=8.0, voice="flite:rms", font=FONT)


@pytest.mark.debian
def test_the_mixture_is_the_sum_of_the_stems(song: Song) -> None:
    backwards = sum(song.stems[name].samples for name in ("other", "bass", "drums", "vocals"))
    assert np.array_equal(song.mixture.samples, backwards)
    assert np.array_equal(song.mixture.samples, song.stems["vocals"].samples + song.instrumental.samples)
    assert song.mixture.samples.shape == (2, 8 * 44100)
    assert 0.5 < song.mixture.peak < 1


@pytest.mark.debian
def test_a_song_is_bit_reproducible_also_through_files(song: Song, tmp_path: Path) -> None:
    speak.cache_clear()
    again = render_song(3, "test", seconds=8.0, voice="flite:rms", font=FONT)
    read = Song.read(song.write(tmp_path / "song"))
    for other in (again, read):
        for name, stem in song.stems.items():
            assert np.array_equal(stem.samples, other.stems[name].samples)
        assert (song.notes, song.chords, song.beats, song.phonemes, song.lines, song.provenance) == (
            other.notes, other.chords, other.beats, other.phonemes, other.lines, other.provenance,
        )  # fmt: skip
        assert np.array_equal(song.f0, other.f0)


@pytest.mark.debian
@pytest.mark.parametrize("program", [0, 24, 33, 40, 48, 56, 73])
def test_instruments_are_in_tune(program: int) -> None:
    sound = play(Part("other", program, (Strike(0.0, 1.5, 60, 100),)), 33000, 22050, FONT).mean(0)
    pitch = PitchTracker()(sound[2000:], 22050)
    assert abs(np.median(pitch.midi[pitch.voiced]) - 60) < 0.3


@pytest.mark.debian
def test_what_was_played_before_changes_nothing() -> None:
    piano = Part("other", 0, (Strike(0.1, 0.8, 60, 90),))
    first = play(piano, 44100, 44100, FONT)
    play(Part("other", 0, (Strike(0.0, 1.0, 60, 90),)), 44100, 44100, FONT)
    assert np.array_equal(play(piano, 44100, 44100, FONT), first)


@pytest.mark.debian
def test_the_singer_follows_the_notes_of_the_song(song: Song) -> None:
    vocals = song.stems["vocals"]
    f0 = measured_f0(vocals.samples.mean(axis=0), vocals.rate)[: len(song.f0)]
    score = np.zeros(len(f0))
    for onset, offset, pitch in song.notes:
        score[int(onset / FRAME) : int(offset / FRAME)] = 440 * 2 ** ((pitch - 69) / 12)
    sounding = (f0 > 0) & (score > 0) & (song.f0[: len(f0)] > 0)
    cents = np.abs(1200 * np.log2(f0[sounding] / score[sounding]))
    assert np.mean(cents < 50) > 0.85


@pytest.mark.debian
def test_chords_and_beats_fill_the_song(song: Song) -> None:
    for (_, end, _), (start, _, _) in zip(song.chords, song.chords[1:]):
        assert end == pytest.approx(start)
    assert song.chords[-1][1] == pytest.approx(8.0)
    gaps = np.diff([time for time, _ in song.beats])
    assert np.ptp(gaps) < 1e-9
    assert song.provenance.startswith("rendered, not recorded")


@pytest.mark.debian
def test_corpus_is_cached_and_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARMONIA_CACHE", str(tmp_path / "cache"))
    calls = []

    def render(seed: int, split: str, **options: object) -> Song:
        calls.append(seed)
        return render_song(seed, "test", seconds=4.0, voice="flite:rms", font=FONT)

    monkeypatch.setattr("harmonia.data.render.bulk.render_song", render)
    monkeypatch.setattr("harmonia.data.render.bulk.check_installed", lambda split: None)
    first = list(corpus("test", 1, seconds=4.0))
    again = list(corpus("test", 1, seconds=4.0))
    assert calls == [0]
    assert np.array_equal(first[0].mixture.samples, again[0].mixture.samples)
    [folder] = write_corpus(tmp_path / "corpus", "test", 1, seconds=4.0)
    assert sorted(p.name for p in folder.iterdir()) == [
        "instrumental.flac", "mixture.flac", "notes.json", "vocals.flac",
    ]  # fmt: skip


def test_splits_share_nothing() -> None:
    assert not set(voices("train")) & set(voices("test"))
    assert not set(lines("train")) & set(lines("test"))
    speakers = {split: {name.rpartition(":")[2].split("_")[0] for name in voices(split)} for split in ("train", "test")}
    assert speakers["test"] >= {"rms", "slt"}
    assert not speakers["train"] & {"rms", "slt", "cmu"}


@pytest.mark.parametrize("voice", ["festival:kal_diphone", "flite:awb", "espeak:en-us+f2"])
def test_a_missing_program_names_its_packages(voice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    speak.cache_clear()
    with pytest.raises(MissingDependency) as caught:
        speak(voice, "hello")
    assert f"apt-get install {' '.join(voices()[voice].packages)}" in str(caught.value)


def test_a_corpus_names_all_it_needs_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("harmonia.data.render.synth._SOUND_FOLDERS", ())
    with pytest.raises(MissingDependency) as caught:
        next(corpus("test", 1))
    assert caught.value.mend == (
        "Run: apt-get install asterisk-core-sounds-fr-g722 festival festvox-us-slt-hts ffmpeg flite fluidsynth "
        "timgm6mb-soundfont fluid-soundfont-gm."
    )
    with pytest.raises(InputError, match="no such split"):
        write_corpus(Path("nowhere"), "valid", 1)  # type: ignore[arg-type]


def test_missing_prompts_name_their_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("harmonia.data.render.speakers._PROMPTS", tmp_path)
    prompts.cache_clear()
    with pytest.raises(MissingDependency, match="apt-get install asterisk-core-sounds-fr-g722"):
        prompts("asterisk:fr_CA_f_June")


def test_a_missing_soundfont_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    from harmonia.data.render.synth import soundfont

    monkeypatch.delenv("MUSIC_SOUNDFONT", raising=False)
    monkeypatch.setattr("harmonia.data.render.synth._SOUND_FOLDERS", ())
    with pytest.raises(MissingDependency, match="apt-get install fluid-soundfont-gm"):
        soundfont("FluidR3_GM")
    monkeypatch.setenv("MUSIC_SOUNDFONT", "/nowhere/own.sf2")
    with pytest.raises(InputError, match="names no file"):
        soundfont("FluidR3_GM")


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(InputError, match="flite:awb"):
        speak("flite:nobody", "hello")
    with pytest.raises(InputError, match="nothing to say"):
        speak("flite:awb", "  ")
    with pytest.raises(InputError, match="test split has no such voice"):
        render_song(0, "test", voice="flite:awb")
    with pytest.raises(InputError, match="4 to 600"):
        render_song(0, "test", seconds=1.0)
