"""Maps of the whole Earth: an equal-area view and the two poles, where flat maps tear.

The coastline drawn for orientation is itself a location encoder: the boundary between land and ocean of the embedded
weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harmonia.core.errors import InputError
from harmonia.core.media import whole_file
from harmonia.media.figure import DPI, INK, MUTED, PALETTE, SEQUENTIAL
from harmonia.symmetry.location_encoder.grid import Grid
from harmonia.symmetry.location_encoder.projections import EQUAL_EARTH, NORTH, SOUTH, Array, Projection

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure
    from matplotlib.path import Path as Outline

LAND = Path(__file__).with_name("weights") / "land.safetensors"
SEA, SOIL, PAPER = "#16486F", "#D9B26A", "#F4F1EA"
_WATER = ("ocean", "sea", "water")

Draw = Callable[["Axes"], None]


@dataclass(frozen=True)
class WorldMap:
    """A quantity at every cell of a grid, north to south and west to east.

    Attributes:
        values: ``(rows, columns)`` numbers, or class indices when `classes` is given.
        label: What the numbers are, with the unit.
        classes: Names of the classes.
        confidence: Probability of the class in each cell; unsure cells are drawn pale.
    """

    grid: Grid
    values: NDArray[Any]
    label: str = ""
    classes: tuple[str, ...] = ()
    confidence: Array | None = None

    def write(self, path: str | Path) -> Path:
        """Write ``.npz`` (values, longitude, latitude, label, classes) or a picture, ``.png`` or ``.svg``.

        Raises:
            InputError: another suffix.
        """
        path = Path(path)
        if path.suffix == ".npz":
            with whole_file(path) as temporary:
                np.savez_compressed(
                    temporary,
                    values=self.values.astype(np.int32 if self.classes else np.float32),
                    longitude=self.grid.longitudes,
                    latitude=self.grid.latitudes,
                    label=self.label,
                    classes=np.array(self.classes),
                )
        elif path.suffix in (".png", ".svg"):
            with whole_file(path) as temporary:
                self.draw().savefig(temporary, format=path.suffix[1:], dpi=DPI)
        else:
            raise InputError("a map is not written to this kind of file", path.name, "Use .npz, .png or .svg.")
        return path

    def draw(self, title: str = "", *, beside: Draw | None = None, points: Array | None = None) -> MatplotlibFigure:
        """The map with its key, see `draw_earth`."""
        return draw_earth(self.colours(), title, key=self._key, beside=beside, points=points)

    def colours(self) -> Array:
        """Red, green and blue of every cell."""
        from matplotlib import colormaps
        from matplotlib.colors import to_rgb

        if not self.classes:
            low, high = self._limits()
            scaled = np.clip((self.values - low) / max(high - low, 1e-12), 0, 1)
            return np.asarray(colormaps[SEQUENTIAL](0.06 + 0.9 * scaled))[..., :3]
        table = np.array([to_rgb(colour) for colour in class_colours(self.classes)])
        colours = table[self.values.astype(int)]
        if self.confidence is not None:
            chance = 1 / len(self.classes)
            sure = np.clip((self.confidence - chance) / (1 - chance), 0, 1)[..., None] ** 0.7
            colours = sure * colours + (1 - sure) * np.array(to_rgb(PAPER))
        return colours

    def _limits(self) -> tuple[float, float]:
        low, high = np.quantile(self.values, [0.005, 0.995])
        return float(low), float(high)

    def _key(self, axes: Axes) -> None:
        if self.classes:
            _class_key(axes, self.classes)
        else:
            _colour_ramp(axes, self._limits(), self.label)


def draw_earth(
    colours: Array,
    title: str = "",
    *,
    key: Draw | None = None,
    beside: Draw | None = None,
    points: Array | None = None,
) -> MatplotlibFigure:
    """A figure of the whole Earth: Equal Earth above, both poles below, and room for a key and a plot.

    Arguments:
        colours: Red, green and blue of every cell of a grid, ``(rows, columns, 3)``.
        title: One sentence.
        key: Draws what the colours mean.
        beside: Draws what stands beside the poles, such as accuracy by latitude.
        points: Longitudes and latitudes to mark.
    """
    from matplotlib.figure import Figure as MatplotlibFigure

    figure = MatplotlibFigure(figsize=(9.0, 7.5), dpi=DPI, facecolor="white")
    if title:
        size = min(13.0, 13.0 * 86 / max(len(title), 1))
        figure.text(0.02, 0.977, title, ha="left", va="top", fontsize=size, fontweight="bold", color=INK)
    _view(figure.add_axes((0.02, 0.395, 0.96, 0.54)), EQUAL_EARTH, colours, points)
    for left, projection, name in ((0.015, NORTH, "North Pole"), (0.305, SOUTH, "South Pole")):
        axes = figure.add_axes((left, 0.045, 0.27, 0.325))
        _view(axes, projection, colours, points)
        axes.set_title(name, fontsize=9, color=MUTED, y=-0.1)
    if beside is not None:
        beside(figure.add_axes((0.655, 0.085, 0.315, 0.145)))
    if key is not None:
        key(figure.add_axes((0.63, 0.285, 0.35, 0.085) if beside is not None else (0.63, 0.15, 0.34, 0.085)))
    return figure


def _class_key(axes: Axes, classes: tuple[str, ...]) -> None:
    from matplotlib.patches import Circle

    columns = 2 if len(classes) <= 4 else 3
    shown, colours = classes[: 3 * columns], class_colours(classes)
    axes.set(xlim=(0, 12), ylim=(0, 3), aspect="equal", anchor="W")
    axes.axis("off")
    for i, name in enumerate(shown):
        x, y = 12 * (i % columns) / columns + 0.3, 2.5 - i // columns
        axes.add_patch(Circle((x, y), 0.22, color=colours[i]))
        more = f" +{len(classes) - len(shown)}" if i == len(shown) - 1 and len(classes) > len(shown) else ""
        axes.text(x + 0.45, y, name[: 36 // columns] + more, va="center_baseline", fontsize=9, color=INK)


def _colour_ramp(axes: Axes, limits: tuple[float, float], label: str) -> None:
    from matplotlib import colormaps

    ramp = colormaps[SEQUENTIAL](0.06 + 0.9 * np.linspace(0, 1, 256))[None]
    axes.imshow(ramp, extent=(*limits, 0, 1), aspect="auto")
    box = axes.get_position()
    axes.set_position((box.x0 + 0.02, box.y0 + 0.035, box.width - 0.04, 0.018))
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=8.5, length=3)
    axes.set_title(label, fontsize=9.5, color=INK, loc="left")


def class_colours(classes: tuple[str, ...]) -> list[str]:
    """Water is blue; two classes are sea and soil, up to eight the house palette, more hues a golden angle apart."""
    from matplotlib.colors import hsv_to_rgb, to_hex

    count = len(classes)
    if count == 2:
        return [SOIL, SEA] if classes[1].lower() in _WATER else [SEA, SOIL]
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    i = np.arange(count)
    hsv = np.stack([(0.58 + i * 0.618034) % 1, 0.5 + 0.2 * (i % 3) / 2, 0.82 - 0.16 * (i % 2)], axis=1)
    return [to_hex(rgb) for rgb in hsv_to_rgb(hsv)]


def _view(axes: Axes, projection: Projection, colours: Array, points: Array | None) -> None:
    """Paint one projection: cells, graticule, coast, points."""
    width, height = projection.extent
    box = axes.get_window_extent()
    columns = int(1.5 * box.width)
    rows = round(columns * height / width)
    x = (np.arange(columns) + 0.5) / columns * 2 * width - width
    y = height - (np.arange(rows) + 0.5) / rows * 2 * height
    lon, lat = projection.inverse(x[None], y[:, None])
    picture = np.concatenate([_sample(colours, lon, lat), np.isfinite(lon)[..., None]], axis=-1)
    axes.imshow(picture, extent=(-width, width, -height, height), interpolation="antialiased")
    edge = _edge(projection)
    coast, mark = ("#101418", INK) if (colours.mean(-1) < 0.15).mean() < 0.2 else ("#DDE3EA", "white")
    for line in _graticule():
        drawn = axes.plot(*projection.forward(*line), color="white", linewidth=0.4, alpha=0.28)
        drawn[0].set_clip_path(edge, axes.transData)
    for line in coastline():
        axes.plot(*_broken(*projection.forward(*line), width), color=coast, linewidth=0.45, alpha=0.75)
    if points is not None:
        axes.scatter(*projection.forward(*points.T), s=2.2, c=mark, alpha=0.55, linewidths=0)
    axes.plot(*projection.outline, color=MUTED, linewidth=0.8)
    axes.set(xlim=(-width, width), ylim=(-height, height), aspect="equal")
    axes.axis("off")


def _sample(colours: Array, lon: Array, lat: Array) -> Array:
    """Colours at points, interpolated between cells and around the date line."""
    from scipy.ndimage import map_coordinates

    lon, lat = np.broadcast_arrays(lon, lat)
    rows, columns = colours.shape[:2]
    r = np.clip((90 - np.nan_to_num(lat)) * rows / 180 - 0.5, 0, rows - 1)
    c = (np.nan_to_num(lon) + 180) * columns / 360 - 0.5 + 1
    wrapped = np.concatenate([colours[:, -1:], colours, colours[:, :1]], axis=1)
    return np.stack([map_coordinates(wrapped[..., k], [r, c], order=1) for k in range(3)], axis=-1).clip(0, 1)


def _graticule() -> list[tuple[Array, Array]]:
    along, across = np.linspace(-180, 180, 361), np.linspace(-90, 90, 181)
    parallels = [(along, np.full(361, float(lat))) for lat in range(-60, 61, 30)]
    return parallels + [(np.full(181, float(lon)), across) for lon in range(-150, 180, 30)]


@lru_cache(maxsize=1)
def coastline() -> list[tuple[Array, Array]]:
    """Lines of longitude and latitude where the embedded encoder passes from ocean to land."""
    if not LAND.is_file():
        return []
    from contourpy import contour_generator

    from harmonia.symmetry.location_encoder.encoder import LocationEncoder

    grid = Grid.of(0.5)
    land = LocationEncoder.from_checkpoint(LAND).on_grid(grid)[..., 0].numpy()
    # one column more on either side closes the lines across the date line
    lon = np.concatenate([grid.longitudes[:1] - 0.5, grid.longitudes, grid.longitudes[-1:] + 0.5])
    closed = np.concatenate([land[:, -1:], land, land[:, :1]], axis=1)
    lines = contour_generator(lon, grid.latitudes, closed).lines(0.0)
    return [(line[:, 0], line[:, 1]) for line in map(np.asarray, lines) if len(line) > 12]


def _broken(x: Array, y: Array, width: float) -> tuple[Array, Array]:
    """Cut a line where it jumps across the picture."""
    jump = np.abs(np.diff(x, prepend=x[:1])) > 0.5 * width
    return np.where(jump, np.nan, x), y


def _edge(projection: Projection) -> Outline:
    from matplotlib.path import Path as Outline

    return Outline(np.stack(projection.outline, axis=1))
