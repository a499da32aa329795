"""Networks written as text, as torch writes its layers: read as data, never executed as a program.

Conv2d(3, 64, 3, padding=1)
BatchNorm2d(64), ReLU()
8 * Residual(Conv2d(64, 64, 3, padding=1), BatchNorm2d(64), ReLU(), Conv2d(64, 64, 3, padding=1))
AdaptiveAvgPool2d(1), Flatten()
Linear(64, 10)
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from typing import Any

import torch
from torch import Tensor, fx, nn

from harmonia.core.errors import InputError

_MOST_PARAMETERS = 200_000_000
_MOST_LAYERS = 5_000
_LONGEST = 100_000


class Residual(nn.Module):
    """``gamma x + body(x)``, or ``shortcut(x) + body(x)``.

    Arguments:
        body: Layers of the branch, one after another.
        gamma: Weight of the skip.
        shortcut: A layer on the skip, where the branch changes the shape.

    Example:
        >>> Residual(nn.Linear(3, 3), nn.Tanh(), gamma=0.5)(torch.ones(1, 3)).shape
        torch.Size([1, 3])
    """

    def __init__(self, *body: nn.Module, gamma: float = 1.0, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)
        self.gamma, self.shortcut = gamma, shortcut

    def forward(self, x: Tensor | fx.Proxy) -> Tensor | fx.Proxy:
        skip: Any = x if self.shortcut is None else self.shortcut(x)
        return (skip if self.gamma == 1 else self.gamma * skip) + self.body(x)

    def extra_repr(self) -> str:
        return f"gamma={self.gamma}"


_NAMES = """
    Linear Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d Flatten Unflatten Identity Sequential
    BatchNorm1d BatchNorm2d BatchNorm3d LayerNorm GroupNorm RMSNorm InstanceNorm1d InstanceNorm2d Dropout Dropout2d
    AvgPool1d AvgPool2d AvgPool3d MaxPool1d MaxPool2d MaxPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveMaxPool2d
    ReLU LeakyReLU ReLU6 Tanh GELU SiLU Mish Hardswish Hardtanh ELU CELU SELU Sigmoid Softplus Softsign LogSigmoid
    Tanhshrink PReLU Softmax
"""

LAYERS: dict[str, type[nn.Module]] = {name: getattr(nn, name) for name in _NAMES.split()} | {"Residual": Residual}
"""What a description may use."""


def network_of(description: str, seed: int = 0) -> nn.Sequential:
    """The network that a description lists, as torch initialises it.

    Layers stand one after another, on lines or with commas; ``3 * (Linear(8, 8), ReLU())`` repeats them,
    ``Residual(...)`` adds a skip connection, ``#`` starts a comment.

    Raises:
        InputError: something else than layers of torch with numbers, or sizes torch refuses; it names the line.

    Example:
        >>> network_of("Linear(4, 8), 2 * (Tanh(), Linear(8, 8))")
        Sequential(
          (0): Linear(in_features=4, out_features=8, bias=True)
          (1): Tanh()
          (2): Linear(in_features=8, out_features=8, bias=True)
          (3): Tanh()
          (4): Linear(in_features=8, out_features=8, bias=True)
        )
    """
    if len(description) > _LONGEST:
        raise InputError("the description is too long", f"{len(description)} characters", f"Use at most {_LONGEST}.")
    try:
        statements = ast.parse(textwrap.dedent(description)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refusal(error) from error
    with torch.device("meta"):  # sizes first, memory after
        layers = _layers(statements)
        total = sum(p.numel() for layer in layers for p in layer.parameters())
    if not layers:
        raise InputError("the description lists no layers", "nothing", "Write layers, such as Linear(64, 128).")
    if total > _MOST_PARAMETERS:
        raise InputError("the network is too large to be built", f"{total:,} parameters", f"Use {_MOST_PARAMETERS:,}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(*_layers(statements))


def _refusal(got: object) -> InputError:
    return InputError(
        "the description is not understood",
        got,
        "List layers of torch.nn with numbers, e.g. Linear(64, 128), ReLU(), 8 * Residual(...).",
    )


def _layers(statements: list[ast.stmt]) -> list[nn.Module]:
    found: list[nn.Module] = []
    for statement in statements:
        if not isinstance(statement, ast.Expr):
            raise _refusal(f"line {statement.lineno}: '{ast.unparse(statement)[:60]}'")
        found += _several(statement.value)
        if len(found) > _MOST_LAYERS:
            raise InputError("the network has too many layers", f"more than {_MOST_LAYERS}", "Use fewer.")
    return found


def _several(node: ast.expr) -> list[nn.Module]:
    """The layers of an expression: one, several with commas, or a number times some."""
    match node:
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return [layer for part in parts for layer in _several(part)]
        case (
            ast.BinOp(left=ast.Constant(value=int() as times), op=ast.Mult(), right=part)
            | ast.BinOp(left=part, op=ast.Mult(), right=ast.Constant(value=int() as times))
        ) if 0 <= times <= _MOST_LAYERS:
            return [layer for _ in range(times) for layer in _several(part)]
        case ast.Call(func=ast.Name(id=name)) if name in LAYERS:
            return [_layer(name, node)]
        case ast.Call(func=ast.Attribute(value=ast.Name(id="nn"), attr=name)) if name in LAYERS:
            return [_layer(name, node)]
    raise _refusal(f"line {node.lineno}: '{ast.unparse(node)[:60]}'")


def _layer(name: str, call: ast.Call) -> nn.Module:
    kind = LAYERS[name]
    containers = name in ("Sequential", "Residual")
    arguments: list[Any] = []
    for each in call.args:
        arguments += _several(each) if containers else [_literal(each)]
    options = {
        each.arg: _several(each.value)[0] if each.arg == "shortcut" else _literal(each.value)
        for each in call.keywords
        if each.arg is not None
    }
    if "device" in options or "dtype" in options or len(options) < len(call.keywords):
        raise _refusal(f"line {call.lineno}: '{ast.unparse(call)[:60]}'")
    try:
        return kind(*arguments, **options)
    except (TypeError, ValueError, RuntimeError, AssertionError, OverflowError) as error:
        takes = inspect.signature(kind)
        raise InputError(f"line {call.lineno}: {name} cannot be made", error, f"It takes {takes}.") from error


def _literal(node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(node)
    except ValueError as error:
        raise _refusal(f"line {node.lineno}: '{ast.unparse(node)[:60]}'") from error
    return value


def load_weights(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load weights by name or, where names differ, in their natural order if all shapes agree.

    Raises:
        InputError: another number of tensors, or a shape that differs.
    """
    own = model.state_dict()
    if set(tensors) != set(own):
        names = sorted(tensors, key=lambda name: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)])
        if len(names) != len(own):
            got = f"{len(names)} tensors for {len(own)}"
            raise InputError("the weights are not of this network", got, "Describe the network they were saved from.")
        tensors = dict(zip(own, (tensors[name] for name in names)))
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            got = f"{tuple(tensor.shape)} for {tuple(own[name].shape)} in '{name}'"
            raise InputError("the weights are not of this network", got, "Describe the network they were saved from.")
        if not tensor.isfinite().all():
            raise InputError(
                "the weights must be finite", f"NaN or infinity in '{name}'", "Pass an earlier checkpoint."
            )
    model.load_state_dict(tensors)
