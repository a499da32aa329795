"""The 56 mood and theme tags of MTG-Jamendo, and where their words lie on the plane of valence and arousal.

Valence and arousal are those that the release uses (1 to 9, from norms of English words): facts about words, not about
music. A tag is used on its own here; what a word means in a title, a genre or a theme, nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable

from harmonia.core.errors import InputError

TAG_EMOTIONS: dict[str, tuple[float, float]] = {
    "action": (6.0, 6.19), "adventure": (7.4, 6.36), "advertising": (4.68, 3.25), "background": (5.05, 3.67),
    "ballad": (6.33, 3.6), "calm": (6.89, 1.67), "children": (6.36, 5.09), "christmas": (8.37, 5.9),
    "commercial": (4.11, 4.43), "cool": (6.82, 3.43), "corporate": (4.9, 4.74), "dark": (5.08, 4.09),
    "deep": (5.44, 3.9), "documentary": (5.91, 3.76), "drama": (4.37, 5.14), "dramatic": (5.17, 6.59),
    "dream": (7.43, 4.37), "emotional": (5.11, 5.32), "energetic": (7.57, 6.1), "epic": (7.19, 4.8),
    "fast": (4.57, 6.45), "film": (6.33, 4.1), "fun": (8.37, 6.32), "funny": (7.59, 5.38),
    "game": (6.79, 5.05), "groovy": (6.42, 4.67), "happy": (8.47, 6.05), "heavy": (4.78, 3.65),
    "holiday": (7.18, 4.93), "hopeful": (7.44, 4.84), "inspiring": (7.42, 5.9), "love": (8.0, 5.36),
    "meditative": (6.47, 2.85), "melancholic": (3.74, 4.13), "melodic": (6.65, 4.86), "motivational": (6.76, 6.37),
    "movie": (7.24, 4.39), "nature": (6.88, 4.0), "party": (7.18, 6.08), "positive": (7.57, 5.5),
    "powerful": (6.46, 5.41), "relaxing": (8.19, 4.29), "retro": (5.6, 4.0), "romantic": (7.61, 5.12),
    "sad": (2.1, 3.49), "sexy": (7.42, 6.8), "slow": (4.0, 2.89), "soft": (7.13, 3.04),
    "soundscape": (6.35, 3.85), "space": (6.89, 3.6), "sport": (6.95, 4.7), "summer": (7.5, 5.48),
    "trailer": (4.44, 2.85), "travel": (7.89, 5.55), "upbeat": (7.14, 4.92), "uplifting": (6.95, 4.7),
}  # fmt: skip
"""Valence and arousal of every tag, in the alphabetical order of the released heads."""

MOOD_TAGS: tuple[str, ...] = tuple(TAG_EMOTIONS)

_PREFIX = "mood/theme---"
_SAME = {
    "dreamy": "dream", "emotion": "emotional", "energic": "energetic", "energy": "energetic", "filmmusic": "film",
    "inspirational": "inspiring", "lovesong": "love", "melancholy": "melancholic", "melancolic": "melancholic",
    "relaxed": "relaxing", "relaxation": "relaxing", "sadness": "sad", "romance": "romantic", "hope": "hopeful",
    "motivation": "motivational", "happiness": "happy", "sports": "sport", "cinema": "film", "kids": "children",
    "child": "children", "joyful": "happy", "peaceful": "calm", "chill": "relaxing", "gloomy": "dark",
}  # fmt: skip
"""Other words for the same tags."""


def known_tags(words: Iterable[str], vocabulary: tuple[str, ...] = MOOD_TAGS) -> tuple[str, ...]:
    """The tags of a vocabulary that words stand for, whatever their case, prefix or common variant.

    Raises:
        InputError: a word that stands for none of them.

    Example:
        >>> known_tags(["mood/theme---happy", "Melancholy"])
        ('happy', 'melancholic')
    """
    found = []
    for word in words:
        plain = word.strip().lower().removeprefix(_PREFIX)
        tag = plain if plain in vocabulary else _SAME.get(plain, plain)
        if tag not in vocabulary:
            mend = f"Use tags of: {', '.join(vocabulary[:12])}, ... or give a vocabulary of your own."
            raise InputError("there is no such tag", f"'{word}'", mend)
        found.append(tag)
    return tuple(dict.fromkeys(found))
