"""A song heard from end to end: its voice separated, measured, cut into clips of one singer, and described.

Pieces of half a minute are separated one after another and only 16 kHz mono is kept, so memory grows slowly: a song of
ten minutes needs 80 MB beside the song itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from harmonia.audio.mel_roformer import ChunkedSeparator
from harmonia.audio.mel_roformer.task import load_separator
from harmonia.audio.s2cap.captioner import NOBODY, Belief, SingingStyleCaptioner
from harmonia.audio.s2cap.measures import RATE, RENDERED, Reference, Voice, hear, tempo_of
from harmonia.audio.s2cap.speakers import Singers, Stretch, cut, find_singers
from harmonia.core.progress import say, track
from harmonia.media import Audio

Separate = Callable[[Audio], Audio]
"""A mixture to its voice, at any rate and as long as the mixture."""

PIECE_S = 30.0
SUNG_SHARE = 0.05
"""Share of a clip that must be sung for there to be a lead voice."""

LEAST_VOICE_DB = -25.0
"""Level of the separated voice over the mixture below which it is what a separator leaves of other instruments."""


@dataclass(frozen=True)
class Heard:
    """A song, its voice, and who sings when.

    Attributes:
        mix, vocals: Mono, at 16 kHz.
        voice: Measures of the vocals.
        singers: Stretches of the most prevalent one.
    """

    mix: Float[ndarray, " time"]
    vocals: Float[ndarray, " time"]
    voice: Voice
    singers: Singers

    @property
    def seconds(self) -> float:
        return len(self.mix) / RATE

    def piece(self, stretch: Stretch) -> Audio:
        """A stretch of the mixture."""
        return Audio(self.mix[round(stretch.begin * RATE) : round(stretch.end * RATE)], RATE)


@dataclass(frozen=True)
class Described:
    """A clip of a song.

    Attributes:
        stretch: Where it lies, in seconds.
        text: The caption.
        attributes: Value of each attribute; empty without a voice.
        scores: Confidence in each of them.
        f0: Median F0 in Hz.
        volume_db: RMS of the voice in dB below full scale.
        bpm: Tempo; None for clips too short to tell.
        voice: Probability that somebody sings.
        belief: Probability of every value of every attribute.
    """

    stretch: Stretch
    text: str
    attributes: dict[str, str]
    scores: dict[str, float]
    f0: float
    volume_db: float
    bpm: float | None
    voice: float
    belief: dict[str, dict[str, float]]


def default_separator(weights: str = "embedded", device: str = "auto") -> Separate:
    """The library's mel-roformer, with its embedded weights or others."""
    separator = ChunkedSeparator(load_separator(weights), device=device)

    def separate(mixture: Audio) -> Audio:
        return Audio(separator.separate(mixture.samples, mixture.rate)["vocals"], separator.model.config.sample_rate)

    return separate


def listen(song: Audio, separate: Separate | None) -> Heard:
    """Separate, measure, and tell singers apart.

    Arguments:
        song: Any rate, mono or stereo.
        separate: Mixture to voice; None where the song is a voice alone.

    Raises:
        InputError: shorter than a hundredth of a second.
    """
    mix, vocals = [], []
    pieces = max(1, round(song.seconds / PIECE_S))
    edges = np.linspace(0, song.samples.shape[1], pieces + 1).round().astype(int)
    for begin, end in track(list(pairwise(edges)), "Listening"):
        part = Audio(song.samples[:2, begin:end], song.rate)
        low = part.mono().resampled(RATE).samples[0]
        voice = low if separate is None else separate(part).mono().resampled(RATE).samples[0]
        mix.append(low)
        vocals.append(_fitted(voice, len(low)))
    whole, alone = np.concatenate(mix), np.concatenate(vocals)
    measured = hear(alone)
    singers = find_singers(alone, measured)
    if singers.number > 1 and singers.share < 0.75:
        share = f"{100 * singers.share:.0f} %"
        say(f"{singers.number} singers were told apart; the most prevalent one ({share}) is described.")
    return Heard(whole, alone, measured, singers)


def clips_of(heard: Heard, shortest: float = 5.0, longest: float = 30.0) -> list[Stretch]:
    """The prevalent singer's clips; the whole song where no stretch is long enough."""
    clips = cut(heard.singers.stretches, shortest, longest)
    if clips:
        return [Stretch(clip.begin, min(clip.end, heard.seconds)) for clip in clips]
    return cut((Stretch(0.0, heard.seconds),), min(shortest, heard.seconds), longest)


def describe(
    heard: Heard,
    clips: Sequence[Stretch],
    captioner: SingingStyleCaptioner,
    reference: Reference = RENDERED,
    known: Mapping[str, str] | None = None,
) -> list[Described]:
    """Attributes and a caption for each clip.

    Pitch, volume and tempo are measured and named by the reference population; the rest is what the captioner's
    attribute head believes. A clip in which nobody sings has no attributes and says so.

    Arguments:
        heard: The song.
        clips: Stretches of it.
        captioner: Names the other attributes and words the caption.
        reference: What *low* and *high* refer to.
        known: Attributes that are certain, from metadata.
    """
    if not clips:
        return []
    beliefs = captioner.beliefs([heard.piece(clip) for clip in clips])
    voices = [heard.voice.between(*clip) for clip in clips]
    tempi = [_tempo(heard, clip, belief, reference) for clip, belief in zip(clips, beliefs, strict=True)]
    sung = [_somebody(heard, *pair) for pair in zip(clips, voices, strict=True)]
    beliefs = [
        belief if there else Belief(belief.memory, belief.attributes, 0.0)
        for belief, there in zip(beliefs, sung, strict=True)
    ]
    measured = []
    for belief, voice, bpm in zip(beliefs, voices, tempi, strict=True):
        best = belief.best()[0] | dict(known or {})
        numbers = reference.attributes(voice.f0, voice.volume_db, bpm, best["gender"]) if belief.voice >= 0.5 else {}
        measured.append(numbers | dict(known or {}))
    texts = captioner.captions(beliefs, measured)
    described = []
    for clip, belief, voice, bpm, sure, text in zip(clips, beliefs, voices, tempi, measured, texts, strict=True):
        best, scores = belief.best()
        values = {} if text == NOBODY else {n: v for n, v in (best | sure).items() if n not in captioner.without}
        confidence = {name: 1.0 if name in sure else scores[name] for name in values}
        described.append(
            Described(clip, text, values, confidence, voice.f0, voice.volume_db, bpm, belief.voice, belief.attributes)
        )
    return described


def _tempo(heard: Heard, clip: Stretch, belief: Belief, reference: Reference) -> float | None:
    """The tempo of a clip. Of half, found and double tempo the one whose class the attribute head believes in most."""
    try:
        found = tempo_of(heard.piece(clip).samples[0])
    except ValueError:
        return None
    names = {"low": "slow", "normal": "normal", "high": "fast"}
    octaves = [bpm for bpm in (found, found / 2, 2 * found) if 50 <= bpm <= 190]
    return max(octaves, key=lambda bpm: belief.attributes["tempo"][names[reference.tempo.name(bpm)]])


def _somebody(heard: Heard, clip: Stretch, voice: Voice) -> bool:
    """Whether enough of a clip is sung, and loud enough beside the rest."""
    part = slice(round(clip.begin * RATE), round(clip.end * RATE))
    mix = 10 * np.log10(np.mean(np.square(heard.mix[part].astype(np.float64))) + 1e-12)
    return voice.share >= SUNG_SHARE and voice.volume_db >= mix + LEAST_VOICE_DB


def _fitted(voice: Float[ndarray, " time"], length: int) -> Float[ndarray, " length"]:
    """The voice at the length of its mixture; resampling may differ by a sample."""
    return np.pad(voice[:length], (0, max(0, length - len(voice))))
