"""The survey's taxonomy as records that can be queried: models, data sets, and the methods of this library.

The records are facts about what the companion list of the survey (FM4Music) names: kind of input, purpose, training
paradigm, tokeniser, architecture. Identifiers of papers were added. What could not be checked against a second source
says ``verified = false``, and every table shows it. Methods of this library come from their own cards.
"""

from __future__ import annotations

import difflib
import html
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec
import polars

from harmonia.audio.music_fm_survey.licences import LICENCES, terms
from harmonia.core.errors import InputError
from harmonia.core.media import whole_file
from harmonia.core.registry import methods
from harmonia.media import Table

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

ALIASES = {
    "gpt": "autoregressive",
    "mlm": "masked",
    "audio": "music audio",
    "midi": "symbolic",
    "spectrum": "spectrogram",
    "encodec": "codec tokens",
}
"""Other words for entries of the vocabularies, in queries."""


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A strict record; unknown fields and words outside of the vocabularies are refused."""


class Release(_Record, frozen=True):
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


class Model(_Record, frozen=True):
    """A model of the survey.

    Attributes:
        group: The table of the companion list it stands in.
        params: Parameters.
        data_hours: Hours of sound it was trained on.
        sample_rate: In hertz.
        harmonia: Method of this library that implements it.
        verified: Whether a second source was read.
    """

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
    verified: bool = False
    source: list[str] = []


class DataSet(_Record, frozen=True):
    """A data set of the survey.

    Attributes:
        items: Files, pieces, clips or pairs, as the list counts them.
        hours: Of sound.
        linked_only: Whether the sound must be fetched elsewhere.
    """

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
    verified: bool = False
    source: list[str] = []


class Method(_Record, frozen=True):
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
    verified: bool = True


@dataclass(frozen=True)
class Catalogue:
    """All records.

    Example:
        >>> catalogue = load()
        >>> len(catalogue.models), len(catalogue.datasets)
        (74, 41)
        >>> found = catalogue.query(modality="symbolic", paradigm="GPT", purpose="understanding")
        >>> found["name"].to_list()
        ['ChatMusician']
    """

    models: tuple[Model, ...]
    datasets: tuple[DataSet, ...]
    methods: tuple[Method, ...]

    def frame(self, kind: Kind = "models") -> polars.DataFrame:
        """The records of a kind, one a row; lists joined by semicolons, what is not known empty."""
        rows = [_flat(msgspec.to_builtins(record)) for record in self.records(kind)]
        return polars.DataFrame(rows, infer_schema_length=None)

    def records(self, kind: Kind) -> tuple[Any, ...]:
        """The records of a kind."""
        if kind not in ("models", "datasets", "methods"):
            raise InputError("there are no such records", kind, "Use models, datasets or methods.")
        return tuple(getattr(self, kind))

    def query(self, kind: Kind = "models", **wanted: Any) -> polars.DataFrame:
        """Records that match all of the conditions.

        A condition names a field; fields of fields are joined by two underscores, and end in what is asked of them:
        ``weights__license__commercial=True``. Words match an entry of a list, or a beginning of it ("masked" finds all
        kinds of masked modelling), and any case; ``min_year=2023`` and ``max_params=1e9`` are bounds.

        Raises:
            InputError: no such field, or a word that occurs in no record; the nearest is offered.
        """
        records = every = self.records(kind)
        for name, value in wanted.items():
            low, high, path = name.startswith("min_"), name.startswith("max_"), name
            if low or high:
                path = name[4:]
            values = [_reached(record, path) for record in records]
            if low or high:
                kept = [v is not None and (v >= float(value) if low else v <= float(value)) for v in values]
            else:
                word = _known_word(path, value, every) if isinstance(value, str) else value
                kept = [_matches(v, word) for v in values]
            records = tuple(record for record, keep in zip(records, kept) if keep)
        rows = [_flat(msgspec.to_builtins(record)) for record in records]
        return polars.DataFrame(rows, infer_schema_length=None) if rows else self.frame(kind).clear()

    def counts(self) -> polars.DataFrame:
        """Models by paradigm and by whether they hear audio or read scores: what is explored and what is not."""
        rows = []
        for paradigm in dict.fromkeys(p for model in self.models for p in model.paradigm):
            having = [model for model in self.models if paradigm in model.paradigm]
            heard = Counter(_side(model) for model in having)
            rows.append({"paradigm": paradigm, **{side: heard[side] for side in SIDES}})
        return polars.DataFrame(rows).sort(polars.sum_horizontal(SIDES), descending=True)

    def to_html(self, path: str | Path) -> Path:
        """Write all records as one web page without scripts; what is unverified says so."""
        parts = [
            "<!doctype html><meta charset='utf-8'><title>Foundation models for music</title>",
            "<style>body{font:14px sans-serif;margin:2em}table{border-collapse:collapse;margin-bottom:3em}"
            "td,th{border-bottom:1px solid #ddd;padding:4px 8px;text-align:left;vertical-align:top}"
            ".unverified{color:#8a91a0}</style>",
        ]
        for kind in ("models", "datasets", "methods"):
            frame = self.frame(kind)
            head = "".join(f"<th>{html.escape(name)}</th>" for name in frame.columns)
            parts.append(f"<h2>{kind.capitalize()} ({frame.height})</h2><table><tr>{head}</tr>")
            for row in frame.iter_rows(named=True):
                cells = "".join(f"<td>{html.escape(_shown(name, value))}</td>" for name, value in row.items())
                parts.append(f"<tr{'' if row['verified'] else ' class=unverified'}>{cells}</tr>")
            parts.append("</table>")
        with whole_file(Path(path)) as temporary:
            temporary.write_text("\n".join(parts), encoding="utf-8")
        return Path(path)


SIDES = ("audio", "symbolic")


def load() -> Catalogue:
    """The catalogue, with the methods of this library as they are now."""
    models, datasets = _written()
    return Catalogue(models, datasets, tuple(_of_card(method) for method in methods()))


def query(kind: Kind = "models", **wanted: Any) -> polars.DataFrame:
    """`Catalogue.query` of the whole catalogue."""
    return load().query(kind, **wanted)


def to_html(path: str | Path) -> Path:
    """`Catalogue.to_html` of the whole catalogue."""
    return load().to_html(path)


def as_table(frame: polars.DataFrame) -> Table:
    """A frame of records for people: ``verified`` says "unverified" where nobody checked.

    Raises:
        InputError: no record matched.
    """
    if not frame.height:
        raise InputError("no record matches", "0 records", "Ask for less, for example one condition.")
    said = polars.when(polars.col("verified")).then(polars.lit("verified")).otherwise(polars.lit("unverified"))
    return Table(frame.with_columns(said.alias("verified")))


@cache
def _written() -> tuple[tuple[Model, ...], tuple[DataSet, ...]]:
    folder = Path(__file__).parent
    models = tuple(read_records(folder / "models.jsonl", Model))
    datasets = tuple(read_records(folder / "datasets.jsonl", DataSet))
    return models, datasets


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


def _of_card(method: Any) -> Method:
    card = method.card
    licences = list(dict.fromkeys(licence for weights in card.weights for licence in weights.license))
    return Method(
        id=card.slug,
        name=card.title,
        field=card.field,
        summary=card.summary,
        arxiv=card.arxiv,
        year=card.year,
        status=method.status,
        weights_license=licences,
        run=f"harmonia run {card.slug}" if method.built else "",
    )


def _side(model: Model) -> str:
    return "symbolic" if "symbolic" in model.modality else "audio"


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            flat |= {f"{name}_{inner}": each or None for inner, each in value.items()}
        else:
            flat[name] = ("; ".join(value) or None) if isinstance(value, list) else (None if value == "" else value)
    return flat


def _reached(record: Any, path: str) -> Any:
    value = record
    for name in path.split("__"):
        if isinstance(value, str) and name == "commercial":
            return terms(value).commercial if value else None
        if not hasattr(value, name) or name.startswith("_"):
            fields = ", ".join(getattr(value, "__struct_fields__", ()))
            raise InputError("records have no such field", f"'{path}'", f"Use one of {fields}.")
        value = getattr(value, name)
    return value


def _known_word(path: str, word: str, records: tuple[Any, ...]) -> str:
    values = [_reached(record, path) for record in records]
    wanted = word.lower()
    words = {str(each).lower() for value in values for each in (value if isinstance(value, list) else [value])}
    if wanted not in words:
        wanted = ALIASES.get(wanted, wanted).lower()
    if not any(each.startswith(wanted) for each in words):
        near = difflib.get_close_matches(wanted, words, n=1, cutoff=0.4)
        offer = f"Did you mean '{near[0]}'?" if near else f"It is one of {', '.join(sorted(words)[:12])}."
        raise InputError(f"no record has this {path}", f"'{word}'", offer)
    return wanted


def _matches(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, str):
        each = value if isinstance(value, list) else [value]
        return any(str(entry).lower().startswith(wanted) for entry in each if entry is not None)
    return value is not None and value == wanted


def _shown(name: str, value: Any) -> str:
    if name == "verified":
        return "yes" if value else "unverified"
    return "" if value is None else str(value)
