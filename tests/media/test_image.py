from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from harmonia.core.errors import InputError
from harmonia.media import Image, image


def picture(height: int = 20, width: int = 30) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 255 // height, columns * 255 // width, 0 * rows + 60], axis=2).astype(np.uint8)


def test_png_gives_back_exactly_what_was_written(tmp_path: Path) -> None:
    again = Image.read(Image(picture()).write(tmp_path / "a.png"))
    np.testing.assert_array_equal(again.pixels, picture())
    assert (again.height, again.width) == (20, 30)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_formats_stay_near(tmp_path: Path, suffix: str) -> None:
    path = Image(picture()).write(tmp_path / f"a{suffix}")
    misnamed = path.rename(tmp_path / "a.png")
    assert np.abs(Image.read(misnamed).pixels.astype(int) - picture()).mean() < 4


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera was held turned by 90 degrees
    PIL.Image.fromarray(picture()).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(Image.read(tmp_path / "a.png").pixels, np.rot90(picture(), -1))


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    layers = np.zeros((2, 2, 4), np.uint8)
    layers[0, 0] = (10, 20, 30, 255)
    layers[0, 1] = (0, 0, 0, 0)
    PIL.Image.fromarray(layers, "RGBA").save(tmp_path / "a.png")
    pixels = Image.read(tmp_path / "a.png").pixels
    assert pixels[0, 0].tolist() == [10, 20, 30]
    assert pixels[0, 1].tolist() == [255, 255, 255]


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    deep = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    PIL.Image.fromarray(deep).save(tmp_path / "a.png")
    np.testing.assert_array_equal(Image.read(tmp_path / "a.png").pixels[..., 0], np.arange(256).reshape(16, 16))


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1"])
def test_other_colour_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    PIL.Image.fromarray(picture()).convert(mode).save(tmp_path / "a.tiff")
    assert Image.read(tmp_path / "a.tiff").pixels.shape == (20, 30, 3)


def test_of_an_animation_the_first_picture_is_taken(tmp_path: Path) -> None:
    frames = [PIL.Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert Image.read(tmp_path / "a.gif").pixels[0, 0].tolist() == [255, 0, 0]


def test_enormous_pictures_are_refused_by_their_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Image(picture()).write(tmp_path / "a.png")
    data = bytearray(path.read_bytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"too large|cannot be decoded"):
        Image.read(path)
    monkeypatch.setattr(image, "PIXEL_LIMIT", 100)
    with pytest.raises(InputError, match="30 x 20 pixels"):
        Image.read(Image(picture()).write(tmp_path / "b.png"))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_truncated_pictures_are_refused(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = Image(noise).write(tmp_path / f"a{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match="cannot be decoded"):
        Image.read(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    for data, said in ((b"", "empty"), (b"words", "text data"), (b"%!PS-Adobe-3.0 EPSF", "text data")):
        (tmp_path / "a.png").write_bytes(data)
        with pytest.raises(InputError, match=said):
            Image.read(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.zeros((0, 3, 3)), "shape"),
        (np.zeros((3, 3, 4)), "shape"),
        (np.zeros(3), "shape"),
        (np.full((2, 2), 2.0), "between 0 and 1"),
        (np.full((2, 2), np.nan), "between 0 and 1"),
        (np.zeros((2, 2), np.int64), "int64"),
    ],
)
def test_unusable_pixels_are_named(pixels: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Image(pixels)


def test_floats_grey_and_sizes() -> None:
    grey = Image(np.array([[0.0, 0.5, 1.0]]))
    assert grey.pixels[0].tolist() == [[0, 0, 0], [128, 128, 128], [255, 255, 255]]
    assert Image(picture()).resized(10, 15).pixels.shape == (10, 15, 3)
    with pytest.raises(InputError, match="1 pixel or more"):
        grey.resized(0, 5)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (50, 40)])
def test_show_draws_any_shape(shape: tuple[int, int]) -> None:
    Image(np.zeros(shape)).show().canvas.draw()
