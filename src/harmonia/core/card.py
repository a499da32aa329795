"""What a method is: the typed form of its ``card.toml``.

A card is data about a paper: what it does for a user, what its authors released, what they claim, and which defects
their release has. Whether the method is built or measured is never written on a card; it is derived
(`harmonia.core.registry`).
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from harmonia.core.errors import InputError

Field = Literal["kernels", "networks", "symmetry", "sequences", "tables", "audio", "music", "song", "image"]
FIELDS: tuple[Field, ...] = get_args(Field)


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the card; unknown keys are refused."""


class ReleasedWeights(_Record, frozen=True):
    """One file of weights that somebody published.

    Attributes:
        name: What people call it.
        repo: Hub repository, ``owner/name``; empty when it is hosted elsewhere.
        file: File inside the repository.
        license: Every licence that is stated for it. Contradictions are shown, not resolved.
        bytes: Size of the file.
        sha256: Checksum, when known.
    """

    name: str
    license: list[str]
    repo: str = ""
    file: str = ""
    bytes: int | None = None
    sha256: str | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if not self.license:
            raise ValueError("`license` of weights lists at least one entry; write 'not stated' when none is")
        if self.sha256 is not None and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError("`sha256` is 64 lower-case hexadecimal digits")


class PaperClaim(_Record, frozen=True):
    """A statement of the paper, as a number where it is one."""

    name: str
    place: str
    value: float | None = None
    unit: str = ""
    note: str = ""


class DataSet(_Record, frozen=True):
    """Data the paper uses, or real data that stands in for it here."""

    name: str
    license: str = ""
    note: str = ""


class Peer(_Record, frozen=True):
    """Other software that does the job."""

    name: str
    version: str = ""
    note: str = ""


class Erratum(_Record, frozen=True):
    """A defect of the official release.

    Attributes:
        defect: What is wrong, in a line.
        ours: What our default does.
        compat: What reproduces the official behaviour: the value of ``compat=``, or another argument as it is written
            in a call (``mask="zero"``); empty when it is not kept.
    """

    defect: str
    ours: str
    compat: str = ""


class Tour(_Record, frozen=True):
    """A stop of ``harmonia demo``: a job run on its embedded example.

    Attributes:
        order: Place in the tour.
        title: Headline of the stop.
        text: What there is to see or hear, for someone who has not read the paper.
        job: The job to run; the default one when empty.
        options: Its options.
    """

    order: int
    title: str
    text: str
    job: str = ""
    options: dict[str, str | int | float | bool] = {}


class Card(_Record, frozen=True):
    """A method: its paper, what it gives a user, and what is known about its release.

    Example:
        >>> from harmonia.core.registry import find
        >>> find("ntk").card.arxiv
        '1806.07572'
    """

    slug: str
    title: str
    arxiv: str
    year: int
    field: Field
    summary: str
    gives: str
    inputs: list[str]
    outputs: list[str]
    extras: list[str] = []
    search: list[str] = []
    weights: list[ReleasedWeights] = []
    claims: list[PaperClaim] = []
    datasets: list[DataSet] = []
    peers: list[Peer] = []
    errata: list[Erratum] = []
    tour: Tour | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.slug):
            raise ValueError(f"`slug` is lower-case words joined by hyphens, not {self.slug!r}")
        if not re.fullmatch(r"\d{4}\.\d{4,5}", self.arxiv):
            raise ValueError(f"`arxiv` is an identifier such as '1806.07572', not {self.arxiv!r}")
        for key in ("title", "summary", "gives", "inputs", "outputs"):
            if not getattr(self, key):
                raise ValueError(f"`{key}` must not be empty")
        if "\n" in self.summary:
            raise ValueError("`summary` is one line")

    @property
    def module(self) -> str:
        """The module name of the method: ``mel-roformer`` lives in ``mel_roformer``."""
        return self.slug.replace("-", "_")

    @property
    def url(self) -> str:
        """The paper."""
        return f"https://arxiv.org/abs/{self.arxiv}"

    @classmethod
    def load(cls, path: str | Path) -> Card:
        """Read and validate a ``card.toml``.

        Raises:
            InputError: not TOML, a key that is missing, misspelt or of the wrong type; names the file and the key.
        """
        path = Path(path)
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"the card {path} cannot be read", error, "Write it as UTF-8 TOML.") from error
        _refuse_unknown_keys(cls, content, path, "")
        try:
            return msgspec.convert(content, cls)
        except msgspec.ValidationError as error:
            raise InputError(
                f"the card {path} is not valid", error, f"Its keys are: {', '.join(_keys(cls))}."
            ) from error


def _keys(record: type[msgspec.Struct]) -> tuple[str, ...]:
    return record.__struct_fields__


_TABLES: dict[str, type[_Record]] = {
    "weights": ReleasedWeights,
    "claims": PaperClaim,
    "datasets": DataSet,
    "peers": Peer,
    "errata": Erratum,
}


def _refuse_unknown_keys(record: type[msgspec.Struct], content: dict[str, Any], path: Path, where: str) -> None:
    """Name a misspelt key and the one that was probably meant; msgspec alone names only the former."""
    for key, value in content.items():
        if key not in _keys(record):
            near = difflib.get_close_matches(key, _keys(record), n=1)
            meant = f" Did you mean '{near[0]}'?" if near else ""
            raise InputError(
                f"the card {path} has an unknown key", f"'{where}{key}'", f"Allowed: {', '.join(_keys(record))}.{meant}"
            )
        if record is Card and key in _TABLES and isinstance(value, list):
            for entry in value:
                if isinstance(entry, dict):
                    _refuse_unknown_keys(_TABLES[key], entry, path, f"{key}.")
