"""Conditions of a query: which field, which word, does it match."""

from __future__ import annotations

import difflib
from typing import Any

from harmonia.audio.music_fm_survey.licences import terms
from harmonia.core.errors import InputError

ALIASES = {
    "gpt": "autoregressive",
    "mlm": "masked",
    "audio": "music audio",
    "midi": "symbolic",
    "spectrum": "spectrogram",
    "encodec": "codec tokens",
}
"""Other words for entries of the vocabularies, in queries."""


def reached(record: Any, path: str) -> Any:
    """A field of a record; fields of fields are joined by two underscores, ``commercial`` is asked of licences.

    Raises:
        InputError: no such field.
    """
    value = record
    for name in path.split("__"):
        if isinstance(value, str) and name == "commercial":
            return terms(value).commercial if value else None
        if not hasattr(value, name) or name.startswith("_"):
            fields = ", ".join(getattr(value, "__struct_fields__", ()))
            raise InputError("records have no such field", f"'{path}'", f"Use one of {fields}.")
        value = getattr(value, name)
    return value


def known_word(path: str, word: str, records: tuple[Any, ...]) -> str:
    """The word in lower case, in the taxonomy's own term, if it begins an entry of any record.

    Raises:
        InputError: it begins none; the nearest is offered.
    """
    values = [reached(record, path) for record in records]
    wanted = word.lower()
    words = {str(each).lower() for value in values for each in (value if isinstance(value, list) else [value])}
    if wanted not in words:
        wanted = ALIASES.get(wanted, wanted).lower()
    if not any(each.startswith(wanted) for each in words):
        near = difflib.get_close_matches(wanted, words, n=1, cutoff=0.4)
        offer = f"Did you mean '{near[0]}'?" if near else f"It is one of {', '.join(sorted(words)[:12])}."
        raise InputError(f"no record has this {path}", f"'{word}'", offer)
    return wanted


def matches(value: Any, wanted: Any) -> bool:
    """Whether an entry begins with the word, or the value is the one that is wanted."""
    if isinstance(wanted, str):
        each = value if isinstance(value, list) else [value]
        return any(str(entry).lower().startswith(wanted) for entry in each if entry is not None)
    return value is not None and value == wanted
