"""Diagnose any torch network: where its signal or gradient explodes or vanishes, and how deep its width lets it be.

No recursion is closed for convolutions with padding, normalisation or attention, so the susceptibilities of each module
are measured at its own input y, with Jacobian-vector products: along the signal ``chi_par = d log K_out / d log K_in``
and across it ``chi_perp = E |J v|^2/n_out / (|v|^2/n_in)`` for random v orthogonal to y. For layers ``W s(z) + b`` of
wide networks both are those of the theory.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars
import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.func import jvp, vmap
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from harmonia.core.errors import InputError
from harmonia.networks.effective_theory.aspect import optimal_ratio
from harmonia.networks.effective_theory.criticality import CriticalityReport, analyze
from harmonia.networks.effective_theory.graph import Reading, Weighted, read, units
from harmonia.parts.differentiation import forward_differentiable

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_ALONE = "network"
"""Name of a layer that is the whole network."""

_AT_ONCE = 4
"""Random directions at once."""

_TOLERABLE = 1e3
"""Signals and gradients may change by this factor between first and last layer and still count as steady."""


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        modules: One row per module, in order of execution: ``name``, ``kind``, ``shape`` of its output, ``K`` (mean
            square of its output), ``chi_par`` and ``chi_perp`` from its input to its output, and, where it has
            weights, ``gradient``: norm of the gradient by them of a random projection of the outputs.
        criticality: Report on the activation that feeds most layers.
        depth: Layers with weights on the longest path.
        width: Harmonic mean of the hidden layers' widths.
        outputs: Width of the last layer.
        skips: Number of skip connections.
        signal: K of the last layer with weights over that of the first; 0 or infinite where it left float64.
        gradient: Norm of the first hidden layer's gradient over that of the last one's.
        r_eff: ``nu`` times the sum of ``1/n`` over hidden layers: below 1 the theory holds; skips lower it further.
        advised_depth: Best depth of a network of this width without skips; None without critical initialisation.
    """

    modules: polars.DataFrame
    criticality: CriticalityReport
    depth: int
    width: float
    outputs: int
    skips: int
    signal: float
    gradient: float
    r_eff: float
    advised_depth: int | None

    @property
    def verdict(self) -> str:
        """``"explodes"``, ``"vanishes"`` (the signal), the same of ``"gradient"``, or ``"steady"``."""
        for value, what in ((self.signal, "signal"), (self.gradient, "gradient")):
            if not value < _TOLERABLE:
                return f"the {what} explodes"
            if value < 1 / _TOLERABLE:
                return f"the {what} vanishes"
        return "steady"

    @property
    def advice(self) -> list[str]:
        """What to do, in sentences."""
        report = self.criticality
        found = [_sentence("signal", self.signal, self.depth), _sentence("gradient", self.gradient, self.depth)]
        if not report.is_critical:
            mend = "" if report.shift is None else f"; s(x) - ({report.shift:.4g}) has one"
            return [*found, f"No initialisation is critical for {report.activation}{mend}."]
        found.append(
            f"Critical for {report.activation} ({report.universality}): weights of variance {report.C_W:.5g} / fan-in, "
            f"biases of variance {report.C_b:.5g}; critical_init_(model) sets them."
        )
        skips = f" before its {self.skips} skip connections are counted, which lower it" if self.skips else ""
        holds = (
            "deep but still predictable" if self.r_eff < 1 else "beyond perturbation theory: outputs fluctuate wildly"
        )
        found.append(f"Depth over width: r_eff = {self.r_eff:.2g}{skips}; {holds if self.r_eff > 0.1 else 'shallow'}.")
        if self.advised_depth is not None and self.depth > 3 * self.advised_depth and not self.skips:
            need = math.ceil(self.depth * self.width / self.advised_depth)
            found.append(
                f"A width of {self.width:.0f} carries {self.advised_depth} layers best; for {self.depth} use a width "
                f"near {need}, or skip connections."
            )
        return found


def diagnose(module: nn.Module, x: Shaped[Tensor, "batch ..."], *, probes: int = 8, seed: int = 0) -> Diagnosis:
    """Measure how signals and gradients pass through a network as it is.

    A copy of it is run, in float64 where it allows that, with dropout off and batch statistics in batch norms.

    Arguments:
        module: Any network that maps a batch to one tensor.
        x: A batch of real inputs, standardised as in training; some 16 to 256.
        probes: Random directions for ``chi_perp``.
        seed: Seed of these.

    Raises:
        InputError: inputs that are empty, not finite or not taken, or a network without layers with weights.

    Example:
        >>> net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
        >>> diagnose(net, torch.randn(32, 8, generator=torch.Generator().manual_seed(0))).depth
        3
    """
    if not isinstance(x, Tensor) or x.ndim < 2 or not len(x):
        raise InputError("the diagnosis needs a batch of inputs", getattr(x, "shape", x), "Pass (batch, ...).")
    if x.is_floating_point() and not x.isfinite().all():
        raise InputError("the inputs must be finite", "NaN or infinity", "Remove or impute such rows.")
    if probes < 1:
        raise InputError("at least one random direction is needed", probes, "Pass probes >= 1.")
    reading = read(module)
    generator = torch.Generator().manual_seed(seed)
    with forward_differentiable():
        copied, inputs = _prepared(module, x)
        visits, gradients = _run(copied, inputs, reading, seed)
        with torch.no_grad():
            rows = [_row(visit, gradients, probes, generator) for visit in visits]
    frame = polars.DataFrame(rows, schema=_SCHEMA, orient="row")
    return _judged(frame, reading)


_SCHEMA = {
    "name": polars.String,
    "kind": polars.String,
    "shape": polars.String,
    "K": polars.Float64,
    "chi_par": polars.Float64,
    "chi_perp": polars.Float64,
    "gradient": polars.Float64,
}


class _Visit(NamedTuple):
    """A module's call: its function of the first tensor it got, that tensor, and what came out."""

    name: str
    module: nn.Module
    function: Callable[[Tensor], Tensor]
    x: Tensor
    y: Tensor


def _prepared(module: nn.Module, x: Tensor) -> tuple[nn.Module, Tensor]:
    copied = copy.deepcopy(module).eval()
    for part in copied.modules():
        if isinstance(part, _NormBase):  # as in training, and without state
            part.running_mean = part.running_var = part.num_batches_tracked = None
            part.track_running_stats = False
        elif isinstance(part, _DropoutNd):
            part.p = 0.0
    try:
        wide = copy.deepcopy(copied).double()
        inputs = x.double() if x.is_floating_point() else x
        with torch.no_grad():
            wide(inputs)
        return wide, inputs
    except Exception:  # float32 inside; then it must do as it is
        try:
            with torch.no_grad():
                copied(x)
        except Exception as error:  # whatever a user's forward raises
            raise InputError(
                "the network does not take these inputs", f"{tuple(x.shape)} {x.dtype}: {error}", "Check their shape."
            ) from error
        return copied, x


def _first_tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value if value.is_floating_point() and value.ndim >= 2 else None
    if isinstance(value, (tuple, list)) and value:
        return _first_tensor(value[0])
    return None


def _run(model: nn.Module, x: Tensor, reading: Reading, seed: int) -> tuple[list[_Visit], dict[str, float]]:
    """One pass forward, with every module's input and output, and one backward."""
    visits: list[_Visit] = []
    pending: dict[nn.Module, tuple[Tensor, Callable[[Tensor], Tensor]]] = {}

    def before(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        first = _first_tensor(args)
        if first is None:
            return
        kept = first.detach().clone()  # later layers may change it in place

        def function(t: Tensor) -> Tensor:
            swapped = [t.clone() if each is first else each for each in args]
            named = {key: t.clone() if each is first else each for key, each in kwargs.items()}
            found = _first_tensor(part(*swapped, **named))
            assert found is not None
            return found

        pending[part] = (kept, function)

    def after(name: str) -> Callable[..., None]:
        def record(part: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            y = _first_tensor(output)
            if y is not None and part in pending:
                visits.append(_Visit(name, part, pending[part][1], pending[part][0], y.detach().clone()))

        return record

    weights: dict[str, Any] = {
        step.name or _ALONE: model.get_submodule(step.name).weight.requires_grad_() for step in reading.steps
    }
    handles = []
    for name, part in model.named_modules():
        if (part is not model and not isinstance(part, _CONTAINERS)) or isinstance(part, Weighted):
            handles.append(part.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(part.register_forward_hook(after(name or _ALONE), with_kwargs=True))
    try:
        with torch.enable_grad():
            y = _first_tensor(model(x))
    finally:
        for handle in handles:
            handle.remove()
    if y is None:
        raise InputError("the network gives no tensor of numbers", type(model).__name__, "Return one tensor.")
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=y.dtype)
    found = torch.autograd.grad((y * direction).sum() / y.numel() ** 0.5, list(weights.values()), allow_unused=True)
    return visits, {name: math.nan if g is None else float(g.norm()) for name, g in zip(weights, found)}


def _row(visit: _Visit, gradients: dict[str, float], probes: int, generator: torch.Generator) -> tuple[Any, ...]:
    par, perp = _susceptibilities(visit, probes, generator)
    return (
        visit.name,
        type(visit.module).__name__,
        " x ".join(map(str, visit.y.shape[1:])),
        float(visit.y.square().mean()),
        par,
        perp,
        gradients.get(visit.name),
    )


def _susceptibilities(visit: _Visit, probes: int, generator: torch.Generator) -> tuple[float, float]:
    x = visit.x
    flat = x.flatten(1)
    norm = flat.square().sum(1, keepdim=True)
    if not x.isfinite().all() or float(norm.min()) == 0:
        return math.nan, math.nan
    y, along = jvp(visit.function, (x,), (x,))[:2]
    par = float((y * along).sum() / y.square().sum().clamp(min=1e-300))
    v = torch.randn(probes, *flat.shape, generator=generator, dtype=x.dtype)
    v = v - flat * ((v * flat).sum(2, keepdim=True) / norm)
    primal, v = torch.stack([x] * probes), v.reshape(probes, *x.shape)

    def pushed(at: Tensor, by: Tensor) -> Tensor:
        return jvp(visit.function, (at,), (by,))[1]

    across = vmap(pushed, randomness="same", chunk_size=_AT_ONCE)(primal, v)
    return par, float(across.square().mean() / v.square().mean())


def _judged(frame: polars.DataFrame, reading: Reading) -> Diagnosis:
    steps = reading.steps
    rows = {row["name"]: row for row in frame.iter_rows(named=True)}
    names = [name for step in steps if (name := step.name or _ALONE) in rows]
    kernels = [rows[name]["K"] for name in names] or [math.nan]
    slopes = [rows[name]["gradient"] for name in names[1:-1] or names] or [math.nan]
    hidden = {step.depth: units(step.layer) for step in steps if step.depth < reading.depth}
    inverse = sum(1 / n for n in hidden.values())
    width = len(hidden) / inverse if hidden else float(units(steps[-1].layer))
    report = analyze(reading.activation)
    outputs = units(steps[-1].layer)
    ratio = optimal_ratio(reading.activation, outputs) if report.is_critical else None
    return Diagnosis(
        frame,
        report,
        reading.depth,
        width,
        outputs,
        len(reading.skips),
        _over(kernels[-1], kernels[0]),
        _over(slopes[0], slopes[-1]),
        report.nu * inverse,
        None if ratio is None else max(1, round(ratio * width)),
    )


def _over(a: float | None, b: float | None) -> float:
    if a is None or b is None or not (np.isfinite(a) and np.isfinite(b)):
        return math.inf
    return a / b if b else (math.inf if a else 0.0)


def _sentence(what: str, ratio: float, depth: int) -> str:
    where = "from the first to the last layer" if what == "signal" else "from the last to the first hidden layer"
    if 1 / _TOLERABLE <= ratio < _TOLERABLE:
        return f"The {what} is steady: it changes by a factor {ratio:.2g} {where}."
    fate = "vanishes" if ratio < 1 else "explodes"
    if not 0 < ratio < math.inf:
        return f"The {what} {fate} altogether {where}."
    return f"The {what} {fate}: a factor {ratio:.2g} {where}, {ratio ** (1 / max(depth - 1, 1)):.3g} per layer."
