"""Files under the official names: the same outputs by another route, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.networks.gkcl import KernelContinualClassifier, load_official
from harmonia.parts.gram import feature_ridge


def _drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    state = {key: torch.rand(shape, generator=generator) - 0.4 * (len(shape) > 1) for key, shape in shapes.items()}
    return {key: value.long() if key.endswith("tracked") else value for key, value in state.items()}


def _inference(width: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for part in ("post", "prior"):
        for of in ("weight_mean", "weight_log_variance"):
            for layer in (0, 2, 4):
                shapes |= {f"{part}.{of}.module.{layer}.weight": (width, width)}
                shapes |= {f"{part}.{of}.module.{layer}.bias": (width,)}
    return shapes


def perceptron() -> dict[str, torch.Tensor]:
    shapes = {"W1.weight": (6, 10), "W1.bias": (6,), "W2.weight": (6, 6), "W2.bias": (6,)}
    return _drawn(shapes | _inference(6))


def residual() -> dict[str, torch.Tensor]:
    """Stages of 2, 4, 4 and 6 channels; the first one neither strides nor widens."""
    norm = {"weight": 1, "bias": 1, "running_mean": 1, "running_var": 1, "num_batches_tracked": 0}
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (2, 3, 3, 3)}
    shapes |= {f"bn1.{key}": (2,) * size for key, size in norm.items()}
    before = 2
    for stage, width in enumerate((2, 4, 4, 6), 1):
        for block in range(2):
            name, inputs = f"layer{stage}.{block}", before if block == 0 else width
            shapes |= {f"{name}.conv1.weight": (width, inputs, 3, 3), f"{name}.conv2.weight": (width, width, 3, 3)}
            if block == 0 and stage > 1:
                shapes[f"{name}.shortcut.0.weight"] = (width, inputs, 1, 1)
            shapes |= {f"{name}.IC{i}.0.{key}": (width,) * size for i in (1, 2) for key, size in norm.items()}
        before = width
    return _drawn(shapes | _inference(6))


def forward(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """What the official networks compute of rows, from the tensors alone."""
    if "W1.weight" in state:
        hidden = F.relu(F.linear(x, state["W1.weight"], state["W1.bias"]))
        out = F.relu(F.linear(hidden, state["W2.weight"], state["W2.bias"]))
        return (out - out.min()) / (out.max() - out.min())

    def norm(y: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, weight, bias = (state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(y, mean, var, weight, bias)

    x = F.relu(norm(F.conv2d(x, state["conv1.weight"], padding=1), "bn1"))
    for name in (f"layer{stage}.{block}" for stage in range(1, 5) for block in range(2)):
        shortcut = state.get(f"{name}.shortcut.0.weight")
        stride = 1 if shortcut is None else 2
        out = norm(F.relu(F.conv2d(x, state[f"{name}.conv1.weight"], stride=stride, padding=1)), f"{name}.IC1.0")
        x = norm(F.relu(out + (x if shortcut is None else F.conv2d(x, shortcut, stride=stride))), f"{name}.IC2.0")
    pooled = x.mean((2, 3))
    return pooled / pooled.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("make", [perceptron, residual], ids=lambda make: make.__name__)
def test_official_files_compute_what_they_did(make, tmp_path):
    state = make()
    torch.save(state, tmp_path / "model-1.pth")
    x = torch.rand((5, 10) if make is perceptron else (5, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    backbone, bases = load_official(tmp_path / "model-1.pth", bases=32)
    features = backbone(x)
    torch.testing.assert_close(features, forward(state, x))
    hidden = features.mean(0)
    for layer in (0, 2, 4):
        name = f"post.weight_log_variance.module.{layer}"
        hidden = F.linear(F.elu(hidden) if layer else hidden, state[f"{name}.weight"], state[f"{name}.bias"])
    torch.testing.assert_close(bases.posterior(features)[1], hidden)
    assert bases(features)(features).shape == (5, 32)


def test_loaded_networks_are_the_classifiers(tmp_path):
    torch.save(perceptron(), tmp_path / "model-1.pth")
    backbone, bases = load_official(tmp_path / "model-1.pth", bases=64)
    x = np.random.default_rng(0).random((40, 10))
    y = np.arange(40) % 2
    model = KernelContinualClassifier(backbone, kernel=bases, adapt="never", n_per_class=8, random_state=0)
    model.partial_fit(x, y, "a")
    support, labels = model.generate("a")
    backbone, bases = backbone.double(), bases.double()
    with torch.no_grad():
        features = backbone(torch.from_numpy(support).double())
        embed = bases(features)
        weights = feature_ridge(embed(features), F.one_hot(torch.from_numpy(labels)).double(), 0.11)
        scores = 8 * embed(backbone(torch.from_numpy(x).float().double())) @ weights
    np.testing.assert_allclose(model.decision_function(x), (scores[:, 1] - scores[:, 0]).numpy(), atol=1e-5)
    with pytest.raises(InputError, match="linear kernels only"):
        KernelContinualClassifier(backbone, kernel=bases, memory="statistics").fit(x, y)


@pytest.mark.parametrize("make", [perceptron, residual], ids=lambda make: make.__name__)
def test_files_that_do_not_fit_are_refused(make, tmp_path):
    path, state = tmp_path / "model-1.pth", make()

    def refused(changed, words):
        torch.save(changed, path)
        with pytest.raises(InputError, match=words):
            load_official(path)

    first = next(iter(state))
    refused(state | {"linear.weight": torch.ones(2, 2)}, "linear.weight")
    refused({key: value for key, value in state.items() if key != "prior.weight_mean.module.2.bias"}, "lack")
    refused({key: value for key, value in state.items() if not key.startswith("post.")}, "lack")
    refused({key: value for key, value in state.items() if key != first}, "not the weights")
    refused(state | {"post.weight_mean.module.0.weight": torch.ones(6, 5)}, "another shape")
    refused({"fc.weight": torch.ones(3)}, "not the weights")
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"model-1\.pth"):
        load_official(path)
    with pytest.raises(InputError, match="no such file"):
        load_official(tmp_path / "other.pth")
