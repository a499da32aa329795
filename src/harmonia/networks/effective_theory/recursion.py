"""From layer to layer: kernel, tangent kernel, and what finite width adds to them at leading order in 1/n.

All recursions follow from the layer map (Roberts, Yaida & Hanin 2021, chapters 4, 5, 8 and 11; appendix B for skips).
With brackets at the kernel ``K`` of the layer before, ``rho = n_l / n_(l-1)``, ``c = C_W <s^2>'`` and
``p = C_W <s'^2>`` (the susceptibilities), and ``k = lambda_W <s^2>' + Theta p'``:

    K'     = C_b + C_W <s^2>
    Theta' = lambda_b + lambda_W <s^2> + p Theta
    V'     = C_W^2 (<s^4> - <s^2>^2) + rho c^2 V
    D'     = C_W (lambda_W (<s^4> - <s^2>^2) + C_W Theta (<s^2 s'^2> - <s^2><s'^2>)) + rho c (k V + p D)
    F'     = C_W^2 <s^2 s'^2> Theta + rho c^2 F
    B'     = C_W^2 <s'^4> Theta^2 + rho p^2 B
    A'     = Var(lambda_W s^2 + C_W Theta s'^2) + rho (k^2 V + 2 k p D + p^2 A)
    P'     = C_W^2 <s s'' s'^2> Theta^2 + rho (C_W <s s''> p B + c p P)
    Q'     = (lambda_W / C_W) F' + C_W^2 <s s'' s'^2> Theta^2 + rho (p' c Theta F + c p Q)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars
import torch
from jaxtyping import Float64

from harmonia.core.errors import InputError
from harmonia.networks.effective_theory.activation import AnyActivation, Pointwise, as_activation
from harmonia.networks.effective_theory.brackets import Brackets, brackets, second_moment
from harmonia.networks.effective_theory.criticality import analyze

ResidualRule = Literal["exact", "book"]

_MOST_LAYERS = 100_000
_BLOCK = 256

COLUMNS: dict[str, str] = {
    "K": "variance of a preactivation at infinite width",
    "Theta": "tangent kernel at infinite width",
    "V": "four-point vertex: n Cov(z_i^2, z_k^2)",
    "A": "n Cov(H_ii, H_kk): fluctuation of the tangent kernel",
    "B": "n E H_ik^2",
    "D": "n Cov(z_i^2, H_kk)",
    "F": "n E z_i z_k H_ik",
    "P": "n E dH_ikk z_i: the tangent kernel's own change, first kind",
    "Q": "n E dH_iik z_k: the same, second kind",
    "G1": "n (E z_i^2 - K): correction of the variance",
    "H1": "n (E H_ii - Theta): correction of the tangent kernel",
    "T": "n E z_i z_k^2: three-point vertex, of skips only",
}
"""The columns of a `LayerTable`; i, k are different units of a layer, n the width before it, H its tangent kernel."""


@dataclass(frozen=True)
class LayerTable:
    """Predictions for every layer of a deep network.

    Attributes:
        activation: Name.
        C_b, C_W: The initialisation: variances of biases and, times the fan-in, of weights.
        gamma: Weight of the skip connections; 0 for none.
        widths: Fan-in of each layer's preactivations from the second on, repeated for the first.
        columns: See `COLUMNS`; with skips only K, Theta, V and T.
    """

    activation: str
    C_b: float
    C_W: float
    gamma: float
    widths: Float64[np.ndarray, " depth"]
    columns: dict[str, Float64[np.ndarray, " depth"]]

    def __getitem__(self, name: str) -> Float64[np.ndarray, " depth"]:
        return self.columns[name]

    @property
    def depth(self) -> int:
        return len(self.widths)

    @property
    def frame(self) -> polars.DataFrame:
        """One row per layer; ``.to_pandas()`` where pandas is wanted."""
        first = {"layer": np.arange(1, self.depth + 1), "width": self.widths.astype(np.int64)}
        return polars.DataFrame(first | self.columns)

    @property
    def kernel(self) -> Float64[np.ndarray, " depth"]:
        """Variance at the given widths, ``K + G1/n``."""
        return self["K"] + self.columns.get("G1", np.zeros(self.depth)) / self.widths

    @property
    def tangent_kernel(self) -> Float64[np.ndarray, " depth"]:
        """Tangent kernel at the given widths, ``Theta + H1/n``."""
        return self["Theta"] + self.columns.get("H1", np.zeros(self.depth)) / self.widths

    @property
    def ratios(self) -> polars.DataFrame:
        """Sizes without units of what finite width brings, layer by layer.

        ``V/(n K^2)``: non-Gaussianity; ``A, B/(n Theta^2)``: fluctuation of the tangent kernel;
        ``D, F/(n K Theta)``: its correlation with the outputs; ``P, Q/(n Theta^2)``: features that are learnt.
        """
        K, Theta, n = self["K"], self["Theta"], self.widths
        units = {"V": K**2, "A": Theta**2, "B": Theta**2, "D": K * Theta, "F": K * Theta, "P": Theta**2, "Q": Theta**2}
        known = {name: self[name] / (n * unit) for name, unit in units.items() if name in self.columns}
        return polars.DataFrame({"layer": np.arange(1, self.depth + 1)} | known)


def recursion(
    activation: AnyActivation,
    depth: int,
    width: int | Sequence[int],
    C_b: float | None = None,
    C_W: float | None = None,
    lambda_b: float | Sequence[float] = 1.0,
    lambda_W: float | Sequence[float] = 1.0,
    K1: float | None = None,
    gamma: float = 0.0,
    residual: ResidualRule = "exact",
) -> LayerTable:
    """Predict every layer's kernels and finite-width tensors, for one input.

    Arguments:
        activation: As for `analyze`.
        depth: Layers with weights; the last one is the output.
        width: Units of a hidden layer, or of each of the ``depth - 1`` hidden layers.
        C_b: Variance of biases; critical unless given.
        C_W: Variance of weights, times the fan-in; critical unless given.
        lambda_b: Learning rate of biases, or of each layer's.
        lambda_W: Learning rate of weights, times the fan-in.
        K1: Variance of the first preactivations; critical unless given.
        gamma: Weight of skip connections ``z' = W s(z) + b + gamma z``, in [0, 1).
        residual: With skips, ``"exact"`` at leading order in 1/n, or ``"book"``: without the three-point vertex that
            activations make which are not odd.

    Raises:
        InputError: no critical initialisation and none given, a signal that overflows, or a setting out of range.

    Example:
        >>> table = recursion("relu", depth=4, width=100, lambda_b=0.5)
        >>> [table[name][-1].round(6).item() for name in ("K", "Theta", "V", "A", "B", "F", "Q")]
        [1.0, 4.0, 15.0, 41.5, 28.0, 12.0, 10.0]
    """
    pointwise = as_activation(activation)
    widths = _widths(depth, width)
    if not 0 <= gamma < 1:
        raise InputError("the weight of skips must be in [0, 1)", gamma, "Pass gamma = 0 for none.")
    if gamma and len(set(widths)) > 1:
        raise InputError("skip connections need layers of equal width", widths, "Pass one width.")
    C_b, C_W, K1 = initialisation(pointwise, C_b, C_W, K1, gamma)
    variances = [K1]
    for layer in range(2, depth + 1):
        variances.append(C_b + C_W * second_moment(pointwise, variances[-1]) + gamma**2 * variances[-1])
        if not 1e-150 < variances[-1] < 1e150:
            fate = "explodes" if variances[-1] > 1 else "vanishes"
            raise InputError(
                f"the signal {fate} before the last layer",
                f"variance {variances[-1]:.3g} in layer {layer} of {depth}",
                "Use the critical initialisation: leave out C_b and C_W.",
            )
    numbers = _brackets(pointwise, variances)
    rates_b, rates_W = (_rates(name, rate, depth) for name, rate in (("lambda_b", lambda_b), ("lambda_W", lambda_W)))
    state = dict.fromkeys(("Theta", "V", "T") if gamma else tuple(COLUMNS)[1:-1], 0.0)
    state["Theta"] = rates_b[0] + rates_W[0] * (K1 - C_b) / C_W
    history = [dict(state)]
    for layer in range(depth - 1):
        at = _Layer.of(numbers, layer, C_W, rates_b[layer + 1], rates_W[layer + 1], variances[layer])
        if gamma:
            state = at.with_skip(state, gamma, residual)
        else:
            state = at.next(state, widths[layer + 1] / widths[layer] if layer else 1.0)
        history.append(state)
    columns = {name: np.array([row[name] for row in history]) for name in state}
    if not all(np.isfinite(column).all() for column in columns.values()):
        raise InputError(
            "the recursion overflows", f"depth {depth}", "Use the critical initialisation or fewer layers."
        )
    columns = {"K": np.array(variances)} | columns
    return LayerTable(pointwise.name, C_b, C_W, gamma, np.array(widths, dtype=np.float64), columns)


def _brackets(activation: Pointwise, variances: list[float]) -> dict[str, list[float]]:
    """All brackets at every layer's variance; few layers at a time, for memory."""
    blocks = [brackets(activation, block) for block in torch.tensor(variances, dtype=torch.float64).split(_BLOCK)]
    resolved = torch.cat([block.resolved for block in blocks])
    if not bool(resolved.all()):
        layer = int((~resolved).nonzero()[0])
        got = f"variance {variances[layer]:.3g} in layer {layer + 1}"
        raise InputError("moments of the activation overflow", got, "Lower C_W.")
    names = [name for name in Brackets._fields if name != "resolved"]
    return {name: torch.cat([getattr(block, name) for block in blocks]).tolist() for name in names}


def initialisation(
    activation: Pointwise, C_b: float | None, C_W: float | None, K1: float | None, gamma: float = 0.0
) -> tuple[float, float, float]:
    """The given ``C_b, C_W, K1``, completed by the critical ones."""
    if C_b is None or C_W is None or K1 is None:
        report = analyze(activation, C_b, C_W)
        if C_b is None or C_W is None:
            if not report.is_critical:
                mend = "Give C_b and C_W."
                if report.shift is not None:
                    mend = f"Give C_b and C_W, or use s(x) - ({report.shift:.6g}), which has one."
                raise InputError(f"no initialisation of '{activation.name}' is critical", report.universality, mend)
            C_b, C_W = report.with_skips(gamma)
        K1 = max(report.start, C_b) if K1 is None else K1
    if not 0 <= C_b < math.inf or not 0 < C_W < math.inf:
        raise InputError("variances must be finite, C_b >= 0 and C_W > 0", (C_b, C_W), "Pass others.")
    if not 0 < K1 < math.inf or C_b > K1:
        raise InputError("the first variance must be positive and at least C_b", K1, "Pass another K1.")
    return C_b, C_W, K1


@dataclass(frozen=True)
class _Layer:
    """What maps one layer's tensors to the next; numbers, not arrays."""

    C_W: float
    lambda_b: float
    lambda_W: float
    K: float
    b: dict[str, float]

    @classmethod
    def of(
        cls, b: dict[str, list[float]], layer: int, C_W: float, lambda_b: float, lambda_W: float, K: float
    ) -> _Layer:
        return cls(C_W, lambda_b, lambda_W, K, {name: values[layer] for name, values in b.items()})

    def next(self, t: dict[str, float], rho: float) -> dict[str, float]:
        b, C, lam, Theta = self.b, self.C_W, self.lambda_W, t["Theta"]
        c, p, p1, p2 = C * b["s2_1"], C * b["d2"], C * b["d2_1"], C * b["d2_2"]
        k = lam * b["s2_1"] + Theta * p1
        quartic, mixed = b["s4"] - b["s2"] ** 2, b["s2d2"] - b["s2"] * b["d2"]
        bent = C**2 * b["sddd2"] * Theta**2
        F = C**2 * b["s2d2"] * Theta + rho * c**2 * t["F"]
        moved = b["s2_1"] * t["G1"] + b["s2_2"] * t["V"] / 2
        variance = lam**2 * quartic + 2 * lam * C * Theta * mixed + (C * Theta) ** 2 * (b["d4"] - b["d2"] ** 2)
        return {
            "Theta": self.lambda_b + lam * b["s2"] + p * Theta,
            "V": C**2 * quartic + rho * c**2 * t["V"],
            "A": variance + rho * (k**2 * t["V"] + 2 * k * p * t["D"] + p**2 * t["A"]),
            "B": C**2 * b["d4"] * Theta**2 + rho * p**2 * t["B"],
            "D": C * (lam * quartic + C * Theta * mixed) + rho * c * (k * t["V"] + p * t["D"]),
            "F": F,
            "P": bent + rho * (C * b["sdd"] * p * t["B"] + c * p * t["P"]),
            "Q": lam / C * F + bent + rho * (p1 * c * Theta * t["F"] + c * p * t["Q"]),
            "G1": rho * C * moved,
            "H1": rho
            * (lam * moved + p * t["H1"] + Theta * (p1 * t["G1"] + p2 * t["V"] / 2) + p1 * (t["D"] + 2 * t["F"])),
        }

    def with_skip(self, t: dict[str, float], gamma: float, rule: ResidualRule) -> dict[str, float]:
        """Kernel, four- and three-point vertex of ``z' = W s(z) + b + gamma z``.

        ``T' = gamma C_W <z s^2> + gamma c T`` and ``V' = C_W^2 (<s^4> - <s^2>^2) + 2 gamma^2 C_W (<z^2 s^2> - K <s^2>)
        + 2 C_W <(s^2)'> c T + c^2 V``, now with ``c = gamma^2 + C_W <s^2>'``. The book's appendix has no T.
        """
        b, C = self.b, self.C_W
        c, p = gamma**2 + C * b["s2_1"], gamma**2 + C * b["d2"]
        T = t["T"] if rule == "exact" else 0.0
        source = C**2 * (b["s4"] - b["s2"] ** 2) + 2 * gamma**2 * C * (b["z2s2"] - self.K * b["s2"])
        return {
            "Theta": self.lambda_b + self.lambda_W * b["s2"] + p * t["Theta"],
            "V": source + 4 * C * b["sd"] * c * T + c**2 * t["V"],
            "T": gamma * C * b["zs2"] + gamma * c * T if rule == "exact" else 0.0,
        }


def _widths(depth: int, width: int | Sequence[int]) -> list[int]:
    """Fan-in of each layer, that of the second also for the first."""
    if not 1 <= depth <= _MOST_LAYERS:
        raise InputError("the depth must be between 1 and 100,000 layers", depth, "Pass another.")
    hidden = [width] * (depth - 1) if isinstance(width, int) else list(width)
    if len(hidden) != depth - 1:
        raise InputError(
            "widths are those of the hidden layers", f"{len(hidden)} for {depth - 1}", "Pass one for each."
        )
    fan_ins = [*hidden[:1], *hidden] or [1 if not isinstance(width, int) else width]
    if min(fan_ins) < 1:
        raise InputError("widths must be positive", min(fan_ins), "Pass at least 1.")
    return fan_ins


def _rates(name: str, rate: float | Sequence[float], depth: int) -> list[float]:
    rates = [float(rate)] * depth if isinstance(rate, (int, float)) else [float(each) for each in rate]
    if len(rates) != depth or not all(0 <= each < math.inf for each in rates):
        raise InputError(f"{name} is a rate >= 0, or one for each of the {depth} layers", rate, "Pass another.")
    return rates
