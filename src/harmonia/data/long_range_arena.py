"""Long Range Arena, in the layout of its archive: six tasks on sequences of 1,000 to 16,000 symbols.

    listops      <root>/listops/basic_{train,val,test}.tsv      nested list operations, 10 classes
    retrieval    <root>/aan/new_aan_pairs.{train,eval,test}.tsv   do two papers cite each other; bytes
    pathfinder   <root>/pathfinder/pathfinder<size>/            are two dots joined; grey pixels
    text         an IMDB folder {train,test}/{pos,neg}/*.txt    bytes; its test set serves as validation too
    image        CIFAR-10's binary files, as 1,024 grey values

Symbols are numbered from 1, 0 is what stands behind the end. Nothing is fetched: the user points to the folders.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray

from harmonia.core.errors import InputError

Split = Literal["train", "validation", "test"]

CIFAR_MEAN, CIFAR_STD = 122.6 / 255, 61.0 / 255
IMDB_LENGTH, IMDB_LEAST = 4096, 15
"""Longest review in bytes, its end included, and how often a byte must occur in the training set to have a symbol."""


@dataclass(frozen=True)
class Symbols:
    """Sequences of symbols.

    Attributes:
        values: Symbols of each sequence, from 1.
        labels: Class of each.
        vocabulary: How many symbols there are, 0 included.
    """

    values: tuple[Int64[ndarray, " time"], ...]
    labels: Int64[ndarray, " sequences"]
    vocabulary: int


def listops(root: str | Path, split: Split = "train") -> Symbols:
    """ListOps: operators, brackets and digits; parentheses, which only group, are dropped.

    Raises:
        InputError: no such file, or a line of another form.
    """
    part = {"train": "train", "validation": "val", "test": "test"}[split]
    path = Path(root) / "listops" / f"basic_{part}.tsv"
    words = ["[MIN", "[MAX", "[MED", "[SM", "]", *map(str, range(10))]
    numbers = {word: i + 1 for i, word in enumerate(words)}
    values, labels = [], []
    for number, fields in _rows(path, skip=1, width=2):
        tokens = re.sub(r"[()]", " ", fields[0]).split()
        try:
            values.append(np.array([numbers[token] for token in tokens], dtype=np.int64))
            labels.append(int(fields[1]))
        except (KeyError, ValueError) as error:
            raise InputError(f"line {number} of {path.name} is no ListOps", error, "Use the archive's file.") from None
    return Symbols(tuple(values), np.array(labels), len(words) + 1)


def retrieval(root: str | Path, split: Split = "train", length: int = 4000) -> tuple[Symbols, Symbols]:
    """AAN: pairs of papers as bytes, the same labels in both: whether one cites the other.

    Raises:
        InputError: no such file, or a line of another form.
    """
    part = {"train": "train", "validation": "eval", "test": "test"}[split]
    path = Path(root) / "aan" / f"new_aan_pairs.{part}.tsv"
    pairs: tuple[list[ndarray], list[ndarray]] = ([], [])
    labels = []
    for number, fields in _rows(path, skip=0, width=5):
        if fields[0] not in ("0", "1", "0.0", "1.0"):
            raise InputError(f"line {number} of {path.name} has no label", fields[0], "Use the archive's file.")
        labels.append(int(float(fields[0])))
        for kept, text in zip(pairs, fields[3:5]):
            kept.append(np.frombuffer(text.encode()[:length], np.uint8).astype(np.int64) + 1)
    found = np.array(labels)
    return Symbols(tuple(pairs[0]), found, 257), Symbols(tuple(pairs[1]), found, 257)


def text(root: str | Path, split: Split = "train") -> Symbols:
    """IMDB reviews as bytes that are common in the training set, an end symbol behind each; validation is the test set.

    Raises:
        InputError: the folder isn't laid out as IMDB's.
    """
    folder = Path(root)
    counts = Counter(byte for path, _ in _reviews(folder, "train") for byte in path.read_bytes())
    common = sorted(byte for byte, count in counts.items() if count >= IMDB_LEAST)
    # One symbol for the rare bytes, and the end.
    table = np.full(256, 1, dtype=np.int64)
    table[common] = np.arange(len(common)) + 2
    end = len(common) + 2
    values, labels = [], []
    for path, label in _reviews(folder, "train" if split == "train" else "test"):
        said = table[np.frombuffer(path.read_bytes()[: IMDB_LENGTH - 1], np.uint8)]
        values.append(np.append(said, end))
        labels.append(label)
    return Symbols(tuple(values), np.array(labels), end + 1)


def pathfinder(
    root: str | Path, size: Literal[32, 64, 128, 256] = 32, difficulty: str = "curv_contour_length_14"
) -> Iterator[tuple[Float32[ndarray, " pixels"], int]]:
    """Pathfinder: pictures as grey values row by row, in [-1, 1], and whether the two dots are joined.

    Raises:
        InputError: the folder isn't laid out as the archive's.
    """
    from harmonia.media import Image

    folder = Path(root) / "pathfinder" / f"pathfinder{size}" / difficulty
    lists = sorted((folder / "metadata").glob("*.npy"), key=lambda path: int(path.stem))
    if not lists:
        mend = f"Expected pathfinder/pathfinder{size}/{difficulty}/metadata/*.npy."
        raise InputError("there is no Pathfinder here", folder, mend)
    for listed in lists:
        for line in listed.read_text().splitlines():
            fields = line.split()
            grey = Image.read(folder / fields[0] / fields[1]).pixels.mean(-1) / 255
            yield (2 * grey.reshape(-1) - 1).astype(np.float32), int(fields[3])


def image(root: str | Path, split: Literal["train", "test"] = "train") -> tuple[Float32[ndarray, "n 1024"], ndarray]:
    """CIFAR-10 from its binary files (``data_batch_1.bin``, ...), grey, row by row, standardised.

    Raises:
        InputError: no such files, or of another size.
    """
    colours, labels = cifar10(root, split)
    grey = colours @ np.array([0.299, 0.587, 0.114])
    return ((grey / 255 - CIFAR_MEAN) / CIFAR_STD).astype(np.float32), labels


def cifar10(root: str | Path, split: Literal["train", "test"] = "train") -> tuple[ndarray, Int64[ndarray, " n"]]:
    """CIFAR-10's pixels row by row (n, 1024, 3), 0 to 255, and classes.

    Raises:
        InputError: no such files, or of another size.
    """
    folder = Path(root)
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] if split == "train" else ["test_batch.bin"]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise InputError("this is not CIFAR-10's binary version", ", ".join(missing), "Pass cifar-10-batches-bin.")
    raw = np.concatenate([np.fromfile(folder / name, np.uint8) for name in names])
    if len(raw) % 3073:
        raise InputError("CIFAR-10's files hold 3,073 bytes a picture", len(raw), "Fetch them again.")
    rows = raw.reshape(-1, 3073)
    return rows[:, 1:].reshape(-1, 3, 1024).transpose(0, 2, 1), rows[:, 0].astype(np.int64)


def _rows(path: Path, skip: int, width: int) -> Iterator[tuple[int, Sequence[str]]]:
    if not path.is_file():
        raise InputError("this is not the archive of Long Range Arena", f"no {path.name}", f"Expected {path}.")
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if number <= skip:
                continue
            fields = line.rstrip("\n").split("\t")
            if len(fields) != width:
                got = f"{len(fields)} columns in line {number}"
                raise InputError(f"{path.name} has {width} columns", got, "Use the archive's file.")
            yield number, fields


def _reviews(folder: Path, part: str) -> list[tuple[Path, int]]:
    found = [(p, i) for i, kind in enumerate(("neg", "pos")) for p in sorted((folder / part / kind).glob("*.txt"))]
    if not found:
        raise InputError("this is not IMDB's folder", folder, "Expected {train,test}/{pos,neg}/*.txt.")
    return found
