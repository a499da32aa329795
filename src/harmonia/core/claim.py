"""What a paper says beside what we measured.

A method's ``claim.py``, or the modules of its ``claims/`` that it imports, hold functions decorated with `claim`. Each
measures one headline of the paper and returns a `Measured`; the decorator knows the paper's number and turns both into
a `Finding`. The verdict follows from the numbers alone (`verdict`), so nobody can type it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Literal, get_args

import msgspec

from harmonia.core.errors import InputError

Better = Literal["higher", "lower", "near", "zero"]
Tier = Literal["quick", "full", "gpu"]
Verdict = Literal["reproduced", "direction holds", "not reproduced", "exact", "broken", "beyond this machine"]

TIERS: tuple[Tier, ...] = get_args(Tier)
HOLDS: frozenset[Verdict] = frozenset({"reproduced", "direction holds", "exact"})


class Measured(msgspec.Struct, frozen=True):
    """One measurement.

    Attributes:
        value: The measured number, in the claim's unit.
        baseline: The same number for the trivial or rival method, where the claim is a comparison.
        note: What a reader should know: scale, data, spread over seeds.
    """

    value: float
    baseline: float | None = None
    note: str = ""


class Finding(msgspec.Struct, frozen=True):
    """A claim beside its measurement, as it is written to ``results/<slug>.json``."""

    name: str
    paper: float | None
    paper_place: str
    measured: float | None
    unit: str
    better: Better
    baseline: float | None
    tier: Tier
    seed: int
    seconds: float
    verdict: Verdict
    note: str = ""


class Claim(msgspec.Struct, frozen=True):
    """A paper's statement together with the function that measures it here."""

    name: str
    place: str
    unit: str
    better: Better
    tier: Tier
    measure: Callable[[int], Measured | None]
    paper: float | None = None
    tolerance: float = 0.0
    gate: float | None = None

    def check(self, seed: int = 0) -> Finding:
        """Measure and judge. A `measure` that returns None says that this machine cannot."""
        start = time.perf_counter()
        measured = self.measure(seed)
        seconds = time.perf_counter() - start
        return Finding(
            name=self.name,
            paper=self.paper,
            paper_place=self.place,
            measured=None if measured is None else measured.value,
            unit=self.unit,
            better=self.better,
            baseline=None if measured is None else measured.baseline,
            tier=self.tier,
            seed=seed,
            seconds=round(seconds, 2),
            verdict="beyond this machine"
            if measured is None
            else verdict(measured.value, self.better, self.paper, measured.baseline, self.tolerance, self.gate),
            note="" if measured is None else self._noted(measured.note),
        )

    def _noted(self, note: str) -> str:
        gate = "" if self.gate is None else f"our bound: {'>=' if self.better == 'higher' else '<='} {self.gate:g}"
        return "; ".join(filter(None, [note, gate]))


def claim(
    name: str,
    *,
    place: str,
    unit: str,
    better: Better,
    tier: Tier,
    paper: float | None = None,
    tolerance: float = 0.0,
    gate: float | None = None,
) -> Callable[[Callable[[int], Measured | None]], Claim]:
    """Declare a claim; decorates a function ``measure(seed) -> Measured | None``.

    Arguments:
        name: The claim as one short sentence.
        place: Where the paper says it ("Table 2", "Theorem 1"); for a check of ours, what it follows from.
        unit: Unit of the number ("dB", "accuracy", "log-log slope").
        better: ``higher``/``lower``: larger/smaller is better; ``near``: the paper's number itself is the target;
            ``zero``: an identity, the number is an error that must vanish.
        tier: ``quick`` (seconds; runs in CI), ``full`` (minutes on two cores) or ``gpu``.
        paper: The paper's number, or None where the paper only states a direction.
        tolerance: In the claim's unit. For ``zero`` the largest error that still counts as exact; for ``near`` the
            half-width; otherwise how far behind the paper's number still counts as reproduced, and, when there is no
            such number, the margin by which the baseline must be beaten.
        gate: Where the paper gives no number: a bound of ours, set before measuring, that the number must keep.

    Example:
        >>> @claim("Two is two", place="Sec. 1", unit="", better="zero", tier="quick", tolerance=1e-9)
        ... def two(seed):
        ...     return Measured(abs(2 - 2.0))
        >>> two.check().verdict
        'exact'
    """
    if better == "near" and paper is None:
        raise InputError(
            f"claim '{name}' is judged by nearness to the paper", "no number of the paper", "Give `paper`."
        )

    if gate is not None and (paper is not None or better not in ("higher", "lower")):
        raise InputError(
            f"claim '{name}' has a bound of its own", "a number of the paper, or no direction", "Leave one of them out."
        )

    def declare(measure: Callable[[int], Measured | None]) -> Claim:
        return Claim(name, place, unit, better, tier, measure, paper, tolerance, gate)

    return declare


def verdict(
    measured: float,
    better: Better,
    paper: float | None,
    baseline: float | None,
    tolerance: float,
    gate: float | None = None,
) -> Verdict:
    """The verdict that follows from the numbers.

    Example:
        >>> verdict(11.8, "higher", paper=12.08, baseline=9.0, tolerance=0.5)
        'reproduced'
        >>> verdict(10.0, "higher", paper=12.08, baseline=9.0, tolerance=0.5)
        'direction holds'
        >>> verdict(8.0, "higher", paper=12.08, baseline=9.0, tolerance=0.5)
        'not reproduced'
        >>> verdict(0.9, "higher", paper=None, baseline=None, tolerance=0.0, gate=0.8)
        'direction holds'
    """
    if better == "zero":
        return "exact" if abs(measured) <= tolerance else "broken"
    if measured != measured:
        return "not reproduced"
    if better == "near":
        assert paper is not None
        if abs(measured - paper) <= tolerance:
            return "reproduced"
        closer = baseline is not None and abs(measured - paper) < abs(baseline - paper)
        return "direction holds" if closer else "not reproduced"
    sign = 1.0 if better == "higher" else -1.0
    if paper is not None and sign * (measured - paper) >= -tolerance:
        return "reproduced"
    if gate is not None:
        return "direction holds" if sign * (measured - gate) >= 0 else "not reproduced"
    if baseline is None:
        return "not reproduced"
    margin = tolerance if paper is None else 0.0
    ahead = sign * (measured - baseline)
    return "direction holds" if ahead > 0 and ahead >= margin else "not reproduced"


def claims_in(module: ModuleType) -> Sequence[Claim]:
    """The claims of a method's ``claim`` module and of the modules of ``claims/`` it imports, in the order written."""
    found: list[Claim] = []
    for value in vars(module).values():
        if isinstance(value, Claim):
            found.append(value)
        elif isinstance(value, ModuleType) and value.__name__.startswith(f"{module.__package__}.claims."):
            found.extend(claims_in(value))
    return found
