"""Labelled songs: some with mood tags, some with valence and arousal on any scale, split without leaking artists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars
from jaxtyping import Float, Float32
from numpy import ndarray

from harmonia.audio.unified_mer.chords import ChordRecognizer
from harmonia.audio.unified_mer.features import SEGMENT_SECONDS, FeatureTable, MusicFeatures, hear
from harmonia.audio.unified_mer.losses import Kind
from harmonia.audio.unified_mer.tags import MOOD_TAGS, known_tags
from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.media import Audio, Table

Scale = tuple[float, float]
SCALE: Scale = (1.0, 9.0)
"""Everything is brought to this one, that of DEAM."""

_GUESSES: tuple[Scale, ...] = ((-1.0, 1.0), (0.0, 1.0), (1.0, 9.0))
_GROUPS = ("artist", "artist_id", "album", "album_id")


@dataclass(frozen=True)
class EmotionDataset:
    """Songs with one kind of label.

    Attributes:
        name: What it is called.
        kind: ``tags`` or ``va``.
        labels: One row a song: 0 or 1 for every tag of `tags`, or valence and arousal from 1 to 9.
        songs: Where their sound is; empty where only features are known.
        tags: The vocabulary, for ``tags``.
        groups: Artist or album of each song, which a split keeps together; empty where not known.
        table: Features, once the songs were listened to.
    """

    name: str
    kind: Kind
    labels: Float32[ndarray, "songs labels"]
    songs: tuple[Path, ...] = ()
    tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    table: FeatureTable | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("tags", "va"):
            raise InputError("a data set has tags or valence and arousal", self.kind, "Use kind='tags' or kind='va'.")
        wanted = len(self.tags) if self.kind == "tags" else 2
        if not len(self.labels) or self.labels.shape[1] != wanted:
            got = f"{self.labels.shape[0]} rows of {self.labels.shape[1]}"
            raise InputError(f"a song of '{self.name}' has {wanted} labels", got, "Pass such rows.")
        for other in (self.songs, self.groups, self.table):
            if other is not None and len(other) not in (0, len(self.labels)):
                got = f"{len(other)} beside {len(self.labels)}"
                raise InputError(f"'{self.name}' has as many songs as labels", got, "Leave out what has no partner.")

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def read(
        cls,
        source: str | Path | polars.DataFrame,
        *,
        kind: Kind | None = None,
        scale: Scale | None = None,
        vocabulary: Sequence[str] = MOOD_TAGS,
        name: str = "",
        folder: Path | None = None,
    ) -> EmotionDataset:
        """From a table with the columns ``path, valence, arousal`` or ``path, tags``.

        Tags of a song are separated by commas, semicolons, bars or blanks. Columns named artist or album group songs.

        Arguments:
            source: A CSV file, or a frame.
            kind: Found from the columns unless given.
            scale: Lowest and highest possible rating; guessed from the values (-1..1, 0..1, 1..9) unless given.
            vocabulary: The tags that count.
            name: What to call it; the file's name unless given.
            folder: Where relative paths begin; the table's folder unless given.

        Raises:
            InputError: columns that are missing, both kinds of labels, ratings outside the scale (it names the rows),
                unknown tags, or songs that are not there.
        """
        frame = source if isinstance(source, polars.DataFrame) else Table.read(source).frame
        home = folder or (Path() if isinstance(source, polars.DataFrame) else Path(source).parent)
        name = name or ("songs" if isinstance(source, polars.DataFrame) else Path(source).stem)
        table = Table(frame.rename({column: column.strip().lower() for column in frame.columns}))
        kinds = [kind for kind, column in (("tags", "tags"), ("va", "valence")) if column in table.names]
        if kind is None and len(kinds) != 1:
            got = "both" if kinds else ", ".join(table.names)
            raise InputError(f"'{name}' needs a column tags, or columns valence and arousal", got, "Name the kind.")
        kind = kind or kinds[0]  # type: ignore[assignment]
        songs = tuple(home / str(path) for path in table.column("path"))
        missing = [song for song in songs if not song.is_file()]
        if missing:
            raise InputError(
                f"songs of '{name}' are not there", f"{len(missing)}, first {missing[0]}", "Mend the paths."
            )
        if kind == "tags":
            labels = tag_rows([_words(cell) for cell in table.column("tags")], tuple(vocabulary))
        else:
            labels = rescaled(table.numeric(["valence", "arousal"]), scale, name)
        column = next((column for column in _GROUPS if column in table.names), None)
        groups = () if column is None else tuple(map(str, table.column(column)))
        return cls(name, kind, labels, songs, tuple(vocabulary) if kind == "tags" else (), groups)  # type: ignore[arg-type]

    def listen(
        self, features: MusicFeatures, recognizer: ChordRecognizer, segment: float = SEGMENT_SECONDS
    ) -> EmotionDataset:
        """The same with features of all songs; a song that cannot be read is named and left out.

        Raises:
            InputError: no song can be read.
        """
        heard, kept = [], []
        for row, path in enumerate(track(self.songs, f"Listening to {self.name}")):
            try:
                song = hear(Audio.read(path), features, recognizer, segment=segment)
            except InputError as error:
                say(f"Left out: {error}")
                continue
            heard.append((song.segments, song.harmony))
            kept.append(row)
        if not heard:
            raise InputError(f"no song of '{self.name}' can be listened to", f"{len(self)} songs", "Mend them.")
        return replace(self.take(np.array(kept)), table=FeatureTable.of(heard))

    def take(self, rows: ndarray) -> EmotionDataset:
        """Some of the songs."""
        return replace(
            self,
            labels=self.labels[rows],
            songs=tuple(self.songs[row] for row in rows) if self.songs else (),
            groups=tuple(self.groups[row] for row in rows) if self.groups else (),
            table=None if self.table is None else self.table.take(rows),
        )

    def split(self, share: float, seed: int = 0) -> tuple[EmotionDataset, EmotionDataset]:
        """Two parts, the second with about `share` of the songs; songs of one artist stay together.

        Raises:
            InputError: a part would be empty.
        """
        random = np.random.default_rng(seed)
        names = np.array(self.groups or [str(row) for row in range(len(self))])
        order = random.permutation(np.unique(names))
        sizes = np.cumsum([int((names == group).sum()) for group in order])
        chosen = set(order[: max(1, int(np.searchsorted(sizes, share * len(self), side="right")))])
        second = np.array([name in chosen for name in names])
        if second.all() or not second.any():
            raise InputError(f"'{self.name}' cannot be split", f"{len(order)} groups of songs", "Add songs.")
        return self.take(np.flatnonzero(~second)), self.take(np.flatnonzero(second))


def tag_rows(words: Sequence[Sequence[str]], vocabulary: tuple[str, ...] = MOOD_TAGS) -> Float32[ndarray, "songs tags"]:
    """One row of zeros and ones for each song's tags.

    Raises:
        InputError: an unknown tag.

    Example:
        >>> tag_rows([["b"], ["a", "b"]], ("a", "b"))
        array([[0., 1.], [1., 1.]], dtype=float32)
    """
    column = {tag: number for number, tag in enumerate(vocabulary)}
    rows = np.zeros((len(words), len(vocabulary)), dtype=np.float32)
    for row, tags in enumerate(words):
        rows[row, [column[tag] for tag in known_tags(tags, vocabulary)]] = 1.0
    return rows


def rescaled(
    ratings: Float[ndarray, "songs 2"], scale: Scale | None, name: str = "songs"
) -> Float32[ndarray, "songs 2"]:
    """Ratings on the scale 1 to 9.

    Arguments:
        ratings: Valence and arousal.
        scale: Theirs; guessed unless given, and the guess is told.
        name: For messages.

    Raises:
        InputError: ratings outside the scale, or that fit none of the guesses; it names the rows.

    Example:
        >>> rescaled(np.array([[0.0, 0.5], [1.0, 0.25]]), (0.0, 1.0)).tolist()
        [[1.0, 5.0], [9.0, 3.0]]
    """
    if scale is None:
        inside = (low <= ratings.min() and ratings.max() <= high for low, high in _GUESSES)
        fitting = [guess for guess, fits in zip(_GUESSES, inside, strict=True) if fits]
        # From 0 to 1 fits in -1 to 1 too; negative numbers tell them apart.
        scale = next((guess for guess in fitting if guess != (-1.0, 1.0) or ratings.min() < 0), None)
        if scale is None:
            got = f"{ratings.min():g} to {ratings.max():g}"
            raise InputError(f"the scale of '{name}' cannot be guessed", got, "Give scale=(lowest, highest).")
        say(f"Taking the ratings of '{name}' as {scale[0]:g} to {scale[1]:g}.")
    low, high = scale
    if not low < high:
        raise InputError("a scale rises", f"{low:g} to {high:g}", "Give scale=(lowest, highest).")
    outside = np.flatnonzero(((ratings < low) | (ratings > high)).any(1))
    if len(outside):
        rows = ", ".join(str(row + 1) for row in outside[:8]) + (", ..." if len(outside) > 8 else "")
        raise InputError(
            f"ratings of '{name}' lie outside {low:g} to {high:g}", f"rows {rows}", "Mend the scale or rows."
        )
    return (SCALE[0] + (ratings - low) / (high - low) * (SCALE[1] - SCALE[0])).astype(np.float32)


def _words(cell: object) -> list[str]:
    return [word for word in re.split(r"[,;|\s]+", str(cell or "")) if word]
