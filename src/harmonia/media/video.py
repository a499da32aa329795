"""Moving pictures, decoded one at a time, with their sound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from jaxtyping import UInt8

from harmonia.core.errors import InputError
from harmonia.core.media import Media
from harmonia.media.audio import Audio
from harmonia.media.files import GIB, existing
from harmonia.media.image import Image, checked_pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure

FILE_LIMIT = 16 * GIB
RATES = (0.1, 1000.0)

_SHEET = 12


class FileFrames:
    """The pictures of a video file: decoded anew, one at a time, whenever they are iterated over."""

    def __init__(self, path: Path) -> None:
        from harmonia.media.container import streams

        self.path = path
        self.streams = streams(path)

    def __len__(self) -> int:
        return self.streams.count

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        from harmonia.media.container import frames

        return frames(self.path)

    def at(self, position: int) -> UInt8[np.ndarray, "height width 3"]:
        """One picture by its position; of a file that ends early, the first."""
        from harmonia.media.container import frames

        return next(chain(frames(self.path, start=position / self.streams.fps), frames(self.path)))


@dataclass(frozen=True, eq=False)
class Video(Media):
    """Pictures at a rate, and perhaps sound.

    Iterating over a video gives its pictures, ``[height, width, 3]`` as bytes. Those of a file are decoded as they
    are asked for and never held all at once.

    Arguments:
        frames: Pictures of one size: an array ``[time, height, width, 3]``, a list, or `FileFrames`.
        fps: Pictures a second.
        soundtrack: Sound, or the file it is read from when `audio` is first asked for.

    Raises:
        InputError: no pictures, of different sizes, or an impossible rate.

    Example:
        >>> video = Video(np.zeros((50, 32, 48, 3), dtype=np.uint8), fps=25)
        >>> video.seconds, video.height, video.width, video.audio
        (2.0, 32, 48, None)
    """

    kind: ClassVar[str] = "video"
    suffixes: ClassVar[tuple[str, ...]] = (".mp4",)

    frames: Iterable[UInt8[np.ndarray, "height width 3"]]
    fps: float
    soundtrack: Audio | Path | None = None

    def __post_init__(self) -> None:
        if not RATES[0] <= self.fps <= RATES[1]:
            raise InputError("a video has 0.1 to 1000 pictures a second", self.fps, "Pass such a rate.")
        if isinstance(self.frames, FileFrames):
            return
        pictures = [checked_pixels(picture) for picture in self.frames]
        if not pictures:
            raise InputError("the video holds no pictures", "0 pictures", "Pass at least one.")
        if len(sizes := {picture.shape for picture in pictures}) > 1:
            got = " and ".join(f"{height} x {width}" for height, width, _ in sorted(sizes)[:2])
            raise InputError("the pictures of a video have one size", got, "Resize them first.")
        object.__setattr__(self, "frames", pictures)

    def __len__(self) -> int:
        return len(self.frames)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        return iter(self.frames)

    @property
    def seconds(self) -> float:
        return len(self) / self.fps

    @property
    def height(self) -> int:
        return self._size[0]

    @property
    def width(self) -> int:
        return self._size[1]

    @property
    def _size(self) -> tuple[int, ...]:
        if isinstance(self.frames, FileFrames):
            return self.frames.streams.height, self.frames.streams.width
        return next(iter(self)).shape[:2]

    @cached_property
    def audio(self) -> Audio | None:
        """The sound, if there is any."""
        return Audio.read(self.soundtrack) if isinstance(self.soundtrack, Path) else self.soundtrack

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Open mp4, mov, matroska, webm or avi. Only the first picture is decoded, as a check.

        Raises:
            InputError: missing, empty, damaged, enormous, or without pictures. Damage further on is found, and is
                such an error, when those pictures are asked for.
        """
        path = existing(path, cls.kind, FILE_LIMIT)
        frames = FileFrames(path)
        return cls(frames, frames.streams.fps, path if frames.streams.sound else None)

    def sampled(self, count: int) -> list[tuple[float, Image]]:
        """`count` pictures spread evenly, with their times in seconds."""
        positions = np.unique(np.linspace(0, len(self) - 1, count).astype(int)).tolist()
        if isinstance(self.frames, FileFrames):
            return [(position / self.fps, Image(self.frames.at(position))) for position in positions]
        return [(position / self.fps, Image(next(islice(self, position, None)))) for position in positions]

    def _write(self, path: Path) -> None:
        from harmonia.media.container import encode

        if min(self.height, self.width) < 2:
            raise InputError("mp4 has pictures of 2 x 2 or more", f"{self.height} x {self.width}", "Enlarge them.")
        sound = self.audio
        if sound is not None:
            sound = sound if sound.channels <= 2 else sound.stereo()
            sound = sound if sound.rate in (16_000, 22_050, 24_000, 32_000, 44_100, 48_000) else sound.resampled(48_000)
        encode(path, self, self.fps, None if sound is None else (sound.samples, sound.rate))

    def show(self) -> MatplotlibFigure:
        """A contact sheet of twelve pictures."""
        from harmonia.media.figure import MUTED, new_figure

        pictures = self.sampled(_SHEET)
        cols = min(4, len(pictures))
        rows = -(-len(pictures) // cols)
        sound = ", with sound" if self.soundtrack is not None else ""
        title = f"{self.seconds:.1f} s, {self.width} × {self.height} pixels, {self.fps:g} a second{sound}"
        cell = 2.6 * min(1.2, self.height / self.width)
        figure, axes = new_figure(rows, cols, title=title, width=2.6 * cols, height=0.5 + cell * rows, grid=False)
        for each in axes:
            each.set_axis_off()
        for each, (time, picture) in zip(axes, pictures, strict=False):
            each.imshow(picture.pixels)
            each.set_title(f"{time:.1f} s", fontsize=8, color=MUTED, loc="left", pad=2)
        return figure
