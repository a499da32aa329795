"""Captions from attributes: sentence patterns with slots, each filled by one of several synonyms.

Patterns are parted: those of ``phrasing="test"`` never word a training caption, so that a captioner is measured on
sentences it has not seen. Every caption is one English sentence that states at least the mandatory attributes, and
`harmonia.audio.s2cap.attributes.parse_attributes` reads it back exactly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from harmonia.audio.s2cap.attributes import LEXICON, MANDATORY, SPOKEN, UNSAID
from harmonia.core.errors import InputError

Phrasing = Literal["train", "test"]
Synonyms = dict[str, tuple[str, ...]]

# How a value is said in each kind of slot; the words are those of the lexicon.
_SINGER: Synonyms = {
    "female": ("woman", "female singer", "female vocalist"),
    "male": ("man", "male singer", "male vocalist"),
}
_PITCH: Synonyms = {
    "low": ("in a low register", "with a low-pitched voice", "at a low pitch", "in a deep register"),
    "normal": ("in a middle register", "with a mid-pitched voice", "at a medium pitch", "in a moderate register"),
    "high": ("in a high register", "with a high-pitched voice", "at a high pitch", "in an upper register"),
}
_VOLUME: Synonyms = {
    "low": ("quietly", "at a soft volume", "at a low volume", "at a hushed volume"),
    "normal": ("moderately loud", "at a moderate volume", "at a medium volume", "at an even volume"),
    "high": ("loudly", "at a loud volume", "at a high volume", "at full volume"),
}
_TEMPO: Synonyms = {
    "slow": ("at a slow tempo", "at a slow pace", "at an unhurried tempo"),
    "normal": ("at a moderate tempo", "at a medium pace", "at a steady tempo"),
    "fast": ("at a fast tempo", "at a quick pace", "at a brisk tempo"),
}
_EXPRESSION: Synonyms = {
    "straight": ("without vibrato", "in a straight tone"),
    "vibrato": ("with vibrato", "with strong vibrato"),
    "gliding": ("with gliding notes", "sliding between notes"),
}
_SLOTS: dict[str, Synonyms] = {
    "singer": _SINGER,
    "pitch": _PITCH,
    "volume": _VOLUME,
    "tempo": _TEMPO,
    "expression": _EXPRESSION,
}

# [..] is left out when the attribute in it is not given, or by chance.
_PATTERNS: dict[Phrasing, tuple[str, ...]] = {
    "train": (
        "{a} [{age}] {singer} sings {pitch} {volume}, {timbre} and {mood}, {tempo}"
        "[, {expression}][ over {genre} music].",
        "{a} {mood} [{genre}] song {tempo}, sung {volume} by {a} [{age}] {singer} {pitch}, with {a} {timbre} tone"
        "[, {expression}].",
        "{a} [{age}] {singer} with {a} {timbre} timbre performs {a} {mood} [{genre}] piece {tempo}, {pitch} and "
        "{volume}[, {expression}].",
        "{volume} and {pitch}, {a} [{age}] {singer} sings {a} {mood} [{genre}] tune {tempo} in {a} "
        "{timbre} tone[, {expression}].",
        "this {mood} [{genre}] track moves {tempo} while {a} {timbre} [{age}] {singer} sings {pitch} and {volume}"
        "[, {expression}].",
        "the {timbre} voice of {a} [{age}] {singer} sounds {volume} and {pitch} in {a} {mood} [{genre}] song {tempo}"
        "[, {expression}].",
        "{tempo}, {a} [{age}] {singer} sings {a} {mood} melody {pitch} and {volume}, {timbre} in timbre"
        "[, {expression}][, over {genre} music].",
        "[{genre} music with ]{a} {mood} feeling, sung {tempo} by {a} {timbre} [{age}] {singer}, {pitch} and {volume}"
        "[, {expression}].",
    ),
    "test": (
        "[over {genre} music ]{a} {timbre} [{age}] {singer} is heard {pitch}, {mood}, {volume} and {tempo}"
        "[, {expression}].",
        "{a} [{age}] {singer} delivers {a} {mood} [{genre}] melody {volume}, {pitch}, {tempo}, in {a} {timbre} voice"
        "[, {expression}].",
    ),
}


def caption_of(
    attributes: Mapping[str, str],
    rng: np.random.Generator,
    *,
    phrasing: Phrasing = "train",
    without: Sequence[str] = (),
) -> str:
    """A sentence that states the attributes.

    Arguments:
        attributes: Values by attribute; the mandatory ones at least, except those in `without`.
        rng: Chooses pattern and synonyms.
        phrasing: ``train`` or ``test`` patterns.
        without: ``gender`` and ``age`` may be left unsaid.

    Raises:
        InputError: a mandatory attribute is missing, or a name or value that does not exist.

    Example:
        >>> style = dict(gender="male", pitch="low", tempo="slow", volume="low", mood="sad", timbre="warm")
        >>> caption_of(style, np.random.default_rng(0))
        'At a slow tempo, a male singer sings a sad melody at a low pitch and at a soft volume, warm in timbre.'
    """
    _check(attributes, without)
    pattern = str(rng.choice(np.array(_PATTERNS[phrasing], dtype=object)))
    given = {name: value for name, value in attributes.items() if name not in without}

    def optional(match: re.Match[str]) -> str:
        needed = re.findall(r"{(\w+)}", match.group(1))
        wanted = all(name in given for name in needed) and rng.random() < 0.75
        return match.group(1) if wanted else ""

    pattern = re.sub(r"\[([^\]]*)\]", optional, pattern)
    words = {"singer": "singer"} if "gender" not in given else {}
    for name, choices in _SLOTS.items():
        attribute = "gender" if name == "singer" else name
        if attribute in given:
            words[name] = str(rng.choice(choices[given[attribute]]))
    for name in ("age", "timbre", "mood", "genre"):
        if name in given:
            words[name] = str(rng.choice(LEXICON[name][given[name]][:SPOKEN]))
    return _sentence(pattern.format(a="{a}", **words))


def plain_caption(attributes: Mapping[str, str]) -> str:
    """A sentence that states just these attributes, however few, in the first phrase of each.

    Example:
        >>> plain_caption({"gender": "female", "tempo": "slow"})
        'A woman sings at a slow tempo.'
    """
    age = LEXICON["age"][attributes["age"]][0] if "age" in attributes else ""
    singer = _SINGER[attributes["gender"]][0] if "gender" in attributes else "singer"
    words = [f"{{a}} {age} {singer} sings"]
    words += [_SLOTS[name][attributes[name]][0] for name in ("pitch", "volume", "tempo") if name in attributes]
    tone = [LEXICON[name][attributes[name]][0] for name in ("timbre", "mood") if name in attributes]
    words += ["in a " + " and ".join(tone) + " tone"] if tone else []
    words += [_EXPRESSION[attributes["expression"]][0]] if "expression" in attributes else []
    words += [f"over {LEXICON['genre'][attributes['genre']][0]} music"] if "genre" in attributes else []
    return _sentence(" ".join(words) + ".").replace(" .", ".")


def misleading_words(supported: Mapping[str, Sequence[str]]) -> set[str]:
    """Words that our captions use for unsupported values and for nothing else.

    A decoder that has begun *plain-toned* cannot get out of it in good English, so such words are better not begun.

    Example:
        >>> sorted(misleading_words({"gender": ["female"]}))
        ['male', 'man']
    """
    good = set(_words(" ".join(pattern for patterns in _PATTERNS.values() for pattern in patterns)))
    bad: set[str] = set()
    for name, choices in LEXICON.items():
        for value, phrases in choices.items():
            slot = _SLOTS.get("singer" if name == "gender" else name, {}).get(value, ())
            spoken = set(_words(" ".join((*slot, *(() if slot else phrases[:SPOKEN])))))
            if name in supported and value not in supported[name]:
                bad |= spoken
            else:
                good |= spoken
    return bad - good


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", text.lower()))


def surface_forms(attributes: Mapping[str, str], phrasing: Phrasing = "train", tries: int = 5000) -> set[str]:
    """Different captions of the same attributes, out of `tries` drawn ones."""
    rng = np.random.default_rng(0)
    return {caption_of(attributes, rng, phrasing=phrasing) for _ in range(tries)}


def _check(attributes: Mapping[str, str], without: Sequence[str]) -> None:
    unknown = [name for name in without if name not in UNSAID]
    if unknown:
        raise InputError("these attributes cannot be left unsaid", ", ".join(unknown), "Only gender and age can.")
    missing = [name for name in MANDATORY if name not in attributes and name not in without]
    if missing:
        raise InputError("a caption needs the mandatory attributes", f"none for {', '.join(missing)}", "Give them.")
    for name, value in attributes.items():
        if name not in LEXICON or value not in LEXICON[name]:
            known = ", ".join(LEXICON.get(name, LEXICON))
            raise InputError("there is no such attribute or value", f"{name}={value}", f"Use one of {known}.")


def _sentence(text: str) -> str:
    """Single spaces, the right article, a capital at the start."""
    text = re.sub(r"\s+", " ", text).replace(" ,", ",").strip()
    text = re.sub(r"\{a\} (?=[aeiou])", "an ", text)
    text = text.replace("{a}", "a").replace("  ", " ")
    return text[0].upper() + text[1:]
