"""Formulas typed by a user, computed on tensors: read as a syntax tree, never evaluated as Python."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from harmonia.core.errors import InputError

Value = Tensor | float

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "asin": torch.asin,
    "acos": torch.acos,
    "atan": torch.atan,
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "tanh": torch.tanh,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "sign": torch.sign,
    "erf": torch.erf,
}
"""What a formula may call, each with one argument."""

CONSTANTS = {"pi": math.pi, "e": math.e}

_OPERATORS: dict[type[ast.AST], Callable[[Tensor, Tensor], Tensor]] = {
    ast.Add: torch.add,
    ast.Sub: torch.sub,
    ast.Mult: torch.mul,
    ast.Div: torch.div,
    ast.Pow: torch.pow,
}
_LONGEST = 5000


@dataclass(frozen=True)
class Expression:
    """A formula of named numbers and tensors.

    Arguments:
        text: E.g. ``"sin(100*x) + k*y^2"``; ``^`` and ``**`` both raise to a power.
        names: What it may use besides `FUNCTIONS` and `CONSTANTS`.

    Raises:
        InputError: anything but numbers, these names and functions, and + - * / ^; it says what.

    Example:
        >>> formula = Expression("2*x^2 + sin(pi/2)", ["x"])
        >>> formula({"x": torch.tensor([1.0, 2.0], dtype=torch.float64)})
        tensor([3., 9.], dtype=torch.float64)
        >>> Expression("__import__('os')", [])
        Traceback (most recent call last):
        ...
        harmonia.core.errors.InputError: a formula has no such function (got __import__). Use one of: sin, ...
    """

    text: str
    names: Collection[str]

    def __post_init__(self) -> None:
        if len(self.text) > _LONGEST:
            raise InputError("a formula is too long", f"{len(self.text)} characters", f"Use at most {_LONGEST}.")
        try:
            tree = ast.parse(self.text.strip().replace("^", "**"), mode="eval").body
            self._check(tree)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError("a formula cannot be read", self.text[:80], "Write e.g. sin(3*x) + y^2.") from None
        object.__setattr__(self, "_tree", tree)

    def _check(self, node: ast.AST) -> None:
        match node:
            case ast.Constant(value=bool()) | ast.Constant(value=complex()):
                raise InputError("a formula has real numbers only", node.value, "Change it.")
            case ast.Constant(value=int() | float()):
                pass
            case ast.Name(id=name):
                if name not in self.names and name not in CONSTANTS:
                    known = ", ".join([*sorted(self.names), *CONSTANTS])
                    raise InputError(f"'{self.text[:60]}' has an unknown name", name, f"Known are: {known}.")
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
                self._check(left)
                self._check(right)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                self._check(operand)
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
                self._check(argument)
            case ast.Call(func=ast.Name(id=name)):
                got = f"{name} with {len(node.args) + len(node.keywords)} arguments" if name in FUNCTIONS else name
                raise InputError("a formula has no such function", got, f"Use one of: {', '.join(FUNCTIONS)}.")
            case _:
                got = type(node).__name__
                raise InputError("a formula has numbers, names, + - * / ^ and functions only", got, "Change it.")

    def __call__(self, values: Mapping[str, Value]) -> Tensor:
        """The value for given numbers and tensors."""
        return self._value(self._tree, values)  # type: ignore[attr-defined]

    def _value(self, node: ast.AST, values: Mapping[str, Value]) -> Tensor:
        match node:
            case ast.Constant(value=int() | float() as value):
                return _tensor(value)
            case ast.Name(id=name):
                return _tensor(values[name] if name in values else CONSTANTS[name])
            case ast.BinOp(left=left, op=operator, right=right):
                return _OPERATORS[type(operator)](self._value(left, values), self._value(right, values))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._value(operand, values)
            case ast.UnaryOp(operand=operand):
                return self._value(operand, values)
            case ast.Call(func=ast.Name(id=name), args=[argument]):
                return FUNCTIONS[name](self._value(argument, values))
        raise AssertionError(node)


def _tensor(value: Value | int) -> Tensor:
    if isinstance(value, Tensor):
        return value
    try:
        return torch.tensor(float(value), dtype=torch.float64)
    except OverflowError:
        raise InputError("a number is too large", str(value)[:40], "Write it as 1e300 at most.") from None
