"""Is this a well-formed Standard MIDI File? Asked before the bytes reach a native parser.

Native MIDI parsers trust lengths inside the file; some crash the whole process on damaged ones. `check` walks every
chunk and event in Python (about 3 MB a second), so that what passes holds only events that end inside their track,
data bytes below 128, and times and tempi that a parser can add and divide by.
"""

from __future__ import annotations

from pathlib import Path

from harmonia.core.errors import InputError

MAX_TICK = 2**30
MAX_TRACKS = 4096
MAX_SECONDS = 24 * 3600.0

_DATA_BYTES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}
_META_LENGTH = {0x00: (0, 2), 0x20: (1,), 0x21: (1,), 0x2F: (0,), 0x51: (3,), 0x54: (5,), 0x58: (4,), 0x59: (2,)}


class _Damaged(Exception):
    """Where and why the bytes are no MIDI file."""


def check(data: bytes, path: Path) -> None:
    """Walk the whole file.

    Raises:
        InputError: damaged, truncated, without a track, in SMPTE time, or longer than a day.
    """
    try:
        _check(data)
    except IndexError:
        raise InputError("the MIDI file ends early", f"{len(data)} bytes in {path.name}", "Export it again.") from None
    except _Damaged as damage:
        raise InputError("the MIDI file is damaged", f"{damage} in {path.name}", "Export it again.") from None


def _check(data: bytes) -> None:
    if len(data) < 14 or data[:4] != b"MThd":
        raise IndexError
    header = int.from_bytes(data[4:8], "big")
    form, count, division = (int.from_bytes(data[at : at + 2], "big") for at in (8, 10, 12))
    if header < 6 or form > 2:
        raise _Damaged(f"a header of {header} bytes and format {form}")
    if not 1 <= count <= MAX_TRACKS:
        raise _Damaged(f"{count} tracks")
    if not 1 <= division < 0x8000:
        raise _Damaged("no ticks per quarter note" if division == 0 else "SMPTE time")
    at, found, last, slowest = 8 + header, 0, 0, 500_000
    while at < len(data) and found < count:
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "big")
        at += 8
        if at + size > len(data):
            raise IndexError
        if name == b"MTrk":
            found += 1
            tick, tempo = _check_track(data, at, at + size)
            last, slowest = max(last, tick), max(slowest, tempo)
        elif not name.isalnum():
            raise _Damaged(f"no chunk at byte {at - 8}")
        at += size
    if found < count:
        raise IndexError
    if last / division * slowest / 1e6 > MAX_SECONDS:
        raise _Damaged(f"more than {MAX_SECONDS / 3600:.0f} hours of music")


def _check_track(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Last tick and slowest tempo (microseconds a quarter) of one track."""
    tick, slowest, running = 0, 0, 0
    while at < end:
        delta, at = _variable(data, at, end)
        tick += delta
        if tick > MAX_TICK:
            raise _Damaged("times beyond any music")
        status = data[at]
        if status == 0xFF:
            kind, start = data[at + 1], at
            size, at = _variable(data, at + 2, end)
            if at + size > end or size not in _META_LENGTH.get(kind, (size,)):
                raise _Damaged(f"a meta event of {size} bytes at byte {start}")
            if kind == 0x51:
                tempo = int.from_bytes(data[at : at + 3], "big")
                if not tempo:
                    raise _Damaged(f"a tempo of zero at byte {start}")
                slowest = max(slowest, tempo)
            elif kind == 0x2F:
                return tick, slowest
            at += size  # running status ends here by the standard, but many writers go on
        elif status in (0xF0, 0xF7):
            size, at = _variable(data, at + 1, end)
            at, running = at + size, 0
        elif status >= 0xF0:
            raise _Damaged(f"the unknown event {status:#x} at byte {at}")
        else:
            if status >= 0x80:
                running, at = status & 0xF0, at + 1
            elif not running:
                raise _Damaged(f"data without an event at byte {at}")
            size = _DATA_BYTES[running]
            if data[at] > 127 or data[at + size - 1] > 127:
                raise _Damaged(f"a value above 127 at byte {at}")
            at += size
        if at > end:
            raise _Damaged(f"an event that passes the end of its track at byte {end}")
    return tick, slowest


def _variable(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A variable-length quantity of at most four bytes, and where it ends."""
    value = 0
    for index in range(at, min(at + 4, end)):
        byte = data[index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, index + 1
    raise _Damaged(f"no number at byte {at}")
