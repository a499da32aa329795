"""The privacy itself: the split of the budget, and sensitivities by audit.

What is audited is what the mechanism declares: were a factor missing in a sensitivity, the tests named audit would
fail; one of them shows so on a mechanism that is wrong on purpose.
"""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.base import clone

from harmonia.core.errors import InputError
from harmonia.kernels.private_kde import Charge, PrivacyAccountant, PrivateDistanceSum
from harmonia.kernels.private_kde.audit import epsilon_lower_bound
from harmonia.kernels.private_kde.directions import DirectionSketch
from harmonia.kernels.private_kde.domain import Domain
from harmonia.kernels.private_kde.fourier import FourierSketch
from harmonia.kernels.private_kde.haar import HaarSketch, Power
from harmonia.kernels.private_kde.hermite import HermiteSketch
from harmonia.kernels.private_kde.moments import MomentSketch
from harmonia.kernels.private_kde.shells import ShellSketch
from harmonia.kernels.private_kde.similarity import Similarity
from harmonia.parts.privacy.mechanism import Blocks, Budget, Mechanism
from harmonia.parts.privacy.noise import Randomness


def test_the_budget_is_kept():
    accountant = PrivacyAccountant(eps=1.0)
    rows = np.random.default_rng(0).random((20, 2))
    model = PrivateDistanceSum(eps=0.4, bounds=(0, 1), depth=4, accountant=accountant)
    model.fit(rows)
    again = clone(model).fit(rows)
    assert accountant is again.accountant is copy.deepcopy(model).accountant
    assert accountant.spent().epsilon == pytest.approx(0.8)
    with pytest.raises(InputError, match="budget does not allow"):
        clone(model).fit(rows)
    assert len(accountant.charges) == 2
    with pytest.raises(ValueError, match="NaN"):
        clone(model).set_params(eps=0.1).fit(np.full((3, 2), np.nan))
    assert len(accountant.charges) == 2
    clone(model).set_params(eps=0.2).fit(rows)
    assert "PrivacyAccountant(eps=1" in repr(accountant)
    copied = pickle.loads(pickle.dumps(accountant))
    assert copied.spent() == accountant.spent()
    with pytest.raises(InputError, match="copy of an accountant"):
        copied.spend(Charge("a", "laplace", 0.1, 0.1, 0.0))


def sketches(d: int = 3):
    domain = Domain.of(([-1.0] * d, [1.0, 2.0, 3.0][:d]), d)
    ball = Domain.of(1.5, d)
    lower, upper = domain.lower, domain.upper
    directions = np.random.default_rng(5).standard_normal((7, d))
    return {
        "haar": HaarSketch(lower, upper, 5),
        "haar of a power": HaarSketch(lower, upper, 5, Power(1.7)),
        "shells": ShellSketch(lower, upper, 5),
        "directions": DirectionSketch(directions, domain, 5),
        "moments": MomentSketch(domain),
        "moments of a ball": MomentSketch(ball),
        "products": MomentSketch(ball, products=True),
        "fourier": FourierSketch.draw(Similarity.of("gaussian"), 1.0, d, 50, seed=1),
        "cauchy": FourierSketch.draw(Similarity.of("cauchy"), 1.0, d, 50, project_dim=2, seed=1),
        "sorf": FourierSketch.draw(Similarity.of("exponential"), 1.0, d, 50, directions="sorf", seed=1),
        "hermite": HermiteSketch(lower, upper, 0.9, 4),
    }


def norms(sketch, difference):
    """l1 and l2 norms of a vector, block by block."""
    ends = np.cumsum(sketch.blocks.sizes)
    parts = np.split(difference, ends[:-1])
    return np.array([np.abs(p).sum() for p in parts]), np.array([np.linalg.norm(p) for p in parts])


@pytest.mark.parametrize("secure", [True, False], ids=["on the grid", "floating"])
@pytest.mark.parametrize("name", sketches())
def test_audit_of_sensitivities(name, secure):
    """No row among thousands, wild ones and corners included, changes a block by more than is declared."""
    sketch = sketches()[name]
    step = Mechanism.calibrate(sketch.blocks, Budget(secure=secure)).each_step()
    generator = np.random.default_rng(0)
    wild = generator.standard_normal((150, 3)) * 10 ** generator.uniform(-3, 3, (150, 1))
    corners = np.array(np.meshgrid([-1.0, 1.0], [-1.0, 2.0], [-1.0, 3.0])).reshape(3, -1).T
    far = np.sign(corners) * [1.7e308, 1e308, 1.0]
    rest = generator.standard_normal((5, 3))
    before = sketch.sums(rest, step)
    largest = np.zeros((2, len(sketch.blocks.sizes)))
    for row in np.concatenate([wild, corners, 1e9 * corners, 1e300 * corners, 5.6e307 * corners, far]):
        after = sketch.sums(np.vstack([rest, row]), step)
        largest = np.maximum(largest, norms(sketch, after - before))
    slack = 1e-9 * (1 + np.abs(before).max())
    assert (largest[0] <= sketch.blocks.l1 + slack).all()
    assert (largest[1] <= sketch.blocks.l2 + slack).all()
    if name == "hermite":  # tight at the corner of a cell
        assert (largest[1] >= 0.5 * sketch.blocks.l2).all()
    elif name not in ("cauchy", "fourier", "sorf"):  # tight in every block; of l1 features nearly
        assert (largest[1] >= 0.99 * sketch.blocks.l2).all()
    else:
        assert largest[1][1] >= 0.999
        assert largest[0][1] >= 0.8 * sketch.blocks.l1[1]


@pytest.mark.parametrize("kernel", ["gaussian", "exponential"])
def test_features_of_far_rows_do_not_depend_on_their_company(kernel):
    """Phases of huge rows would be rounding errors, which differ from batch to batch: one row would change them all."""
    sketch = FourierSketch.draw(Similarity.of(kernel), 1.0, 20, 100, seed=1)
    step = Mechanism.calibrate(sketch.blocks, Budget(delta=1e-6)).each_step()
    rows = 1e15 * np.random.default_rng(0).standard_normal((1001, 20))
    for left_out in (0, 3):
        difference = sketch.sums(rows, step) - sketch.sums(np.delete(rows, left_out, 0), step)
        assert np.linalg.norm(difference[1:]) <= sketch.blocks.l2[1]


def test_projections_on_directions_are_exact():
    """Whole numbers below 2^53, so that cells do not depend on the order and company of rows in a matrix product."""
    generator = np.random.default_rng(0)
    sketch = DirectionSketch(generator.standard_normal((9, 33)), Domain.of((-1.0, 3.0), 33), 10)
    x = generator.uniform(-1, 3, (8, 33))
    shares, weights = np.rint((x + 1) / 4 * sketch.cells).astype(np.int64), sketch.weights.astype(np.int64)
    assert (np.abs(shares) @ np.abs(weights).T).max() < 2**53
    np.testing.assert_array_equal(np.rint((x + 1) / 4 * sketch.cells) @ sketch.weights.T, shares @ weights.T)
    np.testing.assert_allclose(sketch.directions, np.random.default_rng(0).standard_normal((9, 33)), atol=1e-5)
    step = np.zeros(sketch.blocks.size)
    np.testing.assert_array_equal(sketch.sums(x, step), sum(sketch.sums(row[None], step) for row in x[::-1]))
    again = DirectionSketch.restore(sketch.state())
    np.testing.assert_array_equal(again.weights, sketch.weights)


@pytest.mark.parametrize("kind", ["laplace", "gaussian"])
@pytest.mark.parametrize("name", sketches())
def test_the_split_spends_exactly_the_budget_and_is_the_best(name, kind):
    blocks = sketches()[name].blocks
    found = Mechanism.calibrate(blocks, Budget(1.0, 1e-5, noise=kind))
    if kind == "laplace":
        spent = lambda scales: (blocks.l1 / scales).sum()  # noqa: E731
    else:
        spent = lambda scales: math.sqrt(np.square(blocks.l2 / scales).sum())  # noqa: E731
    assert spent(found.scales) == pytest.approx(found.ratio, rel=1e-4)
    assert spent(found.scales) <= found.ratio * (1 + 1e-12)
    generator = np.random.default_rng(0)
    for _ in range(20):
        other = found.scales * np.exp(0.1 * generator.standard_normal(len(found.scales)))
        other *= spent(other) / found.ratio
        assert blocks.cost @ other**2 >= blocks.cost @ found.scales**2 * (1 - 1e-4)
    replaced = Mechanism.calibrate(blocks, Budget(1.0, 1e-5, "replace-one", kind))
    np.testing.assert_allclose(replaced.scales, 2 * found.scales, rtol=1e-3)


def test_releases_are_on_the_grid():
    """Nothing but whole steps comes out, so no low bit tells of the data."""
    for sketch in sketches().values():
        mechanism = Mechanism.calibrate(sketch.blocks, Budget())
        rows = np.random.default_rng(0).standard_normal((50, 3))
        released = mechanism.add_noise(sketch.sums(rows, mechanism.each_step()), Randomness(seed=0))
        steps = released / mechanism.each_step()
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)


def membership_scores(budget: Budget, factor: float, runs: int = 20_000) -> list[np.ndarray]:
    """Log likelihood ratios of a planted row, without it and with it: each number is a run of its own."""
    mechanism = Mechanism.calibrate(Blocks.of((runs, 1.0, 1.0, 1.0, False)), budget)
    mechanism = replace(mechanism, scales=factor * mechanism.scales, steps=factor * mechanism.steps)
    law, scale = (stats.laplace if mechanism.kind == "laplace" else stats.norm), mechanism.scales[0]
    outputs = [mechanism.add_noise(np.full(runs, planted), Randomness(seed=int(planted))) for planted in (0.0, 1.0)]
    return [law.logpdf(o, 1.0, scale) - law.logpdf(o, 0.0, scale) for o in outputs]


@pytest.mark.parametrize("kind", ["laplace", "gaussian"])
@pytest.mark.parametrize("factor", [1.0, 0.5], ids=["right", "half the noise"])
def test_audit_of_distributions(kind, factor):
    """A membership test cannot beat the claimed epsilon; one that forgets a factor 2 in the sensitivity is caught."""
    eps, delta = 1.0, 1e-2
    without, with_row = membership_scores(Budget(eps, delta, noise=kind), factor)
    bound = epsilon_lower_bound(without, with_row, delta if kind == "gaussian" else 0.0)
    if factor == 1.0:
        assert 0.05 < bound <= eps
    else:
        assert bound > eps


def test_bad_budgets():
    for options in (
        {"eps": 0},
        {"eps": -1.0},
        {"eps": float("nan")},
        {"delta": 1.0},
        {"delta": -1e-9},
        {"noise": "gaussian"},
        {"neighbours": "one"},
        {"noise": "cauchy"},
    ):
        with pytest.raises(InputError):
            Budget(**options)
    with pytest.raises(InputError, match="too small"):
        Mechanism.calibrate(HaarSketch(np.zeros(1), np.ones(1), 2).blocks, Budget(1e-9))
