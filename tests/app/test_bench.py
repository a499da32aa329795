from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from harmonia.app import bench
from harmonia.core.errors import InputError

FILE = """
    import time
    import numpy as np

    def ours(size):
        values = np.arange(size, dtype=float)
        return lambda: values * 2

    def theirs(size):
        values = np.arange(size, dtype=float)
        def step():
            print("chatter that must not mix with the answers")
            time.sleep(0.02)
            return values + values
        return step

    def wrong(size):
        return lambda: np.zeros(size)

    def crash(size):
        raise RuntimeError("no such peer")
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "shout.py"
    path.write_text(textwrap.dedent(FILE))
    return path


def race(file, ours="ours", theirs="theirs"):
    namespace: dict = {}
    exec(compile(file.read_text(), str(file), "exec"), namespace)
    return bench.Race("numpy", "doubling", namespace[ours], namespace[theirs], {"size": 1000}, threads=1)


def test_the_faster_side_wins_and_outputs_are_compared(file):
    result = bench.run_race(race(file), file, repeats=3)
    assert result.ratio > 10
    assert result.outputs_agree
    assert result.peer_version == np.__version__
    assert 0.5 < result.memory_ratio < 2
    assert "median of 3 turns" in result.note


def test_different_outputs_are_said(file):
    assert not bench.run_race(race(file, theirs="wrong"), file, repeats=1).outputs_agree


def test_a_side_that_stops_is_named(file):
    with pytest.raises(InputError, match="a side of the race stopped"):
        bench.run_race(race(file, theirs="crash"), file, repeats=1)


def test_a_peer_in_its_own_environment(file, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "ROOT", tmp_path)
    entry = race(file)
    made = tmp_path / ".bench" / "numpy"
    (made / "bin").mkdir(parents=True)
    (made / "bin" / "python").symlink_to(sys.executable)
    (made / "requirements.txt").write_text("numpy")
    apart = bench.Race(entry.peer, entry.workload, entry.ours, entry.theirs, entry.arguments, requirements=("numpy",))
    assert bench._environment(apart) == str(made / "bin" / "python")


def test_a_peer_without_harmonia_reads_the_same_file(file, tmp_path):
    file.write_text("from harmonia.app.bench import Race\n" + file.read_text() + "\nRACES = (Race('numpy'),)\n")
    (tmp_path / "harmonia.py").write_text("raise ImportError('not here')\n")
    command = [sys.executable, str(bench.WORKER), str(file), "ours", "1", '{"size": 3}', str(tmp_path / "found.npy")]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, input="\n", capture_output=True, text=True, check=True)
    assert "ready" in done.stdout
    assert "seconds" in done.stdout
    assert np.load(tmp_path / "found.npy").tolist() == [0, 2, 4]


def test_outputs_are_compared(file):
    plain, scored = race(file), dataclasses.replace(race(file), scores=True)
    assert bench._compared(plain, np.ones(3), np.ones(3)) == (0, "largest difference 0.0e+00")
    assert bench._compared(plain, np.ones(3), np.ones(4))[0] == float("inf")
    assert bench._compared(plain, np.array([1.0, 2.2]), np.array([1.0, 2.0]))[0] == pytest.approx(0.1)
    assert bench._compared(plain, None, np.ones(1)) == (None, "")
    assert bench._compared(scored, np.array([0.9]), np.array([0.8])) == (0, "scores 0.9 beside 0.8")
    assert bench._compared(scored, np.array([0.7]), np.array([0.8]))[0] == pytest.approx(0.125)
