"""What every reader checks before it hands a file to a decoder: that it is there, is a file, and is not absurd.

`content` names the format by the file's first bytes, so that a reader believes what is in a file and not its suffix,
and can say "this is a MIDI file" instead of "cannot decode".
"""

from __future__ import annotations

import gzip
import io
import os
import stat
import zlib
from pathlib import Path

from harmonia.core.errors import InputError

MIB = 1024 * 1024
GIB = 1024 * MIB

_MAGIC: tuple[tuple[bytes, int, str], ...] = (
    (b"fLaC", 0, "flac"),
    (b"OggS", 0, "ogg"),
    (b"ID3", 0, "mp3"),
    (b"AIFF", 8, "aiff"),
    (b"AIFC", 8, "aiff"),
    (b".snd", 0, "au"),
    (b"caff", 0, "caf"),
    (b"RF64", 0, "wav"),
    (b"riff\x2e\x91\xcf\x11", 0, "w64"),
    (b"WAVE", 8, "wav"),
    (b"WEBP", 8, "webp"),
    (b"AVI ", 8, "avi"),
    (b"RMID", 8, "riff midi"),
    (b"MThd", 0, "midi"),
    (b"ftypavif", 4, "avif"),
    (b"ftypheic", 4, "heic"),
    (b"ftyp", 4, "mp4"),
    (b"moov", 4, "mp4"),
    (b"mdat", 4, "mp4"),
    (b"wide", 4, "mp4"),
    (b"\x1a\x45\xdf\xa3", 0, "matroska"),
    (b"\x89PNG\r\n\x1a\n", 0, "png"),
    (b"\xff\xd8\xff", 0, "jpeg"),
    (b"GIF8", 0, "gif"),
    (b"II*\x00", 0, "tiff"),
    (b"MM\x00*", 0, "tiff"),
    (b"PAR1", 0, "parquet"),
    (b"\x93NUMPY", 0, "npy"),
    (b"PK\x03\x04", 0, "zip"),
    (b"\x1f\x8b", 0, "gzip"),
    (b"%PDF", 0, "pdf"),
)


def existing(path: str | Path, kind: str, limit: int) -> Path:
    """The path of a file that is there, is not empty and has at most `limit` bytes.

    Raises:
        InputError: missing, a folder or device, unreadable, empty, or too large.
    """
    path = Path(path).expanduser()
    try:
        status = path.stat()
    except FileNotFoundError:
        raise InputError(f"the {kind} file is not there", path, "Check the path.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"the {kind} file cannot be reached", f"{path}: {error}", "Check the path.") from None
    if not stat.S_ISREG(status.st_mode):
        found = "a folder" if stat.S_ISDIR(status.st_mode) else "something that is not a plain file"
        raise InputError(f"the {kind} file is not a file", f"{found}: {path}", "Give the path of one file.")
    if not os.access(path, os.R_OK):
        raise InputError(f"the {kind} file may not be read", path, "Give yourself permission to read it.")
    if status.st_size == 0:
        raise InputError(f"the {kind} file is empty", f"0 bytes in {path.name}", "Pass a file with content.")
    if status.st_size > limit:
        raise too_large(kind, path, f"{status.st_size / MIB:.0f} MiB", limit)
    return path


def too_large(kind: str, path: Path, got: str, limit: int) -> InputError:
    """The error for content above `limit` bytes."""
    return InputError(f"the {kind} file is too large", f"{got} in {path.name}", f"Pass at most {limit / MIB:.0f} MiB.")


def unreadable(kind: str, path: Path, reason: object, mend: str) -> InputError:
    """The error for content that the decoder of its kind refuses."""
    sentence = " ".join(str(reason).split())[:200] or type(reason).__name__
    return InputError(f"the {kind} file cannot be decoded", f"{path.name}: {sentence.rstrip('.')}", mend)


def content(path: Path) -> str:
    """The format by the first bytes: ``"flac"``, ``"midi"``, ``"png"``, ..., ``"text"`` or ``"unknown"``."""
    with path.open("rb") as file:
        head = file.read(4096)
    return content_of(head)


def content_of(head: bytes) -> str:
    """`content` of bytes in memory.

    Example:
        >>> content_of(b"MThd\\x00\\x00\\x00\\x06"), content_of(b"a,b\\n1,2\\n"), content_of(b"\\x00\\x01\\x02")
        ('midi', 'text', 'unknown')
    """
    for magic, offset, name in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return name
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0 and head[:2] not in (b"\xff\xfe", b"\xff\xff"):
        return "aac" if head[1] & 0x06 == 0 else "mp3"
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "bmp"
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" not in head:
        return "text"
    return "unknown"


def decoded_text(path: Path, kind: str, limit: int) -> str:
    """The whole file as text: UTF-8, UTF-16 with a byte order mark, else Latin-1; gzip is unpacked first.

    Raises:
        InputError: binary content, or more than `limit` bytes of text.
    """
    data = path.read_bytes()
    if content_of(data) == "gzip":
        data = unpacked(data, kind, path, limit)
    if content_of(data[:4096]) != "text":
        raise InputError(
            f"the {kind} file holds no text",
            f"{content_of(data[:4096])} data in {path.name}",
            f"Pass a {kind} as text.",
        )
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-16":
            raise unreadable(kind, path, error, "Save it as UTF-8.") from None
        text = data.decode("latin-1")
    if "\x00" in text:
        raise InputError(f"the {kind} file holds no text", f"binary data in {path.name}", f"Pass a {kind} as text.")
    return text


def unpacked(data: bytes, kind: str, path: Path, limit: int) -> bytes:
    """Gzip `data` unpacked, at most `limit` bytes of it.

    Raises:
        InputError: corrupt or truncated, or a bomb.
    """
    try:
        with gzip.open(io.BytesIO(data)) as file:
            plain = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(kind, path, error, "Pack the file again, or pass it unpacked.") from None
    if len(plain) > limit:
        raise too_large(kind, path, f"more than {limit / MIB:.0f} MiB unpacked", limit)
    if not plain:
        raise InputError(f"the {kind} file is empty", f"0 bytes packed in {path.name}", "Pass a file with content.")
    return plain
