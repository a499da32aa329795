from __future__ import annotations

import os
from pathlib import Path

import pytest

from harmonia import media
from harmonia.core.errors import InputError
from harmonia.media.files import GIB, content_of

READ = ("Audio", "Graph", "Image", "Score", "Series", "Table", "Text", "Video")


@pytest.mark.parametrize("kind", READ)
def test_missing_empty_enormous_and_forbidden_files_of_every_kind(tmp_path: Path, kind: str) -> None:
    read, path = getattr(media, kind).read, tmp_path / "a"
    with pytest.raises(InputError, match="not there"):
        read(path)
    with pytest.raises(InputError, match="a folder"):
        read(tmp_path)
    path.touch()
    with pytest.raises(InputError, match="empty"):
        read(path)
    os.truncate(path, 20 * GIB)  # a hole: takes no room on the disk
    with pytest.raises(InputError, match="too large"):
        read(path)
    os.truncate(path, 10)
    if os.geteuid():
        path.chmod(0)
        with pytest.raises(InputError, match="may not be read"):
            read(path)


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, ""])
def test_impossible_paths_of_every_kind(kind: str, name: str) -> None:
    with pytest.raises(InputError):
        getattr(media, kind).read(name)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"BMI,age\n22,30\n", "text"),
        (b"BM" + bytes(20), "bmp"),
        (b"RIFF....WAVE", "wav"),
        (b"RIFF....WEBP", "webp"),
        (b"\xff\xfb\x90d", "mp3"),
        (b"\xff\xf1\x50\x80", "aac"),
        (b"\xff\xfea\0", "text"),
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"\0\0\0\x20ftypisom", "mp4"),
        (b"\0\0\0\x20ftypavif", "avif"),
        (b"", "text"),
        (b"\0\1", "unknown"),
    ],
)
def test_content_is_told_by_its_first_bytes(head: bytes, name: str) -> None:
    assert content_of(head) == name
