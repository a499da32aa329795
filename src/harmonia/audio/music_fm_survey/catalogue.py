"""The survey's taxonomy as a catalogue that can be queried: models, data sets, and the methods of this library.

Methods of this library come from their own cards.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import polars

from harmonia.audio.music_fm_survey.conditions import known_word, matches, reached
from harmonia.audio.music_fm_survey.taxonomy import DataSet, Kind, Method, Model, read_records
from harmonia.core.errors import InputError
from harmonia.core.media import whole_file
from harmonia.core.registry import methods
from harmonia.media import Table


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
        return _framed(self.records(kind))

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
            values = [reached(record, path) for record in records]
            if low or high:
                kept = [v is not None and (v >= float(value) if low else v <= float(value)) for v in values]
            else:
                word = known_word(path, value, every) if isinstance(value, str) else value
                kept = [matches(v, word) for v in values]
            records = tuple(record for record, keep in zip(records, kept) if keep)
        return _framed(records) if records else self.frame(kind).clear()

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
            frame = as_table(self.frame(kind)).frame
            head = "".join(f"<th>{html.escape(name)}</th>" for name in frame.columns)
            parts.append(f"<h2>{kind.capitalize()} ({frame.height})</h2><table><tr>{head}</tr>")
            for row in frame.iter_rows(named=True):
                state = " class=unverified" if row["verified"] == "unverified" else ""
                cells = "".join(f"<td>{_cell(value)}</td>" for value in row.values())
                parts.append(f"<tr{state}>{cells}</tr>")
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
    """A frame of records for people: ``verified`` says what of it was, and "unverified" where nobody checked.

    Raises:
        InputError: no record matched.
    """
    if not frame.height:
        raise InputError("no record matches", "0 records", "Ask for less, for example one condition.")
    said = [_said(row["verified"], row["unconfirmed"]) for row in frame.iter_rows(named=True)]
    return Table(frame.with_columns(polars.Series("verified", said)).drop("unconfirmed"))


@cache
def _written() -> tuple[tuple[Model, ...], tuple[DataSet, ...]]:
    folder = Path(__file__).parent
    models = tuple(read_records(folder / "models.jsonl", Model))
    datasets = tuple(read_records(folder / "datasets.jsonl", DataSet))
    return models, datasets


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


def _framed(records: Iterable[Any]) -> polars.DataFrame:
    """Records as rows: fields of fields as columns of their own, lists joined by semicolons, the empty left empty."""
    rows = []
    for record in records:
        row: dict[str, Any] = {}
        told = msgspec.to_builtins(record)
        sources = told.pop("confirmed", {})
        for name, value in told.items():
            if isinstance(value, dict):
                row |= {f"{name}_{inner}": each or None for inner, each in value.items()}
            else:
                row[name] = ("; ".join(value) or None) if isinstance(value, list) else (None if value == "" else value)
        unconfirmed = "; ".join(record.unconfirmed) or None
        rows.append(
            row | {"verified": record.verified, "unconfirmed": unconfirmed, "sources": "; ".join(sources) or None}
        )
    return polars.DataFrame(rows, infer_schema_length=None)


def _said(verified: bool, unconfirmed: str | None) -> str:
    """How far a record was verified, in words.

    Example:
        >>> _said(True, None), _said(True, "tokenizer; year"), _said(False, "year")
        ('verified', 'verified but for tokenizer; year', 'unverified')
    """
    return "unverified" if not verified else f"verified but for {unconfirmed}" if unconfirmed else "verified"


def _cell(value: Any) -> str:
    """A value as HTML; addresses of sources are links."""
    words = "" if value is None else html.escape(str(value))
    return re.sub(r"https?://[^\s;]+", lambda found: f"<a href='{found[0]}'>{found[0]}</a>", words)
