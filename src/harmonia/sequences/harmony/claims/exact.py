"""What must hold exactly: flows, scores, the cascade of levels, the best decision."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from scipy import stats

from harmonia.core.claim import Measured, claim
from harmonia.parts.flows import RealNVP
from harmonia.parts.forecasting import crps_normal, crps_samples
from harmonia.parts.instance_norm import InstanceNorm
from harmonia.parts.inverted import SelfAttention
from harmonia.sequences.harmony.demand import LEVELS, Demand, newsvendor
from harmonia.sequences.harmony.heads import NormalHead, RealNVPHead, SplineHead, StudentTHead
from harmonia.sequences.harmony.network import CascadingAttention
from harmonia.sequences.harmony.planning import Limits, Prices, best_plan
from harmonia.sequences.harmony.predictive import LocationScale, StudentTPredictive


def _flow(seed: int, dim: int = 12) -> RealNVP:
    generator = torch.Generator().manual_seed(seed)
    flow = RealNVP(dim, 16).double()
    for parameter in flow.parameters():
        parameter.data = 0.4 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return flow


@claim(
    "The flow is invertible and its log-determinant is that of the Jacobian",
    place="Sec. on the normalising flow; the release has neither",
    unit="largest error",
    better="zero",
    tier="quick",
    tolerance=1e-5,
)
def flow_is_exact(seed: int) -> Measured:
    flow = _flow(seed)
    u = torch.randn(20, 12, generator=torch.Generator().manual_seed(seed)).double()
    y, log_det = flow(u)
    back, inverse = flow.inverse(y)
    jacobian = torch.autograd.functional.jacobian(lambda v: flow(v)[0], u[0])
    exact = torch.linalg.slogdet(jacobian)[1]
    worst = max((back - u).abs().max(), (log_det + inverse).abs().max(), (log_det[0] - exact).abs())
    return Measured(worst.item(), note="12 numbers, random weights, float64")


@claim(
    "With an untrained flow or spline the likelihood is the normal one",
    place="follows from the definition: s = t = 0",
    unit="nats",
    better="zero",
    tier="quick",
    tolerance=1e-4,
)
def untrained_is_normal(seed: int) -> Measured:
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(27, 5, 6, 2, generator=generator)
    numbers[2:] = 0
    norm = InstanceNorm.of(torch.randn(5, 30, 2, generator=generator) * 3 + 1)
    y = 3 * torch.randn(5, 6, 2, generator=generator) + 1
    mean, std = norm.undo(numbers[0]), (torch.nn.functional.softplus(numbers[1]) + 1e-3) * norm.spread
    exact = stats.norm.logpdf(y.numpy(), mean.numpy(), std.numpy()).sum((1, 2))
    heads = (NormalHead(6, 2, 8, False), RealNVPHead(6, 2, 8, False), SplineHead(6, 2, 8, False))
    found = [head(numbers[: head.numbers], norm).log_prob(y).detach().numpy() for head in heads]
    return Measured(float(np.abs(np.stack(found) / exact - 1).max()), note="relative, float32; beside scipy")


@claim(
    "Demand at its limit enters the likelihood as the probability of at least so much",
    place="ours: throttled workloads (Tobin 1958)",
    unit="nats",
    better="zero",
    tier="quick",
    tolerance=1e-9,
)
def lower_bounds(seed: int) -> Measured:
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(3, 5, 6, 2, generator=generator).double()
    norm = InstanceNorm.of(3 * torch.randn(5, 30, 2, generator=generator).double() + 1)
    y = 3 * torch.randn(5, 6, 2, generator=generator).double() + 1
    censored = torch.rand(y.shape, generator=generator) < 0.5
    worst = 0.0
    for head in (NormalHead(6, 2, 8, False), StudentTHead(6, 2, 8, False)):
        found = head(numbers[: head.numbers], norm)
        assert isinstance(found, LocationScale)
        mean, std = norm.undo(found.mean).numpy(), (found.std * norm.spread).numpy()
        law = stats.t(found.df.numpy(), mean, std) if isinstance(found, StudentTPredictive) else stats.norm(mean, std)
        exact = np.where(censored, law.logsf(y), law.logpdf(y)).sum((1, 2))
        worst = max(worst, float(np.abs(found.loss(y, censored).numpy() + exact).max()))
    return Measured(worst, note="normal and Student-t, beside scipy; 30 of 60 numbers at their limit, on average")


@claim(
    "CRPS of normal distributions in closed form is that of many draws",
    place="the paper's score",
    unit="relative difference",
    better="zero",
    tier="quick",
    tolerance=0.01,
)
def crps_closed_form(seed: int) -> Measured:
    generator = np.random.default_rng(seed)
    mean, std, y = generator.normal(size=50), generator.uniform(0.5, 2, 50), generator.normal(0, 2, 50)
    draws = generator.normal(mean, std, (20_000, 50))
    exact = crps_normal(mean, std, y).mean()
    return Measured(float(crps_samples(draws, y, fair=True).mean() / exact - 1), note="50 distributions, 20,000 draws")


@claim(
    "With one level the hierarchical attention is ordinary attention",
    place="Sec. on hierarchical attention",
    unit="largest difference",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def one_level_is_ordinary(seed: int) -> Measured:
    torch.manual_seed(seed)
    plain = SelfAttention(16, 4, dropout=0.0)
    found = []
    for mask in ("inf", "zero"):
        cascade = CascadingAttention(16, 4, (1,) * 6, 0.0, mask)
        cascade.load_state_dict(plain.state_dict())
        x = torch.randn(3, 6, 16)
        found.append(float((cascade(x) - plain(x)).abs().max().detach()))
    return Measured(max(found), note="both masks")


@claim(
    "Nothing of a lower level reaches a higher one",
    place="Sec. on hierarchical attention",
    unit="largest change",
    better="zero",
    tier="quick",
    tolerance=0.0,
)
def cascade_is_strict(seed: int) -> Measured:
    torch.manual_seed(seed)
    cascade = CascadingAttention(16, 4, (1, 2, 1, 3, 2), 0.0)
    x = torch.randn(2, 5, 16)
    below = x.clone()
    below[:, 1:2] += 5
    below[:, 3:] += 5
    change = (cascade(x) - cascade(below))[:, [0, 2]].abs().max()
    reaches = (cascade(x) - cascade(below))[:, [1, 3]].abs().min()
    return Measured(
        change.item() if float(reaches) > 0 else 1.0, note="levels 1, 2, 1, 3, 2; what is below does change"
    )


@claim(
    "Without moves and units the cheapest allocation is the newsvendor's quantile",
    place="follows from the cost",
    unit="relative difference",
    better="zero",
    tier="quick",
    tolerance=0.01,
)
def newsvendor_is_best(seed: int) -> Measured:
    worst = 0.0
    for family in (stats.norm(10, 2), stats.gamma(3, scale=2)):
        demand = Demand(family.ppf(LEVELS)[:, None])
        grid = np.linspace(1, 30, 8000)
        for under in (4.0, 20.0, 49.0):
            best = grid[demand.expected_costs(grid, 1.0, under)[0].argmin()]
            worst = max(worst, abs(best / family.ppf(newsvendor(1.0, under)) - 1))
    return Measured(float(worst), note="normal and gamma demand, on a grid of 8000, three prices of shortage")


@claim(
    "Demand exceeds the SLA's quantile exactly as often as promised",
    place="follows from the definition",
    unit="probability",
    better="zero",
    tier="quick",
    tolerance=5e-4,
)
def sla_quantile(seed: int) -> Measured:
    family = stats.gamma(3, scale=2)
    demand = Demand(family.ppf(LEVELS)[:, None])
    found = [family.sf(demand.requirement(level)[0]) - level for level in (0.001, 0.01, 0.05, 0.2)]
    back = [demand.level_of(demand.requirement(level)[0]) - level for level in (-0.3, 0.0, 0.01, 0.4)]
    return Measured(float(np.abs(found + back).max()), note="gamma demand; and levels found again from requirements")


@claim(
    "The dynamic programme is the best of all plans",
    place="follows from the recursion",
    unit="difference in cost",
    better="zero",
    tier="quick",
    tolerance=1e-9,
)
def plan_is_best(seed: int) -> Measured:
    generator = np.random.default_rng(seed)
    usable = np.arange(1.0, 6.0)
    worst = 0.0
    for _ in range(40):
        stage = generator.gamma(1.0, 3.0, (4, 5))
        prices = Prices(change=generator.uniform(0, 1), switch=generator.uniform(0, 1))
        limits = Limits(int(generator.integers(1, 4)), int(generator.integers(0, 3)), int(generator.integers(0, 4)))
        start, waiting = int(generator.integers(5)), int(generator.integers(0, 3))
        _, cost = best_plan(stage, usable, start, prices, limits, waiting)
        worst = max(worst, abs(cost - _brute_force(stage, usable, start, prices, limits, waiting)))
    return Measured(float(worst), note="40 random problems of 4 steps and 5 allocations, against all 625 plans each")


def _brute_force(
    stage: np.ndarray, usable: np.ndarray, start: int, prices: Prices, limits: Limits, waiting: int
) -> float:
    """The least cost of all plans that keep the limits, one by one."""
    best = np.inf
    for plan in itertools.product(range(len(usable)), repeat=len(stage)):
        cost, place, left = 0.0, start, waiting
        for step, chosen in enumerate(plan):
            move = chosen - place
            late = move > 0 and step + 1 < limits.delay
            if late or (move < 0 and left) or (limits.max_step and abs(move) > limits.max_step):
                break
            cost += stage[step, chosen]
            if move:
                cost += prices.change * abs(usable[chosen] - usable[place]) + prices.switch
                left = limits.cooldown
            else:
                left = max(0, left - 1)
            place = chosen
        else:
            best = min(best, cost)
    return best
