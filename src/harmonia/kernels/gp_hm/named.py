"""Equations by name, written out for the variables of a problem."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from harmonia.core.errors import InputError

TIME = "t"
"""The variable that is time wherever it stands."""


class Named(NamedTuple):
    """An equation and the parameters it needs.

    Attributes:
        formula: ``laplacian`` stands for the second derivatives along all variables. Where the last one is time, {t}
            and {tt} are derivatives along it, {x} along the first, and {space} is the Laplacian of the others.
        parameters: Names of numbers.
        plane: Whether it is one of a single variable of space, and time.
    """

    formula: str
    parameters: tuple[str, ...] = ()
    plane: bool = False


NAMED = {
    "poisson": Named("laplacian"),
    "laplace": Named("laplacian"),
    "helmholtz": Named("laplacian + k2*u", ("k2",)),
    "allen-cahn": Named("laplacian + u*(u^2 - 1)"),
    "advection": Named("beta*{x} + {t}", ("beta",), plane=True),
    "heat": Named("{t} - diffusivity*{space}", ("diffusivity",)),
    "wave": Named("{tt} - speed^2*{space}", ("speed",)),
    "burgers": Named("{t} + u*{x} - viscosity*{space}", ("viscosity",), plane=True),
}


def written_out(equation: str, variables: Sequence[str], parameters: Collection[str]) -> str:
    """An equation as a formula of u and its derivatives; one without a name keeps its own.

    Raises:
        InputError: parameters that are missing, or variables that the equation is not for.

    Example:
        >>> written_out("heat", ["x", "y", "t"], ["diffusivity"])
        'u_t - diffusivity*(u_xx + u_yy)'
    """
    name = equation.strip().lower()
    if name not in NAMED:
        return equation.replace("laplacian", _laplacian(equation, variables))
    formula, needed, plane = NAMED[name]
    missing = sorted(set(needed) - set(parameters))
    if missing:
        mend = f"Add {missing[0]} = ... under [parameters]."
        raise InputError(f"'{name}' needs a number that is not given", ", ".join(missing), mend)
    if "{" not in formula:
        return formula.replace("laplacian", _sum(variables))
    *space, last = variables
    if not space or TIME in space:
        mend = "List 'variables' with time as the last, e.g. ['x', 't'], and an interval for each."
        raise InputError(f"'{name}' is an equation in space and time", ", ".join(variables), mend)
    if plane and len(space) > 1:
        mend = "Write the equation out, e.g. u_t + 2*u_x + 3*u_y."
        raise InputError(f"'{name}' has one variable of space, and time", ", ".join(variables), mend)
    return formula.format(x=f"u_{space[0]}", t=f"u_{last}", tt=f"u_{last * 2}", space=_sum(space))


def _sum(variables: Sequence[str]) -> str:
    terms = [f"u_{name * 2}" for name in variables]
    return f"({' + '.join(terms)})" if len(terms) > 1 else terms[0]


def _laplacian(equation: str, variables: Sequence[str]) -> str:
    if "laplacian" in equation and TIME in variables:
        space = [name for name in variables if name != TIME] or ["x"]
        raise InputError("'laplacian' would run along time, too", equation, f"Write {_sum(space)} in its place.")
    return _sum(variables)
