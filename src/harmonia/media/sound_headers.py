"""What the header of a sound file promises: how many bytes of samples there are to be.

libsndfile gives what is there and says nothing of what is missing. RIFF, RF64, W64, AIFF and AU files state the size of
their samples, so that a file that was cut off can be told; for FLAC, MP3 and CAF decoding itself fails, and Ogg marks
its last page.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

_MOST_CHUNKS = 256
_LONGEST_PAGE = 65_307


class Promise(NamedTuple):
    """Bytes of samples that the header promises, and that are there."""

    promised: int
    there: int


def promised(path: str | Path) -> Promise | None:
    """What the header says of the size of the samples; None where it says nothing, as in a file that was streamed.

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        form = file.read(4)
        if form in (b"RIFF", b"RF64"):
            return _riff(file)
        if form == b"RIFX":
            return _after(file, _chunk(file, 12, b"data", "big"))
        if form == b"FORM":
            return _after(file, _chunk(file, 12, b"SSND", "big"))
        if form == b"riff":
            return _w64(file)
        if form == b".snd":
            start, size = (int.from_bytes(file.read(4), "big") for _ in range(2))
            return _after(file, (start, size))
    return None


def promised_frames(path: str | Path, frames: int) -> int:
    """Frames that the header promises, of which `frames` are there; as many where it says nothing.

    Raises:
        OSError: the file cannot be read.
    """
    promise = promised(path)
    return frames if promise is None or not promise.there else round(frames * promise.promised / promise.there)


def has_end_mark(path: str | Path) -> bool:
    """Whether the last page of an Ogg file carries the end-of-stream flag; files of other kinds need none."""
    with Path(path).open("rb") as file:
        if file.read(4) != b"OggS":
            return True
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_PAGE))
        tail = file.read()
    last = tail.rfind(b"OggS")
    return 0 <= last < len(tail) - 5 and bool(tail[last + 5] & 4)


def _riff(file: BinaryIO) -> Promise | None:
    found = _chunk(file, 12, b"data", "little")
    large = _chunk(file, 12, b"ds64", "little")
    if found is not None and large is not None:
        file.seek(large[0] + 8)
        found = found[0], int.from_bytes(file.read(8), "little")
    return _after(file, found)


def _w64(file: BinaryIO) -> Promise | None:
    """Chunks of Sony Wave64: a GUID of 16 bytes, a size of 8 bytes that counts both, aligned to 8 bytes."""
    place = 40
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        name, size = file.read(16)[:4], int.from_bytes(file.read(8), "little")
        if name == b"data":
            return _after(file, (place + 24, size - 24))
        if size < 24:
            return None
        place += -(-size // 8) * 8
    return None


def _chunk(file: BinaryIO, place: int, wanted: bytes, order: Literal["little", "big"]) -> tuple[int, int] | None:
    """Where the content of a chunk begins, and its size."""
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        name, size = file.read(4), file.read(4)
        if len(size) < 4:
            return None
        length = int.from_bytes(size, order)
        if name == wanted:
            return place + 8, length
        place += 8 + length + length % 2
    return None


def _after(file: BinaryIO, chunk: tuple[int, int] | None) -> Promise | None:
    """The promise of a chunk; writers that do not know the size leave it as 0 or (nearly) all ones."""
    if chunk is None or chunk[1] <= 0 or any(0 <= ones - chunk[1] < 0x1000 for ones in (0x7FFFFFFF, 0xFFFFFFFF)):
        return None
    start, size = chunk
    return Promise(size, max(0, min(size, file.seek(0, os.SEEK_END) - start)))
