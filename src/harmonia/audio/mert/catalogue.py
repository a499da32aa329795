"""A catalogue of music to pre-train on: a folder of sound files, or the manifest and label files that fairseq reads.

A manifest is a text file: the folder on its first line, then ``relative/path<tab>samples`` for each file. Labels of
codebook n lie beside it in ``<name>.codec_<n>``, one line of integers for each file, one integer for each frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64

from harmonia.core.errors import InputError, require
from harmonia.core.media import whole_file
from harmonia.core.progress import say

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")


@dataclass(frozen=True)
class Catalogue:
    """Sound files, their lengths and, where there are any, their labels.

    Attributes:
        root: Folder of the files.
        files: Paths in it.
        seconds: Length of each.
        labels: Codes ``[frames, codebooks]`` of each file, or none at all.

    Raises:
        InputError: no sound files; a manifest or labels that cannot be read.
    """

    root: Path
    files: tuple[str, ...]
    seconds: tuple[float, ...]
    labels: tuple[Int64[np.ndarray, "frames codebooks"], ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, source: str | Path) -> Catalogue:
        """A folder, with all folders in it, or a manifest (``.tsv``) with the labels beside it."""
        source = Path(source).expanduser()
        if source.is_dir():
            found = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
            if not found:
                mend = f"Put {', '.join(SUFFIXES)} files there."
                raise InputError("the folder holds no sound files", source.name, mend)
            return cls._listed(source, [path.relative_to(source).as_posix() for path in found], [])
        if not source.is_file():
            raise InputError("there is no such folder or manifest", source, "Check the path.")
        try:
            root, *lines = source.read_text(encoding="utf-8").splitlines()
            names = [line.split("\t")[0] for line in lines if line.strip()]
        except (UnicodeDecodeError, ValueError) as error:
            mend = "Its first line is a folder, the others are path<tab>samples."
            raise InputError("the manifest cannot be read", error, mend) from None
        return cls._listed(Path(root), names, _labels(source, len(names)))

    @classmethod
    def _listed(cls, root: Path, names: list[str], labels: list[np.ndarray]) -> Catalogue:
        soundfile = require("soundfile", extra="audio")
        seconds, kept, bad = [], [], []
        for number, name in enumerate(names):
            try:
                info = soundfile.info(str(root / name))
            except (soundfile.LibsndfileError, OSError):
                bad.append(name)
                continue
            seconds.append(info.frames / info.samplerate)
            kept.append(number)
        if bad:
            say(f"Left out {len(bad)} files that cannot be read, such as {bad[0]}.")
        if not kept:
            raise InputError("no file of the catalogue can be read", ", ".join(bad[:3]) or "none", "Check the files.")
        return cls(
            root,
            tuple(names[number] for number in kept),
            tuple(seconds),
            tuple(labels[number] for number in kept) if labels else (),
        )

    def split(self, held_out: int) -> tuple[Catalogue, Catalogue]:
        """All but the last `held_out` files, and those."""
        if not 0 < held_out < len(self.files):
            got = f"{held_out} of {len(self.files)} files"
            raise InputError("files are held out from files to train on", got, "Hold out fewer, or add files.")
        return self._part(slice(0, -held_out)), self._part(slice(-held_out, None))

    def _part(self, which: slice) -> Catalogue:
        return Catalogue(self.root, self.files[which], self.seconds[which], self.labels[which])

    def places(
        self, count: int, samples: int, rate: int, generator: torch.Generator, *, grid: int = 1
    ) -> list[tuple[int, int]]:
        """Random crops, as ``(file, first sample)`` of each.

        A file is drawn in proportion to its length; those shorter than a crop are never drawn.

        Arguments:
            count: How many.
            samples: Length of each.
            rate: Sampling rate in hertz.
            generator: Where all randomness comes from.
            grid: Crops start at multiples of this many samples.

        Raises:
            InputError: all files are too short.
        """
        room = torch.tensor(self.seconds, dtype=torch.float64) - samples / rate
        if not bool((room >= 0).any()):
            got = f"the longest lasts {max(self.seconds):.1f} s"
            raise InputError(f"no file is as long as a crop of {samples / rate:g} s", got, "Shorten the crop.")
        weights = torch.where(room >= 0, room + samples / rate, 0.0)
        chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
        places = torch.rand(count, generator=generator, dtype=torch.float64)
        starts = [
            int(place * float(room[file]) * rate / grid) * grid for file, place in zip(chosen, places, strict=True)
        ]
        return list(zip(chosen.tolist(), starts, strict=True))

    def crops(
        self, count: int, samples: int, rate: int, generator: torch.Generator, *, grid: int = 1
    ) -> Float32[np.ndarray, "count samples"]:
        """The sound of `places`, mixed to one channel, at the wanted rate."""
        where = self.places(count, samples, rate, generator, grid=grid)
        return np.stack([self.read(file, start, samples, rate) for file, start in where])

    def read(self, file: int, start: int, samples: int, rate: int) -> Float32[np.ndarray, " samples"]:
        """A stretch of a file, mixed to one channel, at the wanted rate; silence where the file has ended.

        Raises:
            InputError: a file that is gone, corrupt, or not finite.
        """
        soundfile = require("soundfile", extra="audio")
        path = self.root / self.files[file]
        try:
            with soundfile.SoundFile(path) as sound:
                ratio = sound.samplerate / rate
                sound.seek(min(round(start * ratio), sound.frames))
                read = sound.read(int(np.ceil(samples * ratio)) + 1, dtype="float32", always_2d=True).mean(1)
        except (soundfile.LibsndfileError, OSError) as error:
            raise InputError("a file of the catalogue cannot be read", f"{path.name}: {error}", "Remove it.") from None
        if ratio != 1:
            read = require("soxr", extra="audio").resample(read, sound.samplerate, rate, quality="HQ")
        if not np.isfinite(read).all():
            raise InputError("a file holds samples that are not finite", path.name, "Mend or remove it.")
        return np.pad(read[:samples], (0, max(0, samples - len(read))))


def write_manifest(catalogue: Catalogue, path: str | Path, rate: int) -> Path:
    """Write a manifest, and the labels beside it where the catalogue has any.

    Arguments:
        catalogue: What to list.
        path: The manifest, ``<name>.tsv``.
        rate: Rate at which the samples are counted, in hertz.
    """
    path = Path(path)
    lines = [f"{name}\t{round(s * rate)}" for name, s in zip(catalogue.files, catalogue.seconds, strict=True)]
    with whole_file(path) as temporary:
        temporary.write_text("\n".join([str(catalogue.root), *lines]) + "\n", encoding="utf-8")
    if catalogue.labels:
        for book in range(catalogue.labels[0].shape[1]):
            rows = (" ".join(map(str, codes[:, book].tolist())) for codes in catalogue.labels)
            with whole_file(path.with_suffix(f".codec_{book}")) as temporary:
                temporary.write_text("\n".join(rows) + "\n")
    return path


def _labels(manifest: Path, files: int) -> list[np.ndarray]:
    books: list[Sequence[np.ndarray]] = []
    while (beside := manifest.with_suffix(f".codec_{len(books)}")).is_file():
        try:
            rows = [np.array(line.split(), dtype=np.int64) for line in beside.read_text().splitlines()]
        except (ValueError, UnicodeDecodeError) as error:
            raise InputError("a label file holds one line of integers a file", error, f"Mend {beside.name}.") from None
        if len(rows) != files:
            got = f"{len(rows)} lines for {files} files"
            raise InputError("a label file has a line for each file of the manifest", got, f"Mend {beside.name}.")
        books.append(rows)
    if not books:
        return []
    for row in zip(*books, strict=True):
        if len({len(codes) for codes in row}) != 1:
            counts = [len(codes) for codes in row]
            raise InputError("codebooks of a file have as many labels", counts, "Write the label files anew.")
    return [np.stack(row, 1) for row in zip(*books, strict=True)]
