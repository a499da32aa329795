import math
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.core.claim import HOLDS, Measured, claim, claims_in, verdict
from harmonia.core.errors import InputError

number = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("measured", "better", "paper", "baseline", "tolerance", "expected"),
    [
        (1e-9, "zero", None, None, 1e-8, "exact"),
        (-1e-7, "zero", None, None, 1e-8, "broken"),
        (math.nan, "zero", None, None, 1e-8, "broken"),
        (0.96, "higher", 0.95, None, 0.0, "reproduced"),
        (0.945, "higher", 0.95, None, 0.01, "reproduced"),
        (0.90, "higher", 0.95, 0.80, 0.01, "direction holds"),
        (0.80, "higher", 0.95, 0.80, 0.01, "not reproduced"),
        (0.90, "higher", 0.95, None, 0.01, "not reproduced"),
        (0.90, "lower", 0.80, 0.95, 0.01, "direction holds"),
        (0.79, "lower", 0.80, 0.95, 0.0, "reproduced"),
        (-0.48, "near", -0.5, None, 0.1, "reproduced"),
        (-0.30, "near", -0.5, 0.0, 0.1, "direction holds"),
        (0.20, "near", -0.5, 0.0, 0.1, "not reproduced"),
        (0.90, "higher", None, 0.85, 0.02, "direction holds"),
        (0.86, "higher", None, 0.85, 0.02, "not reproduced"),
        (math.nan, "higher", None, 0.85, 0.02, "not reproduced"),
    ],
)
def test_verdict(measured, better, paper, baseline, tolerance, expected):
    assert verdict(measured, better, paper, baseline, tolerance) == expected


@given(number, number, number, st.floats(0, 10))
def test_higher_and_lower_mirror_each_other(measured, paper, baseline, tolerance):
    up = verdict(measured, "higher", paper, baseline, tolerance)
    down = verdict(-measured, "lower", -paper, -baseline, tolerance)
    assert up == down


@given(number, number, number, st.floats(0, 10), st.floats(0, 100))
def test_doing_better_never_loses_a_verdict(measured, paper, baseline, tolerance, gain):
    before = verdict(measured, "higher", paper, baseline, tolerance)
    after = verdict(measured + gain, "higher", paper, baseline, tolerance)
    assert before not in HOLDS or after in HOLDS


def test_a_claim_measures_and_judges():
    @claim("Better than chance", place="Table 1", unit="accuracy", better="higher", tier="full", paper=0.9)
    def measure(seed):
        return Measured(0.8 + seed, baseline=0.5, note="small")

    finding = measure.check(seed=0)
    assert (finding.verdict, finding.measured, finding.seed, finding.tier) == ("direction holds", 0.8, 0, "full")
    assert measure.check(seed=1).verdict == "reproduced"


def test_a_claim_may_be_beyond_this_machine():
    @claim("Needs a cluster", place="Table 2", unit="", better="higher", tier="gpu")
    def measure(seed):
        return None

    finding = measure.check()
    assert finding.verdict == "beyond this machine"
    assert finding.measured is None


def test_nearness_needs_the_papers_number():
    with pytest.raises(InputError, match="Give `paper`"):
        claim("x", place="", unit="", better="near", tier="quick")


def test_claims_are_found_in_order():
    module = types.ModuleType("claims")
    declare = claim("b", place="", unit="", better="zero", tier="quick")
    module.second = declare(lambda seed: Measured(0.0))
    module.first = claim("a", place="", unit="", better="zero", tier="quick")(lambda seed: Measured(1.0))
    module.other = 3
    assert claims_in(module) == [module.second, module.first]


def test_claims_may_lie_in_modules_beside():
    module, theory = types.ModuleType("method.claim"), types.ModuleType("method.claims.theory")
    module.__package__ = "method"
    theory.one = claim("b", place="", unit="", better="zero", tier="quick")(lambda seed: Measured(0.0))
    module.theory, module.elsewhere = theory, types.ModuleType("numpy")
    module.elsewhere.two = theory.one
    assert claims_in(module) == [theory.one]


def test_a_bound_of_ours_is_no_number_of_the_paper() -> None:
    @claim("fast enough", place="ours", unit="ratio", better="higher", tier="quick", gate=2.0)
    def enough(seed: int) -> Measured:
        return Measured(2.0, baseline=3.0, note="one run")

    found = enough.check()
    assert (found.verdict, found.paper, found.note) == ("direction holds", None, "one run; our bound: >= 2")

    @claim("too slow", place="ours", unit="s", better="lower", tier="quick", gate=2.0)
    def slow(seed: int) -> Measured:
        return Measured(2.1)

    assert slow.check().verdict == "not reproduced"
    with pytest.raises(InputError, match="bound of its own"):
        claim("both", place="ours", unit="s", better="lower", tier="quick", gate=2.0, paper=1.0)
