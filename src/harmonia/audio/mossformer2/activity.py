"""Who talks when, how many people there are, and what of the recording is in nobody's output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Float32
from numpy import ndarray
from scipy.ndimage import binary_closing, binary_opening

if TYPE_CHECKING:
    from harmonia.media import Table

FRAME_S = 0.05
BELOW_OWN_DB = 35.0
BELOW_LOUDEST_DB = 18.0
COPY = 0.9
LEAK_DB = -18.0


@dataclass(frozen=True)
class Activity:
    """Who talks in each frame of 50 ms.

    Attributes:
        level_db: Level of each speaker in dB below full scale.
        active: Whether they talk: not far below their own loud frames, nor below whoever is loudest then.
    """

    level_db: Float[ndarray, "speakers frames"]
    active: Bool[ndarray, "speakers frames"]

    @classmethod
    def of(cls, speakers: Float32[ndarray, "speakers time"], rate: int) -> Activity:
        """Measure separated speakers; gaps and blips below 0.2 s are closed and dropped."""
        level = level_db(speakers, rate)
        own = np.percentile(level, 95, axis=1, keepdims=True)
        loud = (level > own - BELOW_OWN_DB) & (level > level.max(0) - BELOW_LOUDEST_DB) & (level > -80)
        blip = np.ones((1, round(0.2 / FRAME_S)), dtype=bool)
        # Closing looks beyond the ends, which count as silent there.
        framed = np.pad(loud, ((0, 0), (blip.size, blip.size)))
        smooth = binary_opening(binary_closing(framed, blip), blip)[:, blip.size : -blip.size]
        return cls(level, smooth)

    @property
    def turns(self) -> list[tuple[float, float, int]]:
        """Stretches of talk in the order of their starts: start and end in seconds, number of the speaker from 1."""
        found = []
        for number, row in enumerate(self.active, start=1):
            edges = np.flatnonzero(np.diff(np.pad(row, 1).astype(np.int8)))
            found += [(start * FRAME_S, stop * FRAME_S, number) for start, stop in edges.reshape(-1, 2).tolist()]
        return sorted(found)

    def to_table(self) -> Table | None:
        """One row a turn; None where nobody talks."""
        import polars

        from harmonia.media import Table

        if not self.turns:
            return None
        columns = ("start_s", "end_s", "speaker")
        return Table(polars.DataFrame(self.turns, schema=columns, orient="row", infer_schema_length=None))


def speakers_heard(speakers: Float32[ndarray, "speakers time"], rate: int) -> int:
    """How many of the outputs are people: not a weak leak of the others, nor a copy of a louder one.

    A separator always fills all of its outputs. With one person, the second holds what leaks or the same again.

    Example:
        >>> voice = np.random.default_rng(0).normal(size=16000).astype(np.float32)
        >>> speakers_heard(np.stack([voice, 0.02 * voice]), 8000), speakers_heard(np.stack([voice, voice]), 8000)
        (1, 1)
    """
    power = _energy(speakers)
    if power.max() == 0:
        return 0
    level = level_db(speakers, rate)
    kept: list[int] = []
    for number in np.argsort(-power).tolist():
        if 10 * np.log10(power[number] / power.max() + 1e-30) < LEAK_DB:
            continue
        # Where this output is loud, does another one say the same?
        loud = np.repeat(level[number] > level[number].max() - 30, round(FRAME_S * rate))[: speakers.shape[1]]
        own = speakers[number, : len(loud)][loud]
        others = (speakers[other, : len(loud)][loud] for other in kept)
        alike = [abs(_cosine(own, each)) for each in others]
        if max(alike, default=0.0) < COPY:
            kept.append(number)
    return len(kept)


def residual_db(mixture: Float32[ndarray, " time"], speakers: Float32[ndarray, "speakers time"]) -> float:
    """Level of what of the recording is in no output, relative to the recording.

    Example:
        >>> tone = np.sin(np.arange(8000) / 3).astype(np.float32)
        >>> round(residual_db(tone, np.stack([0.9 * tone, 0 * tone])), 1)
        -20.0
    """
    left, whole = _energy(np.stack([mixture - speakers.sum(0), mixture]))
    return float(10 * np.log10((left + 1e-30) / (whole + 1e-30)))


def level_db(sounds: Float32[ndarray, "sounds time"], rate: int) -> Float[ndarray, "sounds frames"]:
    """Level of each sound in frames of 50 ms, in dB below full scale; a last frame that is cut ends in silence.

    Example:
        >>> level_db(np.full((1, 600), 0.1, dtype=np.float32), 8000).round(1)
        array([[-20., -23.]])
    """
    size = round(FRAME_S * rate)
    whole = sounds.shape[1] - sounds.shape[1] % size
    frames = sounds[:, :whole].reshape(len(sounds), -1, size)
    power = np.einsum("sft,sft->sf", frames, frames, dtype=np.float64)
    if whole < sounds.shape[1]:
        power = np.concatenate([power, _energy(sounds[:, whole:])[:, None]], axis=1)
    return 10 * np.log10(power / size + 1e-12)


def _cosine(x: Float32[ndarray, " time"], y: Float32[ndarray, " time"]) -> float:
    product = np.einsum("t,t->", x, y, dtype=np.float64)
    return float(product / max(np.sqrt(_energy(np.stack([x, y])).prod()), 1e-30))


def _energy(sounds: Float32[ndarray, "sounds time"]) -> Float[ndarray, " sounds"]:
    """Sums of squares in double precision, without a copy of long sounds in it."""
    return np.einsum("st,st->s", sounds, sounds, dtype=np.float64)
