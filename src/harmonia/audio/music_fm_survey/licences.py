"""Licences as a lattice: what may still be done with something made of parts under several licences.

A licence is a set of duties and prohibitions; what is made of two parts keeps those of both (their union), so that
combining is associative, commutative and idempotent, and the public domain changes nothing. Two licences contradict
each other where one forbids derivatives, or where two share-alike licences ask for different terms. This is an aid to
reading, not legal advice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from harmonia.core.errors import InputError

Restriction = Literal["BY", "SA", "NC", "ND", "custom"]


@dataclass(frozen=True)
class Terms:
    """What a licence asks for.

    Attributes:
        restrictions: BY (credit), SA (share alike), NC (not commercial), ND (no derivatives), custom (read the text).
        alike: Share-alike licences whose terms the whole must take on.
    """

    restrictions: frozenset[Restriction] = field(default_factory=frozenset)
    alike: frozenset[str] = field(default_factory=frozenset)

    def __and__(self, other: Terms) -> Terms:
        """The terms of what is made of both: the meet of the lattice."""
        return Terms(self.restrictions | other.restrictions, self.alike | other.alike)

    def __le__(self, other: Terms) -> bool:
        """Whether these terms allow at most what the others allow."""
        return self.restrictions >= other.restrictions and self.alike >= other.alike

    @property
    def commercial(self) -> bool | None:
        """Whether commercial use is allowed; None where the text must be read."""
        return False if "NC" in self.restrictions else None if "custom" in self.restrictions else True

    @property
    def name(self) -> str:
        """The restrictions in words.

        Example:
            >>> (terms("CC-BY-4.0") & terms("CC-BY-NC-SA-4.0")).name
            'credit, share alike, not commercial'
        """
        words = {"BY": "credit", "SA": "share alike", "NC": "not commercial", "ND": "no derivatives"}
        words["custom"] = "own terms: read them"
        return ", ".join(words[each] for each in words if each in self.restrictions) or "free"


_FREE = {"PD", "CC0-1.0", "Unlicense", "0BSD", "CC-PDDC"}
_CREDIT = {
    "MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "CC-BY-3.0", "CC-BY-4.0", "ODC-By-1.0", "Zlib", "HPND",
}  # fmt: skip
_ALIKE = {
    "CC-BY-SA-3.0", "CC-BY-SA-4.0", "GPL-2.0-only", "GPL-3.0-only", "GPL-2.0-or-later", "GPL-3.0-or-later",
    "AGPL-3.0-only", "LGPL-2.1-only", "LGPL-3.0-only", "MPL-2.0", "ODbL-1.0",
}  # fmt: skip
_CREATIVE = {
    "CC-BY-NC": ("BY", "NC"),
    "CC-BY-ND": ("BY", "ND"),
    "CC-BY-NC-SA": ("BY", "NC", "SA"),
    "CC-BY-NC-ND": ("BY", "NC", "ND"),
}
_ALIASES = {"public domain": "PD", "CC0": "CC0-1.0", "Apache 2.0": "Apache-2.0", "CC BY": "CC-BY-4.0"}
LICENCES: frozenset[str] = frozenset(
    {*_FREE, *_CREDIT, *_ALIKE, *(f"{name}-{version}" for name in _CREATIVE for version in ("3.0", "4.0")), "custom"}
)
"""Licences that are known: SPDX identifiers, ``PD`` for the public domain, and ``custom`` for any other text."""


def terms(licence: str) -> Terms:
    """The terms of a licence by its SPDX identifier.

    Raises:
        InputError: an unknown identifier; ``custom`` stands for terms of one's own.

    Example:
        >>> terms("CC-BY-NC-4.0").commercial, terms("MIT").commercial, terms("custom").commercial
        (False, True, None)
    """
    name = _ALIASES.get(licence, licence)
    if name not in LICENCES:
        raise InputError("this is no known licence", f"'{licence}'", "Write its SPDX identifier, PD, or custom.")
    if name == "custom":
        return Terms(frozenset({"custom"}))
    creative = name.rsplit("-", 1)[0]
    if creative in _CREATIVE:
        held = frozenset(_CREATIVE[creative])
        return Terms(held, frozenset({name}) if "SA" in held else frozenset())  # type: ignore[arg-type]
    if name in _ALIKE:
        return Terms(frozenset({"BY", "SA"}), frozenset({name}))
    return Terms(frozenset({"BY"})) if name in _CREDIT else Terms()


@dataclass(frozen=True)
class Conflict:
    """Something that does not go together: what, because of which parts."""

    what: str
    parts: tuple[str, ...]


def combine(licences: Iterable[str]) -> Terms:
    """The terms of a whole made of parts under these licences.

    Example:
        >>> combine(["CC0-1.0", "CC-BY-4.0", "CC-BY-NC-4.0"]).name
        'credit, not commercial'
    """
    whole = Terms()
    for licence in licences:
        whole = whole & terms(licence)
    return whole


def conflicts(parts: dict[str, str], *, commercial: bool = False, derived: bool = True) -> list[Conflict]:
    """What speaks against using a whole made of named parts as intended.

    Arguments:
        parts: Names of the parts and their licences; an unknown or missing licence is a conflict of its own.
        commercial: Whether the whole is to be used commercially.
        derived: Whether the whole is a derivative of the parts, as an adapted model is, rather than a collection.

    Example:
        >>> [conflict.what for conflict in conflicts({"songs": "CC-BY-NC-4.0", "code": "MIT"}, commercial=True)]
        ['not for commercial use']
    """
    known = {name: terms(licence) for name, licence in parts.items() if _ALIASES.get(licence, licence) in LICENCES}
    found = []

    def note(what: str, names: Iterable[str]) -> None:
        listed = tuple(names)
        if listed:
            found.append(Conflict(what, listed))

    note("licence unknown", (name for name in parts if name not in known))
    if commercial:
        note("not for commercial use", (name for name, each in known.items() if "NC" in each.restrictions))
    if derived:
        note("no derivatives allowed", (name for name, each in known.items() if "ND" in each.restrictions))
    alike = frozenset[str]().union(*(each.alike for each in known.values()))
    if derived and len(alike) > 1:
        note("share-alike terms differ", (name for name, each in known.items() if each.alike))
    note("own terms must be read", (name for name, each in known.items() if "custom" in each.restrictions))
    return found
