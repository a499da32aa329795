"""The embedded weights at work on voices that they were not trained on."""

from __future__ import annotations

from harmonia.audio.mel_roformer.claims.songs import RENDERED, periodicity_notes, rendered
from harmonia.audio.mel_roformer.separator import ChunkedSeparator
from harmonia.audio.mel_roformer.task import load_separator
from harmonia.audio.mel_roformer.training import separation_scores
from harmonia.audio.mel_roformer.transcriber import VocalMelodyTranscriber
from harmonia.core.claim import Measured, claim
from harmonia.data import demo_truth
from harmonia.parts.metrics import note_f1, si_sdr


@claim(
    "The embedded weights separate the voice of the embedded song",
    place="abstract: vocal separation",
    unit="dB SI-SDR",
    better="higher",
    tier="quick",
    tolerance=6.0,
)
def embedded_song(seed: int) -> Measured:
    """A rendered song of a voice that no training song has; the baseline, to be beaten by 6 dB, is the mixture."""
    truth = demo_truth()
    separator = ChunkedSeparator(load_separator("embedded"), device="cpu")
    estimate = separator.separate(truth.mixture.samples, truth.mixture.rate)["vocals"]
    vocals = truth.stems["vocals"].samples
    return Measured(si_sdr(vocals, estimate), si_sdr(vocals, truth.mixture.samples), note=RENDERED)


@claim(
    "The embedded weights write down the melody of the embedded song",
    place="abstract: vocal melody transcription",
    unit="F1 of onset and pitch",
    better="higher",
    tier="quick",
    tolerance=0.2,
)
def embedded_melody(seed: int) -> Measured:
    """The baseline, to be beaten by 0.2, follows the strongest periodicity of the mixture, frame by frame."""
    truth = demo_truth()
    notes = VocalMelodyTranscriber.from_pretrained(device="cpu").predict(truth.mixture.samples, truth.mixture.rate)
    found = note_f1(truth.notes, list(notes))
    plain = note_f1(truth.notes, periodicity_notes(truth.mixture.mono().samples[0], truth.mixture.rate))
    note = f"onset {found.onset:.3f}, with offset {found.onset_pitch_offset:.3f}; {RENDERED}"
    return Measured(found.onset_pitch, plain.onset_pitch, note)


@claim(
    "The embedded weights separate unseen voices in unseen songs",
    place="Table 1: vocal separation",
    unit="dB SI-SDR",
    better="higher",
    tier="full",
    tolerance=6.0,
)
def held_out_songs(seed: int) -> Measured | None:
    songs = rendered("test", 16, 44100)
    if songs is None:
        return None
    scores = separation_scores(load_separator("embedded"), songs)
    return Measured(scores["si_sdr"], scores["si_sdr"] - scores["gain"], f"mean of 16 songs; {RENDERED}")
