"""S4 beside S4D, and the paper's ablations, on handwritten digits read pixel by pixel, and on small real series.

scikit-learn's digits as sequences of 64 grey values, each held four times: 256 samples, 1,347 to train and 450 to test.
S4 keeps the low-rank part of HiPPO: here in the plainest way, as a dense matrix discretised by the bilinear rule.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from harmonia.core.claim import Measured, claim
from harmonia.core.errors import MissingDependency
from harmonia.data import bundled_series, digits
from harmonia.sequences.s4d.estimator import S4DClassifier
from harmonia.sequences.s4d.initialization import legs
from harmonia.sequences.s4d.kernel import S4DKernel
from harmonia.sequences.s4d.network import S4DModel

SEEDS = (0, 1, 2)
REAL = ("BasicMotions", "JapaneseVowels", "ItalyPowerDemand", "GunPoint")
ABLATIONS: dict[str, dict[str, Any]] = {
    "lin": {"init": "lin"},
    "inv": {"init": "inv"},
    "legs": {"init": "legs"},
    "bilinear": {"init": "lin", "discretization": "bilinear"},
    "rand": {"init": "rand"},
    "real": {"init": "real"},
}


class DenseS4Kernel(S4DKernel):
    """S4's kernel: ``A = diag(a) - P P*`` over all conjugates, bilinear rule, powers of the dense matrix.

    For comparison at small sizes only: its cost is cubic in the state.
    """

    def __init__(self, d_model: int, d_state: int = 64) -> None:
        super().__init__(d_model, d_state, init="legs", discretization="bilinear")
        low_rank = legs(d_state).low_rank.to(torch.cfloat).expand(d_model, -1)
        self.P = nn.Parameter(torch.view_as_real(low_rank.clone()))

    def _kernel(self, length: int, rate: float) -> Float[Tensor, "rows heads length"]:
        both = [torch.view_as_complex(each.contiguous()) for each in (self.B[0], self.C, self.P)]
        b, c, p = (torch.cat([each, each.conj()], -1) for each in both)
        pole = torch.cat([self.pole(), self.pole().conj()], -1)
        a = torch.diag_embed(pole) - p.unsqueeze(-1) * p.conj().unsqueeze(-2)
        half = self.step_size(rate).unsqueeze(-1) * a / 2
        one = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
        inverse = torch.linalg.inv(one - half)
        multiplier = inverse @ (one + half)
        # Doubling: the states e^{l} b for l < 2k from those for l < k.
        states = (self.step_size(rate) * (inverse @ b.unsqueeze(-1)).squeeze(-1)).unsqueeze(-1)
        while states.shape[-1] < length:
            states = torch.cat([states, multiplier @ states], -1)
            multiplier = multiplier @ multiplier
        return torch.einsum("chn,hnl->chl", c, states[..., :length]).real


class DenseS4Classifier(S4DClassifier):
    """`S4DClassifier` with S4's kernel in every layer."""

    def _network(self, config: Any) -> S4DModel:
        model = super()._network(config)
        for layer in model.layers:
            layer.kernel = DenseS4Kernel(config.d_model, config.kernel.d_state)
        return model


@cache
def accuracies(epochs: int = 20) -> dict[str, float]:
    """Mean accuracy over `SEEDS` in percent, of S4, S4D and its ablations."""
    images, labels = digits()
    X = np.repeat(images.reshape(len(images), 64) / 16, 4, axis=1)
    found: dict[str, list[float]] = {}
    for seed in SEEDS:
        X_train, X_test, y_train, y_test = train_test_split(
            X, labels, test_size=450, random_state=seed, stratify=labels
        )
        for name, options in {"S4": {"init": "legs"}, **ABLATIONS}.items():
            kind = DenseS4Classifier if name == "S4" else S4DClassifier
            model = kind(
                d_model=32, n_layers=2, d_state=32, epochs=epochs, learning_rate=0.01, random_state=seed, **options
            )
            found.setdefault(name, []).append(100 * model.fit(X_train, y_train).score(X_test, y_test))
    return {name: float(np.mean(each)) for name, each in found.items()}


def _table(found: dict[str, float]) -> str:
    return "sequential digits, 3 seeds: " + ", ".join(f"{name} {each:.1f}" for name, each in found.items())


@claim(
    "S4D-LegS performs as S4 does",
    place="abstract: comparable performance to S4; Table 5",
    unit="points of accuracy between them",
    better="lower",
    tier="full",
    gate=1.5,
)
def as_good_as_s4(seed: int) -> Measured:
    found = accuracies()
    return Measured(abs(found["S4"] - found["legs"]), note=_table(found))


@claim(
    "The discretisation hardly matters, beside the initialisation",
    place="Sec. 5.2: zero-order hold against bilinear",
    unit="points of accuracy between them",
    better="lower",
    tier="full",
)
def discretization(seed: int) -> Measured:
    found = accuracies()
    worst = min(found["rand"], found["real"])
    note = f"{_table(found)}; baseline: from lin to the worse of rand and real"
    return Measured(abs(found["lin"] - found["bilinear"]), baseline=abs(found["lin"] - worst), note=note)


@cache
def real_series(epochs: int = 40) -> dict[str, float] | None:
    """Mean test accuracy in percent over small sets of the archives, by initialisation; None where they are not."""
    found: dict[str, list[float]] = {}
    for name in REAL:
        try:
            learn, test = bundled_series(name, "train"), bundled_series(name, "test")
        except MissingDependency:
            return None
        for init in ("lin", "inv", "legs", "rand", "real"):
            model = S4DClassifier(
                d_model=32,
                n_layers=2,
                d_state=32,
                init=init,
                bidirectional=True,
                dt_min=1e-2,
                dt_max=0.5,
                epochs=epochs,
                batch_size=16,
                learning_rate=0.01,
            )
            model.fit(list(learn.values), learn.labels)
            found.setdefault(init, []).append(100 * model.score(list(test.values), test.labels))
    return {init: float(np.mean(each)) for init, each in found.items()}


@claim(
    "Real series: the paper's initialisations stand above random frequencies and S4D-Real",
    place="abstract and Sec. 5.2",
    unit="% accuracy, mean of four sets",
    better="higher",
    tier="full",
)
def initialization_of_real_series(seed: int) -> Measured | None:
    found = real_series()
    if found is None:
        return None
    table = ", ".join(f"{init} {each:.1f}" for init, each in found.items())
    note = f"{', '.join(REAL)}: {table}; the worst of three beside the better ablation"
    return Measured(min(found[init] for init in ("lin", "inv", "legs")), max(found["rand"], found["real"]), note)
