"""Pictures: eight-bit red, green and blue."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from jaxtyping import UInt8

from harmonia.core.errors import InputError
from harmonia.core.media import Media
from harmonia.core.progress import say
from harmonia.media.files import GIB, content, existing, unreadable

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure

FILE_LIMIT = GIB
PIXEL_LIMIT = 150_000_000
"""Most pixels of one picture: 430 MiB of red, green and blue."""

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")


@dataclass(frozen=True, eq=False)
class Image(Media):
    """A picture.

    Arguments:
        pixels: ``[height, width, 3]``, or ``[height, width]`` for grey; 0 to 255 as uint8, or 0 to 1 as floats.

    Raises:
        InputError: empty, another shape or type, not finite, or floats outside 0 to 1.

    Example:
        >>> Image(np.zeros((2, 3))).pixels.shape
        (2, 3, 3)
    """

    kind: ClassVar[str] = "image"
    suffixes: ClassVar[tuple[str, ...]] = (".png", ".jpg", ".jpeg", ".webp")

    pixels: UInt8[np.ndarray, "height width 3"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "pixels", checked_pixels(self.pixels))

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read png, jpeg, webp, gif, bmp, tiff or avif.

        The picture is turned upright as its camera noted, laid over white where it is transparent, and reduced from
        16 to 8 bits. Of an animation the first picture is taken.

        Raises:
            InputError: missing, empty, damaged, truncated, above `PIXEL_LIMIT`, or no picture.
        """
        import PIL.Image
        import PIL.ImageOps

        path = existing(path, cls.kind, FILE_LIMIT)
        if (form := content(path)).upper() not in _FORMATS:
            raise InputError("the file is no known picture", f"{form} data in {path.name}", "Pass png, jpeg or webp.")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with PIL.Image.open(path, formats=_FORMATS) as picture:
                    if picture.width * picture.height > PIXEL_LIMIT:
                        got = f"{picture.width} x {picture.height} pixels in {path.name}"
                        raise InputError("the picture is too large", got, f"Pass at most {PIXEL_LIMIT:,} pixels.")
                    if getattr(picture, "n_frames", 1) > 1:
                        say(f"{path.name} holds several pictures; the first is taken.")
                    return cls(_upright_rgb(picture))
        except InputError:
            raise
        except Exception as error:  # Pillow's plugins raise whatever they trip over
            raise unreadable("image", path, error, "Save it again as png or jpeg.") from None

    def resized(self, height: int, width: int) -> Self:
        """The picture at another size, filtered against aliasing."""
        import PIL.Image

        if min(height, width) < 1 or height * width > PIXEL_LIMIT:
            raise InputError("a picture has 1 pixel or more and is not enormous", f"{height} x {width}", "Pass a size.")
        picture = PIL.Image.fromarray(self.pixels).resize((width, height), PIL.Image.Resampling.LANCZOS)
        return type(self)(np.asarray(picture))

    def _write(self, path: Path) -> None:
        import PIL.Image

        options: dict[str, Any] = {} if path.suffix.lower() == ".png" else {"quality": 95}
        PIL.Image.fromarray(self.pixels).save(path, **options)

    def show(self) -> MatplotlibFigure:
        """The picture and its size."""
        from harmonia.media.figure import INK, new_figure

        scale = 7 / max(self.height, self.width)
        width, height = max(2.5, self.width * scale), max(2.0, self.height * scale + 0.35)
        figure, [axes] = new_figure(width=width, height=height, grid=False)
        axes.imshow(self.pixels, interpolation="nearest" if max(self.pixels.shape) < 128 else "antialiased")
        axes.set_axis_off()
        axes.set_title(f"{self.width:,} × {self.height:,} pixels", fontsize=9, color=INK, loc="right")
        return figure


def checked_pixels(pixels: Any) -> UInt8[np.ndarray, "height width 3"]:
    """An array as red, green and blue bytes, or what is wrong with it."""
    array = np.asarray(pixels)
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1):
        array = np.broadcast_to(array.reshape(*array.shape[:2], 1), (*array.shape[:2], 3))
    if array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise InputError("pixels have the shape [height, width, 3]", array.shape, "Pass such an array.")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype.kind != "f":
        raise InputError("pixels are bytes, or floats of 0 to 1", array.dtype, "Convert them.")
    low, high = float(array.min()), float(array.max())
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise InputError("pixels as floats lie between 0 and 1", f"{low:g} to {high:g}", "Scale or clip them.")
    return np.rint(array.clip(0, 1) * 255).astype(np.uint8)


def _upright_rgb(picture: Any) -> UInt8[np.ndarray, "height width 3"]:
    import PIL.Image
    import PIL.ImageOps

    upright = PIL.ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I"):
        deep = np.asarray(upright, dtype=np.float64)
        return checked_pixels(np.clip(deep / 65_535, 0, 1))
    if upright.mode == "F":
        raise InputError("the picture holds floats of unknown scale", upright.format or "F", "Save it with 8 bits.")
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        white = PIL.Image.new("RGBA", upright.size, "white")
        upright = PIL.Image.alpha_composite(white, upright)
    return np.asarray(upright.convert("RGB"))
