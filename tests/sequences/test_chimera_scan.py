"""The two-dimensional selective scan: against its definition, in tiles, backwards, bounded, and with bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.sequences.chimera import selective_scan, selective_scan_2d
from harmonia.sequences.chimera.claims.grids import double_loop, in_tiles, random_grid, wavefront
from harmonia.sequences.chimera.impulse import companion, companion_scan, convolve_2d


@settings(deadline=None, max_examples=15)
@given(
    st.integers(1, 3), st.integers(1, 5), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99),
    st.sampled_from(["zoh", "euler"]), st.sampled_from(["auto", "variables", "time"]),
)  # fmt: skip
def test_the_scan_is_its_definition(batch, variables, length, channels, state, seed, hold, outer):
    grid = random_grid(batch, variables, length, channels, state, seed, torch.float64)
    found = selective_scan_2d(*grid, hold=hold, outer=outer)
    torch.testing.assert_close(found, double_loop(grid, hold=hold))
    torch.testing.assert_close(wavefront(grid, hold=hold), double_loop(grid, hold=hold))


def test_the_papers_coupling_is_its_definition():
    grid = random_grid(1, 3, 6, 2, 2, 0, torch.float64)
    grid[4:6] = [-torch.exp(each) for each in grid[4:6]]
    torch.testing.assert_close(selective_scan_2d(*grid, coupling="paper"), double_loop(grid, coupling="paper"))


@pytest.mark.parametrize("hold", ["zoh", "euler"])
@pytest.mark.parametrize("outer", ["variables", "time"])
def test_gradients(hold, outer):
    grid = [each.requires_grad_() for each in random_grid(1, 2, 4, 2, 2, 0, torch.float64)]
    assert torch.autograd.gradcheck(lambda *each: selective_scan_2d(*each, hold=hold, outer=outer), grid)


@pytest.mark.parametrize("variables", [1, 3])
def test_tiles_give_the_same_numbers_and_gradients(monkeypatch, variables):
    grid = [each.requires_grad_() for each in random_grid(2, variables, 8, 5, 3, 0, torch.float64)]
    target = torch.randn_like(grid[0])
    whole = selective_scan_2d(*grid)
    expected = torch.autograd.grad(whole, grid, target, materialize_grads=True)
    monkeypatch.setattr(selective_scan, "KEPT", 0)
    monkeypatch.setattr(selective_scan, "TILE", 8 * 2 * 3 * 2)  # two channels at a time
    tiled = selective_scan_2d(*grid)
    torch.testing.assert_close(tiled, whole)
    for one, other in zip(torch.autograd.grad(tiled, grid, target), expected):
        torch.testing.assert_close(one, other)
    assert torch.autograd.gradcheck(in_tiles_of, random_grid_with_gradients())


def in_tiles_of(*grid):
    return in_tiles(list(grid))


def random_grid_with_gradients():
    return [each.requires_grad_() for each in random_grid(1, 2, 3, 2, 2, 1, torch.float64)]


def test_a_step_of_zero_holds_the_state():
    """A cell that was not seen: time's state stays, the other variables' state passes, and the input does not count."""
    grid = random_grid(1, 3, 6, 2, 2, 0, torch.float64)
    for steps in grid[1:3]:
        steps[:, 1, 3] = 0
    found = selective_scan_2d(*grid)
    other = [each.clone() for each in grid]
    other[0][:, 1, 3] = 1e6
    torch.testing.assert_close(selective_scan_2d(*other), found)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 999))
def test_stable_couplings_are_bounded_whatever_the_steps(seed):
    grid = random_grid(1, 4, 200, 2, 1, seed, torch.float64)
    grid[1:3] = [torch.exp(3 * each) - 1 for each in grid[1:3]]  # from tiny steps to huge ones
    grid[0], ones = torch.sign(grid[0]), torch.ones_like(grid[7])
    grid[7:9] = [ones, ones]
    bound = float(1 / torch.stack([grid[3], grid[6]]).abs().min() / (1 - torch.stack(grid[4:6]).abs().max()))
    for reads in ((1, 0), (0, 1)):
        assert float(selective_scan_2d(*grid[:9], *(r * ones for r in reads)).abs().max()) <= bound * (1 + 1e-9)


def test_growth_without_bound_is_told():
    cell = torch.ones(1, 60, 1500, 1)
    tiny = 1e-3 * cell
    rate = torch.full((1, 1), -1e-3)
    with pytest.raises(InputError, match="grew beyond all numbers"):
        selective_scan_2d(cell, tiny, tiny, rate, rate, rate, rate, *[cell] * 4, coupling="paper")
    assert torch.isfinite(selective_scan_2d(cell, tiny, tiny, rate, -rate, -rate, rate, *[cell] * 4)).all()


@pytest.mark.parametrize(
    ("options", "told"), [({"coupling": "loose"}, "coupling"), ({"hold": "foh"}, "hold"), ({"outer": "v"}, "outer")]
)
def test_unknown_options(options, told):
    with pytest.raises(InputError, match=told):
        selective_scan_2d(*random_grid(1, 1, 2, 1, 1, 0), **options)


def test_rates_must_decay():
    grid = random_grid(1, 1, 2, 1, 1, 0)
    grid[3] = -grid[3]
    with pytest.raises(InputError, match="negative"):
        selective_scan_2d(*grid)


@pytest.mark.parametrize(
    ("which", "value", "told"),
    [(0, math.nan, "finite"), (0, math.inf, "finite"), (7, math.nan, "finite"), (1, -1.0, "steps"), (4, 1.5, "shares")],
    ids=["NaN", "infinity", "weights", "steps", "shares"],
)
@pytest.mark.parametrize("coupling", ["stable", "paper"])
def test_numbers_that_give_none(which, value, told, coupling):
    grid = random_grid(1, 3, 5, 2, 2, 0)
    if coupling == "paper":
        grid[4:6] = [-torch.exp(each) for each in grid[4:6]]
        told = told.replace("shares", "")  # there, any negative rate will do
        value = -value if which == 4 else value
    grid[which] = grid[which].clone()
    grid[which].view(-1)[0] = value
    if told:
        with pytest.raises(InputError, match=told):
            selective_scan_2d(*grid, coupling=coupling)
    else:
        assert torch.isfinite(selective_scan_2d(*grid, coupling=coupling)).all()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)], ids=["variables", "times"])
def test_an_empty_grid_is_refused(shape):
    with pytest.raises(InputError, match="empty"):
        selective_scan_2d(*random_grid(1, *shape, 2, 2, 0))


def test_the_papers_coupling_is_bounded_over_time_and_grows_with_the_variables():
    """Both from the same steps and rates: row by row what is constant in time is multiplied."""

    def peak(variables, length):
        cell, rate = torch.ones(1, variables, length, 1, dtype=torch.float64), -torch.ones(1, 1, dtype=torch.float64)
        return float(
            selective_scan_2d(cell, 0.1 * cell, 0.1 * cell, *[rate] * 4, *[cell] * 4, coupling="paper").abs().max()
        )

    assert peak(3, 2000) == pytest.approx(peak(3, 1000))
    a = math.exp(-0.1)
    assert peak(12, 1000) / peak(11, 1000) == pytest.approx(a + a * a / (1 - a), rel=1e-3)


def test_convolution_is_the_sum_that_defines_it():
    random = np.random.default_rng(0)
    x, kernel = random.standard_normal((2, 3, 5, 2)), random.standard_normal((3, 5, 2))
    expected = np.zeros_like(x)
    for v, t, i, j in np.ndindex(3, 5, 3, 5):
        if i <= v and j <= t:
            expected[:, v, t] += kernel[i, j] * x[:, v - i, t - j]
    np.testing.assert_allclose(convolve_2d(torch.from_numpy(x), torch.from_numpy(kernel)).numpy(), expected, atol=1e-12)


def test_a_companion_matrix_shifts_and_is_its_polynomials():
    column = torch.tensor([[0.1, -0.2, 0.4]], dtype=torch.float64)
    matrix = companion(column)[0]
    torch.testing.assert_close(
        matrix @ torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64), torch.tensor([0.0, 1.0, 2.0]).double()
    )
    # Its characteristic polynomial is x^3 - 0.4 x^2 + 0.2 x - 0.1.
    np.testing.assert_allclose(np.poly(matrix.numpy()), [1, -0.4, 0.2, -0.1], atol=1e-12)
    assert math.isclose(float(companion(10 * column)[0, :, -1].abs().sum()), 1.0)


def test_companion_states_hand_over():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2, 7, 1, generator=generator, dtype=torch.float64)
    rate = [torch.rand(1, 3, generator=generator, dtype=torch.float64) / 3 for _ in range(3)]
    ones = torch.ones(1, 3, dtype=torch.float64)
    options = (companion(rate[0]), *rate, (ones, ones), (ones[0], ones[0]))
    whole, _ = companion_scan(x, *options)
    first, state = companion_scan(x[:, :, :4], *options)
    rest, _ = companion_scan(x[:, :, 4:], *options, state)
    torch.testing.assert_close(torch.cat([first, rest], 2), whole)
