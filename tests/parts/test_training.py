"""The training loop: it learns, resumes exactly after kill -9, refuses what it cannot do, touches no global state."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from harmonia.core.errors import Cancelled, InputError, WeightsError
from harmonia.core.progress import watched
from harmonia.parts.training import Plan, train


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.2), nn.GELU(), nn.Linear(16, 1))


def draw(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(16, 4, generator=generator)
    return x, x.sum(1, keepdim=True)


def loss(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    return (model(batch[0]) - batch[1]).square().mean()


class Stopper:
    """A watcher that stops the work after so many steps."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.said: list[str] = []

    def step(self, label: str, done: int, total: int | None) -> None:
        if done >= self.after:
            raise Cancelled("stopped")

    def say(self, message: str) -> None:
        self.said.append(message)


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_it_learns_and_reports() -> None:
    watcher = Stopper(10**9)
    with watched(watcher):
        plan = Plan(steps=200, learning_rate=1e-2, evaluate_every=100, ema_decay=0.95)
        trained = train(network(), draw, loss, plan, evaluate=lambda model: {"mse": 1.0}, device="cpu")
    assert trained.history[-1]["loss"] < 0.25 * 4
    assert [record["step"] for record in trained.history] == [100, 200]
    assert not trained.model.training
    assert "200 steps" in watcher.said[0]


def test_same_seed_same_weights_and_no_global_state() -> None:
    before = torch.random.get_rng_state()
    first = train(network(), draw, loss, Plan(steps=20, seed=1), device="cpu").model
    again = train(network(), draw, loss, Plan(steps=20, seed=1), device="cpu").model
    other = train(network(), draw, loss, Plan(steps=20, seed=2), device="cpu").model
    assert equal(first, again)
    assert not equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_stopping_saves_and_resuming_is_exact(tmp_path: Path) -> None:
    plan = Plan(steps=40, checkpoint_every=1000, evaluate_every=10)
    whole, parted = network(), network()
    reference = train(whole, draw, loss, plan, device="cpu")
    with pytest.raises(Cancelled), watched(Stopper(17)):
        train(parted, draw, loss, plan, folder=tmp_path, device="cpu")
    resumed_model = network()
    resumed = train(resumed_model, draw, loss, plan, folder=tmp_path, device="cpu")
    assert equal(whole, resumed_model)
    assert equal(reference.model, resumed.model)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log] == [10, 20, 30, 40]


CHILD = """
import sys, time, torch
from pathlib import Path
sys.path.insert(0, {here!r})
torch.set_num_threads(1)
from test_training import network, draw, loss
from harmonia.parts.training import Plan, train
def slow(generator):
    time.sleep({pause})
    return draw(generator)
model = network()
trained = train(model, slow, loss, Plan(steps=60, checkpoint_every=5), folder=Path({folder!r}), device="cpu")
torch.save([model.state_dict(), trained.model.state_dict()], {out!r})
"""


def test_resume_after_kill_9_is_exact(tmp_path: Path) -> None:
    def script(folder: str, pause: float) -> list[str]:
        out = str(tmp_path / f"{folder}.pt")
        here = str(Path(__file__).parent)
        return [sys.executable, "-c", CHILD.format(here=here, pause=pause, folder=str(tmp_path / folder), out=out)]

    killed = subprocess.Popen(script("killed", 0.05))
    deadline = time.monotonic() + 60
    while not (tmp_path / "killed" / "state.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.4)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed.pt").exists()
    subprocess.run(script("killed", 0.0), check=True)
    subprocess.run(script("whole", 0.0), check=True)
    for a, b in zip(torch.load(tmp_path / "killed.pt"), torch.load(tmp_path / "whole.pt"), strict=True):
        assert all(torch.equal(a[key], b[key]) for key in b)


def test_another_plan_in_the_folder_is_refused(tmp_path: Path) -> None:
    train(network(), draw, loss, Plan(steps=2), folder=tmp_path, device="cpu")
    with pytest.raises(InputError, match="another plan"):
        train(network(), draw, loss, Plan(steps=3), folder=tmp_path, device="cpu")


def test_a_torn_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"torn")
    with pytest.raises(WeightsError, match="cannot be read"):
        train(network(), draw, loss, Plan(steps=2), folder=tmp_path, device="cpu")


def test_a_loss_that_explodes_is_an_error() -> None:
    with pytest.raises(InputError, match="not a finite number"):
        train(network(), draw, lambda model, batch: loss(model, batch) * float("nan"), Plan(steps=2), device="cpu")


def test_bf16_runs_beside_float32() -> None:
    for precision in ("no", "bf16", "no"):
        plan = Plan(steps=3, precision=precision)  # type: ignore[arg-type]
        assert train(network(), draw, loss, plan, device="cpu").history[-1]["step"] == 3


def test_unknown_devices_and_empty_plans_are_refused() -> None:
    with pytest.raises(InputError, match="device"):
        train(network(), draw, loss, Plan(steps=2), device="abacus")
    with pytest.raises(InputError, match="step"):
        Plan(steps=0)


def dropped(p: float) -> nn.Module:
    model = network()
    model[1].p = p
    return model


def shifted() -> nn.Module:
    model = network()
    with torch.no_grad():
        model[0].bias[2] += 0.01
    return model


def elsewhere(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = draw(generator)
    y[3] = 1 - y[3]
    return x, y


@pytest.mark.parametrize("steps", [3, 300])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"draw": elsewhere}, "other data"),
        ({"model": lambda: dropped(0.3)}, "another network"),
        ({"model": shifted}, "other starting weights"),
        ({"optimizers": lambda model: [torch.optim.AdamW(model.parameters(), 1e-2)]}, "other optimizers"),
    ],
    ids=["data", "dropout", "weights", "rate"],
)
def test_a_finished_run_is_not_taken_for_another(change, message, steps, tmp_path: Path) -> None:
    def run(model=network, draw=draw, optimizers=None):
        return train(model(), draw, loss, Plan(steps=steps), folder=tmp_path, make_optimizers=optimizers, device="cpu")

    first = run()
    with pytest.raises(InputError, match=message):
        run(**change)
    assert equal(run().model, first.model)
