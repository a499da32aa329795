"""Records of the survey's taxonomy: the words that its axes may take, and what is known of each model and data set.

Facts are what the companion list of the survey (https://github.com/nicolaus625/FM4Music) names, and what official
repositories, model cards and abstracts say beyond it. Each source stands in the record with the fields that it
confirms; where it contradicts the list it wins, and the record's note says so. What no source confirms is kept as the
list has it and shown as unconfirmed; what nobody states is left empty, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec

from harmonia.audio.music_fm_survey.licences import LICENCES, terms
from harmonia.core.errors import InputError

SCHEMA = 1
Kind = Literal["models", "datasets", "methods"]

Modality = Literal["music audio", "sound", "speech", "symbolic", "text", "image", "video", "features"]
Purpose = Literal["understanding", "generation", "medical"]
Paradigm = Literal[
    "contrastive",
    "masked",
    "masked, clustered targets",
    "masked, online distillation",
    "autoregressive",
    "VAE",
    "diffusion",
    "prefix tuning",
    "adapter tuning",
]
Tokenizer = Literal[
    "waveform CNN",
    "spectrogram",
    "codec tokens",
    "semantic tokens",
    "random-projection tokens",
    "MIDI",
    "REMI",
    "Octuple",
    "compound word",
    "ABC",
    "MusicXML",
    "features of another model",
]
Architecture = Literal[
    "CNN encoder",
    "Conformer encoder",
    "Transformer encoder",
    "Transformer decoder",
    "Transformer encoder-decoder",
    "U-Net",
]


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A strict record; unknown fields and words outside of the vocabularies are refused."""


class _Listed(_Record, frozen=True, kw_only=True):
    """A record of the companion list, with what other sources say of it.

    Attributes:
        confirmed: Addresses of sources, and the fields (``params``, ``weights.license``) that each of them confirms.
    """

    confirmed: dict[str, list[str]] = {}

    def __post_init__(self) -> None:
        for address, names in self.confirmed.items():
            if not address.startswith("https://") or not names:
                raise ValueError(f"'{address}' is no address of a source that confirms something")
            for name in names:
                if not _filled(self, name):
                    raise ValueError(f"'{name}' is confirmed and not filled")

    checkable: ClassVar[tuple[str, ...]] = ()

    @property
    def verified(self) -> bool:
        """Whether a source other than the companion list confirms anything of it."""
        return bool(self.confirmed)

    @property
    def unconfirmed(self) -> list[str]:
        """What is filled and rests on the companion list alone."""
        known = {name for names in self.confirmed.values() for name in names}
        return [name for name in self.checkable if _filled(self, name) and name not in known]


class Release(_Record, frozen=True, kw_only=True):
    """Where something was released, and under which licence (an SPDX identifier, or ``custom``)."""

    repo: str = ""
    license: str = ""

    def __post_init__(self) -> None:
        if self.license and self.license not in LICENCES:
            raise ValueError(f"'{self.license}' is no SPDX identifier that is known here; write 'custom'")

    @property
    def commercial(self) -> bool | None:
        """Whether commercial use is allowed; None where it is not known."""
        return terms(self.license).commercial if self.license else None


class Model(_Listed, frozen=True, kw_only=True):
    """A model of the survey.

    Attributes:
        group: The table of the companion list it stands in.
        params: Parameters, of the released model that `weights` names where there are several.
        data_hours: Hours of sound that model was trained on.
        sample_rate: In hertz.
        harmonia: Method of this library that implements it.
        note: Where the companion list and other sources differ, and what else a reader should know.
    """

    checkable: ClassVar[tuple[str, ...]] = (
        "modality", "purpose", "paradigm", "tokenizer", "architecture", "year", "arxiv", "params", "data_hours",
        "sample_rate", "weights.repo", "weights.license", "code.repo", "code.license",
    )  # fmt: skip

    id: str
    name: str
    group: str
    modality: list[Modality]
    purpose: list[Purpose]
    paradigm: list[Paradigm]
    tokenizer: list[Tokenizer] = []
    architecture: list[Architecture] = []
    year: int | None = None
    arxiv: str = ""
    params: int | None = None
    data_hours: float | None = None
    sample_rate: int | None = None
    weights: Release = Release()
    code: Release = Release()
    tasks: list[str] = []
    harmonia: str = ""
    note: str = ""


class DataSet(_Listed, frozen=True, kw_only=True):
    """A data set of the survey.

    Attributes:
        items: Files, pieces, clips or pairs, as the list counts them.
        hours: Of sound.
        linked_only: Whether the sound must be fetched elsewhere.
    """

    checkable: ClassVar[tuple[str, ...]] = ("modality", "formats", "items", "hours", "license")

    id: str
    name: str
    group: str
    modality: list[Modality]
    formats: list[str] = []
    items: int | None = None
    hours: float | None = None
    linked_only: bool = False
    tasks: list[str] = []
    license: str = ""


class Method(_Record, frozen=True, kw_only=True):
    """A method of this library, read from its card."""

    id: str
    name: str
    field: str
    summary: str
    arxiv: str
    year: int
    status: str
    weights_license: list[str]
    run: str

    @property
    def verified(self) -> bool:
        """Always: its card is the source."""
        return True

    @property
    def unconfirmed(self) -> list[str]:
        """Nothing."""
        return []


def read_records(path: Path, kind: type[Model] | type[DataSet]) -> Iterable[Any]:
    """Strictly read records, one JSON object a line.

    Raises:
        InputError: a field or word outside of the schema, or an identifier that occurs twice; it names the line.
    """
    seen: set[str] = set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record: Any = msgspec.json.decode(line, type=kind)
        except msgspec.ValidationError as error:
            raise InputError(f"line {number} of {path.name} is no record", error, "Mend the field.") from None
        except msgspec.DecodeError as error:
            raise InputError(f"line {number} of {path.name} is no JSON", error, "Mend the line.") from None
        if record.id in seen:
            raise InputError(f"line {number} of {path.name} repeats an identifier", record.id, "Rename one.")
        seen.add(record.id)
        yield record


def _filled(record: Any, path: str) -> bool:
    value = record
    for name in path.split("."):
        value = getattr(value, name, None)
    return value not in (None, "", [])
