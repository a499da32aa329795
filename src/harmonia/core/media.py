"""What a job takes and gives: the contract every medium keeps.

The media themselves (audio, score, image, ...) live in `harmonia.media`; this module only says what one is, so that
`harmonia.core.task` can read, write and show any of them without knowing which there are.
"""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Media(ABC):
    """A piece of user data that can be read, checked, written and shown.

    Attributes:
        kind: One word for people and for the web page (``"audio"``).
        suffixes: File suffixes it can be written to; the first is the default.
    """

    kind: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]

    @classmethod
    @abstractmethod
    def read(cls, path: str | Path) -> Self:
        """Read from a file, by content rather than suffix.

        Raises:
            InputError: missing, empty, corrupt, truncated or too large a file, or one of another kind.
        """

    @abstractmethod
    def _write(self, path: Path) -> None:
        """Write to `path`, whose suffix is one of `suffixes`."""

    @abstractmethod
    def show(self) -> Figure:
        """A matplotlib figure worth looking at."""

    def write(self, path: str | Path) -> Path:
        """Write to a file; the file appears whole or not at all.

        Raises:
            InputError: a suffix this medium is not written to, or a place where nothing can be written.
        """
        from harmonia.core.errors import InputError

        path = Path(path)
        if path.suffix.lower() not in self.suffixes:
            raise InputError(
                f"{self.kind} is not written to this kind of file", path.name, f"Use one of {', '.join(self.suffixes)}."
            )
        try:
            with whole_file(path) as temporary:
                self._write(temporary)
        except OSError as error:
            got = f"{path}: {error.strerror or error}"
            raise InputError(f"the {self.kind} cannot be written", got, "Choose another place.") from error
        return path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is renamed to `path`, on failure nothing is left.

    The temporary file keeps the suffix, since many writers choose their format by it.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with whole_file(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("done")
        >>> [p.name for p in folder.iterdir()]
        ['a.txt']
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
