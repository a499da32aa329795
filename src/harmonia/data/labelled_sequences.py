"""Sequences with labels: sets that aeon ships, ``.ts`` files of the time series archives, folders of spoken words.

ts_file           any file of the Monash, UEA and UCR archives, such as BIDMC's
bundled_series    sets inside of the Python package aeon: real, small
spoken_commands   Speech Commands: <word>/*.wav, with its lists of validation and test clips
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.data.source import from_source, package_folder
from harmonia.media import Audio

BUNDLED = ("ArrowHead", "BasicMotions", "GunPoint", "ItalyPowerDemand", "JapaneseVowels", "OSULeaf")
"""Names for `bundled_series`."""


@dataclass(frozen=True)
class LabelledSequences:
    """Sequences of any lengths, and what belongs to each.

    Attributes:
        values: Arrays (time, channels).
        labels: Words, or numbers where `is_class` is false.
        is_class: Whether labels name classes.
    """

    values: tuple[Float64[ndarray, "time channels"], ...]
    labels: ndarray
    is_class: bool


def ts_file(path: str | Path) -> LabelledSequences:
    """Read a ``.ts`` file: ``@`` lines, then one sequence a line, channels between colons, the label last.

    Raises:
        InputError: no such file, another format, timestamps, no label, missing values, or a line that differs: it names
            the line.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "two.ts"
        >>> _ = path.write_text("@classLabel true up down\\n@data\\n1,2,3:0,0,1:up\\n3,2:1,0:down\\n")
        >>> found = ts_file(path)
        >>> [each.shape for each in found.values], found.labels.tolist()
        ([(3, 2), (2, 2)], ['up', 'down'])
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("there is no such file", path, "Pass a .ts file.")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    is_class, has_label, begins = True, False, None
    for i, line in enumerate(lines):
        words = line.strip().lower().split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "@data":
            begins = i + 1
            break
        if words[0] in ("@classlabel", "@targetlabel") and words[1:2] == ["true"]:
            has_label, is_class = True, words[0] == "@classlabel"
        if words[0] == "@timestamps" and words[1:2] == ["true"]:
            raise InputError(f"{path.name} has timestamps", f"line {i + 1}", "Resample it to an even grid.")
    if begins is None or not has_label:
        raise InputError(f"{path.name} is no .ts file with labels", f"{len(lines)} lines", "See its @ lines.")
    values, labels = [], []
    for number, line in enumerate(lines[begins:], begins + 1):
        if not line.strip():
            continue
        *channels, label = line.strip().split(":")
        try:
            rows = [np.array(channel.split(","), dtype=np.float64) for channel in channels]
            values.append(np.stack(rows, 1))
            labels.append(label.strip() if is_class else float(label))
        except ValueError as error:
            raise InputError(f"line {number} of {path.name} cannot be read", error, "Fill or drop it.") from None
        if values[-1].shape[1] != values[0].shape[1] or not np.isfinite(values[-1]).all():
            got = f"{values[-1].shape[1]} channels, {int((~np.isfinite(values[-1])).sum())} missing values"
            raise InputError(f"line {number} of {path.name} differs or has gaps", got, "Fill or drop it.")
    if not values:
        raise InputError(f"{path.name} holds no sequences", "no line after @data", "Pass another file.")
    return LabelledSequences(tuple(values), np.array(labels), is_class)


@from_source(
    "Sets of the UCR and UEA time series archives",
    by="A. Bagnall, E. Keogh et al.; each set has authors of its own",
    licence="free for research, as published at timeseriesclassification.com; the package is BSD-3-Clause",
    package="aeon",
)
def bundled_series(name: str, split: Literal["train", "test"]) -> LabelledSequences:
    """A small real set from the package aeon, whose code is not needed: ``pip install --no-deps aeon``.

    Raises:
        MissingDependency: aeon is not installed.
        InputError: no such set.
    """
    folder = package_folder("aeon", extra="series") / "datasets" / "data" / name
    if name not in BUNDLED or not folder.is_dir():
        raise InputError("aeon ships no such set", repr(name), f"Use one of {', '.join(BUNDLED)}.")
    return ts_file(folder / f"{name}_{split.upper()}.ts")


@dataclass(frozen=True)
class SpokenWord:
    """Where a clip is, and what it says."""

    path: Path
    word: str

    def read(self) -> Audio:
        """The sound."""
        return Audio.read(self.path)


def spoken_commands(
    root: str | Path, split: Literal["train", "validation", "test", "all"] = "all", words: Sequence[str] = ()
) -> tuple[SpokenWord, ...]:
    """Clips of Speech Commands (105,829 of one second, 35 words, CC-BY), or any folder ``<word>/*.wav``.

    The test and validation clips are those that ``testing_list.txt`` and ``validation_list.txt`` name.

    Arguments:
        root: The folder.
        split: Which clips.
        words: Only these; all unless given.

    Raises:
        InputError: the folder isn't laid out so, lacks the lists that `split` needs, or has no such word.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise InputError("this needs a folder", folder, "Pass the folder with one subfolder a word.")
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(("_", ".")))
    unknown = sorted(set(words) - set(names))
    if unknown or not names:
        mend = f"There are: {', '.join(names[:10])}." if names else "Expected <word>/*.wav."
        raise InputError("the folder has no such words", ", ".join(unknown) or "no subfolders", mend)
    held = {
        part: _listed(folder / f"{file}_list.txt") for part, file in (("validation", "validation"), ("test", "testing"))
    }
    if split != "all" and not all(held.values()):
        mend = "Expected validation_list.txt and testing_list.txt; or use split='all'."
        raise InputError("the folder does not say which clips are for testing", folder.name, mend)
    clips = []
    for word in words or names:
        for path in sorted((folder / word).glob("*.wav")):
            key = f"{word}/{path.name}"
            part = next((name for name, listed in held.items() if key in listed), "train")
            if split in ("all", part):
                clips.append(SpokenWord(path, word))
    if not clips:
        raise InputError("the folder has no clips", f"{len(names)} subfolders without .wav", "Expected <word>/*.wav.")
    return tuple(clips)


def _listed(path: Path) -> frozenset[str]:
    return frozenset(path.read_text(encoding="utf-8").split()) if path.is_file() else frozenset()
