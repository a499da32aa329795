"""A song heard from end to end: its voice separated, measured, cut into clips of one singer, and described.

Pieces of half a minute are read and separated one after another; mixture and voice are kept on disk, mono at 16 kHz,
and measured in pieces too. A song of an hour needs the memory of a short one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from harmonia.audio.mel_roformer import ChunkedSeparator
from harmonia.audio.mel_roformer.task import load_separator
from harmonia.audio.s2cap.attributes import LEXICON, MANDATORY
from harmonia.audio.s2cap.captioner import NOBODY, SingingStyleCaptioner
from harmonia.audio.s2cap.grammar import caption_of, plain_caption
from harmonia.audio.s2cap.hearing import Belief
from harmonia.audio.s2cap.measures import HOP_S, RATE, RENDERED, Reference, Voice, hear, tempo_of
from harmonia.audio.s2cap.models import PRESENCE, AttributeModels, Odds
from harmonia.audio.s2cap.speakers import Singers, Stretch, cut, find_singers
from harmonia.core.progress import say, track
from harmonia.media import Audio
from harmonia.parts.pitch import PitchTracker
from harmonia.parts.sound_stream import SampleTape, SoundSource

Separate = Callable[[Audio], Audio]
"""A mixture to its voice, at any rate and as long as the mixture."""

PIECE_S = 30.0
TEMPO_S = 120.0
"""Of the beginning of a song, in which its tempo is found."""

SUNG_SHARE = 0.05
"""Share of a clip that must be sung for there to be a lead voice."""

LEAST_VOICE_DB = -8.3
"""Level of the sung frames over the mixture below which they are what a separator leaves of other instruments.

With the embedded separator, rendered songs lie at -8 to -3 dB and their bands alone at -9 to -33 dB.
"""


@dataclass(frozen=True)
class Heard:
    """A song, its voice, and who sings when.

    Attributes:
        mix, vocals: Mono, at 16 kHz, on disk.
        voice: Measures of the vocals.
        singers: Stretches of the most prevalent one.
    """

    mix: SampleTape
    vocals: SampleTape
    voice: Voice
    singers: Singers

    @property
    def seconds(self) -> float:
        return len(self.mix) / RATE

    def between(self, stretch: Stretch, sound: SampleTape) -> Float[ndarray, " part"]:
        """A stretch of the mixture or of the vocals."""
        return sound[round(stretch.begin * RATE) : round(stretch.end * RATE)]

    def piece(self, stretch: Stretch) -> Audio:
        """A stretch of the mixture."""
        return Audio(self.between(stretch, self.mix), RATE)


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
        bpm: Tempo of the song; None where it is too short to tell.
        voice: Probability that somebody sings.
        belief: Probability of every value of every attribute; 1 for what is measured.
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


def listen(song: SoundSource, separate: Separate | None) -> Heard:
    """Separate, measure, and tell singers apart.

    Arguments:
        song: Any length and rate, mono or stereo.
        separate: Mixture to voice; None where the song is a voice alone.

    Raises:
        InputError: shorter than a hundredth of a second.
    """
    mix, alone = SampleTape(), SampleTape()
    with song.opened() as reader:
        edges = np.linspace(0, reader.total, max(1, round(song.seconds / PIECE_S)) + 1).round().astype(int).tolist()
        for begin, end in track(list(pairwise(edges)), "Listening"):
            part = Audio(reader.read(begin, end)[:2], song.rate)
            low = part.mono().resampled(RATE).samples[0]
            voice = low if separate is None else separate(part).mono().resampled(RATE).samples[0]
            mix.append(low)
            alone.append(_fitted(voice, len(low)))
    measured = hear(alone)
    if measured.sung.any():
        # Few singers move by more than an octave about their middle; what lies beyond is mostly bass that leaked in.
        middle = measured.f0
        measured = hear(alone, PitchTracker(0.5 * middle, min(2 * middle, 1100.0), HOP_S))
    singers = find_singers(alone, measured)
    if singers.number > 1 and singers.share < 0.75:
        share = f"{100 * singers.share:.0f} %"
        say(f"{singers.number} singers were told apart; the most prevalent one ({share}) is described.")
    return Heard(mix, alone, measured, singers)


def clips_of(heard: Heard, shortest: float = 5.0, longest: float = 30.0) -> list[Stretch]:
    """The prevalent singer's clips; the whole song where no stretch is long enough."""
    clips = cut(heard.singers.stretches, shortest, longest)
    if clips:
        return [Stretch(clip.begin, min(clip.end, heard.seconds)) for clip in clips]
    return cut((Stretch(0.0, heard.seconds),), min(shortest, heard.seconds), longest)


def describe(
    heard: Heard,
    clips: Sequence[Stretch],
    captioner: SingingStyleCaptioner | None = None,
    *,
    models: AttributeModels | None = None,
    reference: Reference = RENDERED,
    known: Mapping[str, str] | None = None,
    confidence: float = 0.5,
    without: Sequence[str] = (),
) -> list[Described]:
    """Attributes and a caption for each clip.

    Pitch, volume and tempo are measured and named by the reference population; the rest is what the attribute models
    believe. A clip in which nobody sings has no attributes and says so.

    Arguments:
        heard: The song.
        clips: Stretches of it.
        captioner: Words the captions, bound to the same attributes; the grammar does when None.
        models: Name what cannot be measured; the embedded ones when None.
        reference: What *low* and *high* refer to.
        known: Attributes that are certain, from metadata.
        confidence: Probability from which a caption states an attribute.
        without: ``gender`` and ``age`` may be left out.
    """
    models = models or AttributeModels.from_pretrained()
    voices = [heard.voice.between(*clip) for clip in clips]
    odds = [
        models.odds(heard.between(clip, heard.mix), heard.between(clip, heard.vocals), voice)
        for clip, voice in zip(clips, voices, strict=True)
    ]
    bpm = _tempo(heard.mix[: round(TEMPO_S * RATE)], [one["tempo"] for one in odds], reference)
    judged = [
        _judge(heard, clip, voice, one, bpm, reference, known or {})
        for clip, voice, one in zip(clips, voices, odds, strict=True)
    ]
    stated = [
        {n: v for n, v in one.attributes.items() if one.scores[n] >= confidence and n not in without} for one in judged
    ]
    if captioner is None:
        texts = [_worded(said, number, without) for number, said in enumerate(stated)]
    else:
        memories = [captioner.beliefs([heard.piece(clip)])[0].memory for clip in clips]
        beliefs = [Belief(memory, one.belief, one.voice) for memory, one in zip(memories, judged, strict=True)]
        texts = captioner.captions(beliefs, stated)
    described = []
    for one, text in zip(judged, texts, strict=True):
        sung = one.voice >= 0.5
        kept = {name: value for name, value in one.attributes.items() if sung and name not in without}
        scores = {name: one.scores[name] for name in kept}
        described.append(replace(one, text=text if sung else NOBODY, attributes=kept, scores=scores))
    return described


def _worded(stated: Mapping[str, str], number: int, without: Sequence[str]) -> str:
    """The grammar's caption; a plain one where too little is known."""
    if any(name not in stated for name in MANDATORY if name not in without):
        return plain_caption(stated)
    return caption_of(stated, np.random.default_rng(number), without=without)


def _judge(
    heard: Heard,
    clip: Stretch,
    voice: Voice,
    odds: Odds,
    bpm: float | None,
    reference: Reference,
    known: Mapping[str, str],
) -> Described:
    """Everything about a clip but its caption."""
    presence = odds.pop(PRESENCE)["present"] if _somebody(heard, clip, voice) else 0.0
    best = {name: max(shares, key=lambda value: shares[value]) for name, shares in odds.items()} | dict(known)
    scores = {name: odds[name][value] for name, value in best.items() if name in odds}
    measured = dict(known)
    if presence >= 0.5:
        measured |= reference.attributes(voice.f0, voice.volume_db, bpm, best["gender"])
    certain = {name: {other: float(other == value) for other in LEXICON[name]} for name, value in measured.items()}
    attributes = {name: (best | measured)[name] for name in LEXICON if name in best | measured}
    scores |= dict.fromkeys(measured, 1.0)
    return Described(clip, "", attributes, scores, voice.f0, voice.volume_db, bpm, presence, {**odds, **certain})


def _tempo(mix: Float[ndarray, " time"], odds: Sequence[Mapping[str, float]], reference: Reference) -> float | None:
    """The tempo of a song. Of half, found and double tempo the one whose class the attribute model believes most."""
    try:
        found = tempo_of(mix)
    except ValueError:
        return None
    names = {"low": "slow", "normal": "normal", "high": "fast"}
    octaves = [bpm for bpm in (found, found / 2, 2 * found) if 50 <= bpm <= 190]
    return max(octaves, key=lambda bpm: sum(clip[names[reference.tempo.name(bpm)]] for clip in odds))


def _somebody(heard: Heard, clip: Stretch, voice: Voice) -> bool:
    """Whether enough of a clip is sung, and loud enough beside the rest."""
    mix = 10 * np.log10(np.mean(np.square(heard.between(clip, heard.mix).astype(np.float64))) + 1e-12)
    return bool(voice.share >= SUNG_SHARE and voice.volume_db >= mix + LEAST_VOICE_DB)


def _fitted(voice: Float[ndarray, " time"], length: int) -> Float[ndarray, " length"]:
    """The voice at the length of its mixture; resampling may differ by a sample."""
    return np.pad(voice[:length], (0, max(0, length - len(voice))))
