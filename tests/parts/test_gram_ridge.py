"""Ridge regression against scikit-learn, against refitting without each row, and its sums against all rows at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge, RidgeCV

from harmonia.core.errors import InputError
from harmonia.parts.gram import NormalEquations, RidgePath, SquaredExponential, feature_ridge, kernel_ridge


def rows(n: int = 30, d: int = 6, k: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64) + 0.5
    return x, x @ torch.randn(d, k, generator=generator, dtype=torch.float64) + torch.randn(
        n, k, generator=generator, dtype=torch.float64
    )


def test_both_forms_are_scikit_learns():
    x, y = rows()
    matrix = SquaredExponential(2.0)(x)
    theirs = KernelRidge(alpha=0.3, kernel="precomputed").fit(matrix.numpy(), y.numpy())
    np.testing.assert_allclose(kernel_ridge(matrix, y, 0.3).numpy(), theirs.dual_coef_, atol=1e-10)
    for n in (3, 30):  # fewer rows than features, and more
        theirs = Ridge(alpha=0.3, fit_intercept=False).fit(x[:n].numpy(), y[:n].numpy())
        np.testing.assert_allclose(feature_ridge(x[:n], y[:n], 0.3).numpy(), theirs.coef_.T, atol=1e-10)


def test_gradients_and_batches():
    x, y = rows(5, 3, 2)
    penalty = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(feature_ridge, (x.requires_grad_(), y.requires_grad_(), penalty))
    wide = torch.randn(2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(feature_ridge, (wide, y[:2].detach(), penalty))
    batch = torch.stack([x.detach(), 2 * x.detach()])
    both = feature_ridge(batch, torch.stack([y.detach()] * 2), torch.tensor([0.1, 0.2]).reshape(2, 1, 1))
    torch.testing.assert_close(both[1], feature_ridge(2 * x.detach(), y.detach(), 0.2), rtol=1e-6, atol=1e-6)


def test_single_precision_falls_back_on_double():
    matrix = torch.full((2, 2), 1e4)  # to which a penalty of 1e-4 adds nothing in float32
    solved = kernel_ridge(matrix, torch.tensor([[1.0], [0.0]]), 1e-4)
    torch.testing.assert_close(solved, torch.tensor([[5e3], [-5e3]]))


def test_what_cannot_be_solved_is_refused():
    for matrix in (-torch.eye(2), torch.full((2, 2), torch.nan)):
        with pytest.raises(InputError, match="positive definite"):
            kernel_ridge(matrix, torch.ones(2, 1), 0.1)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("shape", [(30, 6), (8, 20)], ids=["tall", "wide"])
def test_errors_left_out_are_those_of_refits(intercept, shape):
    x, y = rows(*shape)
    path = RidgePath.of_features(x, y, intercept=intercept)
    kernel_path = RidgePath.of_kernel(x @ x.T, y, intercept=intercept)
    refit = []
    for i in range(len(x)):
        rest = np.delete(np.arange(len(x)), i)
        model = Ridge(alpha=0.7, fit_intercept=intercept).fit(x[rest].numpy(), y[rest].numpy())
        refit.append(y[i].numpy() - model.predict(x[i : i + 1].numpy())[0])
    np.testing.assert_allclose(path.left_out(0.7).numpy(), refit, atol=1e-9)
    np.testing.assert_allclose(kernel_path.left_out(0.7).numpy(), refit, atol=1e-9)
    whole = Ridge(alpha=0.7, fit_intercept=intercept).fit(x.numpy(), y.numpy())
    np.testing.assert_allclose(path.fitted(0.7).numpy(), whole.predict(x.numpy()), atol=1e-9)
    np.testing.assert_allclose((x.T @ path.dual(0.7)).numpy(), whole.coef_.T, atol=1e-9)
    if intercept:
        torch.testing.assert_close(path.dual(0.7).sum(0), torch.zeros(3, dtype=torch.float64))


def test_the_best_penalty_is_scikit_learns():
    x, y = rows(40, 10, 2, seed=3)
    penalties = torch.logspace(-3, 3, 25, dtype=torch.float64)
    theirs = RidgeCV(alphas=penalties.numpy()).fit(x.numpy(), y.numpy())
    path = RidgePath.of_features(x, y, intercept=True)
    assert path.best(penalties) == pytest.approx(theirs.alpha_)
    assert float(path.errors(penalties).sum(1).min()) <= float(path.errors(torch.tensor([path.best()])).sum()) * 1.1
    smoother = Ridge(alpha=2.0, fit_intercept=True)
    trace = sum(smoother.fit(x.numpy(), np.eye(40)[i]).predict(x.numpy())[i] for i in range(40))
    assert path.freedom(2.0) == pytest.approx(trace)


def test_penalties_and_targets_are_checked():
    x, y = rows()
    with pytest.raises(InputError, match="positive"):
        RidgePath.of_features(x, y).dual(0.0)
    with pytest.raises(InputError, match="target"):
        RidgePath.of_features(x, y[:5])
    with pytest.raises(InputError, match="finite"):
        RidgePath.of_features(x, y * torch.nan)


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 29), penalty=st.floats(0.01, 100), intercept=st.booleans())
def test_sums_add_and_subtract(cut, penalty, intercept):
    x, y = rows()
    first, second = NormalEquations.of(x[:cut], y[:cut]), NormalEquations.of(x[cut:], y[cut:])
    theirs = Ridge(alpha=penalty, fit_intercept=intercept)
    weights, constant = (first + second).solve(penalty, intercept=intercept)
    theirs.fit(x.numpy(), y.numpy())
    np.testing.assert_allclose(weights.numpy(), theirs.coef_.T, atol=1e-8)
    np.testing.assert_allclose(constant.numpy(), theirs.intercept_ * np.ones(3), atol=1e-8)
    back = (first + second) - second
    assert back.count == cut
    weights, _ = back.solve(penalty)
    np.testing.assert_allclose(weights.numpy(), feature_ridge(x[:cut], y[:cut], penalty).numpy(), atol=1e-7)


@pytest.mark.parametrize("intercept", [False, True])
def test_generalised_cross_validation_needs_no_rows(intercept):
    x, y = rows()
    sums, path = (
        NormalEquations.over([(x[:7], y[:7]), (x[7:], y[7:])]),
        RidgePath.of_features(x, y, intercept=intercept),
    )
    penalties = torch.tensor([0.1, 1.0, 30.0], dtype=torch.float64)
    for found, penalty in zip(sums.generalised_cv(penalties, intercept=intercept), penalties.tolist()):
        residual = (y - path.fitted(penalty)).square().sum(0)
        torch.testing.assert_close(found, 30 * residual / (30 - path.freedom(penalty)) ** 2)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("width", [25, 30, 80])
def test_generalised_cross_validation_of_fits_that_are_nearly_exact(width, intercept):
    """With about as many features as rows, or more, small penalties leave less over than rounding of the energy."""
    x, y = rows(40, width)
    sums = NormalEquations.of(x, y) - NormalEquations.of(x[30:], y[30:])
    basis = torch.eye(30, dtype=torch.float64)
    if intercept:  # without the direction of the constant
        basis = torch.linalg.qr(torch.cat([torch.ones(30, 1, dtype=torch.float64), basis[:, 1:]], 1)).Q[:, 1:]
    f, z = basis.T @ x[:30], basis.T @ y[:30]
    penalties = torch.logspace(-6, 2, 9, dtype=torch.float64)
    for found, penalty in zip(sums.generalised_cv(penalties, intercept=intercept), penalties.tolist()):
        left = penalty * torch.linalg.inv(f @ f.T + penalty * torch.eye(len(f)))
        expected = 30 * (left @ z).square().sum(0) / left.trace() ** 2
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_targets_are_placed_among_more():
    x, y = rows()
    sums = NormalEquations.of(x, y)
    wide = torch.zeros(30, 5, dtype=torch.float64)
    wide[:, [4, 0, 2]] = y
    direct, placed = NormalEquations.of(x, wide), sums.placed(torch.tensor([4, 0, 2]), 5)
    for intercept in (False, True):
        for a, b in zip(direct.solve(0.3, intercept=intercept), placed.solve(0.3, intercept=intercept)):
            torch.testing.assert_close(a, b)
    assert sums.nbytes == 4 * (21 + 18 + 6 + 6 + 1)


def test_sums_that_do_not_fit_are_refused():
    x, y = rows()
    sums = NormalEquations.of(x, y)
    with pytest.raises(InputError, match="more rows"):
        NormalEquations.of(x[:3], y[:3]) - sums
    with pytest.raises(InputError, match="same features"):
        sums + NormalEquations.of(x[:, :2], y)
    with pytest.raises(InputError, match="no rows"):
        (sums - sums).solve(1.0)
    with pytest.raises(InputError, match="no rows"):
        NormalEquations.over([])
    with pytest.raises(InputError, match="finite"):
        NormalEquations.of(x * torch.inf, y)
    with pytest.raises(InputError, match=r"\(30, 6\) and \(29, 3\)"):
        NormalEquations.of(x, y[1:])
