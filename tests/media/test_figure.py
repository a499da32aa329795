from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harmonia.core.errors import InputError
from harmonia.media import Figure, Image
from harmonia.media.figure import PALETTE, colour_bar, legend, new_figure, style_axes, time_axis


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_figures_are_written_alike_each_time(tmp_path: Path, suffix: str) -> None:
    figure, [axes] = new_figure(title="A line")
    axes.plot([0, 1], [0, 1], label="line")
    legend(axes)
    first = Figure(figure).write(tmp_path / f"a{suffix}").read_bytes()
    assert len(first) > 1000
    if suffix == ".png":
        assert Figure(figure).write(tmp_path / "b.png").read_bytes() == first
        assert Image.read(tmp_path / "a.png").width == 8 * 144


def test_axes_come_in_reading_order_and_in_the_house_style() -> None:
    figure, axes = new_figure(2, 3, title="Six")
    assert axes == figure.axes
    corners = [(each.get_position().x0, -each.get_position().y0) for each in axes]
    assert [c[1] for c in corners] == sorted(c[1] for c in corners)
    [line] = axes[0].plot([0, 1])
    assert line.get_color() == PALETTE[0]
    assert not axes[0].spines["top"].get_visible()


def test_grid_is_drawn_only_when_asked_for() -> None:
    _, (with_grid, without) = (
        (*new_figure()[1], *new_figure(grid=False)[1]),
        (new_figure()[1][0], new_figure(grid=False)[1][0]),
    )
    assert with_grid.get_xgridlines()[0].get_visible()
    assert not without.get_xgridlines()[0].get_visible()
    style_axes(without)
    assert without.get_xgridlines()[0].get_visible()


@pytest.mark.parametrize(("seconds", "label"), [(30, "time (s)"), (600, "time (min:s)"), (50_000, "time (min:s)")])
def test_time_axis_counts_minutes_of_long_sounds(seconds: float, label: str) -> None:
    figure, [axes] = new_figure()
    time_axis(axes, seconds)
    figure.canvas.draw()
    assert axes.get_xlabel() == label
    assert axes.get_xlim() == (0, seconds)
    assert len(axes.get_xticklabels()) <= 16


def test_colour_bars_are_labelled() -> None:
    figure, [axes] = new_figure(grid=False)
    colour_bar(axes, axes.imshow([[0, 1]]), "dB")
    assert figure.axes[1].get_ylabel() == "dB"


def test_figures_are_results() -> None:
    with pytest.raises(InputError, match="given by a job"):
        Figure.read("a.png")
    with pytest.raises(InputError, match="wraps a matplotlib figure"):
        Figure("a.png")  # type: ignore[arg-type]


def test_media_load_neither_torch_nor_pyplot_nor_optional_packages() -> None:
    names = "Audio, Figure, Graph, Image, Score, Series, Table, Text, Video"
    heavy = "torch, matplotlib.pyplot, soundfile, symusic, music21, av, soxr, matplotlib.figure"
    code = (
        f"from harmonia.media import {names}; import sys; print([m for m in '{heavy}'.split(', ') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
