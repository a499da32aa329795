from pathlib import Path

import pytest

from harmonia.core.errors import InputError
from harmonia.core.media import Media, whole_file


class Note(Media):
    kind = "note"
    suffixes = (".txt",)

    def __init__(self, text):
        self.text = text

    @classmethod
    def read(cls, path):
        return cls(Path(path).read_text())

    def _write(self, path):
        path.write_text(self.text[:3])
        if self.text == "broken":
            raise RuntimeError("disk full")
        path.write_text(self.text)

    def show(self):
        raise NotImplementedError


def test_write_and_read(tmp_path):
    path = Note("hello").write(tmp_path / "new" / "a.txt")
    assert Note.read(path).text == "hello"


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = Note("before").write(tmp_path / "a.txt")
    with pytest.raises(RuntimeError):
        Note("broken").write(path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_failure_leaves_nothing_where_nothing_was(tmp_path):
    with pytest.raises(RuntimeError):
        Note("broken").write(tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []


def test_refuses_another_suffix(tmp_path):
    with pytest.raises(InputError, match=r"a\.exe.*Use one of \.txt"):
        Note("hello").write(tmp_path / "a.exe")


def test_whole_file_keeps_the_suffix(tmp_path):
    with whole_file(tmp_path / "a.wav") as temporary:
        assert temporary.suffix == ".wav"
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"x")
    assert (tmp_path / "a.wav").read_bytes() == b"x"
