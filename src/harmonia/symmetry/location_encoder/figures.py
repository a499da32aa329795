"""Pictures beside the maps: scores by latitude, and features as colours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import polars
from numpy.typing import NDArray

from harmonia.media import Table
from harmonia.media.figure import INK, MUTED, PALETTE, legend, style_axes
from harmonia.symmetry.location_encoder.grid import Grid
from harmonia.symmetry.location_encoder.maps import draw_earth
from harmonia.symmetry.location_encoder.projections import Array

FEWEST = 5
"""Points a band needs to be drawn."""

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure


def bars_by_latitude(scores: Table, label: str = "") -> Callable[[Axes], None]:
    """Draws the model's score in each band of latitude, with the rival of nearest points as a line.

    Arguments:
        scores: As `scores_by_latitude` gives it: latitude, points, the model's score, rivals.
        label: Name of an error, which is best at zero; else the score is best at one.
    """
    bands = scores.frame[:-1].filter(polars.col("points") >= FEWEST)
    name, rival = scores.names[2], scores.names[3]
    centres = np.array([np.mean([float(edge) for edge in band.split(" to ")]) for band in bands["latitude"]])
    values, rivals = (bands[column].cast(float).fill_null(np.nan).to_numpy() for column in (name, rival))

    def draw(axes: Axes) -> None:
        style_axes(axes)
        axes.bar(centres, values, width=12, color=PALETTE[0], label=label or name.replace("_", " "))
        axes.step(centres, rivals, where="mid", color=PALETTE[1], linewidth=1.4, label=rival.replace("_", " "))
        finite = np.concatenate([values, rivals])
        finite = finite[np.isfinite(finite)]
        if label:
            axes.set_ylim(0, 1.25 * finite.max(initial=1e-9))
        else:
            axes.set_ylim(max(0, finite.min(initial=1) - 0.35 * (1 - finite.min(initial=1)) - 0.01), 1.0)
        axes.set_xlim(-90, 90)
        axes.set_xticks([-90, -45, 0, 45, 90], ["90° S", "45° S", "0°", "45° N", "90° N"])
        axes.tick_params(labelsize=8, labelcolor=INK, colors=MUTED)
        legend(axes, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8.5, handlelength=1.2)

    return draw


def false_colours(
    grid: Grid, features: NDArray[np.float32], title: str, points: NDArray[np.float64]
) -> MatplotlibFigure:
    """The three main directions of features over the Earth as lightness and two hues.

    Arguments:
        features: One row for each cell of the grid.
    """
    weights = np.repeat(np.cos(np.deg2rad(grid.latitudes)), grid.columns)[:, None]
    weights = weights / weights.sum()
    centred = features.astype(np.float64) - (weights * features).sum(0)
    _, _, directions = np.linalg.svd(centred.T @ (weights * centred))
    scores = centred @ directions[:3].T
    spread = np.sqrt((weights * scores**2).sum(0))
    lightness, green_red, blue_yellow = np.tanh(scores / (1.6 * np.maximum(spread, 1e-12))).T
    colours = _rgb_from_lab(64 + 26 * lightness, 52 * green_red, 52 * blue_yellow)
    return draw_earth(colours.reshape(grid.rows, grid.columns, 3), title, points=points)


def _rgb_from_lab(lightness: Array, a: Array, b: Array) -> Array:
    """Colours of the CIE L*a*b* space, whose distances look alike, for a screen (sRGB, white point D65)."""
    fy = (lightness + 16) / 116
    f = np.stack([fy + a / 500, fy, fy - b / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * np.array([0.9505, 1.0, 1.089])[:, None]
    mix = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    linear = np.clip(mix @ xyz, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).T
