"""The nine attributes of a singing style: their values, the words that say them, and the classes of the data set.

A caption states an attribute when it holds one of the phrases of the lexicon; `parse_attributes` reads a caption back
into a dictionary. Six attributes are mandatory in a caption of S2Cap: gender, pitch, tempo, volume, mood, timbre.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from harmonia.core.errors import InputError

MANDATORY = ("gender", "pitch", "tempo", "volume", "mood", "timbre")
QUANTILES = (0.33, 0.66)
"""Of the values that part low, normal and high (Algorithm 1 of the paper)."""

# Attribute -> value -> phrases; the first ones are what our own captions say, the others only what is understood.
LEXICON: dict[str, dict[str, tuple[str, ...]]] = {
    "gender": {
        "female": ("female", "woman", "woman's", "female-sounding", "women", "girl", "she", "her"),
        "male": ("male", "man", "man's", "male-sounding", "men", "boy", "he", "his"),
    },
    "age": {
        "young": ("young", "youthful", "youth", "teenage", "younger"),
        "adult": ("adult", "grown-up", "mature", "middle-aged", "older"),
    },
    "pitch": {
        "low": ("low-pitched", "low register", "low pitch", "deep register", "low-pitch", "deep pitch", "low range"),
        "normal": (
            "mid-pitched",
            "middle register",
            "medium pitch",
            "moderate register",
            "normal pitch",
            "moderate pitch",
            "mid-range pitch",
            "normal-pitched",
        ),
        "high": ("high-pitched", "high register", "high pitch", "upper register", "high-pitch", "high range"),
    },
    "volume": {
        "low": ("soft volume", "quietly", "low volume", "hushed volume", "softly", "quiet volume"),
        "normal": ("moderate volume", "moderately loud", "medium volume", "even volume", "normal volume"),
        "high": ("loud volume", "loudly", "high volume", "full volume", "powerful volume", "strong volume"),
    },
    "tempo": {
        "slow": ("slow tempo", "slow-paced", "slow pace", "unhurried tempo", "slow"),
        "normal": ("moderate tempo", "mid-tempo", "medium pace", "steady tempo", "normal tempo", "moderate pace"),
        "fast": ("fast tempo", "fast-paced", "quick pace", "brisk tempo", "fast", "rapid tempo"),
    },
    "mood": {
        "calm": ("calm", "peaceful", "serene", "relaxed", "tranquil", "soothing"),
        "joyful": ("joyful", "cheerful", "happy", "bright-hearted", "upbeat", "lively"),
        "sad": ("sad", "melancholic", "sorrowful", "wistful", "melancholy", "mournful"),
        "tense": ("tense", "restless", "anxious", "agitated", "dramatic"),
    },
    "timbre": {
        "bright": ("bright", "brilliant", "shiny", "crisp"),
        "warm": ("warm", "mellow", "dark", "rounded"),
        "breathy": ("breathy", "airy", "whispery", "husky"),
        "clear": ("clear", "pure", "clean", "plain-toned"),
    },
    "expression": {
        "straight": ("without vibrato", "straight tone", "straight-toned", "no vibrato"),
        "vibrato": ("with vibrato", "strong vibrato", "vibrato-rich", "wide vibrato"),
        "gliding": ("gliding notes", "sliding between notes", "portamento", "glides"),
    },
    "genre": {
        "ballad": ("ballad",),
        "rock": ("rock",),
        "electronic": ("electronic", "electro", "dance"),
        "folk": ("folk", "acoustic folk"),
        "jazz": ("jazz", "jazzy"),
    },
}

SPOKEN = 4
"""Phrases of each value that our own captions use."""

UNSAID = {"age", "gender"}
"""What may be left out of captions on request, since it is perceived, not known."""


def values(attribute: str) -> tuple[str, ...]:
    """The values of an attribute.

    Raises:
        InputError: no such attribute.

    Example:
        >>> values("tempo")
        ('slow', 'normal', 'fast')
    """
    if attribute not in LEXICON:
        raise InputError("there is no such attribute", attribute, f"Use one of {', '.join(LEXICON)}.")
    return tuple(LEXICON[attribute])


def parse_attributes(text: str) -> dict[str, str]:
    """The attributes that a caption states; the longest phrase counts, and of contradictory ones the first.

    Example:
        >>> parse_attributes("A young woman sings loudly in a low register at a slow tempo, bright and joyful.")
        {'age': 'young', 'gender': 'female', 'volume': 'high', 'pitch': 'low', 'tempo': 'slow', 'timbre': 'bright', ...}
    """
    found: dict[str, str] = {}
    for attribute, value in stated(text):
        found.setdefault(attribute, value)
    return found


def stated(text: str) -> list[tuple[str, str]]:
    """Every (attribute, value) that a caption states, in order, contradictions included.

    Example:
        >>> stated("a man, or a woman")
        [('gender', 'male'), ('gender', 'female')]
    """
    pattern, meaning = _pattern()
    return [meaning[match.group().lower().replace("’", "'")] for match in pattern.finditer(text)]


@cache
def _pattern() -> tuple[re.Pattern[str], dict[str, tuple[str, str]]]:
    meaning = {
        phrase: (attribute, value)
        for attribute, choices in LEXICON.items()
        for value, phrases in choices.items()
        for phrase in phrases
    }
    longest_first = sorted(meaning, key=len, reverse=True)
    alternatives = "|".join(re.escape(phrase) for phrase in longest_first)
    return re.compile(rf"(?<![\w-])(?:{alternatives})(?![\w-]|['’]\w)", re.IGNORECASE), meaning


class Levels(NamedTuple):
    """Boundaries between low, normal and high, and what they were taken from.

    Attributes:
        low: Highest value that is low.
        high: Highest value that is normal.
    """

    low: float
    high: float

    @classmethod
    def of(cls, population: Float[ndarray, " n"]) -> Levels:
        """The 0.33 and 0.66 quantiles (linear interpolation) of a population.

        Raises:
            InputError: an empty population, or values that are not finite.

        Example:
            >>> Levels.of(np.arange(1.0, 102.0))
            Levels(low=34.0, high=67.0)
        """
        if not len(population) or not np.isfinite(population).all():
            raise InputError("levels need a population of numbers", f"{len(population)} values", "Pass finite values.")
        low, high = np.quantile(population, QUANTILES)
        return cls(float(low), float(high))

    def name(self, value: float) -> str:
        """``low`` up to and including the first boundary, ``normal`` up to and including the second, else ``high``.

        Example:
            >>> [Levels(1.0, 2.0).name(value) for value in (1.0, 2.0, 2.1)]
            ['low', 'normal', 'high']
        """
        return "low" if value <= self.low else "normal" if value <= self.high else "high"


def unsupported(text: str, supported: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """What a caption states but `supported` does not allow; attributes that `supported` lacks are free.

    Example:
        >>> unsupported("a man sings quietly", {"gender": ["female"], "volume": ["low"]})
        [('gender', 'male')]
    """
    return [(name, value) for name, value in stated(text) if name in supported and value not in supported[name]]
