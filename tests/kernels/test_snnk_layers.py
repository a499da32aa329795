"""Layers, replacement, bundling, adapters and official checkpoints; whatever is random is saved."""

from __future__ import annotations

import copy
import math
from collections import UserDict

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from harmonia.core.errors import InputError
from harmonia.kernels.snnk import (
    SNNKAdapter,
    SNNKLinear,
    adapter_state,
    add_adapters,
    bundle,
    feed_forward_layers,
    load_adapters,
    load_official_adapter,
    load_official_layer,
    official_projection,
    remove_adapters,
    replace_ffn,
    save_adapters,
)
from harmonia.kernels.snnk.layers import _checked


def rows(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kernel", ["relu", "sin", "gelu"])
@pytest.mark.parametrize("normalize", [None, "row", "dim"])
def test_a_saved_layer_answers_the_same(kernel, normalize):
    layer = SNNKLinear(6, 4, 16, kernel, normalize=normalize, seed=1)
    other = SNNKLinear(6, 4, 16, kernel, normalize=normalize, seed=2)
    x = rows(0, 3, 5, 6)
    assert layer(x).shape == (3, 5, 4)
    assert not torch.allclose(layer(x), other(x))
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(x), layer(x))
    before = torch.get_rng_state()
    SNNKLinear(6, 4, 16, kernel, seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_parameters_are_features_times_outputs():
    layer = SNNKLinear(768, 3072, 128, bias=False)
    assert [p.shape for p in layer.parameters()] == [(3072, 128)]
    assert SNNKLinear(100, 2).weight.shape == (2, 25)


def test_the_start_estimates_the_layer_that_is_replaced():
    """Universal features of a sine, of many draws, against ``sin(W x + b)``; ReLU ones against their kernel."""
    linear = nn.Linear(8, 5)
    x = torch.nn.functional.normalize(rows(0, 20, 8))
    answers = torch.stack(
        [
            SNNKLinear.from_linear(linear, torch.sin, 512, kernel="same", normalize=None, seed=seed)(x).detach()
            for seed in range(40)
        ]
    )
    error = (answers.mean(0) - torch.sin(linear(x))).abs()
    assert (error < 5 * answers.std(0) / 40**0.5 + 0.06).all()
    x1 = torch.cat([x, torch.ones(20, 1)], 1)
    w1 = torch.cat([linear.weight, linear.bias[:, None]], 1)
    lengths = x1.norm(dim=1)[:, None] * w1.norm(dim=1)
    angle = (x1 @ w1.T / lengths).clamp(-1, 1).acos()
    exact = lengths * (angle.sin() + (math.pi - angle) * angle.cos()) / (2 * math.pi)
    relu = SNNKLinear.from_linear(linear, "relu", 100_000)(x)
    assert (relu - exact).abs().max() < 0.03 * exact.abs().max()


def test_solve_is_least_squares_and_tells_its_error():
    layer = SNNKLinear(6, 3, 64, seed=0).double()
    x = rows(0, 400, 6).double()
    y = torch.stack([x[:, 0].sin(), x[:, 1] * x[:, 2], x.sum(1)], 1)
    error = layer.solve(x, y)
    fresh = rows(1, 2000, 6).double()
    target = torch.stack([fresh[:, 0].sin(), fresh[:, 1] * fresh[:, 2], fresh.sum(1)], 1)
    actual = ((layer(fresh) - target).square().mean(0).sum() / target.var(0).sum()).sqrt()
    assert layer.fit_error == error == pytest.approx(float(actual.detach()), rel=0.3)
    assert SNNKLinear(6, 3, 256, seed=0).solve(x.float(), y.float()) < error
    phi = layer.phi(x).detach()
    layer.solve(x, y, penalty=1e-3)
    theirs = Ridge(1e-3).fit(phi.numpy(), y.numpy())
    np.testing.assert_allclose(layer(x).detach().numpy(), theirs.predict(phi.numpy()), atol=1e-6)


def test_universal_features_normalise_rows_unless_asked():
    x = rows(0, 200, 64)
    assert SNNKLinear(64, 8, 64).normalize is None
    assert SNNKLinear(64, 8, 64, "gelu").normalize == "row"
    assert SNNKLinear(64, 8, 64, "gelu")(x).abs().max() < 10
    model = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 4))
    with pytest.warns(UserWarning, match="times its size"):
        replace_ffn(model, 64, kernel="same")
    assert model(x).abs().max() < 10


@pytest.mark.parametrize("normalize", [None, "dim"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_noise_is_warned_of_and_overflow_makes_no_nan(normalize, dtype):
    with pytest.warns(UserWarning, match="times its size"):
        layer = SNNKLinear(64, 8, 64, "gelu", normalize=normalize).to(dtype)
    assert not layer(1e3 * rows(0, 50, 64).to(dtype)).isnan().any()
    with pytest.warns(UserWarning, match="times its size"):
        made = SNNKLinear.from_linear(nn.Linear(64, 8), "sin", 64, kernel="same", normalize=normalize)
    assert not made(10 * rows(0, 50, 64)).isnan().any()
    with pytest.warns(UserWarning, match="times its size"):
        made.solve(10 * rows(0, 50, 64), rows(1, 50, 8))


@pytest.mark.filterwarnings("ignore:features of such long rows")  # their noise is averaged
def test_series_of_normalised_weights_reach_as_far_as_their_biases():
    """Biases are divided by the length of their rows, which is small here."""
    linear = nn.Linear(6, 4).double()
    with torch.no_grad():
        linear.weight.copy_(rows(0, 4, 6) / 10)
        linear.bias.copy_(torch.tensor([0.5, -0.5, 0.25, 1.0]))
    x, length = rows(1, 50, 6).double(), linear.weight.norm(dim=1)
    z = (nn.functional.normalize(x) @ linear.weight.T + linear.bias) / length
    answers = [
        SNNKLinear.from_linear(linear, "tanh", 4096, kernel="same", normalize="row", seed=seed)(x).detach()
        for seed in range(20)
    ]
    assert (torch.stack(answers).mean(0) - z.tanh()).abs().max() < 0.2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kernel", ["relu", "same"])
def test_models_in_half_precision(dtype, kernel):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 2))
    single, x = copy.deepcopy(model), rows(0, 500, 8)
    expected = [one.error for one in replace_ffn(single, 64, kernel=kernel, sample=[x])]
    found = replace_ffn(model.to(dtype), 64, kernel=kernel, sample=[x.to(dtype)])
    assert {value.dtype for value in model.state_dict().values()} == {dtype}
    assert [one.error for one in found] == pytest.approx(expected, rel=0.1)
    exact = single(x).detach()
    assert (model(x.to(dtype)).float() - exact).std() < 0.1 * exact.std()


def test_gradients_reach_weights_and_inputs_but_no_directions():
    layer = SNNKLinear(4, 3, 8, "gelu", normalize=None).double()
    x = rows(0, 2, 4).double().requires_grad_()
    torch.autograd.gradcheck(layer, (x,))
    names = {name for name, _ in layer.named_parameters()}
    assert names == {"weight", "bias"}


def test_bundling_is_exact_for_stacks_of_every_kind():
    model = nn.Sequential(
        nn.Linear(6, 7),
        SNNKLinear(7, 8, 24),
        nn.Dropout(0.5),
        SNNKLinear(8, 9, 16, normalize="row"),
        nn.Linear(9, 5),
        nn.Tanh(),
        SNNKLinear(5, 4, 16, "gelu", radius=2.0),
        SNNKLinear(4, 3, 8),
    ).double()
    model.eval()
    x = rows(0, 30, 6).double()
    small = bundle(model)
    torch.testing.assert_close(small(x), model(x))
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    assert not any(isinstance(layer, SNNKLinear) for layer in small)
    with pytest.raises(InputError, match="Sequential"):
        bundle(nn.Linear(2, 2))


def test_replacement_mends_later_layers_and_a_dry_run_changes_nothing():
    model = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    sample, test = [rows(0, 2000, 8), rows(1, 2000, 8)], rows(2, 500, 8)
    exact = model(test).detach()
    whole = copy.deepcopy(model)
    costs = replace_ffn(model, 256, sample=sample, dry_run=True)
    assert [one.name for one in costs] == ["0", "2"]
    assert torch.equal(model(test), exact)
    assert "relative error" in str(costs[0])
    found = replace_ffn(model, 256, sample=sample)
    assert all(0 < one.error < 0.3 for one in found)
    assert (model(test) - exact).std() < 0.3 * exact.std()
    assert [type(layer).__name__ for layer in model] == ["SNNKLinear", "Identity", "SNNKLinear", "Identity", "Linear"]
    assert [one.name for one in replace_ffn(whole, last_k=1)] == ["2"]
    assert isinstance(whole[0], nn.Linear)


class Keywords(nn.Module):
    """Called as models of transformers are."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 2))

    def forward(self, x=None):
        return self.layers(x)


@pytest.mark.parametrize("kind", ["tensor", "dictionary", "encoding", "loader", "pairs"])
def test_samples_of_every_kind(kind):
    torch.manual_seed(0)
    model, x = Keywords(), rows(0, 100, 8)
    [expected] = replace_ffn(model, 16, sample=[x], dry_run=True)
    sample = {
        "tensor": x,
        "dictionary": {"x": x},
        "encoding": [UserDict(x=x[:50]), UserDict(x=x[50:])],
        "loader": DataLoader(TensorDataset(x, torch.zeros(100)), batch_size=50),
        "pairs": [(x, torch.zeros(100))],
    }[kind]
    [found] = replace_ffn(model, 16, sample=sample, dry_run=True)
    assert found.error == pytest.approx(expected.error, rel=1e-5)


def test_torch_encoder_layers():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2).eval()
    sample, x = [rows(0, 100, 7, 16)], rows(1, 10, 7, 16)
    exact = model(x).detach()
    assert len(replace_ffn(model, 128, sample=sample)) == 2
    assert (model(x) - exact).std() < 0.15 * exact.std()
    assert add_adapters(model, 8) == ["layers.0.linear2", "layers.1.linear2"]
    replaced = model(x)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 2 * (16 * 8 + 16)
    remove_adapters(model)
    torch.testing.assert_close(model(x), replaced)


@pytest.mark.parametrize("bottleneck", [None, 6])
def test_adapters_start_as_nothing_train_and_are_saved(bottleneck, tmp_path):
    def made():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 3))

    model, x = made(), rows(0, 5, 4)
    exact = model(x).detach()
    add_adapters(model, 8, bottleneck, targets="0", train=["2"])
    torch.testing.assert_close(model(x), exact)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert "0.base_layer.weight" not in trained
    assert "2.weight" in trained
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 0.1)
    for _ in range(5):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()
    assert (model(x) - exact).abs().max() > 0.1
    path = save_adapters(model, tmp_path / "a.safetensors")
    assert {"0.adapter.down.features.projection", "2.weight"} <= set(adapter_state(model))
    other = made()
    add_adapters(other, 8, bottleneck, targets="0", train=["2"], seed=9)
    load_adapters(other, path)
    torch.testing.assert_close(other(x), model(x))
    third = made()
    add_adapters(third, 16, bottleneck, targets="0", train=["2"])
    with pytest.raises(InputError, match="another model"):
        load_adapters(third, path)
    (tmp_path / "b.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        load_adapters(third, tmp_path / "b.safetensors")


def test_sizes_of_adapters():
    assert sum(p.numel() for p in SNNKAdapter(768, 16).parameters()) == 13_056
    with_norms = SNNKAdapter(8, 4, 3, norm_before=True, norm_after=True)
    assert sum(p.numel() for p in with_norms.parameters()) == 3 * 4 + 3 * 8 + 8 + 32
    assert with_norms(rows(0, 2, 8)).shape == (2, 8)


def test_official_checkpoints():
    g = official_projection(6, 4, seed=3)
    torch.manual_seed(3)
    assert torch.equal(g, torch.randn(6, 4))
    orthogonal = official_projection(6, 4, 0, orthogonal=True)
    unit = torch.nn.functional.normalize(orthogonal)
    torch.testing.assert_close(unit[:4] @ unit[:4].T, torch.eye(4), atol=1e-5, rtol=0)
    alike = official_projection(6, 4, 0, orthogonal=True, scaling=1)
    torch.testing.assert_close(alike, 2 * unit)
    psi, x = rows(0, 5, 6), rows(1, 3, 4)
    expected = (x @ g.T).clamp(min=0) / 6**0.5 @ psi.T
    for options in ({"projection": g}, {"seed": 3, "inputs": 4}):
        torch.testing.assert_close(load_official_layer({"weights": psi}, **options)(x), expected)
    state = {"adapter_down.0.weights": rows(2, 4, 6), "modulating_vector": rows(3, 4)}
    adapter = load_official_adapter(state, projection=g)
    inner = (x @ g.T).clamp(min=0) / 6**0.5 @ state["adapter_down.0.weights"].T
    torch.testing.assert_close(adapter(x), x + state["modulating_vector"] * inner)
    with_up = {
        "adapter_norm_before.weight": torch.ones(4),
        "adapter_norm_before.bias": torch.zeros(4),
        "adapter_down.0.weight": torch.ones(4),
        "adapter_down.0.bias": torch.zeros(4),
        "adapter_down.1.weights": rows(4, 3, 6),
        "adapter_up.weight": rows(5, 4, 3),
        "adapter_up.bias": rows(6, 4),
    }
    adapter = load_official_adapter(with_up, projection=g)
    z = torch.nn.functional.layer_norm(x, (4,))
    inner = (z @ g.T).clamp(min=0) / 6**0.5 @ with_up["adapter_down.1.weights"].T
    torch.testing.assert_close(adapter(x), x + inner @ with_up["adapter_up.weight"].T + with_up["adapter_up.bias"])


def test_bad_input():
    with pytest.raises(InputError, match="does not hold the projection"):
        load_official_layer({"weights": rows(0, 5, 6)})
    with pytest.raises(InputError, match="key 'weights'"):
        load_official_layer({"weight": rows(0, 5, 6)}, seed=0, inputs=4)
    with pytest.raises(InputError, match="does not fit"):
        load_official_layer({"weights": rows(0, 5, 6)}, projection=rows(0, 5, 4))
    with pytest.raises(InputError, match="missing or unknown"):
        load_official_adapter({"adapter_down.0.weights": rows(0, 4, 6), "x": rows(0, 1)}, projection=rows(0, 6, 4))
    with pytest.raises(InputError, match="does not fit"):
        load_official_adapter(
            {"adapter_down.0.weights": rows(0, 4, 5), "modulating_vector": rows(0, 4)}, projection=rows(0, 6, 4)
        )
    for wrong in ((0, 2, 4), (2, 0, 4), (2, 2, 0)):
        with pytest.raises(InputError, match="at least one"):
            SNNKLinear(*wrong)
    for wrong in ("16", 8.0):
        with pytest.raises(InputError, match="whole numbers"):
            _checked(8, 2, wrong, False)
    with pytest.raises(InputError, match="even number"):
        SNNKLinear(4, 2, 5, "sin")
    assert SNNKLinear(100, 2, kernel="sin").weight.shape == (2, 26)
    with pytest.raises(InputError, match=r"\(20, 4\) and \(19, 2\)"):
        SNNKLinear(4, 2, 8).solve(rows(0, 20, 4), rows(0, 19, 2))
    with pytest.raises(InputError, match=r"weights \(2, 3\), directions \(8, 4\)"):
        SNNKLinear.of(SNNKLinear(4, 2, 8).features, rows(0, 2, 3))
    with pytest.raises(InputError, match="one length"):
        SNNKLinear(4, 2, 8)(rows(0, 3, 5))
    with pytest.raises(InputError, match="no such function"):
        SNNKLinear(4, 2, 8, "what")
    with pytest.raises(InputError, match="leave out"):
        SNNKLinear(4, 2, 8).solve(rows(0, 1, 4), rows(0, 1, 2))
    with pytest.raises(InputError, match="no feed-forward layer"):
        replace_ffn(nn.Linear(2, 2))
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    assert len(feed_forward_layers(model)) == 1
    with pytest.raises(InputError, match="so many"):
        replace_ffn(model, last_k=2)
    with pytest.raises(InputError, match="no layer"):
        add_adapters(model)
    with pytest.raises(InputError, match="regular expression"):
        add_adapters(model, 4, targets="(")
    assert all(p.requires_grad for p in model.parameters())
    add_adapters(model, 4, targets="0")
    with pytest.raises(InputError, match="has adapters"):
        add_adapters(model, 4, targets="2")
    with pytest.raises(InputError, match="nothing to save"):
        save_adapters(nn.Linear(2, 2).requires_grad_(False), "nowhere.safetensors")
    assert np.isnan(SNNKLinear(4, 2, 8).fit_error)
