"""What the initialisation is worth, on raw waveforms of spoken digits: a stand-in for Speech Commands.

2,000 one-second clips at 4 kHz by formant voices (`harmonia.data.render.digits`), tested on 500 by other voices. All
networks have about 22,000 parameters and see the data 8 times. Half the sampling rate comes without any training.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.signal import resample_poly
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.claim import Measured, claim
from harmonia.core.errors import MissingDependency
from harmonia.data.render.digits import SpokenDigits, render_digits
from harmonia.parts.training import Plan, train
from harmonia.sequences.s4d.estimator import S4DClassifier

STAND_IN = "rendered digits, a stand-in for Speech Commands"
GOOD, ABLATED = ("lin", "inv", "legs"), ("rand", "real")
EPOCHS, BATCH = 8, 16


class Accuracy(NamedTuple):
    """Percent of test clips that are right.

    Attributes:
        full: At the sampling rate of training.
        half: At half of it.
    """

    full: float
    half: float


class _GRU(nn.Module):
    """Two layers of gated recurrent units, mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.GRU(1, 48, num_layers=2, batch_first=True)
        self.head = nn.Linear(48, 10)

    def forward(self, u: Tensor) -> Tensor:
        return self.head(self.cells(u)[0].mean(1))


class _CNN(nn.Module):
    """Four strided convolutions over 25 samples, as in the paper's WaveGAN baseline, mean over time."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((1, 16), (16, 16), (16, 16), (16, 20)):
            layers += [nn.Conv1d(inputs, outputs, 25, stride=4, padding=12), nn.BatchNorm1d(outputs), nn.GELU()]
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(20, 10)

    def forward(self, u: Tensor) -> Tensor:
        return self.head(self.layers(u.transpose(1, 2)).mean(2))


@cache
def accuracies(seed: int) -> dict[str, Accuracy] | None:
    """Every network's accuracy; None where no voice is installed."""
    try:
        return compare(render_digits("train", 2000), render_digits("test", 500), seed)
    except MissingDependency:
        return None


def compare(learn: SpokenDigits, test: SpokenDigits, seed: int, epochs: int = EPOCHS) -> dict[str, Accuracy]:
    """Train every network and measure it at both rates."""
    half = resample_poly(test.clips, 1, 2, axis=1).astype(np.float32)
    found = {}
    for init in (*GOOD, *ABLATED):
        model = S4DClassifier(
            d_model=32,
            n_layers=4,
            d_state=32,
            init=init,
            bandlimit=0.5,
            epochs=epochs,
            batch_size=BATCH,
            learning_rate=0.01,
            random_state=seed,
        )
        model.fit(learn.clips, learn.labels)
        full = model.score(test.clips, test.labels)
        found[init] = Accuracy(100 * full, 100 * model.set_sampling_rate(2.0).score(half, test.labels))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        rivals = {"GRU": _GRU(), "CNN": _CNN()}
    for name, rival in rivals.items():
        found[name] = _rival(rival, learn, test, half, seed, epochs)
    return found


def _rival(
    network: nn.Module, learn: SpokenDigits, test: SpokenDigits, half: np.ndarray, seed: int, epochs: int
) -> Accuracy:
    mean, spread = float(learn.clips.mean()), float(learn.clips.std())
    clips, labels = (torch.from_numpy(learn.clips)[..., None] - mean) / spread, torch.from_numpy(learn.labels)

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = torch.randperm(len(clips), generator=generator)[:BATCH]
        return clips[rows], labels[rows]

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    steps = epochs * len(clips) // BATCH
    plan = Plan(steps=steps, learning_rate=3e-3, warmup=steps // 20, ema_decay=0.0, seed=seed)
    model = train(network, draw, loss, plan).model

    def percent(x: np.ndarray) -> float:
        device = next(model.parameters()).device
        inputs = ((torch.from_numpy(x)[..., None] - mean) / spread).to(device)
        with torch.no_grad():
            guess = torch.cat([model(piece).argmax(1) for piece in inputs.split(50)]).cpu()
        return 100 * float((guess.numpy() == test.labels).mean())

    return Accuracy(percent(test.clips), percent(half))


def _table(found: dict[str, Accuracy]) -> str:
    return ", ".join(f"{name} {each.full:.1f}/{each.half:.1f}" for name, each in found.items())


@claim(
    "S4D-Lin, Inv and LegS train alike",
    place="Sec. 5.2, table of initialisations",
    unit="points between best and worst",
    better="lower",
    tier="full",
    gate=2.0,
)
def alike(seed: int) -> Measured | None:
    found = accuracies(seed)
    if found is None:
        return None
    good = [found[init].full for init in GOOD]
    return Measured(max(good) - min(good), note=f"{STAND_IN}; accuracy at full/half rate: {_table(found)}")


@claim(
    "The initialisation matters: S4D-Lin, Inv and LegS stand above random frequencies and above S4D-Real",
    place="abstract and Sec. 5.2",
    unit="points from the worst of the three to the better ablation",
    better="higher",
    tier="full",
    gate=5.0,
)
def initialization_matters(seed: int) -> Measured | None:
    found = accuracies(seed)
    if found is None:
        return None
    return Measured(
        min(found[init].full for init in GOOD) - max(found[init].full for init in ABLATED),
        note=f"{STAND_IN}; accuracy at full/half rate: {_table(found)}",
    )


@claim(
    "Raw waveforms: every S4D stands above a GRU and a convolutional network of its size",
    place="Sec. 5.1, Speech Commands",
    unit="% accuracy",
    better="higher",
    tier="full",
)
def above_rivals(seed: int) -> Measured | None:
    found = accuracies(seed)
    if found is None:
        return None
    rivals = max(found[name].full for name in ("GRU", "CNN"))
    return Measured(min(found[init].full for init in GOOD), baseline=rivals, note=STAND_IN)


@claim(
    "Half the sampling rate without training: one number is changed and accuracy stays",
    place="Sec. 5.1, Speech Commands at 8 kHz",
    unit="points lost",
    better="lower",
    tier="full",
    gate=8.0,
)
def half_rate(seed: int) -> Measured | None:
    found = accuracies(seed)
    if found is None:
        return None
    lost = {name: each.full - each.half for name, each in found.items()}
    note = f"{STAND_IN}; baseline: what the convolutional network loses, which ends at {found['CNN'].half:.1f} %"
    return Measured(max(lost[init] for init in GOOD), baseline=lost["CNN"], note=note)
