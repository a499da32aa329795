"""The solver against exact solutions, dense formulas and other routes; operators; conditions; bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, cos, exp, sin

from harmonia.core.errors import InputError
from harmonia.kernels.gp_hm import (
    Advection,
    AllenCahn,
    Derivatives,
    GPPDESolver,
    Helmholtz,
    Laplace,
    LinearOperator,
    Neumann,
    OfficialLoop,
    Periodic,
    SpectralMixtureKernel1D,
    galerkin,
    least_squares,
    paper,
    source_of,
)
from harmonia.kernels.gp_hm.basis import AxisBasis, Lags
from harmonia.kernels.gp_hm.boundary import rows_of
from harmonia.kernels.gp_hm.evaluation import at_points, on_grid
from harmonia.kernels.gp_hm.official import lowest, official_kernels
from harmonia.kernels.gp_hm.operators import orders_of
from harmonia.kernels.gp_hm.problems import differentiated


def even(*counts: int, length: float = 1.0) -> list[Tensor]:
    return [torch.linspace(0, length, n, dtype=torch.float64) for n in counts]


def error_of(solver: GPPDESolver, u, points: int = 57) -> float:
    axes = [torch.linspace(float(x[0]), float(x[-1]), points, dtype=torch.float64) for x in solver.grid]
    truth = u(*torch.meshgrid(*axes, indexing="ij")).numpy()
    return float(np.linalg.norm(solver.predict_grid(axes) - truth) / np.linalg.norm(truth))


def burgers(u, x, t):
    return u[0, 1] + u[0, 0] * u[1, 0] - 0.05 * u[2, 0]


def variable(u, x, y):
    return u[2, 0] * (1 + x * y) + u[0, 2] * (2 + sin(5 * x)) + 0.3 * u[1, 1] + u[1, 0]


HEAT = LinearOperator([(1.0, (0, 1)), (-0.1, (2, 0))])
WAVE = LinearOperator([(1.0, (0, 2)), (-9.0, (2, 0))])
OPEN = ("left", "right", "bottom")
CASES = {
    "poisson in 1-D": (Laplace(), lambda x: sin(40 * x) + x**2, (80,), None, 1e-4),
    "allen-cahn in 1-D": (AllenCahn(), lambda x: sin(40 * x), (80,), None, 1e-4),
    "a variable coefficient in 1-D": (lambda u, x: u[2] + x * u[1] - u[0], lambda x: cos(25 * x), (80,), None, 1e-4),
    "beam, fourth order": (
        lambda u, x: u[4],
        lambda x: sin(9 * x),
        (60,),
        {
            "left": [lambda x: sin(9 * x), Neumann(lambda x: 9 * cos(9 * x))],
            "right": [lambda x: sin(9 * x), Neumann(lambda x: 9 * cos(9 * x))],
        },
        1e-3,
    ),
    "periodic": (Helmholtz(3.0), lambda x: sin(12 * math.pi * x), (80,), {"left": Periodic()}, 1e-4),
    "poisson in 2-D": (Laplace(), lambda x, y: sin(20 * x) * cos(15 * y) + x * y, (50, 45), None, 1e-4),
    "helmholtz with slopes": (
        Helmholtz(30.0),
        lambda x, y: sin(12 * x + 3 * y),
        (48, 48),
        {
            "left": Neumann(lambda x, y: 12 * cos(12 * x + 3 * y)),
            "right": lambda x, y: sin(12 * x + 3 * y),
            "bottom": lambda x, y: sin(12 * x + 3 * y),
            "top": Neumann(lambda x, y: 3 * cos(12 * x + 3 * y)),
        },
        1e-3,
    ),
    "allen-cahn in 2-D": (AllenCahn(), lambda x, y: sin(14 * x) * sin(11 * y), (40, 40), None, 1e-3),
    "variable coefficients and a mixed derivative": (
        variable,
        lambda x, y: sin(12 * x + 3 * y) * exp(y),
        (44, 44),
        None,
        1e-3,
    ),
    "advection": (Advection(5.0), lambda x, t: sin(6 * (x - 5 * t)), (40, 60), ("left", "bottom"), 1e-2),
    "heat": (HEAT, lambda x, t: sin(9 * x) * exp(-8.1 * t), (40, 50), OPEN, 1e-3),
    "burgers": (burgers, lambda x, t: sin(6 * x + t), (40, 40), OPEN, 1e-3),
    "poisson in 3-D": (Laplace(), lambda x, y, z: sin(9 * x) * sin(7 * y) * cos(5 * z), (20, 20, 20), None, 1e-3),
}


@pytest.mark.parametrize("name", list(CASES))
def test_exact_solutions_are_found(name: str) -> None:
    equation, u, points, sides, bound = CASES[name]
    grid = even(*points)
    boundary = u if sides is None else dict.fromkeys(sides, u) if isinstance(sides, tuple) else sides
    solver = GPPDESolver(equation, grid, boundary, max_iter=1).fit(lambda *x: source_of(equation, u, x))
    assert error_of(solver, u, 25) < bound
    assert solver.relative_residual_ < 0.05


def test_a_wave_starts_from_its_place_and_speed() -> None:
    def u(x: Tensor, t: Tensor) -> Tensor:
        return sin(3 * math.pi * x) * cos(9 * math.pi * t)

    sides = {"left": 0.0, "right": 0.0, "bottom": [u, Neumann(0.0)]}
    solver = GPPDESolver(WAVE, even(60, 90), sides, max_iter=1).fit(0.0)
    assert error_of(solver, u) < 1e-3


def test_a_line_is_found_whatever_the_prior() -> None:
    solver = GPPDESolver(Laplace(), even(40), lambda x: 2 * x - 1, max_iter=0).fit(0.0)
    x = np.array([0.0, 0.31, 0.77, 1.0])
    np.testing.assert_allclose(solver.predict(x), 2 * x - 1, atol=1e-4)
    np.testing.assert_allclose(solver.predict([0.0, 1.0]), [-1, 1], atol=1e-9)


LINES = {
    "a constant": ((40,), lambda x: 0 * x + 3),
    "a line": ((40,), lambda x: 1 + x),
    "a fine line": ((900,), lambda x: 1 + x),
    "a plane": ((20, 20), lambda x, y: x + 2 * y),
}


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("name", list(LINES))
@pytest.mark.parametrize("method", ["galerkin", "least-squares"])
def test_polynomials_of_degree_below_two_have_no_residual_without_a_source(name: str, method: str) -> None:
    """Source and terms vanish: the residual is rounding, and no scale of itself."""
    counts, u = LINES[name]
    solver = GPPDESolver(Laplace(), even(*counts), u, solver=method, max_iter=0).fit(0.0)
    assert solver.relative_residual_ < 1e-2
    assert error_of(solver, u) < 1e-4


def test_irregular_grids_and_derivatives() -> None:
    x = torch.from_numpy(np.sort(np.concatenate([[0, 1], np.linspace(0.003, 0.997, 70) + 0.004 * np.sin(range(70))])))
    solver = GPPDESolver(Laplace(), [x], lambda x: sin(30 * x), max_iter=0).fit(lambda x: -900 * sin(30 * x))
    at = np.linspace(0, 1, 33)
    np.testing.assert_allclose(solver.predict(at), np.sin(30 * at), atol=2e-3)
    np.testing.assert_allclose(solver.predict(at, deriv=1), 30 * np.cos(30 * at), atol=0.1)
    np.testing.assert_allclose(solver.predict(at, deriv=(2,)), -900 * np.sin(30 * at), atol=8)


def test_the_direct_solver_solves_the_projected_equations() -> None:
    """Against one dense system of all products of basis functions."""
    grid = even(12, 11)
    rows = rows_of(lambda x, y: x * y + 1, grid)
    kernel = SpectralMixtureKernel1D(6, freq_scale=1.5)
    bases = [
        AxisBasis(Lags(x), kernel.on(len(x), 1.0), [row for row in rows if row.axis == axis])
        for axis, x in enumerate(grid)
    ]
    source = torch.randn(12, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for equation in (Helmholtz(40.0), lambda u, x, y: (1 + x) * u[2, 0] + u[0, 2] + u[1, 1] + 3 * y * u[0, 0]):
        found = galerkin.solve(equation, orders_of(equation, 2), bases, source)
        q = torch.kron(bases[0].orthonormal[0], bases[1].orthonormal[0])
        lifted = galerkin.Fields(bases).lifted()
        columns = []
        size = math.prod(basis.free.shape[1] for basis in bases)
        shape = [basis.free.shape[1] for basis in bases]

        def value(z: Tensor, equation=equation) -> Tensor:
            fields = galerkin.Fields(bases)
            values = {order: fields.of(z, order) for order in orders_of(equation, 2)}
            return equation(Derivatives(2, values.__getitem__), *torch.meshgrid(*grid, indexing="ij"))

        for index in range(size):
            unit = torch.zeros(size, dtype=torch.float64)
            unit[index] = 1
            columns.append(value(galerkin._to_z(bases, unit.reshape(shape))).reshape(-1))
        right = q.T @ (source - value(lifted)).reshape(-1)
        dense = torch.linalg.solve(q.T @ torch.stack(columns, 1), right).reshape(shape)
        here, there = (galerkin.Fields(bases).of(z, (0, 0)) for z in (found.z, lifted + galerkin._to_z(bases, dense)))
        torch.testing.assert_close(here, there, rtol=1e-6, atol=1e-6)
        assert float((q.T @ found.residual.reshape(-1)).norm()) < 1e-7 * float(source.norm())


def test_least_squares_is_the_papers_objective() -> None:
    """Against the minimiser of the dense objective in u, boundary values held."""
    [x] = even(14)
    kernel = SpectralMixtureKernel1D(5, freq_scale=3.0).on(14, 1.0)
    basis = AxisBasis(Lags(x), kernel, rows_of(lambda x: 1 + x, [x]), jitter=1e-15)
    source, deviation = sin(7 * x), 0.05
    found = least_squares.solve(Laplace(), [(2,)], [basis], source, noise=deviation)
    matrix = kernel.k(x[:, None] - x)
    second = kernel.k(x[:, None] - x, 2) @ torch.linalg.inv(matrix)
    precision = torch.linalg.inv(matrix) + second.T @ second / deviation**2
    right = second.T @ source / deviation**2
    u = torch.zeros(14, dtype=torch.float64)
    u[0], u[-1] = 1.0, 2.0
    inner = slice(1, -1)
    u[inner] = torch.linalg.solve(precision[inner, inner], right[inner] - precision[inner] @ u)
    torch.testing.assert_close(basis.on_grid() @ found.z, u, rtol=1e-4, atol=1e-5)
    covariance = torch.linalg.inv(precision[inner, inner])
    root = basis.on_grid()[inner] @ found.root
    torch.testing.assert_close(root @ root.T, covariance, rtol=1e-2, atol=1e-7)


def test_both_solvers_agree() -> None:
    problem = paper("poisson_1d-mix_sin")
    grid, kernel = problem.grid((300,)), SpectralMixtureKernel1D(freq_scale=20.0)
    results = [
        GPPDESolver(problem.equation, grid, problem.u, kernel, solver=name, max_iter=2).fit(problem.source)
        for name in ("galerkin", "least-squares")
    ]
    for solver in results:
        assert error_of(solver, problem.u, 300) < 1e-4
    x = np.linspace(0, 1, 9)
    mean, std = results[1].predict(x, return_std=True)
    assert (np.abs(mean - problem.u(torch.from_numpy(x)).numpy()) < 5 * std + 1e-6).all()


def test_measurements_stand_in_for_a_boundary() -> None:
    def u(x: Tensor, y: Tensor) -> Tensor:
        return sin(6 * x) * cos(4 * y)

    generator = np.random.default_rng(0)
    points = generator.uniform(size=(60, 2))
    values = u(*torch.from_numpy(points).T).numpy() + 1e-3 * generator.standard_normal(60)
    sides = dict.fromkeys(("left", "bottom", "top"), u)
    solver = GPPDESolver(Laplace(), even(24, 24), sides, max_iter=1)
    solver.observe(points, values, noise=1e-3).fit(lambda x, y: -52 * u(x, y))
    assert error_of(solver, u) < 5e-3


def test_error_bars_and_the_estimated_error() -> None:
    problem = paper("poisson_2d-sin_add_cos")
    solver = GPPDESolver(problem.equation, problem.grid((100, 100)), problem.u, max_iter=3).fit(problem.source)
    true = error_of(solver, problem.u)
    assert true < 3 * solver.error_ < 0.1
    axes = problem.grid((15, 13))
    std = solver.std_grid(axes)
    points = torch.cartesian_prod(*axes).numpy()
    mean, scattered = solver.predict(points, return_std=True)
    np.testing.assert_allclose(scattered.reshape(15, 13), std, atol=1e-9)
    truth = problem.u(*torch.from_numpy(points).T).numpy()
    assert (np.abs(mean - truth) <= 4 * scattered + 1e-9).mean() > 0.95


@pytest.mark.parametrize("wave", [40.0, 12.0])
def test_error_bars_on_a_line_are_of_the_size_of_the_error(wave: float) -> None:
    solver = GPPDESolver(Laplace(), even(120), 0.3, max_iter=0).fit(lambda x: -(wave**2) * sin(wave * x))
    x = np.linspace(0.02, 0.98, 200)
    mean, std = solver.predict(x, return_std=True)
    truth = np.sin(wave * x) + 0.3 - np.sin(wave) * x
    error = np.sqrt(np.square(mean - truth).mean())
    assert 0.1 < np.sqrt(np.square(std).mean()) / error < 30
    assert solver.predict([0.0, 1.0], return_std=True)[1].max() < std.max()


def test_points_and_grids_agree() -> None:
    basis = [AxisBasis(Lags(x), SpectralMixtureKernel1D(4).on(len(x), 1.0), []) for x in even(9, 8, 7)]
    z = torch.randn([b.rank for b in basis], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    axes = even(5, 4, 3)
    scattered = at_points(basis, z, torch.cartesian_prod(*axes), (1, 0, 2))
    torch.testing.assert_close(scattered.reshape(5, 4, 3), on_grid(basis, z, axes, (1, 0, 2)))


def test_frequencies_are_found() -> None:
    problem = paper("poisson_1d-single_sin")
    kernel = SpectralMixtureKernel1D(envelope="matern52", freq_scale=20.0)
    solver = GPPDESolver(problem.equation, problem.grid((300,)), problem.u, kernel, max_iter=20).fit(problem.source)
    assert solver.kernels_[0].peaks()[0] == pytest.approx(100 / (2 * math.pi), rel=0.01)
    assert error_of(solver, problem.u, 300) < 1e-3
    assert solver.history_[-1].evidence < solver.history_[1].evidence


def test_the_official_loop_starts_at_the_dense_formula() -> None:
    """That it ends at the committed log is a quick claim."""
    problem = paper("poisson_1d-single_sin")
    [x] = problem.grid((40,))
    u = problem.u(x)
    kernels = official_kernels(1, 5, 20.0)
    loop = OfficialLoop(problem.equation, [x], kernels, problem.source(x), torch.stack([u[0], u[-1]]))
    lag = x[:, None] - x
    matrix = kernels[0].k(lag) + 1e-6 * torch.eye(40, dtype=torch.float64)
    zero_u = (
        0.5 * torch.linalg.slogdet(matrix)[1] + 100 * u[[0, -1]].square().sum() + 0.5 * problem.source(x).square().sum()
    )
    assert float(loop.loss().detach()) == pytest.approx(float(zero_u), rel=1e-9)
    assert lowest(loop, 5, problem.grid((50,)), problem.u(*problem.grid((50,)))) < 1.1
    assert len(loop.losses) == 5


def test_the_official_loop_multiplies_in_the_order_of_the_release() -> None:
    """``U_xx = K1'' K1^-1 U`` leaves K2 alone: at a condition of 1e8 another order is another loop."""
    problem = paper("poisson_2d-sin_sin")
    axes = problem.grid((60, 50))
    source = problem.source(*torch.meshgrid(*axes, indexing="ij"))
    kernels = official_kernels(2, 30, 2.0)
    loop = OfficialLoop(problem.equation, axes, kernels, source, torch.zeros(220, dtype=torch.float64))
    u = torch.randn(60, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    k1, k2 = loop._covariances(kernels)
    bend_x, bend_y = (Lags(x).matrix(kernel, 2) for x, kernel in zip(axes, kernels))
    along_x, along_y = torch.linalg.solve(k1, u), torch.linalg.solve(k2, u.T)
    residual = bend_x @ along_x + (bend_y @ along_y).T - source
    ends = torch.cat([u[0], u[-1], u[:, 0], u[:, -1]])
    logdet = 50 * torch.linalg.slogdet(k1)[1] + 60 * torch.linalg.slogdet(k2)[1]
    quadratic = (along_x * along_y.T).sum() + 200 * ends.square().sum()
    expected = 0.5 * (logdet + quadratic + residual.square().sum())
    with torch.no_grad():
        loop._u.copy_(u)
    found = loop.loss()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-11)
    [theirs], [ours] = torch.autograd.grad(expected, [u]), torch.autograd.grad(found, [loop._u])
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-11


def test_operators() -> None:
    assert orders_of(AllenCahn(), 3) == [(0, 0, 0), (0, 0, 2), (0, 2, 0), (2, 0, 0)]
    points = torch.meshgrid(*even(4, 5), indexing="ij")
    assert orders_of(Helmholtz(lambda x, y: x + y), 2) == [(0, 0), (0, 2), (2, 0)]

    def u(x: Tensor, y: Tensor) -> Tensor:
        return x**3 * y**2

    torch.testing.assert_close(differentiated(u, points, (2, 1)), 12 * points[0] * points[1])
    torch.testing.assert_close(source_of(Laplace(), u, points), 6 * points[0] * points[1] ** 2 + 2 * points[0] ** 3)


def test_it_says_when_the_solution_is_not_resolved_or_not_determined() -> None:
    poor = GPPDESolver(Laplace(), even(60), 0.0, SpectralMixtureKernel1D(freq_scale=2.0), max_iter=0)
    with pytest.warns(UserWarning, match="relative residual"):
        poor.fit(lambda x: sin(120 * x))
    floating = GPPDESolver(Laplace(), even(40), {"left": Neumann(0.0), "right": Neumann(0.0)}, max_iter=0)
    with pytest.warns(UserWarning, match="direction"):
        floating.fit(lambda x: cos(2 * math.pi * x))


@pytest.mark.parametrize(
    ("equation", "sides", "message"),
    [
        (Laplace(), {}, "left and right: 0 of 2 conditions; bottom and top: 0 of 2"),
        (Laplace(), {"left": 0.0, "bottom": 0.0, "top": 0.0}, "left and right: 1 of 2 conditions"),
        (HEAT, {"left": 0.0, "right": 0.0}, "bottom and top: 0 of 1"),
        (WAVE, {"left": 0.0, "right": 0.0, "bottom": 0.0}, "bottom and top: 1 of 2"),
        (Helmholtz(5 * math.pi**2), 0.0, "a direction of the solution"),
    ],
    ids=["no sides", "three sides", "heat without a start", "a wave without a speed", "two resonances"],
)
def test_forgotten_sides_and_resonances_are_told(equation, sides, message: str) -> None:
    """The last has two open directions, the waves (1, 2) and (2, 1): neither is far below the other."""
    kernel = SpectralMixtureKernel1D(freq_scale=2.0)
    with pytest.warns(UserWarning, match=message):
        GPPDESolver(equation, even(20, 20), sides, kernel, max_iter=0).fit(1.0)


def test_measurements_are_added_to_those_before() -> None:
    solver = GPPDESolver(Laplace(), even(40), {}, max_iter=0)
    solver.observe([0.0], [1.0]).observe([1.0, 0.5], [2.0, 9.0], noise=[1e-3, 1e3]).fit(0.0)
    np.testing.assert_allclose(solver.predict([0.0, 0.5, 1.0]), [1, 1.5, 2], atol=1e-3)


def test_a_fit_that_fails_leaves_the_last_one() -> None:
    solver = GPPDESolver(Laplace(), even(30), 0.0, max_iter=0).fit(-2.0)
    before = solver.predict_grid()
    solver.grid, solver.jitter = even(20), 2.0
    with pytest.raises(InputError, match="jitter"):
        solver.fit(1.0)
    solver.jitter, solver.operator = 1e-10, Helmholtz(math.nan)
    with pytest.raises(InputError, match="not finite at a guess"):
        solver.fit(1.0)
    np.testing.assert_array_equal(solver.predict_grid(), before)
    assert len(solver.history_) == 1


def test_numbers_of_numpy_are_numbers() -> None:
    assert SpectralMixtureKernel1D(1, rate=np.float32(2.0)).on(9, 1.0).parameters[1].exp() == pytest.approx(2.0)
    kernel = SpectralMixtureKernel1D(np.int64(20), freq_scale=np.float32(1.5))
    sides = {"left": list(np.arange(12)), "right": list(range(12)), "bottom": 0.0, "top": 11.0}
    solver = GPPDESolver(Laplace(), even(12, 12), sides, kernel, max_iter=np.int64(0)).fit(np.float32(0))
    np.testing.assert_allclose(solver.predict([[0.5, 0.5]], deriv=(np.int64(0), np.int64(1))), 11, rtol=0.05)
    line = GPPDESolver(Laplace(), even(30), 0.0, max_iter=0).fit(-2.0)
    np.testing.assert_allclose(line.predict([0.5], deriv=np.int64(2)), -2, rtol=1e-2)
    assert line.predict_grid([0.5]).shape == (1,)


ROUGH = SpectralMixtureKernel1D(envelope="matern52")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": []}, "one to three axes"),
        ({"grid": [[0, 1]]}, "at least four points"),
        ({"grid": [[0, 1, 1, 2]]}, "increase strictly"),
        ({"grid": [[0, 1, np.nan, 2]]}, "increase strictly"),
        ({"grid": [torch.linspace(0, 1, 9)]}, "float64"),
        ({"grid": [np.linspace(0, 1, 6000)]}, "too large"),
        ({"boundary": {"west": 0.0}}, "no such side"),
        ({"boundary": {"left": np.zeros(3)}}, "values on the left side"),
        ({"boundary": {"right": math.inf}}, "not finite"),
        ({"boundary": {"right": object()}}, "condition on the right side"),
        ({"kernel": SpectralMixtureKernel1D(freq_scale=1e4)}, "Take 20001 points"),
        ({"kernel": [SpectralMixtureKernel1D()] * 2}, "one kernel an axis"),
        (
            {"operator": lambda u, x: u[4], "kernel": SpectralMixtureKernel1D(envelope="matern52")},
            "envelope='gaussian'",
        ),
        ({"operator": lambda u: u[2]}, "does not fit the grid"),
        ({"operator": lambda u, x: 3.0}, "gives a tensor"),
        ({"operator": lambda u, x: u[2, 0]}, "derivative that there is not"),
        ({"operator": lambda u, x: u[2] - 1 / u[0]}, "not finite at a guess"),
        ({"operator": lambda u, x: u[2] + torch.sqrt(u[0]), "solver": "least-squares"}, "not finite at a guess"),
        ({"operator": Helmholtz(math.nan)}, "not finite at a guess"),
        ({"operator": LinearOperator([("a", (2,))])}, "coefficient cannot be read"),
        ({"operator": Helmholtz(lambda x, y: x)}, "coefficient does not fit"),
        ({"grid": [list("abcdef")]}, "points of axis 1 cannot be read"),
        ({"boundary": {"left": "periodic"}}, r"cannot be read \(got 'periodic'\).*Periodic\(\)"),
        ({"boundary": lambda x, y: x}, "condition on the left side does not fit"),
        ({"boundary": lambda x: x.expand(7)}, "values on the left side do not fit"),
        ({"max_iter": -1}, "'max_iter' is a whole number"),
        ({"jitter": 0.0}, "'jitter' is a number > 0 and < 1"),
        ({"jitter": 1.0}, "'jitter' is a number > 0 and < 1"),
        ({"jitter": -1.0}, "'jitter' is a number > 0 and < 1"),
        ({"jitter": math.nan}, "'jitter' is a number > 0 and < 1"),
        ({"tolerance": -1.0}, "'tolerance'"),
        ({"noise": 0.0}, "'noise' is a number > 0"),
        ({"noise": math.nan, "solver": "least-squares"}, "'noise' is a number > 0"),
    ],
)
def test_bad_problems(change: dict, message: str) -> None:
    arguments = {"operator": Laplace(), "grid": [np.linspace(0, 1, 20)], "boundary": 0.0, "max_iter": 0, **change}
    with pytest.raises(InputError, match=message):
        GPPDESolver(**arguments).fit(1.0)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros(5), "does not fit the grid"),
        (math.nan, "not finite"),
        ("sin(x)", "source cannot be read"),
        (lambda x, y: x, "source does not fit the grid"),
        (lambda x: None, "source is not finite"),
        (lambda x: x[:5], "source does not fit the grid"),
    ],
)
def test_bad_sources(source, message: str) -> None:
    with pytest.raises(InputError, match=message):
        GPPDESolver(Laplace(), [np.linspace(0, 1, 20)], 0.0).fit(source)


def test_bad_questions() -> None:
    solver = GPPDESolver(Laplace(), [np.linspace(0, 1, 20)], 0.0, max_iter=0)
    with pytest.raises(InputError, match="no solution yet"):
        solver.predict([0.5])
    with pytest.raises(InputError, match="one value a point"):
        solver.observe([[0.1], [0.2]], [1.0])
    with pytest.raises(InputError, match="positive"):
        solver.observe([[0.1]], [1.0], noise=0.0)
    for noise, message in (("a", "cannot be read"), ([1e-3, 1e-3, 1e-3], "one a point"), ([1.0, math.nan], "positive")):
        with pytest.raises(InputError, match=message):
            solver.observe([[0.1], [0.2]], [1.0, 2.0], noise=noise)
    with pytest.raises(InputError, match="a term of a linear operator"):
        LinearOperator([(1.0,)])
    solver.fit(1.0)
    for deriv in ((1, 0), (1.5,), "x", -1):
        with pytest.raises(InputError, match="one order an axis"):
            solver.predict([0.5], deriv=deriv)
    for axes, message in (([[0.1, math.nan]], "points are finite"), ([[[0.1, 0.2]]], "do not fit"), (["a"], "be read")):
        with pytest.raises(InputError, match=message):
            solver.predict_grid(axes)
    with pytest.raises(InputError, match="points are finite"):
        solver.predict([math.nan])
    with pytest.raises(InputError, match="paper has no such problem"):
        paper("stokes")
    fine = [np.linspace(0, 1, 120)] * 2
    large = GPPDESolver(Laplace(), fine, 0.0, SpectralMixtureKernel1D(freq_scale=40.0), solver="least-squares")
    with pytest.raises(InputError, match="too large"):
        large.fit(1.0)
