"""Jobs: solve a differential equation that is written down in a file; find the frequencies of a signal."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

import numpy as np
import polars
import torch

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.core.task import Field
from harmonia.kernels.gp_hm import figures
from harmonia.kernels.gp_hm.kernel import SpectralMixtureKernel1D
from harmonia.kernels.gp_hm.problem_file import Stated, read_problem
from harmonia.kernels.gp_hm.solver import GPPDESolver
from harmonia.media import Figure, Table, Text

EXAMPLE = """\
# A membrane with three scales: Poisson's equation, its source made from the exact solution.
title = "Ripples on a slow wave"
equation = "u_xx + u_yy"            # or: u_t + u*u_x = 0.01*u_xx, poisson, helmholtz, allen-cahn, heat, wave, ...
domain = [[0, 1], [0, 1]]
points = [140, 140]
exact = "sin(3*x + 1)*cos(2*y) + 0.4*sin(40*x)*sin(25*y) + 0.1*sin(110*x + 60*y)"

# Without an exact solution give the source and the sides instead, e.g.
# source = "100*exp(-200*((x - 0.3)^2 + (y - 0.6)^2))"
# [boundary]
# left = 0
# right = { slope = "sin(pi*y)" }
# bottom = "x*(1 - x)"
# top = 0
# [parameters]
# k2 = 2500
"""

_LINE = 4000
_PLANE = 400


def example() -> Text:
    """The problem that runs when none is given."""
    return Text(EXAMPLE)


class Solved(TypedDict):
    values: Annotated[Table, Field("the solution and its standard deviation at every point of the grid")]
    report: Annotated[Text, Field("residual, estimated and true error, frequencies found")]
    residual: Annotated[float, Field("residual of the equation relative to its largest term")]
    error: Annotated[float, Field("estimated relative error of the solution")]
    solution: Annotated[Figure, Field("the solution, and its error or standard deviation")]
    spectrum: Annotated[Figure, Field("the learned spectrum of each axis, and how the residual fell")]


def solve(
    problem: Annotated[
        Text, Field("a problem in TOML, JSON or YAML: equation, domain, points, source, sides", example=example)
    ],
    *,
    measurements: Annotated[
        Table | None, Field("values of u at scattered points: one column a coordinate, and a column u")
    ] = None,
    noise: Annotated[float, Field("standard deviation of the measurements", gt=0)] = 1e-3,
    iterations: Annotated[int, Field("steps in which the spectrum is learned", ge=0, le=1000)] = 15,
    envelope: Annotated[
        Literal["gaussian", "matern52"], Field("lines of the spectrum: Gaussian, or Student-t with heavy tails")
    ] = "gaussian",
    components: Annotated[int, Field("waves of the prior along each axis", ge=1, le=200)] = 30,
) -> Solved:
    """Solve a differential equation whose solution oscillates fast or mixes many scales.

    The solution is a Gaussian process that keeps the boundary conditions and the equation; its spectrum is learned, so
    that frequencies nobody has named are found. Measurements of the solution, if there are any, are fitted as well:
    they can stand in for boundary conditions that are unknown.

    The problem is a small file in TOML, JSON or YAML. Its formulas may use + - * / ^, sin, cos, exp, log, sqrt, tanh
    and the like. A whole one, a plate that cools:

        equation = "heat"
        variables = ["x", "y", "t"]
        domain = [[0, 1], [0, 1], [0, 0.5]]
        points = [14, 14, 14]
        source = 0
        max_frequency = [2, 2, 4]
        [boundary]
        left = 0
        right = 0
        bottom = 0
        top = 0
        front = "sin(pi*x)*sin(pi*y)"
        [parameters]
        diffusivity = 0.1

    Its keys:

        equation       a name from the list below, or a formula of u and its
                       derivatives, e.g. u_tt = 4*u_xx + u^3; laplacian
                       stands for u_xx + u_yy + ... along all variables
        domain         [low, high] for each variable, one to three
        points         points of the grid along each variable, 4 to 5000
        variables      their names, one letter each; x, y, z unless given
        source         a formula, added on the right; 0 unless given
        exact          the solution, if known: source and sides follow from it
        boundary       a formula for all sides, or a table of sides: left and
                       right (first variable), bottom and top (second), front
                       and back (third); each a formula, { slope = formula },
                       "periodic", "exact", or a list of these
        parameters     numbers by name, for use in formulas
        max_frequency  highest frequency to look for, in cycles per unit: one
                       number, or one a variable; chosen unless given
        title          one line

    Equations by name, and the parameters they need; in the last four the last variable is time:

        poisson, laplace   laplacian
        helmholtz          laplacian + k2*u
        allen-cahn         laplacian + u*(u^2 - 1)
        heat               u_t - diffusivity*(u_xx + u_yy)
        wave               u_tt - speed^2*(u_xx + u_yy)
        advection          beta*u_x + u_t
        burgers            u_t + u*u_x - viscosity*u_xx
    """
    stated = read_problem(problem.text)
    if stated.boundary == {} and measurements is None:
        mend = "Add [boundary], an exact solution, or measurements."
        raise InputError("a problem needs boundary conditions", "none", mend)
    say(f"{stated.title}: {' x '.join(str(len(x)) for x in stated.axes)} points.")
    kernels = [
        SpectralMixtureKernel1D(components, envelope, "auto" if stated.frequency is None else stated.frequency[axis])
        for axis in range(len(stated.axes))
    ]
    solver = GPPDESolver(stated.equation, stated.axes, stated.boundary, kernels, max_iter=iterations)
    observed: np.ndarray | None = None
    if measurements is not None:
        missing = set(stated.variables) - set(measurements.names)
        if missing or "u" not in measurements.names:
            wanted = ", ".join([*stated.variables, "u"])
            raise InputError("measurements lack a column", ", ".join(measurements.names), f"Columns are: {wanted}.")
        observed = measurements.numeric([*stated.variables, "u"])
        solver.observe(observed[:, :-1], observed[:, -1], noise)
    solver.fit(stated.source)
    mean, std = solver.predict_grid(), solver.std_grid()
    mesh = torch.meshgrid(*stated.axes, indexing="ij")
    exact = None if stated.exact is None else stated.exact(*mesh).numpy()
    lines = [
        f"equation: {stated.equation_text}",
        f"residual of the equation: {solver.relative_residual_:.2e} of its largest term",
        f"estimated relative error: {solver.error_:.2e}",
    ]
    if exact is not None:
        true = float(np.linalg.norm(mean - exact) / (np.linalg.norm(exact) or 1.0))
        lines.append(f"true relative error: {true:.2e}")
    for name, kernel in zip(stated.variables, solver.kernels_):
        lines.append(f"frequencies along {name}, in cycles per unit: {figures.frequencies(kernel)}")
    for line in lines[1:]:
        say(f"{line[0].upper()}{line[1:]}.")
    columns = {name: x.reshape(-1).numpy() for name, x in zip(stated.variables, mesh)}
    columns |= {"u": mean.reshape(-1), "standard_deviation": std.reshape(-1)}
    if exact is not None:
        columns["exact"] = exact.reshape(-1)
    return {
        "values": Table(polars.DataFrame(columns)),
        "report": Text("\n".join(lines) + "\n"),
        "residual": solver.relative_residual_,
        "error": solver.error_,
        "solution": _picture(stated, solver, observed),
        "spectrum": figures.spectrum_figure(
            stated.variables,
            solver.kernels_,
            solver.history_,
            [float((len(x) - 1) / (2 * (x[-1] - x[0]))) for x in stated.axes],
        ),
    }


def _picture(stated: Stated, solver: GPPDESolver, observed: np.ndarray | None) -> Figure:
    """The solution on a finer grid; of three dimensions the plane in the middle of the last."""
    dimensions = len(stated.axes)
    count = _LINE if dimensions == 1 else _PLANE
    shown = [torch.linspace(float(x[0]), float(x[-1]), count, dtype=torch.float64) for x in stated.axes[:2]]
    middle = [x[len(x) // 2 : len(x) // 2 + 1] for x in stated.axes[2:]]
    axes = [*shown, *middle]
    shape = tuple(len(x) for x in shown)
    mean = solver.predict_grid(axes).reshape(shape)
    std = solver.std_grid(axes).reshape(shape)
    exact = None
    if stated.exact is not None:
        exact = stated.exact(*torch.meshgrid(*axes, indexing="ij")).numpy().reshape(shape)
    title = f"{stated.title}: estimated relative error {solver.error_:.1e}"
    if exact is not None:
        title += f", true {np.linalg.norm(mean - exact) / (np.linalg.norm(exact) or 1.0):.1e}"
    where = f" at {stated.variables[2]} = {float(middle[0]):.3g}" if middle else ""
    names = stated.variables[:2]
    measured = None if middle else observed
    return figures.solution_figure(title, names, [x.numpy() for x in shown], mean, std, exact, where, measured)


JOBS = (solve,)
