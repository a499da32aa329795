"""Raw samples as they come, from standard input or a file: 16 bits, one channel, little-endian."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.media.files import content_of

_FILES = ("wav", "w64", "flac", "ogg", "aiff", "au", "caf", "mp4", "matroska")
"""Contents of files of sound whose first bytes leave no doubt."""


def raw_clips(source: str, size: int) -> Iterator[Float64[ndarray, " time"]]:
    """Clips of samples from -1 to 1, as they come; a last one that is shorter than half is dropped.

    Raises:
        InputError: no such file, or a file of sound, or text, in place of raw samples.
    """

    def clips(read: Callable[[int], bytes]) -> Iterator[ndarray]:
        _refuse_files(raw := read(2 * size))
        while raw:
            samples = np.frombuffer(raw[: len(raw) // 2 * 2], "<i2") / 32768
            if 2 * len(samples) >= size:
                yield samples
            raw = read(2 * size)

    if source == "-":
        yield from clips(sys.stdin.buffer.read)
        return
    path = Path(source).expanduser()
    if not path.is_file():
        raise InputError("there is no such file", path, "Give a file of raw samples, or - for standard input.")
    with path.open("rb") as file:
        yield from clips(file.read)


def _refuse_files(head: bytes) -> None:
    """Any bytes could be samples; those that begin as a file of sound, or read as text, were not meant to be."""
    form = content_of(head)
    if form in _FILES or head.startswith(b"ID3") or _reads_as_text(head):
        mend = "Send raw 16-bit samples; the job listen reads files of sound."
        raise InputError("the stream is not raw samples", f"{form} data", mend)


def _reads_as_text(head: bytes) -> bool:
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # the last letter may be cut
    except UnicodeDecodeError:
        return False
    return bool(text) and all(letter.isprintable() or letter.isspace() for letter in text)
