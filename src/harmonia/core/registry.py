"""Which methods there are and how far each is: found by looking, never by a list.

A method is a folder with a ``card.toml`` under one of the fields, or a card alone in ``catalogue/``. Its status
follows from what is there: *planned* (a card only), *built* (its jobs and claims can be imported) or *measured*
(``results/<slug>.json`` holds findings as well).
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Literal

import msgspec

from harmonia.core.card import FIELDS, Card
from harmonia.core.errors import InputError
from harmonia.core.results import Results, read_results

Status = Literal["planned", "built", "measured"]

PACKAGE = Path(__file__).resolve().parent.parent
_log = logging.getLogger(__name__)


class Method(msgspec.Struct, frozen=True):
    """A card and the folder it stands for (None while the method is planned)."""

    card: Card
    folder: Path | None

    @property
    def slug(self) -> str:
        return self.card.slug

    @property
    def built(self) -> bool:
        folder = self.folder
        return folder is not None and all((folder / name).is_file() for name in ("__init__.py", "task.py", "claim.py"))

    @property
    def results(self) -> Results | None:
        """What was measured, or None."""
        return read_results(self.slug)

    @property
    def status(self) -> Status:
        if not self.built:
            return "planned"
        results = self.results
        return "measured" if results is not None and results.findings else "built"

    @property
    def outdated(self) -> bool:
        """Whether the code of the method changed after its results were measured."""
        results = self.results
        return self.built and results is not None and results.code != self.code

    @property
    def code(self) -> str:
        """A fingerprint of the method's source files."""
        assert self.folder is not None
        digest = hashlib.sha256()
        for path in sorted(self.folder.rglob("*.py")):
            digest.update(path.relative_to(self.folder).as_posix().encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]

    def module(self, name: Literal["task", "claim"]) -> ModuleType:
        """Import the method's jobs or claims.

        Raises:
            InputError: the method is planned.
        """
        if not self.built:
            raise InputError(
                f"'{self.slug}' is planned and not built yet",
                "a card without code",
                "See `harmonia list` for the methods that run.",
            )
        return importlib.import_module(f"harmonia.{self.card.field}.{self.card.module}.{name}")


@functools.cache
def methods() -> tuple[Method, ...]:
    """All methods, by slug. One whose card cannot be read is left out and told; `find` says what is wrong with it."""
    found: dict[str, Method] = {}
    for path in _cards():
        try:
            card = Card.load(path)
        except InputError as error:
            _log.warning("Left out a method: %s", error)
            continue
        folder = path.parent if path.name == "card.toml" else None
        expected = card.module if folder else card.slug
        actual = path.parent.name if folder else path.stem
        if actual != expected or (folder and path.parent.parent.name != card.field):
            raise InputError(
                f"the card {path} lies in the wrong place", card.slug, f"Move it to {card.field}/{card.module}/."
            )
        if card.slug in found:
            raise InputError(f"there are two cards for '{card.slug}'", path, "Remove the one in catalogue/.")
        found[card.slug] = Method(card, folder)
    return tuple(found[slug] for slug in sorted(found))


def _cards() -> Iterator[Path]:
    for field in FIELDS:
        yield from (PACKAGE / field).glob("*/card.toml")
    yield from (PACKAGE / "catalogue").glob("*.toml")


def find(slug: str) -> Method:
    """The method of that name.

    Raises:
        InputError: there is none, and the nearest names are offered; or its card cannot be read.
    """
    by_slug = {method.slug: method for method in methods()}
    name = slug.lower().replace("_", "-")
    if name not in by_slug:
        for path in _cards():
            if name in (path.stem, path.parent.name.replace("_", "-")):
                Card.load(path)
        near = difflib.get_close_matches(name, by_slug, n=3, cutoff=0.5)
        mend = f"Did you mean {' or '.join(near)}?" if near else "See `harmonia list`."
        raise InputError("there is no such method", f"'{slug}'", mend)
    return by_slug[name]


def search(words: str) -> list[Method]:
    """Methods whose card mentions the words, best first.

    Example:
        >>> search("separate vocals")[0].slug
        'mel-roformer'
    """
    terms = [word for word in words.lower().replace("-", " ").split() if word]
    scored = [(sum(_weight(method.card, term) for term in terms), method) for method in methods()]
    best = sorted((pair for pair in scored if pair[0] > 0), key=lambda pair: (-pair[0], pair[1].slug))
    return [method for _, method in best]


_ENDINGS = ("ations", "ation", "ators", "ator", "ating", "ated", "ates", "ate", "ings", "ing", "ers", "er", "ed", "s")


def _stem(term: str) -> str:
    """The word without its ending, so that "separate" finds "separation".

    Example:
        >>> _stem("separation"), _stem("separate"), _stem("vocals"), _stem("song")
        ('separ', 'separ', 'vocal', 'song')
    """
    ending = next((ending for ending in _ENDINGS if term.endswith(ending) and len(term) - len(ending) >= 4), "")
    return term.removesuffix(ending)


def _weight(card: Card, term: str) -> float:
    """How strongly a card answers one word: its own words count most, its longer texts least."""
    stem = _stem(term)

    def mentions(texts: Iterable[str]) -> bool:
        return any(stem in text.lower() for text in texts)

    return (
        4.0 * mentions([card.slug.replace("-", " "), *card.search])
        + 3.0 * mentions([card.summary])
        + 2.0 * mentions([card.title, *card.inputs, *card.outputs])
        + 1.0 * mentions([card.gives, card.field])
    )
