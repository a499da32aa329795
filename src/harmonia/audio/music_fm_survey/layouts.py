"""Public data sets as users have them on disk, as probing tasks, in the layouts of MARBLE v1 and v2.

    gtzan         genres/<genre>/<file>.wav with train_filtered.txt, valid_filtered.txt, test_filtered.txt beside
    giantsteps    <clip>.wav with meta.json or giantsteps.json: {clip: {"y": key, "split": ..., "clip": {"audio_uid"}}}
    emomusic      <clip>.wav with meta.json: {clip: {"y": [arousal, valence], "split": ...}}
    mtt           mp3/<0-f>/<file>.mp3 with annotations_final.csv (top 50 tags)
    mtg-genre, mtg-instrument, mtg-mood, mtg-top50
                  data/splits/split-0/autotagging_<...>-{train,validation,test}.tsv and the sound files
    nsynth-instrument, nsynth-pitch
                  nsynth-{train,valid,test}/examples.json and audio/<name>.wav
    vocalset-technique, vocalset-singer
                  train_t.txt, valid_t.txt, test_t.txt (or _s): <class>/<file>.wav
    jsonl         *.jsonl: {"audio_path": ..., "label": ...}; splits by file name (train, val, test)

Validation clips are used for training, since the probe chooses by cross-validation. Clips of one song or instrument
share a group.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from harmonia.audio.music_fm_survey.tasks import ClipSet, Task, key_task
from harmonia.core.errors import InputError
from harmonia.parts.probing import AveragePrecision, Metric, Targets

Layout = Literal[
    "gtzan",
    "giantsteps",
    "emomusic",
    "mtt",
    "mtg-genre",
    "mtg-instrument",
    "mtg-mood",
    "mtg-top50",
    "nsynth-instrument",
    "nsynth-pitch",
    "vocalset-technique",
    "vocalset-singer",
    "jsonl",
]
LAYOUTS: tuple[str, ...] = get_args(Layout)
_TAGS = 50
_SOUNDS = (".wav", ".mp3", ".flac", ".ogg")


class Row(NamedTuple):
    """A clip: its file, what is true of it, its song or instrument, and whether it is tested on."""

    path: Path
    label: Any
    group: str
    test: bool


def dataset(folder: str | Path, layout: Layout, *, metric: Literal["usual", "AP"] = "usual") -> Task:
    """A public data set in its published layout, as a task with the published test set.

    Arguments:
        folder: Where it lies.
        layout: Which it is.
        metric: ``AP`` scores labels by average precision rather than the area under the ROC curve.

    Raises:
        InputError: a folder of another layout; it says what was expected; or clips that are missing.
    """
    root = Path(folder)
    if layout not in LAYOUTS:
        raise InputError("there is no such layout", layout, f"Use one of {', '.join(LAYOUTS)}.")
    if not root.is_dir():
        raise InputError("there is no such folder", root, "Pass the folder of the data set.")
    rows = _READERS[layout.split("-")[0]](root, layout)
    test = np.array([row.test for row in rows])
    if not test.any() or test.all():
        raise InputError(
            "the data set has training and test clips", f"{test.sum()} of {len(rows)} test", "Complete it."
        )
    clips = ClipSet.of_files([row.path for row in rows])
    groups = np.array([row.group for row in rows])
    labels = [row.label for row in rows]
    where: dict[str, Any] = {"groups": groups, "test": test, "source": str(root)}
    if layout == "giantsteps":
        return key_task(layout, clips, np.array(labels), **where)
    if isinstance(labels[0], frozenset):
        score: Metric | None = AveragePrecision() if metric == "AP" else None
        return Task(layout, clips, Targets.of(_indicators(labels), "multilabel"), metric=score, **where)
    if isinstance(labels[0], (list, float)):
        return Task(layout, clips, Targets.of(np.array(labels, dtype=np.float64), "regression"), **where)
    return Task(layout, clips, Targets.of(np.array(labels), "multiclass"), **where)


def _gtzan(root: Path, layout: str) -> list[Row]:
    base = root / "genres" if (root / "genres").is_dir() else root
    rows = []
    for split in ("train", "valid", "test"):
        for line in _lines(root / f"{split}_filtered.txt"):
            rows.append(Row(base / line, line.split("/")[0], line, split == "test"))
    return rows


def _from_meta(root: Path, layout: str) -> list[Row]:
    names = ["giantsteps.json", "meta.json"] if layout == "giantsteps" else ["meta.json"]
    meta = _json(_first(root, names))
    rows = []
    for name, entry in meta.items():
        if not {"y", "split"} <= set(entry):
            raise InputError(f"'{name}' lacks y or split", ", ".join(entry), "Use MARBLE's meta.json.")
        song = str(entry.get("clip", {}).get("audio_uid", name))
        rows.append(Row(_sound(root, name), entry["y"], song, entry["split"] == "test"))
    return rows


def _mtt(root: Path, layout: str) -> list[Row]:
    with _first(root, ["annotations_final.csv"]).open(encoding="utf-8") as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    if not table or "mp3_path" not in table[0]:
        raise InputError(
            "annotations_final.csv has a column mp3_path", list(table[0]) if table else "no rows", "Fetch it again."
        )
    names = [name for name in table[0] if name not in ("clip_id", "mp3_path")]
    counts = {name: sum(row[name] == "1" for row in table) for name in names}
    tags = sorted(names, key=lambda name: (-counts[name], name))[:_TAGS]
    base = root / "mp3" if (root / "mp3").is_dir() else root
    rows = []
    for row in table:
        label = frozenset(tag for tag in tags if row[tag] == "1")
        # The customary split is by folder: 0 to b train, c validation, d to f test; songs stay together by their name.
        folder, _, name = row["mp3_path"].partition("/")
        song = re.sub(r"-\d+-\d+\.mp3$", "", name)
        rows.append(Row(base / row["mp3_path"], label, song, folder in "def"))
    held = {row.group for row in rows if row.test}
    return [row for row in rows if row.label and (row.test or row.group not in held)]


def _mtg(root: Path, layout: str) -> list[Row]:
    kind = {"genre": "genre", "instrument": "instrument", "mood": "moodtheme", "top50": "top50tags"}[layout[4:]]
    splits = root / "data" / "splits" / "split-0"
    name = f"autotagging_{kind}"
    rows = []
    for split in ("train", "validation", "test"):
        for line in _lines(splits / f"{name}-{split}.tsv")[1:]:
            cells = line.split("\t")
            if len(cells) < 6:
                raise InputError(f"a line of {name}-{split}.tsv lacks columns", line[:60], "Fetch the splits again.")
            path = root / cells[3]
            low = path.with_suffix(".low.mp3")
            tags = frozenset(tag.strip() for tag in cells[5:])
            rows.append(Row(low if low.is_file() else path, tags, cells[1], split == "test"))
    held = {row.group for row in rows if row.test}
    return [row for row in rows if row.test or row.group not in held]


def _nsynth(root: Path, layout: str) -> list[Row]:
    key = "instrument_family_str" if layout.endswith("instrument") else "pitch"
    rows = []
    for split in ("train", "valid", "test"):
        for name, entry in _json(root / f"nsynth-{split}" / "examples.json").items():
            path = root / f"nsynth-{split}" / "audio" / f"{name}.wav"
            rows.append(Row(path, entry[key], str(entry.get("instrument_str", name)), split == "test"))
    held = {row.group for row in rows if row.test}
    return [row for row in rows if row.test or row.group not in held]


def _vocalset(root: Path, layout: str) -> list[Row]:
    end = "t" if layout.endswith("technique") else "s"
    rows = []
    for split in ("train", "valid", "test"):
        for line in _lines(root / f"{split}_{end}.txt"):
            rows.append(Row(root / line, line.split("/")[0], line, split == "test"))
    return rows


def _jsonl(root: Path, layout: str) -> list[Row]:
    files = sorted(root.glob("*.jsonl"))
    if not files:
        raise InputError("the folder holds no .jsonl", _content(root), "Pass a folder with train, val and test files.")
    rows = []
    for file in files:
        for line in _lines(file):
            entry = json.loads(line)
            if not {"audio_path", "label"} <= set(entry):
                raise InputError(f"a line of {file.name} lacks audio_path or label", ", ".join(entry), "Mend it.")
            label = entry["label"]
            if isinstance(label, list) and label and isinstance(label[0], str):
                label = frozenset(label)
            song = str(entry.get("group", entry.get("ori_uid", entry["audio_path"])))
            rows.append(Row(root / entry["audio_path"], label, song, "test" in file.stem.lower()))
    return rows


_READERS: dict[str, Callable[[Path, str], list[Row]]] = {
    "gtzan": _gtzan,
    "giantsteps": _from_meta,
    "emomusic": _from_meta,
    "mtt": _mtt,
    "mtg": _mtg,
    "nsynth": _nsynth,
    "vocalset": _vocalset,
    "jsonl": _jsonl,
}


def _indicators(labels: list[frozenset[str]]) -> np.ndarray:
    names = sorted(Counter(tag for label in labels for tag in label))
    return np.array([[name in label for name in names] for label in labels], dtype=np.int64)


def _first(root: Path, names: list[str]) -> Path:
    for name in names:
        if (root / name).is_file():
            return root / name
    raise InputError(f"the folder lacks {' or '.join(names)}", _content(root), "See the layouts that are read.")


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        got = _content(path.parent) if path.parent.is_dir() else f"no folder {path.parent.name}"
        raise InputError(f"the folder lacks {path.name}", got, "See the layouts that are read.")
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads("\n".join(_lines(path)))
    except json.JSONDecodeError as error:
        raise InputError(f"{path.name} is no JSON", error, "Fetch it again.") from None
    if not isinstance(content, dict):
        raise InputError(f"{path.name} maps names to entries", type(content).__name__, "Fetch it again.")
    return content


def _sound(root: Path, name: str) -> Path:
    for folder in (root, root / "wav", root / "audio"):
        for suffix in ("", *_SOUNDS):
            path = folder / f"{name}{suffix}"
            if path.is_file():
                return path
    raise InputError("a clip is missing", name, "Check the data set's folder.")


def _content(folder: Path) -> str:
    return ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
