"""Words: plain text in any common encoding."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from harmonia.core.errors import InputError
from harmonia.core.media import Media
from harmonia.media.files import MIB, decoded_text, existing

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure

FILE_LIMIT = 64 * MIB

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


@dataclass(frozen=True)
class Text(Media):
    """Plain text.

    Arguments:
        text: At least one character that is not white space.

    Example:
        >>> Text("Row, row, row your boat").words[:2]
        ['Row', 'row']
    """

    kind: ClassVar[str] = "text"
    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".md", ".lrc")

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise InputError("text is a string", type(self.text).__name__, "Pass a str.")
        if not self.text.strip():
            raise InputError("the text is empty", f"{len(self.text)} blank characters", "Pass at least one word.")

    @property
    def words(self) -> list[str]:
        return _WORD.findall(self.text)

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read UTF-8, UTF-16 with a byte order mark, or Latin-1; also gzipped. Line ends become ``\\n``.

        Raises:
            InputError: missing, empty, binary, or above `FILE_LIMIT`.
        """
        path = existing(path, cls.kind, FILE_LIMIT)
        text = decoded_text(path, cls.kind, FILE_LIMIT)
        return cls(text.replace("\r\n", "\n").replace("\r", "\n"))

    def _write(self, path: Path) -> None:
        path.write_text(self.text, encoding="utf-8", newline="\n")

    def show(self) -> MatplotlibFigure:
        """The beginning of the text beside its most frequent words."""
        from harmonia.media.figure import INK, PALETTE, new_figure

        words = self.words
        title = f"{len(words):,} words in {len(self.lines):,} lines"
        figure, (page, bars) = new_figure(1, 2, title=title, width=10, height=4, width_ratios=(1.6, 1))
        page.set_axis_off()
        wrapped = [row for line in self.lines[:20] for row in textwrap.wrap(line, 68) or [""]]
        shown = "\n".join(wrapped[:20]) + ("\n…" if len(wrapped) > 20 or len(self.lines) > 20 else "")
        page.text(0, 1, shown.replace("$", r"\$"), va="top", family="DejaVu Serif", fontsize=9.5, color=INK)
        common = Counter(word.lower() for word in words).most_common(12)
        bars.barh([word[:18] for word, _ in common], [count for _, count in common], color=PALETTE[0])
        bars.invert_yaxis()
        bars.grid(False, axis="y")
        bars.set_xlabel("times")
        return figure
