"""Readers of the public layouts of MTG-Jamendo's moods, DEAM, EmoMusic and PMEmo, and of the release's own folders.

    MTG-Jamendo   data/splits/split-0/autotagging_moodtheme-{train,validation,test}.tsv, sound at <PATH>
    DEAM          annotations/**/static_annotations_averaged_songs_*.csv, MEMD_audio/<id>.mp3
    EmoMusic      static_annotations.csv with mean_valence, mean_arousal; clips_45seconds/<id>.mp3; songs_info.csv
    PMEmo         annotations/static_annotations.csv with Valence(mean), Arousal(mean) from 0 to 1; chorus/<id>.mp3
    the release   <corpus>/meta/static_annotations.csv, <corpus>/meta/split/{train,validation,test}.txt, <corpus>/mp3/,
                  jamendo/splits/split-0/*.tsv; and, once computed there, features: mert_30s/<id>/segment_<n>.npy,
                  chord/lab3/<id>.lab (already transposed), key/<id>.lab

The sound is the user's to fetch. Where features of the release's own scripts lie beside it, they are read instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import polars
from jaxtyping import Float32
from numpy import ndarray

from harmonia.audio.unified_mer.datasets import EmotionDataset, Scale, rescaled, tag_rows
from harmonia.audio.unified_mer.encoding import EncodedHarmony, encode_harmony
from harmonia.audio.unified_mer.features import FeatureTable
from harmonia.audio.unified_mer.tags import MOOD_TAGS
from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.media import Table
from harmonia.parts.harmony import Key, parse_chord

Corpus = Literal["jamendo", "deam", "emomusic", "pmemo"]
CORPORA: tuple[Corpus, ...] = get_args(Corpus)
PARTS = ("train", "validation", "test")

_SOUNDS = (".mp3", ".ogg", ".wav", ".flac", ".m4a")
_LAYERS = (5, 6)


class _Layout(NamedTuple):
    """How a corpus of ratings is published."""

    annotations: tuple[str, ...]
    identity: str
    valence: str
    arousal: str
    sounds: tuple[str, ...]
    scale: Scale


_LAYOUTS: dict[str, tuple[_Layout, ...]] = {
    "deam": (
        _Layout(
            ("annotations/**/static_annotations_averaged_songs_*.csv", "static_annotations_averaged_songs_*.csv"),
            "song_id", "valence_mean", "arousal_mean", ("MEMD_audio", "audio"), (1.0, 9.0),
        ),
        _Layout(("meta/static_annotations.csv",), "song_id", "valence_mean", "arousal_mean", ("mp3",), (1.0, 9.0)),
    ),
    "emomusic": (
        _Layout(
            ("annotations/static_annotations.csv", "static_annotations.csv"),
            "song_id", "mean_valence", "mean_arousal", ("clips_45seconds", "clips_45sec"), (1.0, 9.0),
        ),
        _Layout(("meta/static_annotations.csv",), "song_id", "valence_mean", "arousal_mean", ("mp3",), (1.0, 9.0)),
    ),
    "pmemo": (
        _Layout(
            ("annotations/static_annotations.csv", "static_annotations.csv"),
            "musicid", "valence(mean)", "arousal(mean)", ("chorus",), (0.0, 1.0),
        ),
        _Layout(("meta/static_annotations.csv",), "song_id", "valence_mean", "arousal_mean", ("mp3",), (1.0, 9.0)),
    ),
}  # fmt: skip


def read_corpus(corpus: Corpus, folder: str | Path) -> dict[str, EmotionDataset]:
    """The parts of a corpus that its publisher names: train, validation and test, or all of it as ``all``.

    Songs whose sound and features are both missing are left out, and counted.

    Arguments:
        corpus: Which one.
        folder: Where it was unpacked.

    Raises:
        InputError: an unknown corpus, or a folder of another layout.
    """
    if corpus not in CORPORA:
        raise InputError("there is no such corpus", corpus, f"Use one of {', '.join(CORPORA)}.")
    root = Path(folder).expanduser()
    parts = _jamendo(root) if corpus == "jamendo" else _rated(corpus, root)
    return {part: _present(dataset, root) for part, dataset in parts.items()}


def _jamendo(root: Path) -> dict[str, EmotionDataset]:
    for place in ("data/splits/split-0", "splits/split-0"):
        files = {part: root / place / f"autotagging_moodtheme-{part}.tsv" for part in PARTS}
        if all(path.is_file() for path in files.values()):
            return {part: _tagged(path, root) for part, path in files.items()}
    expected = "MTG-Jamendo has data/splits/split-0/autotagging_moodtheme-{train,validation,test}.tsv"
    raise _other_layout(expected, root)


def _tagged(path: Path, root: Path) -> EmotionDataset:
    """A split of MTG-Jamendo: the last column holds one or more tags, separated by tabs as columns are."""
    songs, tags, artists = [], [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        cells = line.split("\t")
        if number == 0 or len(cells) < 6:
            continue
        songs.append(_sound(root, cells[3]))
        tags.append([tag for tag in cells[5:] if tag.startswith("mood/theme---")])
        artists.append(cells[1])
    return EmotionDataset("jamendo", "tags", tag_rows(tags), tuple(songs), MOOD_TAGS, tuple(artists))


def _rated(corpus: str, root: Path) -> dict[str, EmotionDataset]:
    for layout in _LAYOUTS[corpus]:
        files = sorted(path for pattern in layout.annotations for path in root.glob(pattern))
        if not files:
            continue
        frame = polars.concat([_columns(path, layout) for path in dict.fromkeys(files)]).unique("id", keep="first")
        frame = frame.sort("id")
        ids = frame["id"].to_list()
        songs = tuple(_sound_of(root, layout.sounds, identity) for identity in ids)
        labels = rescaled(frame.select("valence", "arousal").to_numpy(), layout.scale, corpus)
        whole = EmotionDataset(corpus, "va", labels, songs)
        return {part: whole.take(np.array(rows)) for part, rows in _parts(root, ids).items()}
    expected = f"{corpus} has {' or '.join(layout.annotations[0] for layout in _LAYOUTS[corpus])}"
    raise _other_layout(expected, root)


def _columns(path: Path, layout: _Layout) -> polars.DataFrame:
    frame = Table.read(path).frame
    frame = frame.rename({column: column.strip().lower() for column in frame.columns})
    wanted = (layout.identity, layout.valence, layout.arousal)
    if not set(wanted) <= set(frame.columns):
        raise InputError(
            f"{path.name} has other columns", ", ".join(frame.columns[:8]), f"Expected {', '.join(wanted)}."
        )
    words = frame.select(polars.col(name).cast(polars.String).str.strip_chars() for name in wanted)
    numbers = Table(words.with_columns(polars.all().cast(polars.Float64, strict=False))).numeric(wanted)
    named = dict(zip(("id", "valence", "arousal"), numbers.T, strict=True))
    return polars.DataFrame(named).with_columns(polars.col("id").cast(polars.Int64))


def _parts(root: Path, ids: Sequence[int]) -> dict[str, list[int]]:
    """Rows of each part, from the release's lists of ids or EmoMusic's column of sets; else everything is one part."""
    row = {identity: number for number, identity in enumerate(ids)}
    lists = {part: root / "meta" / "split" / f"{part}.txt" for part in PARTS}
    if all(path.is_file() for path in lists.values()):
        named = {part: [int(line) for line in path.read_text().split()] for part, path in lists.items()}
        return {part: [row[identity] for identity in found if identity in row] for part, found in named.items()}
    info = next(
        (path for path in (root / "songs_info.csv", root / "annotations" / "songs_info.csv") if path.is_file()), None
    )
    if info is not None:
        frame = Table.read(info).frame
        frame = frame.rename({column: column.strip().lower() for column in frame.columns})
        sets = [column for column in frame.columns if "set" in column]
        if "song_id" in frame.columns and sets:
            kinds = dict(zip(frame["song_id"].to_list(), (str(kind) for kind in frame[sets[0]]), strict=True))
            test = [number for number, identity in enumerate(ids) if "eval" in kinds.get(identity, "")]
            if test:
                return {"train": sorted(set(range(len(ids))) - set(test)), "test": test}
    return {"all": list(range(len(ids)))}


def _present(dataset: EmotionDataset, root: Path) -> EmotionDataset:
    """The songs that can be listened to, or whose features the release's scripts have written."""
    stems = [_stem(song, root) for song in dataset.songs]
    written = [row for row, stem in enumerate(stems) if (root / "mert_30s" / stem).is_dir()]
    rows = written or [row for row, song in enumerate(dataset.songs) if song.is_file()]
    if not rows:
        raise _other_layout(f"the sound of {dataset.name} lies at {dataset.songs[0].relative_to(root)}, ...", root)
    if len(rows) < len(dataset):
        say(f"{dataset.name}: {len(dataset) - len(rows)} of {len(dataset)} songs are not here.")
    kept = dataset.take(np.array(rows))
    if not written:
        return kept
    table = FeatureTable.of([read_features(root, stems[row]) for row in rows])
    return EmotionDataset(kept.name, kept.kind, kept.labels, kept.songs, kept.tags, kept.groups, table)


def read_features(root: Path, stem: str) -> tuple[Float32[ndarray, "segments 1536"], EncodedHarmony]:
    """Features as the release's scripts write them: segments in the order of their numbers, not of their names.

    Raises:
        InputError: files that are not such features.
    """
    folder = root / "mert_30s" / stem
    files = sorted(folder.glob("*.npy"), key=lambda path: int(re.sub(r"\D", "", path.stem) or 0))
    try:
        layers = [np.load(path, allow_pickle=False) for path in files]
        rows = np.stack([each.reshape(each.shape[-2], each.shape[-1])[list(_LAYERS)].reshape(-1) for each in layers])
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"the features of {stem} cannot be read", error, "Compute them again.") from None
    chords = []
    lab = root / "chord" / "lab3" / f"{stem}.lab"
    if lab.is_file():
        cells = [line.split() for line in lab.read_text().splitlines() if line.strip()]
        chords = [parse_chord(label, float(onset), float(offset)) for onset, offset, label in cells]
    key = root / "key" / f"{stem}.lab"
    minor = key.is_file() and key.read_text().strip().endswith("minor")
    # The labels are transposed already.
    there = Key(9, "minor", 1.0) if minor else Key(0, "major", 1.0)
    return rows.astype(np.float32), encode_harmony(chords, there)


def _sound(root: Path, path: str) -> Path:
    """Where a song of MTG-Jamendo is: as listed, in mp3/, audio/, or with the suffix of the low-quality copies."""
    low = path.replace(".mp3", ".low.mp3")
    places = [
        root / folder / name
        for folder in ("", "mp3", "audio", "raw_30s", "autotagging_moodtheme")
        for name in (path, low)
    ]
    return next((place for place in places if place.is_file()), root / "mp3" / path)


def _sound_of(root: Path, folders: Sequence[str], identity: int) -> Path:
    places = [root / folder / f"{identity}{suffix}" for folder in folders for suffix in _SOUNDS]
    return next((place for place in places if place.is_file()), places[0])


def _stem(song: Path, root: Path) -> str:
    """The song's path inside the folder of sounds, without suffix."""
    inside = song.relative_to(root)
    return str(Path(*inside.parts[1:]).with_suffix("")) if len(inside.parts) > 1 else inside.stem


def _other_layout(expected: str, root: Path) -> InputError:
    if not root.is_dir():
        return InputError("there is no such folder", root, "Check the path.")
    found = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
    return InputError(f"{root.name} is laid out otherwise: {expected}", found, "Pass the folder as it was published.")
