"""Many rendered songs: as an iterator with a disk cache, or written to folders for training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from harmonia.core.errors import InputError, MissingDependency
from harmonia.core.progress import track
from harmonia.data.cache import cache_folder
from harmonia.data.render.compose import render_song
from harmonia.data.render.speakers import Split, packages_missing
from harmonia.data.render.synth import instruments_missing
from harmonia.data.song import STEMS, Song

RENDERER = 2
"""Raised whenever the same seed renders to other bits, so that old cached songs are not taken for new ones."""


def corpus(
    split: Split, count: int, *, seed: int = 0, seconds: float = 12.0, rate: int = 44100, processes: int = 1
) -> Iterator[Song]:
    """Rendered songs, one after another; those rendered before are read from the cache.

    Arguments:
        split: ``"train"`` or ``"test"``; the two share no voice, words or song.
        count: How many songs.
        seed: Another seed gives other songs.
        seconds: Length of each.
        rate: Sample rate, Hz.
        processes: Songs rendered side by side.

    Raises:
        InputError: arguments out of range.
        MissingDependency: a program, voice or soundfont is missing.
    """
    _check(split, count, processes)
    make = partial(_cached, split=split, seconds=seconds, rate=rate)
    for folder in _map(make, [_song_seed(seed, i) for i in range(count)], processes, f"rendering {split} songs"):
        yield Song.read(folder)


def write_corpus(
    folder: str | Path,
    split: Split,
    count: int,
    *,
    seed: int = 0,
    seconds: float = 18.0,
    rate: int = 44100,
    processes: int = 1,
    names: tuple[str, ...] = ("mixture", "vocals", "instrumental"),
) -> list[Path]:
    """Render songs to ``folder/split/<id>/{mixture,vocals,instrumental}.flac`` and ``notes.json``.

    Songs already there are kept, so an interrupted run goes on where it stopped.

    Arguments:
        folder: Where to.
        split: ``"train"`` or ``"test"``.
        count: How many songs.
        seed: Another seed gives other songs.
        seconds: Length of each.
        rate: Sample rate, Hz.
        processes: Songs rendered side by side.
        names: Which sounds to write, of mixture, instrumental, vocals, drums, bass, other.

    Raises:
        InputError: arguments out of range.
        MissingDependency: a program, voice or soundfont is missing.
    """
    _check(split, count, processes)
    make = partial(_written, base=Path(folder) / split, split=split, seconds=seconds, rate=rate, names=names)
    return list(_map(make, [_song_seed(seed, i) for i in range(count)], processes, f"rendering {split} songs"))


def check_installed(split: Split) -> None:
    """Say before hours of work, not amid them, which packages the songs of a split will need.

    Raises:
        MissingDependency: voices or soundfonts are missing; names all their Debian packages.
    """
    missing = [*packages_missing(split), *instruments_missing()]
    if missing:
        what = f"the voices and instruments of the {split} songs are not all installed"
        raise MissingDependency(what, f"{len(missing)} packages missing", f"Run: apt-get install {' '.join(missing)}.")


def _check(split: Split, count: int, processes: int) -> None:
    if split not in ("train", "test"):
        raise InputError("there is no such split", repr(split), "Use 'train' or 'test'.")
    if count < 1 or processes < 1:
        raise InputError("count and processes must be positive", f"{count} and {processes}", "Pass at least 1.")
    check_installed(split)


def _song_seed(seed: int, number: int) -> int:
    return seed * 1_000_000 + number


def _map(make: partial[Path], seeds: list[int], processes: int, label: str) -> Iterator[Path]:
    if processes == 1:
        yield from track(map(make, seeds), label, len(seeds))
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from track(pool.map(make, seeds), label, len(seeds))


def _cached(seed: int, *, split: Split, seconds: float, rate: int) -> Path:
    key = hashlib.sha256(repr((RENDERER, split, seed, float(seconds), rate)).encode()).hexdigest()[:16]
    folder = cache_folder("rendered") / key
    if not (folder / "notes.json").is_file():
        render_song(seed, split, seconds=seconds, rate=rate).write(folder, STEMS)
    return folder


def _written(seed: int, *, base: Path, split: Split, seconds: float, rate: int, names: tuple[str, ...]) -> Path:
    folder = base / f"{seed:07d}"
    if not (folder / "notes.json").is_file():
        render_song(seed, split, seconds=seconds, rate=rate).write(folder, names)
    return folder
