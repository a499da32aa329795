"""Electrocardiograms and what cardiologists stated: PTB-XL in its published layout, made of WFDB records.

    <root>/ptbxl_database.csv                     one record a row: statements, fold, file
    <root>/scp_statements.csv                     what kind of statement each is
    <root>/records100/00000/00001_lr.{hea,dat}    12 leads, ten seconds at 100 Hz

Published at PhysioNet by P. Wagner et al. under CC-BY-4.0. Nothing is fetched: the user points to the folder.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars
from jaxtyping import Bool, Float32, Float64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.core.progress import track

Statements = Literal["all", "diag", "sub-diag", "super-diag", "form", "rhythm"]
Split = Literal["train", "validation", "test"]

FOLDS: dict[Split, tuple[int, ...]] = {"train": tuple(range(1, 9)), "validation": (9,), "test": (10,)}
"""Folds of each part, as the authors recommend; no patient is in two folds."""

MISSING = -32768
"""What format 16 writes where nothing was measured."""

_GAIN = re.compile(r"(?P<gain>[0-9.eE+-]+)(\((?P<baseline>-?\d+)\))?(/(?P<units>\S+))?")


@dataclass(frozen=True)
class Electrocardiograms:
    """Records of one length, and which statements were made on each.

    Attributes:
        values: Millivolts.
        labels: Whether a statement was made, whatever likelihood it was given.
        statements: What each column of the labels stands for.
        leads: Names of the leads.
        names: Files of the records.
    """

    values: Float32[ndarray, "records time leads"]
    labels: Bool[ndarray, "records statements"]
    statements: tuple[str, ...]
    leads: tuple[str, ...]
    names: tuple[str, ...]


def ptb_xl(root: str | Path, statements: Statements = "super-diag", split: Split = "train") -> Electrocardiograms:
    """Records of PTB-XL at 100 Hz with at least one statement of a kind: 21,799 with all 71 statements.

    Arguments:
        root: The folder.
        statements: ``all`` 71 statements; the 44 of diagnosis, their 23 subclasses or 5 superclasses; 19 of form; 12 of
            rhythm.
        split: Folds 1 to 8, 9, or 10.

    Raises:
        InputError: a file is missing or laid out otherwise, or no record has such a statement.
    """
    folder = Path(root).expanduser()
    meaning = _meaning(_table(folder, "scp_statements.csv", _KINDS), statements)
    records = _table(folder, "ptbxl_database.csv", ("scp_codes", "strat_fold", "filename_lr"))
    stated = [{meaning[code] for code in _codes(text, row) if code in meaning} for row, text in enumerate(records[0])]
    names = tuple(sorted(set().union(*stated)))
    wanted = {str(fold) for fold in FOLDS[split]}
    rows = [i for i, (found, fold) in enumerate(zip(stated, records[1])) if found and str(int(float(fold))) in wanted]
    if not rows:
        got = f"{len(stated)} records, {len(names)} statements of the kind '{statements}'"
        raise InputError(f"the {split} folds hold no record with such a statement", got, "Pass the whole of PTB-XL.")
    values: list[ndarray] = []
    leads: tuple[str, ...] = ()
    for row in track(rows, f"Records for {split}"):
        read, _, leads = wfdb_record(folder / records[2][row])
        values.append(read.astype(np.float32))
        if read.shape != values[0].shape:
            got = f"{read.shape} after {values[0].shape}"
            raise InputError("records are of one length and have the same leads", got, f"See {records[2][row]}.")
    labels = np.array([[name in stated[row] for name in names] for row in rows])
    files = tuple(Path(records[2][row]).name for row in rows)
    return Electrocardiograms(np.stack(values), labels, names, leads, files)


def wfdb_record(path: str | Path) -> tuple[Float64[ndarray, "time signals"], float, tuple[str, ...]]:
    """Read a record of PhysioNet whose signals are 16-bit numbers side by side in one file (format 16).

    Arguments:
        path: Without a suffix, or that of the header.

    Returns:
        Values in physical units, samples a second, and the signals' names.

    Raises:
        InputError: no such file, another format, missing samples, or samples that do not fit the header's number of
            them, first values or checksums.
    """
    header = Path(path).with_suffix(".hea")
    if not header.is_file():
        raise InputError("the record has no header", header, "Pass a WFDB record: .hea and .dat side by side.")
    lines = header.read_text(encoding="utf-8", errors="replace").splitlines()
    first, *signals = [line.split(maxsplit=8) for line in lines if line.strip() and not line.startswith("#")] or [[]]
    try:
        count, rate, length = int(first[1]), float(first[2].split("/")[0]), int(first[3])
        scales = [_scale(fields) for fields in signals]
        starts, sums = (np.array([int(fields[i]) for fields in signals]) for i in (5, 6))
    except (IndexError, ValueError) as error:
        raise InputError(f"{header.name} is no header of a WFDB record", error, "Fetch it again.") from None
    files = {(fields[0], fields[1]) for fields in signals}
    if len(signals) != count or len(files) != 1 or next(iter(files))[1] != "16":
        got = f"{count} signals announced; {', '.join(sorted(' '.join(each) for each in files)) or 'none'} described"
        raise InputError(f"{header.name} describes other signals than one file in format 16", got, "Convert it.")
    data = header.parent / next(iter(files))[0]
    if not data.is_file() or data.stat().st_size != 2 * count * length:
        got = f"{data.stat().st_size} bytes" if data.is_file() else "no such file"
        raise InputError(f"{data.name} holds {2 * count * length} bytes by its header", got, "Fetch it again.")
    samples = np.fromfile(data, "<i2").reshape(length, count).astype(np.int64)
    if (samples == MISSING).any():
        got = f"{int((samples == MISSING).sum())} values"
        raise InputError(f"{data.name} has samples that were not measured", got, "Fill or drop the record.")
    if ((samples.sum(0) - sums) % 65536).any() or (length and (samples[0] != starts).any()):
        raise InputError(f"{data.name} does not fit its header's checksums", "other samples", "Fetch it again.")
    gain, baseline = np.array(scales).T
    names = tuple(fields[8] if len(fields) > 8 else str(i + 1) for i, fields in enumerate(signals))
    return (samples - baseline) / gain, rate, names


def _scale(fields: list[str]) -> tuple[float, float]:
    """Steps a unit, and the number that stands for nothing: the converter's zero unless given."""
    found = _GAIN.fullmatch(fields[2])
    gain = float(found["gain"]) if found else 0.0
    if found is None or gain <= 0:
        raise ValueError(f"a gain of {fields[2]}")
    return gain, float(fields[4] if found["baseline"] is None else found["baseline"])


_KINDS = ("diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass")


def _table(folder: Path, name: str, columns: tuple[str, ...]) -> list[list[str]]:
    """Columns of one of the two tables, and its first one last."""
    path = folder / name
    if not path.is_file():
        raise InputError("this is not the folder of PTB-XL", f"no {name}", f"Expected {path}.")
    try:
        frame = polars.read_csv(path, infer_schema_length=0).fill_null("")
        return [frame[column].to_list() for column in (*columns, frame.columns[0])]
    except polars.exceptions.PolarsError as error:
        raise InputError(f"{name} is laid out otherwise", error, f"It has the columns {', '.join(columns)}.") from None


def _meaning(table: list[list[str]], statements: Statements) -> dict[str, str]:
    """What each code that counts is counted as."""
    diagnostic, form, rhythm, group, subgroup, codes = table
    chosen, names = {
        "all": (["1"] * len(codes), codes),
        "diag": (diagnostic, codes),
        "sub-diag": (diagnostic, subgroup),
        "super-diag": (diagnostic, group),
        "form": (form, codes),
        "rhythm": (rhythm, codes),
    }[statements]
    return {code: name for code, yes, name in zip(codes, chosen, names) if yes in ("1", "1.0") and name}


def _codes(text: str, row: int) -> dict[str, float]:
    """Statements on a record with their likelihoods, written as a dictionary of Python."""
    try:
        found = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        found = None
    if not isinstance(found, dict):
        got = f"{text[:40]!r} in row {row + 1}"
        raise InputError("ptbxl_database.csv has no statements", got, "Expected e.g. {'NORM': 100.0}.")
    return found
