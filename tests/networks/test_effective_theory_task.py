"""The jobs: an activation judged, a network diagnosed; bad words on the command line; the claims; the card."""

from __future__ import annotations

import numpy as np
import polars
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from harmonia.app.cli import app
from harmonia.core.claim import HOLDS, claims_in
from harmonia.core.errors import InputError
from harmonia.core.registry import find, search
from harmonia.core.task import find_job, jobs_in
from harmonia.core.weights import Checkpoint
from harmonia.media import Figure, Table, Text
from harmonia.networks.effective_theory import claim, network_of, task
from harmonia.networks.effective_theory.claims import theory

JOBS = jobs_in(task)
QUICK = {"width": 16, "depth": 3, "nets": 60}


@pytest.mark.parametrize("activation", ["gelu", "elu", "x * tanh(x)"])
def test_activations_are_judged(activation, tmp_path):
    found = find_job(JOBS, "analyze").run({"activation": activation, **QUICK})
    frame = found["layers"].frame
    assert frame.height == 3
    assert {"K", "Theta", "V", "V, sampled at width 16", "A error, sampled at width 16"} <= set(frame.columns)
    assert all(isinstance(found[name], Figure) for name in ("criticality", "flow", "depth"))
    assert found["best_depth"] >= 1
    assert found["C_W"] > 0
    assert len(find_job(JOBS, "analyze").save(found, tmp_path, "x")) == 4


def test_an_activation_without_criticality_is_shifted():
    found = task.analyze(activation="softplus", **QUICK)
    assert found["universality"] == "half-stable"
    assert found["fate"] == "critical"


def test_any_initialisation_is_judged():
    found = task.analyze(activation="sigmoid", weight_variance=1.0, bias_variance=0.1, **QUICK)
    assert found["universality"] == "none"
    assert found["fate"] == "ordered"
    loud = task.analyze(activation="relu", weight_variance=2.4, bias_variance=0.0, **QUICK)
    assert loud["fate"] == "explodes"


def test_skips():
    found = task.analyze(activation="relu", gamma=0.5, **QUICK)
    assert found["C_W"] == pytest.approx(1.5)
    assert "T" in found["layers"].frame.columns
    assert 0 < found["skip_weight"] < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "swoosh"}, "no such activation"),
        ({"activation": "__import__('os')"}, "not understood"),
        ({"activation": "x**3"}, "critical"),
        ({"activation": "relu", "weight_variance": 1.0}, "two variances"),
        ({"activation": "relu", "weight_variance": 50.0, "bias_variance": 0.0, "depth": 200}, "explodes"),
        ({"width": 1}, "out of range"),
        ({"depth": "many"}, "whole number"),
        ({"gamma": 1.0}, "out of range"),
        ({"nets": 3}, "out of range"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(InputError, match=message):
        find_job(JOBS, "analyze").run({**QUICK, **options})


SMALL = "Linear(5, 16), 6 * (Tanh(), Linear(16, 16)), Tanh(), Linear(16, 2)"


def test_networks_are_diagnosed(tmp_path):
    found = find_job(JOBS, "diagnose").run({"network": Text(SMALL), "batch": 8})
    assert found["depth"] == 8
    frame = found["modules"].frame
    assert frame.height == 15
    assert {"name", "K", "chi_perp", "gradient", "K, critical"} <= set(frame.columns)
    state = found["weights"].tensors
    network_of(SMALL).load_state_dict(state)
    assert float(state["2.weight"].square().mean()) * 16 == pytest.approx(1, abs=0.3)
    assert "critical_init_" in found["advice"].text
    assert len(find_job(JOBS, "diagnose").save(found, tmp_path, "x")) == 4


def test_own_weights_and_data():
    net = network_of(SMALL)
    with torch.no_grad():
        for layer in net[::2]:
            nn.init.normal_(layer.weight, std=5.0, generator=torch.Generator().manual_seed(0))
    rows = np.random.default_rng(0).standard_normal((30, 5)) * 7 + 3
    table = Table(polars.DataFrame(rows, schema=list("abcde")))
    found = task.diagnose(Text(SMALL), data=table, weights=Checkpoint(dict(net.state_dict())), batch=16)
    quiet = task.diagnose(Text(SMALL), data=table, batch=16)
    assert found["signal"] > quiet["signal"] / 100
    assert found["modules"].frame["K"][2] > 10 * quiet["modules"].frame["K"][2]


def test_images_and_skips():
    block = "Residual(BatchNorm2d(8), ReLU(), Conv2d(8, 8, 3, padding=1))"
    text = f"Conv2d(3, 8, 3, padding=1), 2 * {block}, Flatten(), Linear(512, 3)"
    found = task.diagnose(Text(text), size=8, batch=4)
    assert found["verdict"] == "steady"
    with pytest.raises(InputError, match="does not take"):
        task.diagnose(Text(text), size=9, batch=4)


def test_networks_without_criticality_are_still_diagnosed():
    found = task.diagnose(Text("Linear(4, 8), Sigmoid(), Linear(8, 2)"), batch=4)
    assert "Not initialised anew" in found["advice"].text
    assert "K, critical" not in found["modules"].frame.columns


def test_data_that_do_not_fit():
    table = Table(polars.DataFrame({"a": [1.0, 2.0]}))
    with pytest.raises(InputError, match="1 columns"):
        task.diagnose(Text(SMALL), data=table)
    with pytest.raises(InputError, match="no layer"):
        task.diagnose(Text("ReLU()"))
    with pytest.raises(InputError, match="no number"):
        task.diagnose(Text(SMALL), data=Table(polars.DataFrame({c: [1.0, None] for c in "abcde"})))


def test_command_line(tmp_path):
    network = tmp_path / "net.txt"
    network.write_text(SMALL)
    done = CliRunner().invoke(
        app, ["run", "effective-theory", "diagnose", str(network), "--batch", "4", "--out", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    assert (tmp_path / "net_picture.png").stat().st_size > 10_000
    assert (tmp_path / "net_weights.safetensors").is_file()
    bad = CliRunner().invoke(app, ["run", "effective-theory", "--activation", "exec('x')"])
    assert isinstance(bad.exception, InputError)


INSTANT = (
    theory.recursions_are_golden,
    theory.relu_is_closed,
    theory.gelu_is_critical,
    theory.relu_has_best_ratio,
    theory.tanh_has_best_ratio,
    theory.linear_networks_are_solved,
)
LONGER = [one for one in claims_in(claim) if one.tier == "quick" and one not in INSTANT]


@pytest.mark.parametrize(
    "measured",
    [*INSTANT, *(pytest.param(one, marks=pytest.mark.slow) for one in LONGER)],
    ids=lambda one: one.name[-50:],
)
def test_quick_claims_hold(measured):
    assert measured.check().verdict in HOLDS


def test_card_is_complete():
    method = find("effective-theory")
    assert method.built
    assert method.card.field == "networks"
    assert len(method.card.errata) >= 3
    assert search("initialisation depth width")[0].slug == "effective-theory"
