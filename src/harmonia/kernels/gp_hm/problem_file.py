"""Problems written down in a file: TOML, JSON or YAML; formulas for equation, source and boundary."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import msgspec
import torch
from torch import Tensor

from harmonia.core.errors import InputError, require
from harmonia.kernels.gp_hm.boundary import SIDES, Dirichlet, Neumann, Periodic
from harmonia.kernels.gp_hm.expressions import CONSTANTS, FUNCTIONS, Expression
from harmonia.kernels.gp_hm.named import written_out
from harmonia.kernels.gp_hm.operators import Derivatives, Order
from harmonia.kernels.gp_hm.problems import source_of

_DERIVATIVE = re.compile(r"\bu_([A-Za-z]+)\b")


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """The keys of a problem file."""

    equation: str
    domain: list[tuple[float, float]]
    points: list[int]
    title: str = ""
    variables: list[str] = []
    source: str | float = 0.0
    exact: str = ""
    boundary: str | float | dict[str, Any] = {}
    parameters: dict[str, float] = {}
    max_frequency: float | list[float] | None = None


class Stated:
    """A problem as it was written down.

    Attributes:
        title: One line.
        variables: Names of the coordinates.
        axes: Points of the grid.
        boundary: As `GPPDESolver` takes it; that of the exact solution unless given, and without one none.
        exact: The solution, if it is known.
        frequency: Highest frequency to look for along each axis, if one is given.
    """

    def __init__(self, given: _File) -> None:
        dimensions = len(given.domain)
        if not 1 <= dimensions <= 3 or len(given.points) != dimensions:
            got = f"{dimensions} intervals, {len(given.points)} numbers of points"
            raise InputError("a problem has one to three dimensions, with a number of points each", got, "Change it.")
        for low, high in given.domain:
            if not (low < high and abs(low) < 1e12 and abs(high) < 1e12):
                raise InputError("an interval of the domain is empty", [low, high], "Write [low, high].")
        if min(given.points) < 4 or max(given.points) > 5000:
            raise InputError("an axis has between 4 and 5000 points", given.points, "Change 'points'.")
        self.variables = given.variables or list("xyz"[:dimensions])
        names = set(self.variables)
        bad = [name for name in self.variables if not re.fullmatch(r"[A-Za-z]", name) or name in ("u", "e")]
        if len(names) != dimensions or bad:
            raise InputError("variables are different single letters, not u or e", self.variables, "Rename them.")
        taken = names | set(FUNCTIONS) | set(CONSTANTS) | {"u", "laplacian"}
        if taken & set(given.parameters) or any(name.startswith("u_") for name in given.parameters):
            raise InputError("a parameter has a name that is taken", sorted(given.parameters), "Rename it.")
        self._parameters = dict(given.parameters)
        self.axes = [
            torch.linspace(low, high, n, dtype=torch.float64) for (low, high), n in zip(given.domain, given.points)
        ]
        self.equation_text = written_out(given.equation, self.variables, self._parameters)
        self._orders = {f"u_{word}": self._order(word) for word in _DERIVATIVE.findall(self.equation_text)}
        self._left, self._right = self._sides_of(self.equation_text)
        self.exact = self._function(given.exact) if given.exact else None
        self._source = None if given.source == 0.0 and self.exact is not None else self._function(given.source)
        self.title = given.title or given.equation
        self.boundary = self._conditions(given.boundary)
        frequency = given.max_frequency
        self.frequency = [frequency] * dimensions if isinstance(frequency, (int, float)) else frequency
        if self.frequency is not None and len(self.frequency) != dimensions:
            raise InputError("'max_frequency' is one number, or one an axis", frequency, "Change it.")

    def equation(self, u: Derivatives, *x: Tensor) -> Tensor:
        """N of ``N[u] = source``: the left side minus the right."""
        zero = (0,) * len(x)
        values: dict[str, Any] = {**self._parameters, **dict(zip(self.variables, x))}
        for name, order in self._orders.items():
            values[name] = u[order]
        if re.search(r"\bu\b", self.equation_text):
            values["u"] = u[zero]
        found = self._left(values)
        return found if self._right is None else found - self._right(values)

    def source(self, *x: Tensor) -> Tensor:
        """f, as given; with an exact solution and no source what makes it one."""
        if self._source is not None:
            return self._source(*x)
        assert self.exact is not None
        return source_of(self.equation, self.exact, x)

    def _order(self, word: str) -> Order:
        if set(word) - set(self.variables):
            got = f"u_{word} with the variables {', '.join(self.variables)}"
            raise InputError("a derivative is along an unknown variable", got, "Rename it, or list 'variables'.")
        return tuple(word.count(name) for name in self.variables)

    def _sides_of(self, text: str) -> tuple[Expression, Expression | None]:
        names = {"u", *self.variables, *self._orders, *self._parameters}
        parts = text.split("=")
        if len(parts) > 2 or not all(part.strip() for part in parts):
            raise InputError("an equation has one equals sign, or none", text, "Write e.g. u_xx + u_yy = 0.")
        if not self._orders:
            raise InputError("the equation has no derivative of u", text, "Write e.g. u_xx + 4*u.")
        return Expression(parts[0], names), Expression(parts[1], names) if len(parts) == 2 else None

    def _function(self, given: str | float | int) -> Any:
        formula = Expression(str(given), {*self.variables, *self._parameters})

        def function(*x: Tensor) -> Tensor:
            value = formula({**self._parameters, **dict(zip(self.variables, x))})
            return value + 0 * x[0]

        return function

    def _conditions(self, given: str | float | int | dict[str, Any]) -> Any:
        if not isinstance(given, dict):
            return self._function(given)
        if not given:
            return {} if self.exact is None else self.exact
        names = [name for pair in SIDES[: len(self.axes)] for name in pair]
        unknown = set(given) - set(names)
        if unknown:
            raise InputError("there is no such side", sorted(unknown), f"Sides are: {', '.join(names)}.")
        return {name: self._condition(value, name) for name, value in given.items()}

    def _condition(self, given: Any, name: str) -> Any:
        if isinstance(given, list):
            return [self._condition(value, name) for value in given]
        if given == "periodic":
            return Periodic()
        if given == "exact" and self.exact is not None:
            return Dirichlet(self.exact)
        if isinstance(given, dict) and len(given) == 1 and set(given) <= {"value", "slope"}:
            [(kind, value)] = given.items()
            if isinstance(value, (str, int, float)):
                return (Neumann if kind == "slope" else Dirichlet)(self._function(value))
        if isinstance(given, (str, int, float)) and not isinstance(given, bool):
            return Dirichlet(self._function(given))
        mend = "Write a formula, { slope = formula }, 'periodic', 'exact', or a list of them."
        raise InputError(f"the condition on the {name} side cannot be read", given, mend)


def read_problem(text: str) -> Stated:
    """Read a problem from TOML, JSON or YAML.

    Raises:
        InputError: text of another kind, unknown or missing keys, formulas that cannot be read.

    Example:
        >>> problem = read_problem('equation = "u_xx"\\ndomain = [[0, 1]]\\npoints = [50]\\nexact = "sin(9*x)"')
        >>> problem.variables, [len(x) for x in problem.axes]
        (['x'], [50])
    """
    try:
        return Stated(msgspec.convert(_parsed(text), _File, strict=False))
    except msgspec.ValidationError as error:
        mend = f"Keys are: {', '.join(field.name for field in msgspec.structs.fields(_File))}."
        raise InputError("the problem file does not state a problem", error, mend) from None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except json.JSONDecodeError as error:
        raise InputError("the problem file is no JSON", error, "Check the line it names.") from None
    except tomllib.TOMLDecodeError as error:
        if re.search(r"^\s*\w+\s*=", text, re.MULTILINE):
            raise InputError("the problem file is no TOML", error, "Check the line it names.") from None
    yaml = require("yaml", extra="dev")
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError("the problem file is neither TOML, JSON nor YAML", str(error)[:200], "Check it.") from None
