from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from harmonia import media
from harmonia.core.errors import InputError, MissingDependency
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


@pytest.mark.parametrize(
    ("kind", "package", "extra", "data"),
    [
        ("Audio", "soundfile", "audio", b"RIFF\x24\0\0\0WAVEfmt "),
        ("Audio", "av", "video", b"\0\0\0\x20ftypM4A "),
        ("Video", "av", "video", b"\0\0\0\x20ftypisom"),
        ("Score", "symusic", "music", b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\4\0\xff\x2f\0"),
        ("Score", "music21", "music", b"<score-partwise/>"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, package: str, extra: str, data: bytes
) -> None:
    (tmp_path / "a").write_bytes(data)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=rf"'{package}'.*harmonia\[{extra}\]"):
        getattr(media, kind).read(tmp_path / "a")
