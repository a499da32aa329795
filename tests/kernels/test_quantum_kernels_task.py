"""The jobs: tables in, predictions and pictures out; what cannot be classified is said. Claims and card."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars
import pytest
import torch

from harmonia.core.claim import HOLDS, claims_in
from harmonia.core.errors import InputError
from harmonia.core.registry import find
from harmonia.core.task import find_job, jobs_in
from harmonia.data.tables import iris
from harmonia.kernels.quantum_kernels import claim, make_ad_hoc, study, task
from harmonia.kernels.quantum_kernels.inputs import Inputs
from harmonia.media import Table

JOBS = jobs_in(task)


@pytest.fixture
def small(monkeypatch):
    """Fewer settings to search, so that tests take seconds."""
    monkeypatch.setattr(study, "PENALTIES", (10.0,))
    monkeypatch.setattr(study, "BANDWIDTHS", (0.25, 1.0))
    monkeypatch.setattr(task, "BANDWIDTHS", (0.25, 1.0))
    monkeypatch.setattr(study, "GAMMAS", (0.5, 2.0))


def ad_hoc(rows: int) -> Table:
    X, y = make_ad_hoc(rows, random_state=3)
    return Table(polars.DataFrame({"a": X[:, 0], "b": X[:, 1], "side": np.where(y > 0, "in", "out")}))


def test_rows_are_classified(small, tmp_path):
    frame = ad_hoc(80).frame
    gaps = frame.with_columns(polars.when(polars.int_range(80) % 8 == 0).then(None).otherwise("side").alias("side"))
    found = find_job(JOBS, "classify").run({"table": Table(gaps), "target": "side"})
    table = found["predictions"].frame
    assert table["row"].to_list() == list(range(1, 81))
    assert table["role"].value_counts().sort("role").rows() == [("left out", 70), ("new", 10)]
    new = table.filter(polars.col("role") == "new")
    assert (new["prediction"] == frame["side"].gather((new["row"] - 1).to_list())).mean() >= 0.8
    left_out = table.filter(polars.col("role") == "left out")
    assert found["accuracy"] == pytest.approx((left_out["prediction"] == left_out["side"]).mean())
    assert found["accuracy"] > 0.9
    np.testing.assert_allclose(table.select(polars.col("^probability of .*$")).sum_horizontal().to_numpy(), 1)
    assert found["metrics"].frame["kernel"].to_list()[:2] == ["quantum", "Gaussian"]
    written = find_job(JOBS, "classify").save(found, tmp_path, "sides")
    assert sorted(path.suffix for path in written) == [".csv", ".csv", ".png", ".png", ".png"]


def test_three_classes_and_components(small):
    found = task.classify(iris(), qubits=2, shots=200)
    assert found["accuracy"] > 0.75  # two of four columns, and kernels from 200 shots
    assert len([name for name in found["predictions"].names if name.startswith("decision of")]) == 3


def test_what_are_angles():
    assert Inputs.of(ad_hoc(30), "", 8, "auto", 0).angles
    assert not Inputs.of(iris(), "", 8, "auto", 0).angles
    given = Inputs.of(ad_hoc(30), "", 8, "angles", 0)
    np.testing.assert_allclose(given.x[:, 0], ad_hoc(30).column("a").to_numpy(), atol=1e-12)


@pytest.mark.parametrize(("rows", "classes"), [(601, 2), (604, 10), (2000, 10), (1500, 700)])
def test_rows_of_large_tables_are_drawn_from_all_classes(rows, classes):
    labels = np.arange(rows) % classes
    if classes > 2:
        labels[:-2][labels[:-2] == 1] = 0  # a rare class, of two rows at most
    table = Table(polars.DataFrame({"a": np.arange(rows, dtype=float), "y": [f"c{label}" for label in labels]}))
    data = Inputs.of(table, "y", 8, "auto", 0)
    assert len(set(data.index)) == len(data.y) == 600
    assert (data.y == np.array([data.values[row] for row in data.index])).all()
    names, counts = np.unique([f"c{label}" for label in labels], return_counts=True)
    drawn = np.array([(data.y == name).sum() for name in names])
    assert (np.abs(drawn - counts * 600 / rows) <= 1.5).all()
    assert (drawn > 0).sum() == min(len(names), 600)


def test_qubits_are_those_that_few_rows_afford(small, monkeypatch):
    x = np.random.default_rng(0).normal(size=(10, 9))
    table = Table(polars.DataFrame({f"a{k}": x[:, k] for k in range(9)} | {"y": ["u", "v"] * 5}))
    said = []
    monkeypatch.setattr("harmonia.kernels.quantum_kernels.inputs.say", said.append)
    monkeypatch.setattr("harmonia.kernels.quantum_kernels.shots.SHOTS", (10,))
    for job, options in ((task.classify, {}), (task.train, {"depth": 0, "qubits": 8}), (task.plan, {"repeats": 1})):
        assert job(table, **options)
    assert re.findall(r"9 inputs become (\d) ", " ".join(said)) == ["5", "6", "4"]


@pytest.mark.parametrize("options", [{}, {"optimizer": "spsa", "shots": 500, "noise": 0.1}], ids=["exact", "device"])
def test_circuits_are_trained(options):
    found = task.train(ad_hoc(60), depth=1, **options)
    assert found["accuracy"] > 0.6
    assert found["predictions"].frame.height == 15


def test_shots_are_planned():
    found = task.plan(ad_hoc(60), repeats=1, noise=0.1, mitigation="inverse")
    frame = found["plan"].frame
    assert frame["shots"].to_list()[-1] == math.inf
    assert frame["negative_mass"].to_list()[0] > frame["negative_mass"].to_list()[-2]
    assert found["shots"] in frame["shots"].to_list()


def test_bits_that_are_read_wrongly_are_planned_for(monkeypatch):
    monkeypatch.setattr("harmonia.kernels.quantum_kernels.shots.SHOTS", (10, 1000))
    read = [task.plan(ad_hoc(40), repeats=1, readout_error=error)["plan"].frame for error in (0.0, 0.3)]
    assert read[0]["negative_mass"].to_list() != read[1]["negative_mass"].to_list()


@pytest.mark.parametrize(
    ("job", "frame", "options", "message"),
    [
        (task.classify, {"a": [1.0, 2.0, 3.0], "y": ["u", "v", "u"]}, {}, "five rows"),
        (task.classify, {"a": [1.0, None, 3.0], "y": ["u", "v", "u"]}, {}, "row 2"),
        (task.classify, {"a": [1.0, 2.0], "y": ["u", "u"]}, {}, "nothing to learn"),
        (task.classify, {"a": [1.0, 2.0], "y": ["u", "v"]}, {"target": "z"}, "no column 'z'"),
        (task.train, {"a": [1.0, 2.0, 3.0], "y": ["u", "v", "u"]}, {}, "four rows"),
        (task.plan, {"a": [1.0, 2.0, 3.0], "y": ["u", "v", "u"]}, {}, "two rows"),
    ],
)
def test_bad_tables(job, frame, options, message):
    with pytest.raises(InputError, match=message):
        job(Table(polars.DataFrame(frame)), **options)


def test_bad_input_on_the_command_line(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("a,b,y\n1,2,u\n2,,v\n3,x,u\n")
    command = [Path(sys.executable).with_name("harmonia"), "run", "quantum-kernels", path, "--out", tmp_path]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "Traceback" not in result.stdout + result.stderr
    assert not list(tmp_path.glob("*.png"))


QUICK = [one for one in claims_in(claim) if one.tier == "quick"]
KNOWN_TO_FAIL = {claim.overlaps_concentrate.name}
"""Measured short of its gate; its docstring says why."""


LONGER = {claim.depth_helps.name, claim.deep_circuits_separate.name, claim.kernel_separates.name}
MARKED = [pytest.param(one, marks=pytest.mark.slow) if one.name in LONGER else one for one in QUICK]


@pytest.mark.parametrize("measured", MARKED, ids=lambda one: one.name[-50:])
def test_quick_claims(measured):
    found = measured.check()
    assert found.measured is not None
    assert (found.verdict in HOLDS) == (measured.name not in KNOWN_TO_FAIL)


def test_gpu_claims_need_one():
    [scale] = [one for one in claims_in(claim) if one.tier == "gpu"]
    if not torch.cuda.is_available():
        assert scale.check().verdict == "beyond this machine"


def test_card_is_complete():
    method = find("quantum-kernels")
    assert method.built
    assert len(method.card.claims) >= 4
    assert {peer.name for peer in method.card.peers} == {"qiskit-machine-learning", "pennylane"}
