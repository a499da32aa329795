"""A world in which every piece's emotion is known: rendered music that expresses drawn valence and arousal.

Each piece has a valence and arousal from 1 to 9; a fixed, noisy map (`harmonia.data.render.Mood.expressing`) turns them
into mode, tempo, register, loudness, articulation, dissonance and activity; a small band plays the result. What the
network is given comes from the sound alone: its statistics, and the chords that the recogniser hears.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numpy import ndarray

from harmonia.audio.unified_mer.datasets import EmotionDataset
from harmonia.audio.unified_mer.encoding import encode_harmony
from harmonia.audio.unified_mer.features import FeatureTable
from harmonia.audio.unified_mer.statistics import WIDTH, sound_statistics
from harmonia.audio.unified_mer.tags import TAG_EMOTIONS
from harmonia.core.media import whole_file
from harmonia.core.progress import track
from harmonia.data.cache import cache_folder
from harmonia.data.render import Mood, render_mood
from harmonia.parts.chroma import RATE, hear_chords

VERSION = 1
"""Raised when the same number gives another piece, so that cached ones are not taken for it."""

BLOCK = 50
SECONDS = 10.0


@dataclass(frozen=True)
class World:
    """Pieces as the network sees them, and their emotions.

    Attributes:
        music: Statistics of the sound.
        roots, qualities: Encoded chords.
        minor: Heard mode.
        emotion: True valence and arousal, 1 to 9.
    """

    music: Float32[ndarray, "pieces width"]
    roots: Int64[ndarray, "pieces 100"]
    qualities: Int64[ndarray, "pieces 100"]
    minor: Int64[ndarray, " pieces"]
    emotion: Float64[ndarray, "pieces 2"]

    def __len__(self) -> int:
        return len(self.music)

    def table(self, rows: ndarray) -> FeatureTable:
        """Features of some of the pieces; each is one segment."""
        harmony = (self.roots[rows], self.qualities[rows], self.minor[rows])
        return FeatureTable(self.music[rows], np.arange(len(rows) + 1), *harmony)


def emotion_of(number: int) -> Float64[ndarray, "2"]:
    """Valence and arousal of a piece."""
    return np.random.default_rng([number, 0xE307]).uniform(1.0, 9.0, size=2)


def rendered_world(pieces: int) -> World:
    """The first pieces of the world; those heard before are read from the cache.

    A piece takes about half a second.

    Raises:
        MissingDependency: symusic, FluidSynth or the soundfont is not installed.
    """
    blocks = -(-pieces // BLOCK)
    heard = [_block(number) for number in track(range(blocks), "Rendering pieces", blocks)]
    columns = {name: np.concatenate([block[name] for block in heard])[:pieces] for name in heard[0]}
    return World(**columns)


def _block(block: int) -> dict[str, ndarray]:
    key = hashlib.sha256(repr((VERSION, SECONDS, WIDTH, block)).encode()).hexdigest()[:16]
    path = cache_folder("moods") / f"{key}.npz"
    if path.is_file():
        with np.load(path) as stored:
            return dict(stored)
    pieces = [piece(number) for number in range(block * BLOCK, (block + 1) * BLOCK)]
    columns = {name: np.stack([piece[name] for piece in pieces]) for name in pieces[0]}
    with whole_file(path) as temporary:
        np.savez(temporary, **columns)  # type: ignore[arg-type]
    return columns


def piece(number: int) -> dict[str, ndarray]:
    """One piece, rendered and heard: the columns of a `World`."""
    valence, arousal = emotion = emotion_of(number)
    mood = Mood.expressing(float(valence), float(arousal), np.random.default_rng([number, 0x300D]))
    sound = render_mood(mood, number, seconds=SECONDS, rate=RATE).mixture.mono().samples[0]
    harmony = encode_harmony(hear_chords(sound))
    return {
        "music": sound_statistics(sound).astype(np.float32),
        "roots": harmony.roots,
        "qualities": harmony.qualities,
        "minor": np.array(harmony.minor),
        "emotion": emotion,
    }


TAGS = (
    "calm", "dark", "dramatic", "energetic", "fast", "fun", "happy", "heavy", "hopeful", "inspiring", "meditative",
    "melancholic", "powerful", "relaxing", "romantic", "sad", "slow", "soft", "upbeat", "uplifting",
)  # fmt: skip
"""Those of the 56 tags that name moods rather than uses or scenes: all that the world can teach."""

_REACH = 1.6
"""How far from its word's place, in points, a tag is still given to a piece."""


def rated(
    world: World,
    rows: ndarray,
    name: str,
    *,
    noise: float = 0.5,
    spread: float = 1.0,
    offset: float = 0.0,
    seed: int = 0,
) -> EmotionDataset:
    """Pieces with ratings of their emotion, by raters who err, exaggerate and lean.

    Arguments:
        world: The pieces.
        rows: Which of them.
        name: The set's name.
        noise: Deviation of a mean rating, in points.
        spread: Above 1 for raters who exaggerate.
        offset: Points that they add.
        seed: Of the noise.
    """
    random = np.random.default_rng([seed, len(name), *name.encode()])
    ratings = 5 + spread * (world.emotion[rows] - 5) + offset + noise * random.normal(size=(len(rows), 2))
    labels = np.clip(ratings, 1, 9).astype(np.float32)
    return EmotionDataset(name, "va", labels, table=world.table(rows))


def tagged(world: World, rows: ndarray, name: str, *, tags: tuple[str, ...] = TAGS, seed: int = 0) -> EmotionDataset:
    """Pieces with mood tags: each tag with probability ``exp(-d^2 / 2 r^2)``, d from the emotion to the word's place.

    The words of high arousal lie lower than music's, so their places are stretched to the whole plane first.
    """
    random = np.random.default_rng([seed, len(name), *name.encode()])
    places = np.array([TAG_EMOTIONS[tag] for tag in tags])
    low, high = places.min(0), places.max(0)
    stretched = 1.5 + 7 * (places - low) / (high - low)
    squared = np.square(world.emotion[rows][:, None] - stretched).sum(-1)
    given = random.random(squared.shape) < np.exp(-squared / (2 * _REACH**2))
    given[np.arange(len(rows)), squared.argmin(1)] = True
    return EmotionDataset(name, "tags", given.astype(np.float32), tags=tags, table=world.table(rows))
