"""Maps of the whole Earth: an equal-area view and the two poles, where flat maps tear.

The coastline drawn for orientation is itself a location encoder: the boundary between land and ocean of the embedded
weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harmonia.core.errors import InputError
from harmonia.core.media import whole_file
from harmonia.media.figure import DPI, INK, MUTED, PALETTE, SEQUENTIAL
from harmonia.symmetry.location_encoder.grid import Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure
    from matplotlib.patches import Patch
    from matplotlib.path import Path as Outline

Array = NDArray[np.float64]

LAND = Path(__file__).with_name("weights") / "land.safetensors"
SEA, SOIL, PAPER = "#16486F", "#D9B26A", "#F4F1EA"


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
    values: Array
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

    def draw(
        self, title: str = "", *, beside: Callable[[Axes], None] | None = None, points: Array | None = None
    ) -> MatplotlibFigure:
        """The map as a figure: Equal Earth above, both poles below, and a key.

        Arguments:
            title: One sentence.
            beside: Draws what stands beside the poles, such as accuracy by latitude.
            points: Longitudes and latitudes to mark.
        """
        from matplotlib.figure import Figure as MatplotlibFigure

        figure = MatplotlibFigure(figsize=(9.0, 7.6), dpi=DPI, facecolor="white")
        if title:
            figure.text(0.02, 0.975, title, ha="left", va="top", fontsize=13, fontweight="bold", color=INK)
        colours = self._colours()
        _view(figure.add_axes((0.02, 0.395, 0.96, 0.535)), EQUAL_EARTH, colours, points)
        for left, projection, name in ((0.01, NORTH, "North Pole"), (0.275, SOUTH, "South Pole")):
            axes = figure.add_axes((left, 0.035, 0.275, 0.325))
            _view(axes, projection, colours, points)
            axes.set_title(name, fontsize=9, color=MUTED, y=-0.09)
        if beside is None:
            self._key(figure, (0.66, 0.12, 0.3, 0.16))
        else:
            beside(figure.add_axes((0.665, 0.085, 0.305, 0.155)))
            self._key(figure, (0.62, 0.285, 0.355, 0.085))
        return figure

    def _colours(self) -> Array:
        """Red, green and blue of every cell."""
        from matplotlib import colormaps
        from matplotlib.colors import to_rgb

        if not self.classes:
            low, high = self._limits()
            scaled = np.clip((self.values - low) / max(high - low, 1e-12), 0, 1)
            return np.asarray(colormaps[SEQUENTIAL](0.06 + 0.9 * scaled))[..., :3]
        table = np.array([to_rgb(colour) for colour in class_colours(len(self.classes))])
        colours = table[self.values.astype(int)]
        if self.confidence is not None:
            chance = 1 / len(self.classes)
            sure = np.clip((self.confidence - chance) / (1 - chance), 0, 1)[..., None] ** 0.7
            colours = sure * colours + (1 - sure) * np.array(to_rgb(PAPER))
        return colours

    def _limits(self) -> tuple[float, float]:
        low, high = np.quantile(self.values, [0.005, 0.995])
        return float(low), float(high)

    def _key(self, figure: MatplotlibFigure, box: tuple[float, float, float, float]) -> None:
        left, bottom, width, height = box
        if self.classes:
            axes = figure.add_axes(box)
            axes.axis("off")
            shown = self.classes[:8]
            for i, (name, colour) in enumerate(zip(shown, class_colours(len(self.classes)))):
                x, y = (i % 4) / 4, 0.8 - 0.5 * (i // 4)
                axes.add_patch(_patch((x, y - 0.11), 0.035, 0.22, colour))
                more = f" +{len(self.classes) - 8}" if i == 7 and len(self.classes) > 8 else ""
                axes.text(x + 0.05, y, str(name)[:12] + more, va="center", fontsize=9, color=INK)
            axes.set(xlim=(0, 1), ylim=(0, 1))
            return
        from matplotlib import colormaps

        axes = figure.add_axes((left, bottom + 0.45 * height, width, min(0.022, 0.3 * height)))
        ramp = colormaps[SEQUENTIAL](0.06 + 0.9 * np.linspace(0, 1, 256))[None]
        low, high = self._limits()
        axes.imshow(ramp, extent=(low, high, 0, 1), aspect="auto")
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
        axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=8.5, length=3)
        axes.set_title(self.label, fontsize=9.5, color=INK, loc="left")


def class_colours(count: int) -> list[str]:
    """Ocean blue and soil for two classes, the house palette up to eight, then hues a golden angle apart."""
    from matplotlib.colors import hsv_to_rgb, to_hex

    if count == 2:
        return [SEA, SOIL]
    if count <= len(PALETTE):
        return list(PALETTE[:count])
    i = np.arange(count)
    hsv = np.stack([(0.58 + i * 0.618034) % 1, 0.5 + 0.2 * (i % 3) / 2, 0.82 - 0.16 * (i % 2)], axis=1)
    return [to_hex(rgb) for rgb in hsv_to_rgb(hsv)]


@dataclass(frozen=True)
class Projection:
    """A view of the sphere.

    Attributes:
        extent: Half width and half height of the picture.
        inverse: Picture coordinates to longitude and latitude, NaN outside.
        forward: Longitude and latitude to picture coordinates, NaN where hidden.
        outline: The edge of the Earth.
    """

    extent: tuple[float, float]
    inverse: Callable[[Array, Array], tuple[Array, Array]]
    forward: Callable[[Array, Array], tuple[Array, Array]]
    outline: tuple[Array, Array]


_A = (1.340264, -0.081106, 0.000893, 0.003796)


def equal_earth(lon: Array, lat: Array) -> tuple[Array, Array]:
    """The Equal Earth projection (Savric, Patterson and Jenny 2018) of degrees, on a sphere of radius one."""
    theta = np.arcsin(np.sqrt(3) / 2 * np.sin(np.deg2rad(lat)))
    x = 2 * np.sqrt(3) * np.deg2rad(lon) * np.cos(theta) / (3 * _slope(theta))
    return x, theta * (_A[0] + _A[1] * theta**2 + theta**6 * (_A[2] + _A[3] * theta**2))


def _slope(theta: Array) -> Array:
    return _A[0] + 3 * _A[1] * theta**2 + theta**6 * (7 * _A[2] + 9 * _A[3] * theta**2)


def _equal_earth_inverse(x: Array, y: Array) -> tuple[Array, Array]:
    theta = np.array(y)
    for _ in range(8):  # Newton's method
        height = theta * (_A[0] + _A[1] * theta**2 + theta**6 * (_A[2] + _A[3] * theta**2))
        theta = theta - (height - y) / _slope(theta)
    with np.errstate(invalid="ignore"):
        lon = x * np.rad2deg(np.sqrt(3) / 2 * _slope(theta) / np.cos(theta))
        lat = np.rad2deg(np.arcsin(2 / np.sqrt(3) * np.sin(theta)))
    inside = (np.abs(lon) <= 180) & np.isfinite(lat)
    return np.where(inside, lon, np.nan), np.where(inside, lat, np.nan)


def _globe(sign: int) -> Projection:
    """The hemisphere seen from far above a pole; Greenwich points down in the north and up in the south."""

    def forward(lon: Array, lat: Array) -> tuple[Array, Array]:
        radius = np.cos(np.deg2rad(lat))
        hidden = sign * lat < 0
        x, y = radius * np.sin(np.deg2rad(lon)), -sign * radius * np.cos(np.deg2rad(lon))
        return np.where(hidden, np.nan, x), np.where(hidden, np.nan, y)

    def inverse(x: Array, y: Array) -> tuple[Array, Array]:
        radius = np.hypot(x, y)
        lat = sign * np.rad2deg(np.arccos(np.minimum(radius, 1)))
        lon = np.rad2deg(np.arctan2(x, -sign * y))
        return np.where(radius > 1, np.nan, lon), np.where(radius > 1, np.nan, lat)

    angle = np.linspace(0, 2 * np.pi, 361)
    return Projection((1.02, 1.02), inverse, forward, (np.cos(angle), np.sin(angle)))


def _equal_earth() -> Projection:
    up = np.linspace(-90, 90, 181)
    east, west = equal_earth(np.full(181, 180.0), up), equal_earth(np.full(181, -180.0), up[::-1])
    outline = np.concatenate([east[0], west[0], east[0][:1]]), np.concatenate([east[1], west[1], east[1][:1]])
    return Projection((2.72, 1.33), _equal_earth_inverse, equal_earth, outline)


EQUAL_EARTH, NORTH, SOUTH = _equal_earth(), _globe(1), _globe(-1)


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
    for line in _graticule():
        drawn = axes.plot(*projection.forward(*line), color="white", linewidth=0.4, alpha=0.28)
        drawn[0].set_clip_path(edge, axes.transData)
    for line in coastline():
        axes.plot(*_broken(*projection.forward(*line), width), color="#101418", linewidth=0.45, alpha=0.75)
    if points is not None:
        axes.scatter(*projection.forward(*points.T), s=2.2, c=INK, alpha=0.55, linewidths=0)
    axes.plot(*projection.outline, color=MUTED, linewidth=0.8)
    axes.set(xlim=(-width, width), ylim=(-height, height), aspect="equal")
    axes.axis("off")


def _sample(colours: Array, lon: Array, lat: Array) -> Array:
    """Colours at points, interpolated between cells and around the date line."""
    from scipy.ndimage import map_coordinates

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


def _patch(corner: tuple[float, float], width: float, height: float, colour: str) -> Patch:
    from matplotlib.patches import FancyBboxPatch

    return FancyBboxPatch(corner, width, height, boxstyle="round,pad=0,rounding_size=0.01", color=colour)
