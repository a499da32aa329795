"""Decoding, targets, the melody network, and the estimator."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from harmonia.audio import MelBandRoformer, MelBandRoformerConfig, VocalMelodyTranscriber
from harmonia.audio.mel_roformer.decoding import Decoding, NoteList
from harmonia.audio.mel_roformer.transcription import NONE, MelodyConfig, MelodyLoss, MelodyNetwork, targets, transcribe
from harmonia.core.errors import InputError, WeightsError
from harmonia.core.weights import write_safetensors
from harmonia.data import demo_truth
from harmonia.media import Audio, Score
from harmonia.parts.metrics import note_f1

BACKBONE = MelBandRoformerConfig(
    sample_rate=8000, channels=1, n_fft=512, hop_length=80, num_bands=8, dim=8, depth=1, heads=1, head_dim=8
)


def network(seed: int = 0, **backbone: int) -> MelodyNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = MelBandRoformerConfig(**{**vars(BACKBONE), **backbone})
        return MelodyNetwork(MelodyConfig(config, band_dim=4, hidden=16)).eval()


def certain(notes: list[tuple[float, float, int]], frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The probabilities of a network that knows the notes."""
    times = np.arange(frames) * 0.02
    begins, sounds = targets(np.array(notes, dtype=float).reshape(-1, 3), times)
    onset = np.where(begins == NONE, 0.01, 0.5)
    for start, _, _ in notes:
        onset[np.abs(times - start).argmin()] = 0.95
    pitch = np.full((frames, NONE + 1), 0.001)
    pitch[np.arange(frames), sounds] = 0.9
    return onset, pitch, times


@pytest.mark.parametrize(
    "notes",
    [
        [(0.2, 0.6, 60), (0.6, 1.0, 62), (1.4, 1.8, 62)],
        [(0.0, 0.5, 21), (0.5, 1.0, 108)],
        [(0.1, 0.4, 60), (0.4, 0.7, 60), (0.7, 1.9, 60)],
    ],
)
def test_decoding_inverts_the_targets(notes: list[tuple[float, float, int]]) -> None:
    found = list(Decoding()(*certain(notes, 100)))
    assert note_f1(notes, found) == (1.0, 1.0, 1.0)
    assert [midi for *_, midi in found] == [midi for *_, midi in notes]


def test_notes_never_overlap_whatever_the_probabilities() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        pitch = random.dirichlet(np.full(NONE + 1, 0.02), size=200)
        notes = Decoding()(random.random(200), pitch, np.arange(200) * 0.02)
        assert (notes.offset > notes.onset).all()
        assert (notes.onset[1:] >= notes.offset[:-1] - 1e-9).all()
        assert ((notes.confidence >= 0) & (notes.confidence <= 1)).all()


def test_short_notes_and_silence_give_nothing() -> None:
    onset, pitch, times = certain([], 60)
    assert len(Decoding()(onset, pitch, times)) == 0
    assert len(Decoding()(onset[:1], pitch[:1], times[:1])) == 0
    blip = certain([(0.5, 0.58, 60)], 60)
    assert len(Decoding()(*blip)) == 1
    assert len(Decoding(shortest=0.2)(*blip)) == 0


def test_a_breath_ends_a_note_only_when_silence_is_cheap() -> None:
    onset, pitch, times = certain([(0.2, 1.0, 60)], 80)
    pitch[25:27] = 0.001
    pitch[25:27, NONE] = 0.9
    [(_, stop, _)] = Decoding(silence=10.0)(onset, pitch, times)
    assert stop == pytest.approx(1.0, abs=0.021)
    assert len(Decoding(silence=0.0, change=0.0)(onset, pitch, times)) == 2


def test_a_missed_onset_does_not_swallow_the_next_pitch() -> None:
    onset, pitch, times = certain([(0.2, 0.6, 60), (0.6, 1.0, 64)], 80)
    onset[25:35] = 0.01
    assert [midi for *_, midi in Decoding()(onset, pitch, times)] == [60, 64]


def test_a_spurious_onset_cuts_a_note_only_above_the_threshold() -> None:
    onset, pitch, times = certain([(0.2, 1.0, 60)], 80)
    onset[30] = 0.4
    assert len(Decoding(repeat=0.5)(onset, pitch, times)) == 1
    assert len(Decoding(repeat=0.3)(onset, pitch, times)) == 2


def test_onsets_lie_between_frames() -> None:
    onset, pitch, times = certain([(0.2, 1.0, 60)], 80)
    onset[9:12] = 0.6, 0.9, 0.8
    exact = Decoding()(onset, pitch, times).onset[0]
    assert 0.2 < exact < 0.21


def test_targets_of_a_note_begun_before_the_excerpt_have_no_onset() -> None:
    begins, sounds = targets(np.array([[0.0, 0.5, 60.0]]), np.arange(50) * 0.02)
    assert (begins == NONE).all()
    assert (sounds[:25] == 39).all()


def test_note_lists_become_scores_tables_and_files(tmp_path: Path) -> None:
    notes = NoteList(np.array([0.0, 0.5]), np.array([0.5, 1.0]), np.array([60, 64]), np.array([0.9, 0.8]))
    assert [note.pitch for note in notes.to_score().notes()] == [60, 64]
    assert notes.to_table().frame.columns == ["onset_s", "offset_s", "midi", "confidence"]
    assert [note[:3] for note in Score.read(notes.to_midi(tmp_path / "melody.mid")).notes()] == list(notes)


def test_network_shapes_times_and_pooling() -> None:
    for hop, pool in ((80, 2), (160, 1)):
        model = network(hop_length=hop)
        assert (model.pool, model.frame_rate) == (pool, 50.0)
        onset, pitch = model(torch.zeros(2, 1, 8000))
        assert onset.shape == pitch.shape == (2, model.frames(8000), NONE + 1)
        assert not any(key.startswith("backbone.mask_estimators") for key in model.state_dict())
    assert network(hop_length=80).times(2).tolist() == [0.005, 0.025]
    assert network(hop_length=160).times(2).tolist() == [0.0, 0.02]


def test_windows_of_a_long_song_agree_with_one_window() -> None:
    model = network()
    song = np.random.default_rng(0).normal(size=(1, 8000 * 7 + 123)).astype(np.float32)
    onset, pitch, times = transcribe(model, song, seconds=4.0, margin=1.0)
    assert len(onset) == len(pitch) == len(times) == model.frames(song.shape[1])
    assert np.allclose(pitch.sum(1), 1, atol=1e-5)
    whole, _, _ = transcribe(model, song, seconds=20.0)
    assert np.abs(whole - onset).max() < 0.05
    for length in (1, 300, 8000):
        assert len(transcribe(model, song[:, :length])[0]) == model.frames(length)


def test_backbone_continues_the_separator() -> None:
    separator = MelBandRoformer(BACKBONE).eval()
    model = MelodyNetwork.continuing(separator)
    mixture = torch.randn(1, 1, 4000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(separator.features(mixture), model.backbone.eval().features(mixture))


def test_loss_falls_to_zero_on_certain_answers() -> None:
    begins = sounds = torch.tensor([[3, NONE, NONE]])
    logits = torch.full((1, 3, NONE + 1), -50.0).scatter(2, begins[..., None], 50.0)
    assert MelodyLoss()((logits, logits), begins, sounds) < 1e-6
    assert MelodyLoss()((-logits, logits), begins, sounds) > 50


def test_weights_survive_a_round_trip_and_others_are_refused(tmp_path: Path) -> None:
    model = network()
    path = write_safetensors(tmp_path / "melody.safetensors", model.state_dict(), model.metadata())
    again = MelodyNetwork.load(path)
    assert again.config == model.config
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    other = write_safetensors(tmp_path / "other.safetensors", {"x": torch.zeros(1)}, {"config": json.dumps({})})
    with pytest.raises(WeightsError, match="melody"):
        VocalMelodyTranscriber.from_pretrained(str(other))


def test_estimator_conventions_and_bad_input(tmp_path: Path) -> None:
    model = network()
    path = str(write_safetensors(tmp_path / "melody.safetensors", model.state_dict(), model.metadata()))
    estimator = VocalMelodyTranscriber(path, steps=2, device="cpu")
    assert clone(estimator).get_params() == estimator.get_params()
    with pytest.raises(NotFittedError):
        estimator.predict(np.zeros(8000), 8000)
    ready = VocalMelodyTranscriber.from_pretrained(path, device="cpu")
    for bad in (np.zeros((3, 8000)), np.zeros((1, 0)), np.full(8000, np.nan)):
        with pytest.raises(InputError):
            ready.predict(bad, 8000)
    assert isinstance(ready.predict(np.zeros(7), 8000), NoteList)
    with pytest.raises(InputError, match="notes"):
        estimator.fit([Audio(np.zeros((1, 8000)), 8000)], [])


def test_fit_is_reproducible_and_takes_songs_of_any_rate(tmp_path: Path) -> None:
    model = network()
    path = str(write_safetensors(tmp_path / "melody.safetensors", model.state_dict(), model.metadata()))
    songs = [Audio(np.random.default_rng(0).normal(size=(channels, 11025 * 2)) / 10, 11025) for channels in (1, 2)]
    notes = [[(0.5, 1.0, 60)], [(0.2, 1.5, 64)]]
    fitted = [VocalMelodyTranscriber(path, steps=2, device="cpu").fit(songs, notes) for _ in range(2)]
    first, second = (list(estimator.network_.state_dict().values()) for estimator in fitted)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(fitted[0].network_.pitch.weight, model.pitch.weight)


def test_embedded_weights_hear_the_embedded_song() -> None:
    truth = demo_truth()
    notes = VocalMelodyTranscriber.from_pretrained(device="cpu").predict(truth.mixture.samples, truth.mixture.rate)
    assert note_f1(truth.notes, list(notes)).onset_pitch > 0.33


def test_level_changes_no_note_of_the_embedded_song() -> None:
    truth = demo_truth()
    ready = VocalMelodyTranscriber.from_pretrained(device="cpu")
    notes = ready.predict(truth.mixture.samples, truth.mixture.rate)
    louder = ready.predict(truth.mixture.samples / 16, truth.mixture.rate)
    assert note_f1(list(notes), list(louder)).onset_pitch > 0.98
