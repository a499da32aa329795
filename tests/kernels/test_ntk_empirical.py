"""The empirical NTK: every way to compute it against explicit Jacobians by autograd."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harmonia.core.errors import InputError
from harmonia.kernels.ntk.empirical import empirical_ntk
from harmonia.kernels.ntk.jacobians import ntk_matvec, sketched_ntk
from harmonia.kernels.ntk.layers import readable_layers
from harmonia.kernels.ntk.linearize import linearize
from harmonia.kernels.ntk.predict import GradientDescent, InfiniteEnsemble


class Residual(nn.Module):
    """Convolutions of every kind, group and batch normalisation, an in-place activation, a loose parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular")
        self.normal = nn.GroupNorm(2, 8)
        self.second = nn.Conv2d(8, 8, 3, stride=2, padding="valid", groups=2)
        self.batch = nn.BatchNorm2d(8)
        self.third = nn.Conv2d(8, 8, 3, padding="same", dilation=2, bias=False)
        self.last = nn.Linear(8, 3)
        self.act = nn.ReLU(inplace=True)
        self.scale = nn.Parameter(torch.tensor([1.0, 0.5, 2.0]))

    def forward(self, x):
        h = self.act(self.batch(self.second(self.normal(self.act(self.first(x))))))
        h = h + self.act(self.third(h))
        return self.last(h.mean((2, 3))) * self.scale


class Text(nn.Module):
    """Embedding with padding, a whole transformer layer, positions as a loose parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(11, 6, padding_idx=0)
        self.positions = nn.Parameter(torch.randn(5, 6))
        self.block = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.0, batch_first=True)
        self.last = nn.Linear(6, 2)

    def forward(self, x):
        return self.last(self.block(self.tokens(x) + self.positions).mean(1))


class Shared(nn.Module):
    """One layer called twice, one whose weight is also used behind its back, one never called, one tied."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Linear(4, 4)
        self.behind = nn.Linear(4, 4)
        self.never = nn.Linear(4, 4)
        self.tied = nn.Linear(4, 4, bias=False)
        self.tied.weight = self.never.weight
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        h = torch.tanh(self.twice(torch.tanh(self.twice(x))))
        h = torch.tanh(self.behind(h)) @ self.behind.weight
        return self.last(self.tied(h))


def mlp():
    return nn.Sequential(
        nn.Linear(7, 16), nn.ReLU(), nn.Linear(16, 16, bias=False), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 3)
    )


def sequence():
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, stride=2), nn.Tanh(), nn.RMSNorm(4), nn.Linear(4, 3), nn.Flatten(), nn.Linear(12, 1)
    )


def volume():
    return nn.Sequential(nn.Conv3d(1, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))


def frozen():
    model = mlp()
    model[0].weight.requires_grad_(False)
    model[3].bias.requires_grad_(False)
    model[5].requires_grad_(False)
    return model


CASES = {
    "mlp": (mlp, lambda g: torch.randn(9, 7, generator=g)),
    "frozen": (frozen, lambda g: torch.randn(9, 7, generator=g)),
    "residual": (Residual, lambda g: torch.randn(9, 3, 7, 7, generator=g)),
    "text": (Text, lambda g: torch.randint(0, 11, (9, 5), generator=g)),
    "shared": (Shared, lambda g: torch.randn(9, 4, generator=g)),
    "sequence": (sequence, lambda g: torch.randn(9, 2, 9, generator=g)),
    "volume": (volume, lambda g: torch.randn(9, 1, 3, 3, 3, generator=g)),
}


def make(name):
    torch.manual_seed(0)
    build, draw = CASES[name]
    x = draw(torch.Generator().manual_seed(1))
    model = build().double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return model, x.double() if x.is_floating_point() else x


def by_autograd(model, x1, x2):
    """The definition, one output and one sample at a time."""
    parameters = [p for p in model.parameters() if p.requires_grad]

    def jacobian(x):
        rows = []
        for sample in x:
            f = model(sample[None]).reshape(-1)
            gradients = [
                torch.autograd.grad(out, parameters, retain_graph=True, materialize_grads=True, allow_unused=True)
                for out in f
            ]
            rows.append(torch.stack([torch.cat([part.reshape(-1) for part in each]) for each in gradients]))
        return torch.stack(rows)

    return torch.einsum("icp,jep->ijce", jacobian(x1), jacobian(x2))


@pytest.mark.parametrize("name", CASES)
def test_all_methods_agree_with_the_definition(name):
    model, x = make(name)
    x1, x2 = x[:5], x[5:]
    for other in (None, x2):
        full = by_autograd(model, x1, x1 if other is None else x2)
        expected = {
            "full": full,
            "diag": full.diagonal(dim1=2, dim2=3),
            "trace": full.diagonal(dim1=2, dim2=3).mean(-1),
        }
        for outputs, value in expected.items():
            for method, block in (("layers", None), ("layers", 2), ("jacobian", 3), ("auto", None)):
                ours = empirical_ntk(model, x1, other, outputs=outputs, method=method, block=block)
                torch.testing.assert_close(ours, value, rtol=1e-9, atol=1e-10)
        ours = empirical_ntk(model, x1, other, outputs="full", method="vectors")
        torch.testing.assert_close(ours, full, rtol=1e-9, atol=1e-10)


def test_which_layers_are_read():
    assert set(readable_layers(make("mlp")[0])) == {"0", "2", "3", "5"}
    assert "5" not in readable_layers(make("frozen")[0])
    assert not {"never", "tied"} & set(readable_layers(make("shared")[0]))


def test_model_is_left_as_it_was():
    model, x = make("residual")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    empirical_ntk(model, x)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_matvec_is_a_product_with_the_kernel():
    model, x = make("text")
    v = torch.randn(4, 2, dtype=torch.float64)
    full = empirical_ntk(model, x[:5], x[5:], outputs="full")
    torch.testing.assert_close(ntk_matvec(model, x[:5], x[5:], v), torch.einsum("ijce,je->ic", full, v))


def test_sketch_covers_the_kernel_with_its_error_bars():
    model, x = make("mlp")
    exact = empirical_ntk(model, x)
    estimate, error = sketched_ntk(model, x, size=150, generator=torch.Generator().manual_seed(3))
    assert ((estimate - exact).abs() / error).square().mean() == pytest.approx(1, abs=0.6)
    cross, _ = sketched_ntk(model, x[:2], x[2:], size=150, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(cross, estimate[:2, 2:])
    with pytest.raises(InputError, match="two random"):
        sketched_ntk(model, x, size=1)


def test_linearized_trains_as_its_kernel_predicts():
    model, x = make("mlp")
    x, at = x[:5].double(), x[5:].double()
    y = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    linear = linearize(model)
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.05, momentum=0.7)
    for _ in range(30):
        optimizer.zero_grad()
        ((linear(x) - y).square().sum() / (2 * y.numel())).backward()
        optimizer.step()
    theta = empirical_ntk(model, torch.cat([x, at]), outputs="full").permute(0, 2, 1, 3).reshape(27, 27)
    start = model(torch.cat([x, at])).detach().reshape(27, 1)
    ensemble = InfiniteEnsemble(theta[:15, :15], y.reshape(15) - start[:15, 0], theta[:15, :15])
    mean = ensemble.predict(theta[:, :15], training=GradientDescent(30, 0.05, 0.7)).mean + start
    torch.testing.assert_close(linear(torch.cat([x, at])).reshape(27, 1), mean, rtol=1e-8, atol=1e-9)


def test_linearized_keeps_frozen_parameters_and_the_network():
    model, x = make("frozen")
    linear = linearize(model)
    with torch.no_grad():
        for p in linear.parameters():
            p.add_(0.1 * torch.ones_like(p))
    torch.testing.assert_close(linear.model[5].weight, model[5].weight + 0.1)
    value = linear(x)
    assert not torch.allclose(value, model(x))
    assert set(linear.state_dict()) >= {"model.0.weight", "start_0"}


@pytest.mark.parametrize(
    ("model", "x", "message"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), torch.randn(4, 3), "layer '1' .*eval"),
        (nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5)), torch.randn(4, 3), "layer '1' .*eval"),
        (nn.BatchNorm1d(3, track_running_stats=False).eval(), torch.randn(4, 3), "couples"),
        (nn.ReLU(), torch.randn(4, 3), "none"),
        (nn.Linear(3, 2), torch.randn(4, 5), "does not take"),
        (nn.Linear(3, 2), torch.randn(4, 3).double(), "does not take"),
        (nn.Linear(3, 2), torch.randn(0, 3), "n >= 1"),
        (nn.Linear(3, 2), torch.tensor([[1.0, 2.0, 3.0], [1.0, torch.nan, 3.0]]), "row 1"),
    ],
)
def test_bad_input(model, x, message):
    with pytest.raises(InputError, match=message):
        empirical_ntk(model, x)
