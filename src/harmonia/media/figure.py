"""Figures, and the one look that all of them share.

`new_figure` gives a matplotlib figure and its axes in the house style; `PALETTE`, `INK`, `MUTED`, `SEQUENTIAL` and
`DIVERGING` are its colours. Methods make their reports with these, so that pages of different methods look alike:

    figure, (left, right) = new_figure(1, 2, title="The kernel stays constant as the network grows")
    left.plot(widths, drift, color=PALETTE[0])
    return Figure(figure)

Everything is built on matplotlib's objects, never on ``pyplot``: no global state, safe in threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from harmonia.core.errors import InputError
from harmonia.core.media import Media

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

PALETTE: tuple[str, ...] = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6A51A3", "#7F7F7F")
"""Line and point colours in order of use: Okabe and Ito's colour-blind safe set without its yellow, then two more."""

INK = "#1F2430"
"""Text, axes, and anything that should simply be dark."""

MUTED = "#8A91A0"
"""Baselines, chance levels, annotations: what should stand behind the data."""

GRID = "#E6E8EE"
SEQUENTIAL = "magma"
"""Colour map for magnitudes (spectrograms, densities, kernel matrices)."""

DIVERGING = "RdBu_r"
"""Colour map for signed values; centre it on zero with ``vmin=-v, vmax=v``."""

DPI = 144


def new_figure(
    rows: int = 1,
    cols: int = 1,
    *,
    title: str = "",
    width: float | None = None,
    height: float | None = None,
    height_ratios: Sequence[float] | None = None,
    width_ratios: Sequence[float] | None = None,
    sharex: bool = False,
    sharey: bool = False,
    grid: bool = True,
) -> tuple[MatplotlibFigure, list[Axes]]:
    """A figure in the house style and its axes in reading order.

    Arguments:
        rows: Rows of axes.
        cols: Columns of axes.
        title: One sentence above everything; best one that says what is to be seen.
        width: Inches; 8 for one column, 4.6 for each of several unless given.
        height: Inches; 3.2 a row unless given.
        height_ratios: Relative heights of the rows.
        width_ratios: Relative widths of the columns.
        sharex: Axes share their horizontal limits.
        sharey: Axes share their vertical limits.
        grid: Faint grid lines; turn off for images.

    Example:
        >>> figure, [axes] = new_figure(title="A line")
        >>> _ = axes.plot([0, 1], [0, 1])
        >>> figure, (left, right) = new_figure(1, 2)
    """
    from matplotlib.figure import Figure as MatplotlibFigure

    size = (width or (8.0 if cols == 1 else 4.6 * cols), height or 3.2 * rows)
    figure = MatplotlibFigure(figsize=size, dpi=DPI, layout="constrained", facecolor="white")
    axes = figure.subplots(
        rows,
        cols,
        squeeze=False,
        sharex=sharex,
        sharey=sharey,
        gridspec_kw={"height_ratios": height_ratios, "width_ratios": width_ratios},
    )
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    for each in axes.flat:
        style_axes(each, grid=grid)
    return figure, list(axes.flat)


def style_axes(axes: Axes, *, grid: bool = True) -> None:
    """Give axes made elsewhere (a map's projection, an inset) the house style."""
    from cycler import cycler

    axes.set_prop_cycle(cycler(color=PALETTE))
    axes.spines[:].set_color(MUTED)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9, length=3)
    axes.xaxis.label.set(color=INK, fontsize=9.5)
    axes.yaxis.label.set(color=INK, fontsize=9.5)
    axes.title.set(color=INK, fontsize=10.5)
    if grid:
        axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def legend(axes: Axes, **options: object) -> None:
    """A frameless legend in the house style; options go to ``Axes.legend``."""
    axes.legend(**{"frameon": False, "fontsize": 9, "labelcolor": INK, **options})


def colour_bar(axes: Axes, mappable: object, label: str = "") -> None:
    """A slim colour bar beside `axes` for what ``imshow``, ``pcolormesh`` or ``scatter`` returned."""
    bar = axes.get_figure().colorbar(mappable, ax=axes, fraction=0.04, pad=0.02)  # type: ignore[union-attr,arg-type]
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=8.5, length=3)
    bar.set_label(label, color=INK, fontsize=9)


def time_axis(axes: Axes, seconds: float) -> None:
    """Horizontal axis from 0 to `seconds`, labelled in seconds or, past two minutes, in minutes and seconds."""
    axes.set_xlim(0, max(seconds, 1e-3))
    if seconds <= 120:
        axes.set_xlabel("time (s)")
        return
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    # A label takes about 0.45 inches.
    most = max(1.0, min(12.0, axes.get_window_extent().width / axes.get_figure().dpi / 0.45))  # type: ignore[union-attr]
    step = next((s for s in (15, 30, 60, 120, 300, 600, 1800, 3600) if seconds / s <= most), seconds / most)
    axes.xaxis.set_major_locator(MultipleLocator(step))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda t, _: f"{int(t) // 60}:{int(t) % 60:02d}"))
    axes.set_xlabel("time (min:s)")


def concise_dates(axes: Axes) -> None:
    """Label a horizontal axis of dates briefly, each part of a date once."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))


@dataclass(frozen=True, eq=False)
class Figure(Media):
    """A picture of results, given back by a job and written as ``.png`` or ``.svg``.

    Arguments:
        figure: The matplotlib figure; make it with `new_figure`.

    Example:
        >>> figure, [axes] = new_figure()
        >>> Figure(figure).show() is figure
        True
    """

    kind: ClassVar[str] = "figure"
    suffixes: ClassVar[tuple[str, ...]] = (".png", ".svg")

    figure: MatplotlibFigure

    def __post_init__(self) -> None:
        from matplotlib.figure import Figure as MatplotlibFigure

        if not isinstance(self.figure, MatplotlibFigure):
            raise InputError(
                "a figure wraps a matplotlib figure", type(self.figure).__name__, "Make one with new_figure()."
            )

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Figures are results: there is nothing to read one from.

        Raises:
            InputError: always.
        """
        raise InputError("a figure is given by a job, not read", Path(path).name, "Read a picture as an Image.")

    def _write(self, path: Path) -> None:
        metadata = {"Date": None} if path.suffix.lower() == ".svg" else {"Software": None}
        self.figure.savefig(path, format=path.suffix[1:].lower(), dpi=DPI, metadata=metadata)

    def show(self) -> MatplotlibFigure:
        return self.figure
