"""Classifiers in files: the same predictions, learning that goes on, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pandas
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

from harmonia.core.errors import InputError, WeightsError
from harmonia.core.weights import write_safetensors
from harmonia.networks.gkcl import MLP, GaussiansConfig, KernelContinualClassifier, RandomBackbone, VAEConfig
from harmonia.parts.gram import Matern

SMALL = VAEConfig(latent=4, hidden=16, embedding=2, steps=20)


def rows() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_digits(return_X_y=True)
    return x[:200] / 16, y[:200]


@pytest.mark.parametrize(
    "options",
    [
        {"n_per_class": 3, "contrastive": np.float32(0.1)},
        {"kernel": "vrf", "n_bases": 16},
        {"memory": "generator", "generator": SMALL, "kernel": "rff", "n_bases": 16},
        {"memory": "generator", "generator": SMALL, "backbone": "encoder"},
        {"memory": "gaussians", "generator": GaussiansConfig(2), "task_aware": False},
        {"memory": "statistics", "n_bases": 32},
        {"memory": "statistics", "n_bases": 32, "kernel": "rff", "adapt": "first"},
        {"kernel": Matern(nu=0.5), "backbone": MLP(64, 16, 8)},
    ],
    ids=["coreset", "vrf", "generator", "encoder", "gaussians", "statistics", "first", "objects"],
)
@pytest.mark.filterwarnings("ignore:rows made up")
def test_what_is_saved_predicts_the_same_and_learns_on(options, tmp_path):
    x, y = rows()
    model = KernelContinualClassifier(**options, epochs=1, device="cpu", random_state=0)
    model.partial_fit(x, y, "a").partial_fit(1 - x, np.array(list("abcdefghij"))[y] if model.task_aware else y, 7)
    path = model.save(tmp_path / "model.safetensors")
    again = KernelContinualClassifier.load(
        path, **{key: options[key] for key in ("backbone", "kernel") if key in options}
    )
    assert again.get_params(deep=False).keys() == model.get_params(deep=False).keys()
    assert (again.memory_bytes_, list(again.tasks_)) == (model.memory_bytes_, ["a", 7])
    for each in (model, again):
        each.partial_fit(x[::2], y[::2], "c")
    for task_id in ("a", 7, "c"):
        np.testing.assert_array_equal(again.decision_function(x, task_id), model.decision_function(x, task_id))
        np.testing.assert_array_equal(again.predict(x, task_id), model.predict(x, task_id))


def test_a_file_holds_no_row_of_the_past(tmp_path):
    x, y = rows()
    model = KernelContinualClassifier(memory="statistics", n_bases=16, random_state=0).fit(x, y)
    sizes = {key: tuple(value.shape) for key, value in model.checkpoint().tensors.items()}
    assert sizes.pop("backbone.weight") == (64, 8)
    assert all(set(size) <= {16, 10} for size in sizes.values())
    with pytest.raises(InputError, match="no rows"):
        KernelContinualClassifier.load(model.save(tmp_path / "m.safetensors")).generate(0)


def test_names_of_columns_and_a_release_are_kept(tmp_path):
    x, y = rows()
    frame = pandas.DataFrame(x, columns=[f"pixel {i}" for i in range(64)])
    features = RandomBackbone(64, 32, 2.0, torch.Generator().manual_seed(0))
    released = KernelContinualClassifier(features, memory="statistics").fit(frame, y).release(8.0, seed=0)
    path = released.save(tmp_path / "m.safetensors")
    other = RandomBackbone(64, 32, 1.0, torch.Generator())
    again = KernelContinualClassifier.load(path, backbone=other)
    np.testing.assert_array_equal(again.decision_function(frame), released.decision_function(frame))
    assert list(again.feature_names_in_) == list(frame.columns)
    with pytest.raises(InputError, match="backbone was an object"):
        KernelContinualClassifier.load(path)
    with pytest.raises(WeightsError, match="another shape"):
        KernelContinualClassifier.load(path, backbone=RandomBackbone(64, 8, 1.0, torch.Generator()))


def test_bad_files_are_refused(tmp_path):
    x, y = rows()
    with pytest.raises(NotFittedError):
        KernelContinualClassifier().save(tmp_path / "none.safetensors")
    model = KernelContinualClassifier(memory="statistics", n_bases=16, random_state=0).partial_fit(x, y, ("a", 1))
    with pytest.raises(InputError, match="words or numbers"):
        model.save(tmp_path / "none.safetensors")
    assert not list(tmp_path.iterdir())
    kept = KernelContinualClassifier(n_per_class=2, epochs=1, random_state=0).fit(x, y).checkpoint()
    described = json.loads(kept.metadata["gkcl"])
    for tensors, metadata, words in (
        (kept.tensors, {}, "holds no classifier"),
        (kept.tensors, {"gkcl": json.dumps(described | {"estimator": "Other"})}, "this is no Kernel"),
        ({key: value for key, value in kept.tensors.items() if key != "memory.0.y"}, kept.metadata, "does not fit"),
        ({key: value for key, value in kept.tensors.items() if key != "backbone.first.bias"}, kept.metadata, "lack"),
    ):
        path = write_safetensors(tmp_path / "bad.safetensors", tensors, metadata)
        with pytest.raises(WeightsError, match=words):
            KernelContinualClassifier.load(path)
