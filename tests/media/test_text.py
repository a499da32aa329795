from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.media import Text


@given(text=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\0")).filter(str.strip))
def test_text_comes_back_exactly(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    if text.startswith("\ufeff"):
        return
    assert Text.read(Text(text).write(tmp_path_factory.mktemp("t") / "a.txt")).text == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a").write_bytes("Süßer\r\nKlang\rda\n".encode(encoding))
    text = Text.read(tmp_path / "a")
    assert text.text == "Süßer\nKlang\nda\n"
    assert text.lines == ["Süßer", "Klang", "da"]
    assert text.words == ["Süßer", "Klang", "da"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b" \n ", "blank"),
        (b"a\0b", "no text"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"\xff\xfea", "decoded"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(InputError, match=said):
        Text.read(tmp_path / "a.txt")


def test_text_is_a_string() -> None:
    with pytest.raises(InputError, match="int"):
        Text(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["!!!", "$x$ and \\alpha", "word " * 5000, "a\n" * 100])
def test_show_draws_any_text(text: str) -> None:
    Text(text).show().canvas.draw()
