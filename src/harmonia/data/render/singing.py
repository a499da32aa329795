"""Any speaking voice sings a melody: WORLD analysis, re-timing to the notes, new F0, WORLD synthesis.

The vowel of each syllable starts on its note and is stretched to fill it; consonants keep their natural length and are
taken from the end of the note before. F0 is 440 * 2^((midi - 69) / 12) with glides, vibrato and drift, known exactly in
every frame. Voices recorded at 16 kHz are continued above their band by a falling noise envelope, so that a separator
can't tell voice from band by bandwidth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d

from harmonia.core.errors import InputError
from harmonia.data.render.speakers import voice_named
from harmonia.data.render.speech import FRAME, Source, Syllable, analyse, world
from harmonia.data.song import Note, Phone
from harmonia.media import Audio

LONGEST = 600.0
"""Seconds."""


@dataclass(frozen=True)
class Manner:
    """How a singer sings.

    Arguments:
        vibrato: Peak depth, cents.
        vibrato_rate: Hz.
        glide: Length of the glide between joined notes, seconds.
        drift: Standard deviation of slow random pitch movement, cents.
        formants: Factor on the frequency axis of the envelope; above 1 sounds like a smaller singer.
    """

    vibrato: float = 25.0
    vibrato_rate: float = 5.5
    glide: float = 0.07
    drift: float = 4.0
    formants: float = 1.0


@dataclass(frozen=True)
class Sung:
    """A sung line and everything true about it. All times in seconds; `f0` in Hz, one value per 5 ms, 0 = unvoiced."""

    audio: Audio
    f0: np.ndarray
    notes: tuple[Note, ...]
    syllables: tuple[tuple[float, float, str], ...]
    phonemes: tuple[Phone, ...]
    provenance: str


def sing(
    lyrics: str,
    notes: Sequence[Note],
    voice: str = "festival:kal_diphone",
    *,
    manner: Manner | None = None,
    rate: int = 44100,
    seed: int = 0,
) -> Sung:
    r"""Sing a line of words on notes, one syllable a note.

    F0 of a voiced frame: :math:`440\cdot 2^{(m(t)-69)/12}`, where m(t) is the score's pitch with glides and vibrato.

    Arguments:
        lyrics: Words; a ``-`` after a word holds its last syllable on a further note.
        notes: ``(onset, offset, midi)`` in seconds, in order, not overlapping.
        voice: A name of `voices()`.
        manner: Vibrato, glide, drift, formants.
        rate: Sample rate of the result, Hz.
        seed: Random seed of drift and dynamics.

    Raises:
        InputError: notes out of order, their number is not the number of syllables, or a rate below 16 or above 48 kHz.
        MissingDependency: the voice is not installed.

    Example:
        >>> sing("la", [(0.5, 0.2, 60.0)])
        Traceback (most recent call last):
        ...
        harmonia.core.errors.InputError: note 1 ends before it begins (got (0.5, 0.2, 60.0)). Pass notes in order, ...
    """
    check_notes(notes)
    source = analyse(voice, " ".join(word for word in lyrics.split() if word != "-"))
    groups = _group(lyrics, source, notes, voice)
    rng = np.random.default_rng([seed, 0x51])
    track = Track(notes[-1][1] + 0.3, rate)
    phonemes, syllables = track.add(source, groups, manner or Manner(), rng)
    audio = Audio(track.synthesise(), rate)
    kind = "recorded speech" if voice_named(voice).recorded else "synthetic speech"
    provenance = f"rendered, not recorded: {voice} ({kind}, {voice_named(voice).licence}) re-pitched by WORLD"
    return Sung(audio, track.f0, tuple(notes), tuple(syllables), tuple(phonemes), provenance)


def check_notes(notes: Sequence[Note]) -> None:
    """Refuse an empty melody, notes out of order, overlapping or of no length."""
    if not notes:
        raise InputError("there are no notes to sing", "0 notes", "Pass at least one (onset, offset, midi).")
    end = 0.0
    mend = "Pass notes in order, each (onset, offset, midi) in seconds, not overlapping."
    for number, note in enumerate(notes, 1):
        onset, offset, pitch = note
        if not offset > onset:
            raise InputError(f"note {number} ends before it begins", note, mend)
        if not onset >= end - 1e-9:
            before = f"note {number - 1} ends" if number > 1 else "0 s"
            raise InputError(f"note {number} begins before {before}", note, mend)
        if not 24 <= pitch <= 96:
            raise InputError(f"note {number} can't be sung", f"pitch {pitch}", "Use MIDI pitches from 24 to 96.")
        end = offset
    if end > LONGEST:
        raise InputError("the melody is too long", f"{end:.0f} s", f"Sing at most {LONGEST:.0f} s at once.")


def _group(lyrics: str, source: Source, notes: Sequence[Note], voice: str) -> list[list[Note]]:
    """The notes of each syllable: one, or more where a ``-`` holds it."""
    words = lyrics.split()
    held = words.count("-")
    count = len(source.syllables)
    if len(notes) != count + held:
        mend = f"Pass {count + held} notes; a syllable held over several notes is marked with '-'."
        found = f"{len(notes)} notes, {count} syllables, {held} '-'"
        raise InputError("notes and syllables differ in number", found, mend)
    lengths = [1] * count
    for position, word in enumerate(words):
        if word == "-":
            sung_so_far = " ".join(w for w in words[:position] if w != "-")
            lengths[min(count, len(analyse(voice, sung_so_far).syllables)) - 1] += 1
    remaining = iter(notes)
    return [[next(remaining) for _ in range(length)] for length in lengths]


class Track:
    """WORLD frames of a whole vocal track; lines are written into it, then it is synthesised at once."""

    bins = 1025  # an FFT of 2048 at 44.1 kHz

    def __init__(self, seconds: float, rate: int) -> None:
        if not 16_000 <= rate <= 48_000:
            raise InputError("the sample rate is out of range", f"{rate} Hz", "Use 16000 to 48000 Hz.")
        frames = int(np.ceil(seconds / FRAME)) + 1
        self.rate = rate
        self.f0 = np.zeros(frames)
        self.log_envelope = np.full((frames, self.bins), -30.0)
        self.aperiodicity = np.ones((frames, self.bins))

    def add(
        self, source: Source, groups: Sequence[Sequence[Note]], manner: Manner, rng: np.random.Generator
    ) -> tuple[list[Phone], list[tuple[float, float, str]]]:
        """Write one line; returns its phonemes and syllables with their times."""
        plan = _place(source.syllables, groups)
        notes = [note for group in groups for note in group]
        first = max(0, int(np.ceil(plan[0].knots_out[0] / FRAME)))
        last = min(len(self.f0), int(plan[-1].knots_out[-1] / FRAME) + 1)
        times = np.arange(first, last) * FRAME
        reading = np.interp(
            times, np.concatenate([p.knots_out for p in plan]), np.concatenate([p.knots_in for p in plan])
        )
        position = np.clip(reading / FRAME, 0, len(source.f0) - 1.001)
        low = position.astype(int)
        blend = (position - low)[:, None]
        envelope = source.log_envelope[low] * (1 - blend) + source.log_envelope[low + 1] * blend
        aperiodicity = source.aperiodicity[low] * (1 - blend) + source.aperiodicity[low + 1] * blend
        voiced = source.f0[np.round(position).astype(int)] > 0
        gain = np.zeros(len(times))
        arc = rng.uniform(1.0, 3.0)
        for place, group in zip(plan, groups):
            inside = (times >= place.vowel[0]) & (times < place.vowel[1])
            voiced |= inside
            span = (times >= place.knots_out[0]) & (times < place.knots_out[-1])
            gain[span] += rng.normal(0, 1.0) + arc * np.sin(np.pi * (group[0][0] - times[0]) / (times[-1] - times[0]))
            gain[inside] -= 2.0 * (times[inside] - place.vowel[0]) / max(0.5, place.vowel[1] - place.vowel[0])
        gain = gaussian_filter1d(gain, 3)
        edge = np.minimum(1, np.minimum(times - times[0] + FRAME, times[-1] - times + FRAME) / 0.03)
        gain += 20 * np.log10(np.clip(edge, 1e-3, 1))
        envelope, aperiodicity = _continued(envelope, aperiodicity, voiced, source.rate, self.rate, manner.formants)
        self.f0[first:last] = np.where(voiced, 440 * 2 ** ((melody_curve(notes, times, manner, rng) - 69) / 12), 0)
        self.log_envelope[first:last] = envelope + (np.log(10) / 10) * gain[:, None]
        self.aperiodicity[first:last] = aperiodicity
        phonemes, syllables = [], []
        for place in plan:
            phones = [(place.at(start), place.at(end), symbol) for start, end, symbol in place.syllable.phones]
            spelt = " ".join(symbol for *_, symbol in phones)
            phonemes += phones
            syllables.append((float(place.knots_out[0]), float(place.knots_out[-1]), spelt))
        return phonemes, syllables

    def synthesise(self) -> np.ndarray:
        """The mono float64 waveform."""
        signal: np.ndarray = world().synthesize(
            self.f0, np.exp(self.log_envelope), self.aperiodicity, self.rate, 1000 * FRAME
        )
        return signal


@dataclass(frozen=True)
class _Place:
    """Where a syllable lands: matching times in the song (`knots_out`) and in the speech (`knots_in`)."""

    syllable: Syllable
    knots_out: np.ndarray
    knots_in: np.ndarray
    vowel: tuple[float, float]

    def at(self, time: float) -> float:
        return float(np.interp(time, self.knots_in, self.knots_out))


def _place(syllables: Sequence[Syllable], groups: Sequence[Sequence[Note]]) -> list[_Place]:
    """Vowels on the notes; consonants of natural length before them, taken from the note before."""
    onsets = [group[0][0] for group in groups]
    offsets = [group[-1][1] for group in groups]
    leads = []
    for i, syllable in enumerate(syllables):
        natural = min(0.16, syllable.vowel_start - syllable.start)
        room = 0.35 * (onsets[i] - onsets[i - 1]) if i else onsets[0]
        leads.append(max(0.0, min(natural, room)))
    places = []
    for i, syllable in enumerate(syllables):
        end = offsets[i]
        if i + 1 < len(syllables):
            end = min(end, onsets[i + 1] - leads[i + 1])
        coda = min(0.2, syllable.end - syllable.vowel_end, 0.4 * (end - onsets[i]))
        out = np.array([onsets[i] - leads[i], onsets[i], end - coda, end])
        heard = np.array([syllable.start, syllable.vowel_start, syllable.vowel_end, syllable.end])
        places.append(_Place(syllable, out, heard, (onsets[i], end - coda)))
    return places


def melody_curve(notes: Sequence[Note], times: np.ndarray, manner: Manner, rng: np.random.Generator) -> np.ndarray:
    """MIDI pitch at each time: the score with glides between joined notes, vibrato on long notes, and drift."""
    curve = np.full(len(times), float(notes[0][2]))
    for (_, before_end, before), (onset, _, pitch) in pairwise(notes):
        glide = manner.glide if onset - before_end < 0.12 else 1e-6
        step = np.clip((times - onset) / glide + 0.7, 0, 1)
        curve += (pitch - before) * 0.5 * (1 - np.cos(np.pi * step))
    for onset, offset, _ in notes:
        if offset - onset > 0.4:
            since = np.clip(times - onset - 0.2, 0, None)
            swell = np.clip(since / 0.25, 0, 1) * np.clip((offset - times) / 0.06, 0, 1)
            curve += manner.vibrato / 100 * swell * np.sin(2 * np.pi * manner.vibrato_rate * since)
    drift = gaussian_filter1d(rng.standard_normal(len(times)), 12, mode="nearest")
    return curve + manner.drift / 100 * drift * np.sqrt(2 * np.sqrt(np.pi) * 12)


def _continued(
    envelope: np.ndarray, aperiodicity: np.ndarray, voiced: np.ndarray, rate_in: int, rate_out: int, formants: float
) -> tuple[np.ndarray, np.ndarray]:
    """Frames at the output rate: formants moved, and above the source's band a falling, noisy continuation."""
    bins_in, bins_out = envelope.shape[1], Track.bins
    hertz = np.arange(bins_out) * rate_out / (2 * (bins_out - 1)) / formants
    top = min(0.9 * rate_in / 2, hertz[-1])
    place = np.minimum(hertz, top) * 2 * (bins_in - 1) / rate_in
    low = np.minimum(place.astype(int), bins_in - 2)
    blend = place - low
    moved = envelope[:, low] * (1 - blend) + envelope[:, low + 1] * blend
    noise = aperiodicity[:, low] * (1 - blend) + aperiodicity[:, low + 1] * blend
    octaves = np.log2(np.maximum(hertz, top) / top)
    slope = np.where(voiced, 18.0, 9.0)[:, None]  # dB an octave
    moved = moved - np.log(10) / 10 * slope * octaves
    noise = np.where(octaves > 0, 1 - (1 - noise) * np.exp(-4 * octaves), noise)
    return moved + np.log(rate_out / rate_in), np.clip(noise, 1e-3, 1 - 1e-9)
