"""Activations written as formulas, ``x * tanh(log(1 + exp(x)))``: read as data, never executed as a program."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from harmonia.core.errors import InputError

_LONGEST = 400
_HIGHEST_POWER = 64

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "abs": torch.abs,
    "arcsinh": torch.asinh,
    "arctan": torch.atan,
    "cos": torch.cos,
    "erf": torch.erf,
    "exp": torch.exp,
    "gelu": F.gelu,
    "log": torch.log,
    "max": torch.maximum,
    "min": torch.minimum,
    "ndtr": torch.special.ndtr,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "sin": torch.sin,
    "softplus": F.softplus,
    "sqrt": torch.sqrt,
    "tanh": torch.tanh,
}
"""What a formula may call; ``max`` and ``min`` take two arguments, the others one."""

_CONSTANTS = {"pi": math.pi, "e": math.e}
_OPERATORS: dict[type[ast.operator], Callable[[Tensor, Tensor], Tensor]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}


def formula(text: str) -> Callable[[Tensor], Tensor]:
    """The function of ``x`` that a formula describes: numbers, ``+ - * / **``, brackets and `FUNCTIONS`.

    Raises:
        InputError: anything else in it.

    Example:
        >>> formula("x * sigmoid(1.702 * x)")(torch.tensor([0.0, 1.0]))
        tensor([0.0000, 0.8458])
    """
    if len(text) > _LONGEST:
        raise InputError("the formula is too long", f"{len(text)} characters", f"Use at most {_LONGEST}.")
    try:
        tree = ast.parse(text.strip().replace("^", "**"), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError("this is no formula", f"'{text}'", "Write one of x, such as x * tanh(x) + 0.1 * x.") from error
    _check(tree)
    if not any(isinstance(node, ast.Name) and node.id == "x" for node in ast.walk(tree)):
        raise InputError("the formula does not depend on x", f"'{text}'", "Use x, as in x * tanh(x).")

    def function(x: Tensor) -> Tensor:
        return _value(tree, x)

    function.__name__ = text.strip()
    return function


def _check(node: ast.AST) -> None:
    match node:
        case ast.Name(id=name) if name == "x" or name in _CONSTANTS:
            return
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float()):
            return
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return _check(operand)
        case ast.BinOp(left=base, op=ast.Pow(), right=ast.Constant(value=int() | float() as power)):
            if abs(power) <= _HIGHEST_POWER:
                return _check(base)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS and not isinstance(op, ast.Pow):
            _check(left)
            return _check(right)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS and len(arguments) == (
            2 if name in ("max", "min") else 1
        ):
            for argument in arguments:
                _check(argument)
            return None
    raise InputError(
        "the formula has a part that is not understood",
        f"'{ast.unparse(node)}'",
        f"Use x, numbers, + - * / **, brackets and {', '.join(FUNCTIONS)}.",
    )


def _value(node: ast.AST, x: Tensor) -> Tensor:
    match node:
        case ast.Name(id="x"):
            return x
        case ast.Name(id=name):
            return x.new_tensor(_CONSTANTS[name])
        case ast.Constant(value=int() | float() as number):
            return x.new_tensor(float(number))
        case ast.UnaryOp(op=op, operand=operand):
            value = _value(operand, x)
            return -value if isinstance(op, ast.USub) else value
        case ast.BinOp(left=base, op=ast.Pow(), right=ast.Constant(value=int() | float() as power)):
            return _value(base, x) ** power
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, x), _value(right, x))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return FUNCTIONS[name](*(_value(argument, x) for argument in arguments))
    raise AssertionError(node)
