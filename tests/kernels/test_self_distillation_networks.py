"""Networks: the estimate where it is exact, which trainings are done, the loss, and many networks side by side."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from harmonia.core.errors import InputError
from harmonia.kernels.self_distillation import (
    SelfDistilledKernelRidge,
    SelfDistiller,
    distillation_loss,
    optimal_alpha,
)
from harmonia.kernels.self_distillation.many import ManyNetworks
from harmonia.kernels.self_distillation.noisy_digits import trial

PENALTY = 8.0


@pytest.fixture(scope="module")
def line():
    """Inputs and noisy values of a linear function of five inputs: training and held-out rows."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 5, generator=generator, dtype=torch.float64)
    y = x @ torch.randn(5, 1, generator=generator, dtype=torch.float64)
    y = y + 2.5 * torch.randn(60, 1, generator=generator, dtype=torch.float64)
    return x[:40], y[:40], x[40:], y[40:]


def solve_ridge(model, x, y, soft, alpha):
    """A training that ends at ridge regression, so that the network is a kernel method."""
    mixed = alpha * y + (1 - alpha) * soft
    weight = torch.linalg.solve(x.T @ x + PENALTY * torch.eye(x.shape[1], dtype=x.dtype), x.T @ mixed)
    model.weight.data = weight.T.contiguous()


def linear():
    return nn.Linear(5, 1, bias=False, dtype=torch.float64)


def test_the_estimate_is_exact_for_a_linear_network(line):
    x, y, x_val, y_val = line
    distiller = SelfDistiller(linear, solve_ridge, steps=3).fit(x, y, x_val, y_val)
    kernel = SelfDistilledKernelRidge("linear", lam=PENALTY, fit_intercept=False, alpha=distiller.alphas_, steps=3)
    kernel.fit(x.numpy(), y[:, 0].numpy())
    for step in (1, 2, 3):
        ours = distiller.predict(x_val, step)[:, 0]
        np.testing.assert_allclose(ours, kernel.predict(x_val.numpy(), step=step), rtol=1e-8)
    both = torch.cat([x, x_val]).numpy(), torch.cat([y, y_val])[:, 0].numpy()
    split = [(np.arange(40), np.arange(40, 60))]
    tuned = SelfDistilledKernelRidge(
        "linear", lam=PENALTY, fit_intercept=False, clip=True, steps=3, cv=split, tune="val"
    ).fit(*both)
    np.testing.assert_allclose(distiller.alphas_, tuned.alphas_, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(("sign", "trainings"), [(1.0, 2), (-1.0, 2), (0.0, 3)])
def test_an_estimate_at_an_end_needs_no_third_training(line, sign, trainings):
    x, y, x_val, _ = line
    first = SelfDistiller(linear, solve_ridge, alpha=0.0).fit(x, y)
    teacher, pure = first.outputs(x_val, 1), first.outputs(x_val, 2)
    y_val = (teacher + pure) / 2 + sign * (teacher - pure)
    distiller = SelfDistiller(linear, solve_ridge).fit(x, y, x_val, y_val)
    assert distiller.trainings_ == trainings
    assert distiller.alphas_ == pytest.approx([{1.0: 1.0, -1.0: 0.0, 0.0: 0.5}[sign]], abs=1e-9)
    expected = (teacher + pure) / 2 + (0.5 * sign) * (teacher - pure)
    torch.testing.assert_close(distiller.outputs(x_val), expected)


def test_given_weights_need_no_validation(line):
    x, y, *_ = line
    assert SelfDistiller(linear, solve_ridge, alpha=[0.2, 0.7], steps=3).fit(x, y).trainings_ == 3
    assert SelfDistiller(linear, solve_ridge, steps=1).fit(x, y).alphas_ == []


def classifier():
    return nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, 3))


def train(model, x, y, soft, alpha):
    assert model.training
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        distillation_loss(model(x), y, soft, alpha).backward()
        optimizer.step()


@pytest.mark.parametrize("criterion", ["squared", "log"])
def test_classes(criterion):
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (240,), generator=generator)
    x = 2 * torch.eye(3)[y][:, :2] + 0.7 * torch.randn(240, 2, generator=generator)
    distiller = SelfDistiller(classifier, train, criterion=criterion, seed=3).fit(x[:120], y[:120], x[120:], y[120:])
    shares = distiller.outputs(x[120:])
    torch.testing.assert_close(shares.sum(1), torch.ones(120))
    assert (distiller.predict(x[120:]) == y[120:]).double().mean() > 0.75
    assert 0 <= distiller.alphas_[0] <= 1
    # Teachers do not drop out or move their averages: asked twice, they answer the same.
    torch.testing.assert_close(distiller.outputs(x, 1), distiller.outputs(x, 1), rtol=0, atol=0)
    again = SelfDistiller(classifier, train, criterion=criterion, seed=3).fit(x[:120], y[:120], x[120:], y[120:])
    torch.testing.assert_close(again.outputs(x), distiller.outputs(x), rtol=0, atol=0)


def test_loss_of_mixed_targets():
    """Its gradient is that of the squared distance to the mixture."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(6, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    y, soft = torch.randint(0, 4, (6,), generator=generator), torch.rand(6, 4, generator=generator, dtype=torch.float64)
    (ours,) = torch.autograd.grad(distillation_loss(outputs, y, soft, 0.3), outputs)
    mixed = 0.3 * torch.eye(4, dtype=torch.float64)[y] + 0.7 * soft
    (expected,) = torch.autograd.grad((outputs.softmax(1) - mixed).square().mean(), outputs)
    torch.testing.assert_close(ours, expected)
    values = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda o: distillation_loss(o, values, soft, 0.3), outputs)


def test_networks_side_by_side_are_networks_one_by_one():
    def small():
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, 4))

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 10, 1, 8, 8, generator=generator)
    y, soft = torch.randint(0, 4, (3, 10), generator=generator), torch.rand(3, 10, 4, generator=generator)
    alphas = torch.tensor([0.0, 0.4, 1.0])
    many = ManyNetworks(small, [5, 6, 7])
    many.train(x, y, soft, alphas, epochs=3, batch_size=4, generator=torch.Generator().manual_seed(1))
    for i in range(3):
        with torch.random.fork_rng():
            torch.manual_seed(5 + i)
            model = small()
        optimizer, order = torch.optim.Adam(model.parameters(), 1e-3), torch.Generator().manual_seed(1)
        for _ in range(3):
            for rows in torch.randperm(10, generator=order).split(4):
                optimizer.zero_grad()
                loss = distillation_loss(model(x[i, rows]), y[i, rows], soft[i, rows], float(alphas[i]))
                (loss + 1e-4 * sum(p.norm() for p in model.parameters())).backward()
                optimizer.step()
        torch.testing.assert_close(many.probabilities(x)[i], model(x[i]).softmax(1), rtol=1e-4, atol=1e-6)


def test_trial_runs():
    found = trial(0, seeds=2, width=4, epochs=1, rows=64)
    assert found.grid.shape == (2, 11)
    for values in (found.alphas, found.estimated, found.chosen_by_grid, found.chosen_inside, found.teacher):
        assert values.shape == (2,)
        assert ((values >= 0) & (values <= 1)).all()


def test_what_is_refused(line):
    x, y, x_val, y_val = line
    for options, message in (
        ({"steps": 0}, "'steps'"),
        ({"alpha": "best"}, "'estimate'"),
        ({"alpha": 1.5}, "between 0 and 1"),
        ({"alpha": [0.1, 0.2]}, "Give 1"),
        ({"criterion": "hinge"}, "criterion"),
    ):
        with pytest.raises(InputError, match=message):
            SelfDistiller(linear, solve_ridge, **options)
    with pytest.raises(InputError, match="x_val"):
        SelfDistiller(linear, solve_ridge).fit(x, y)
    with pytest.raises(InputError, match="fit first"):
        SelfDistiller(linear, solve_ridge).predict(x)
    with pytest.raises(InputError, match="log loss"):
        SelfDistiller(linear, solve_ridge, criterion="log").fit(x, y, x_val, y_val)
    with pytest.raises(InputError, match="no such step"):
        SelfDistiller(linear, solve_ridge, alpha=0.5).fit(x, y).predict(x, 3)

    def diverging(model, *_):
        model.weight.data[:] = float("nan")

    with pytest.raises(InputError, match="not finite"):
        SelfDistiller(linear, diverging, alpha=0.5).fit(x, y)
    assert optimal_alpha(y_val.numpy(), y_val.numpy(), y_val.numpy()) == 1.0
