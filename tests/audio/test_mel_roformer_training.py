"""Stems on disk, remixes, losses, and both trainers."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from harmonia.audio.mel_roformer import MelBandRoformer, MelBandRoformerConfig
from harmonia.audio.mel_roformer.stems import Remix, Stems, read_stems
from harmonia.audio.mel_roformer.training import (
    FAST_LOSS,
    SPEC_WINDOWS,
    SeparationLoss,
    separation_scores,
    train_separator,
    train_transcriber,
)
from harmonia.audio.mel_roformer.transcription import MelodyConfig, MelodyNetwork
from harmonia.core.errors import InputError
from harmonia.media import Audio
from harmonia.parts.training import Plan

RATE = 8000
CONFIG = MelBandRoformerConfig(
    sample_rate=RATE, channels=2, n_fft=512, hop_length=160, num_bands=8, dim=8, depth=1, heads=1, head_dim=8,
    mask_depth=1, mask_expansion=1,
)  # fmt: skip


def song(seed: int, seconds: float = 3.0) -> Stems:
    """A low hum under a high whistle, with the notes of the whistle."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    whistle = 0.3 * np.sin(2 * np.pi * 880 * time) * (time > 1.0)
    hum = 0.3 * np.sin(2 * np.pi * 110 * time + random.uniform(0, 6))
    return Stems.of(f"song {seed}", np.stack([whistle] * 2), np.stack([hum] * 2), [(1.0, seconds, 81)])


def network() -> MelBandRoformer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MelBandRoformer(CONFIG)


def write(path: Path, sound: np.ndarray) -> None:
    Audio((sound / 32768).astype(np.float32), RATE).write(path)


def test_three_layouts_give_the_same_songs(tmp_path: Path) -> None:
    songs = [song(0), song(1)]
    for each in songs:
        folder = tmp_path / "first" / each.name
        write(folder / "vocals.wav", each.vocals)
        write(folder / "instrumental.wav", each.instrumental)
        (folder / "notes.json").write_text(json.dumps({"notes": each.notes.tolist()}))
        write(tmp_path / "second" / "vocals" / f"{each.name}.flac", each.vocals)
        write(tmp_path / "second" / "other" / f"{each.name}.flac", each.instrumental)
        musdb = tmp_path / "third" / "train" / each.name
        half = each.instrumental // 2
        parts = {"vocals": each.vocals, "drums": half, "bass": each.instrumental - half, "other": 0 * half}
        for stem, sound in (parts | {"mixture": each.vocals + each.instrumental}).items():
            write(musdb / f"{stem}.wav", sound)
    for layout in ("first", "second", "third"):
        read = read_stems(tmp_path / layout, RATE, 2)
        assert [each.name for each in read] == ["song 0", "song 1"]
        for ours, truth in zip(read, songs, strict=True):
            assert np.abs(ours.vocals.astype(int) - truth.vocals).max() <= 1
            assert np.abs(ours.instrumental.astype(int) - truth.instrumental).max() <= 2
    assert read_stems(tmp_path / "first", RATE, 2)[0].notes.tolist() == [[1.0, 3.0, 81.0]]
    assert len(read_stems(tmp_path / "first", RATE, 1, limit=1)) == 1
    assert read_stems(tmp_path / "first", 4000, 1)[0].vocals.shape == (1, 12000)


@pytest.mark.debian
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_musdb_stem_files_are_read_through_ffmpeg(tmp_path: Path) -> None:
    each = song(0)
    command = ["ffmpeg", "-v", "error"]
    for stem in ("mixture", "drums", "bass", "other", "vocals"):
        sound = each.vocals if stem == "vocals" else each.instrumental
        write(tmp_path / f"{stem}.wav", sound)
        command += ["-i", str(tmp_path / f"{stem}.wav")]
    maps = [word for n in range(5) for word in ("-map", str(n))]
    (tmp_path / "set").mkdir()
    subprocess.run([*command, *maps, "-c:a", "alac", str(tmp_path / "set" / "a.stem.mp4")], check=True)
    [read] = read_stems(tmp_path / "set", RATE, 2)
    assert read.name == "a"
    assert np.abs(read.vocals.astype(int) - each.vocals)[:, : each.vocals.shape[1]].max() <= 2


def test_folders_that_are_no_data_set_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no songs"):
        read_stems(tmp_path, RATE, 2)
    write(tmp_path / "a" / "vocals.wav", song(0).vocals)
    with pytest.raises(InputError, match="no songs"):
        read_stems(tmp_path, RATE, 2)
    write(tmp_path / "a" / "mixture.wav", song(0).vocals)
    (tmp_path / "a" / "notes.json").write_text("{")
    with pytest.raises(InputError, match="notes"):
        read_stems(tmp_path, RATE, 2)


def test_remixes_are_reproducible_sums_with_moved_notes() -> None:
    remix = Remix([song(0), song(1)], RATE, RATE, batch=8, swap=0.0, mute=0.3)
    mixture, vocals, notes = remix.draw(torch.Generator().manual_seed(3))
    again, _, _ = remix.draw(torch.Generator().manual_seed(3))
    assert torch.equal(mixture, again)
    assert mixture.shape == vocals.shape == (8, 2, RATE)
    assert mixture.dtype == torch.float32
    for voice, rows in zip(vocals, notes, strict=True):
        assert voice.any() == bool(len(rows))
        for onset, offset, midi in rows:
            assert 0 <= onset < offset <= 1.0
            heard = voice[0, int(onset * RATE) + 50 : int(offset * RATE) - 50].numpy()
            if len(heard) > 2000:
                spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard)), 1 << 16))
                hertz = spectrum.argmax() * RATE / (1 << 16)
                assert 69 + 12 * np.log2(hertz / 440) == pytest.approx(midi, abs=0.1)


def test_a_song_shorter_than_the_example_is_padded() -> None:
    mixture, vocals, _ = Remix([song(0, 0.5)], RATE, RATE, batch=2).draw(torch.Generator().manual_seed(0))
    assert mixture.shape == vocals.shape == (2, 2, RATE)


def test_separation_loss_is_its_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    estimate, target = torch.randn(2, 2, 2, 9000, generator=generator)
    expected = F.l1_loss(estimate, target)
    for window in SPEC_WINDOWS:
        transform = [
            torch.stft(
                signal.flatten(0, 1), max(window, 2048), 147, window, torch.hann_window(window), return_complex=True
            )
            for signal in (estimate, target)
        ]
        expected = expected + (transform[0] - transform[1]).abs().mean()
    assert SeparationLoss()(estimate, target) == pytest.approx(float(expected), rel=1e-5)
    assert SeparationLoss(weight=0.0)(estimate, target) == pytest.approx(float(F.l1_loss(estimate, target)))


def test_separator_learns_hum_from_whistle_and_resumes(tmp_path: Path) -> None:
    songs = [song(number) for number in range(3)]
    plan = Plan(steps=40, learning_rate=1e-2, warmup=5, ema_decay=0.9, evaluate_every=20, checkpoint_every=20)
    model = network()
    trained = train_separator(
        model, songs, plan, seconds=0.5, batch=2, held_out=songs[:1], loss=FAST_LOSS, folder=tmp_path, device="cpu"
    )
    assert trained.history[-1]["gain"] > 3
    assert separation_scores(trained.model, songs[:1])["gain"] == pytest.approx(trained.history[-1]["gain"], abs=1e-4)
    again = train_separator(network(), songs, plan, seconds=0.5, batch=2, loss=FAST_LOSS, folder=tmp_path, device="cpu")
    assert again.history == trained.history


def test_transcriber_trains_from_a_separator_and_needs_notes() -> None:
    songs = [song(number) for number in range(2)]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MelodyNetwork(MelodyConfig(CONFIG, band_dim=4, hidden=16))
    plan = Plan(steps=12, learning_rate=5e-3, warmup=2, ema_decay=0.5, evaluate_every=4)
    trained = train_transcriber(model, songs, plan, seconds=1.0, batch=2, held_out=songs[:1], device="cpu")
    losses = [record["loss"] for record in trained.history]
    assert losses[-1] < 0.8 * losses[0]
    assert set(trained.history[-1]) >= {"con", "conp", "conpoff"}
    silent = Stems.of("x", songs[0].vocals / 32768, songs[0].instrumental / 32768)
    with pytest.raises(InputError, match="notes"):
        train_transcriber(model, [silent], plan, device="cpu")
