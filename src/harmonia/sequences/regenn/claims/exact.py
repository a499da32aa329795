"""What must hold exactly: the graphs, the linear part, both ways of attention and recurrence, and no look ahead."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import Ridge
from torch import nn

from harmonia.core.claim import Measured, claim
from harmonia.data import coupled_panel
from harmonia.parts.forecasting import future_leak
from harmonia.sequences.regenn.forecaster import ReGENNForecaster
from harmonia.sequences.regenn.graph import GraphSoftEvolution, cooccurrence
from harmonia.sequences.regenn.network import ReGENN
from harmonia.sequences.regenn.start import PENALTY, ridge


@claim(
    "The co-occurrence graph of a tensor by hand; where all is positive, columns are alike and self-loops zero",
    place="Sec. 3, the input graph",
    unit="largest difference",
    better="zero",
    tier="quick",
    tolerance=1e-4,
)
def graph_by_hand(seed: int) -> Measured:
    small = torch.tensor([[[1.0, 2.0], [3.0, 0.0], [0.0, 5.0]], [[0.0, 0.0], [4.0, 0.0], [2.0, 1.0]]]).double()
    # Variable 1 has mass 10, 3 of it beside variable 2; variable 2 has mass 8, 3 of it beside variable 1.
    by_hand = torch.tensor([[2 * 10 - (10 + 3.0), 3.0], [3.0, 2 * 8 - (8 + 3.0)]])
    off = (cooccurrence(small) - by_hand).abs().max()
    positive = torch.rand(40, 9, 4, generator=torch.Generator().manual_seed(seed)).double() + 0.1
    mass = positive.sum((0, 1))[:, None].expand(4, 4)
    alike = (cooccurrence(positive) - mass * (1 - torch.eye(4))).abs().max()
    return Measured(float(torch.maximum(off, alike)), note="2 x 3 x 2 numbers by hand; 40 x 9 x 4 random ones")


@claim(
    "Of an orthogonal graph that W_A leaves as it is, evolution keeps the diagonal of W_C alone",
    place="Sec. 3, graph soft evolution",
    unit="largest difference",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def orthogonal_graph(seed: int) -> Measured:
    generator = torch.Generator().manual_seed(seed)
    layer = GraphSoftEvolution(5, in_time=4)
    with torch.no_grad():
        layer.adjacency_weights.copy_(torch.eye(5))
        layer.cosine_bias.normal_(generator=generator)
        orthogonal = torch.linalg.qr(torch.randn(5, 5, generator=generator))[0]
        expected = layer.cosine_weights.diagonal().diag() + layer.cosine_bias
        return Measured(float((layer.weights(3 * orthogonal) - expected).abs().max()), note="float32, V = 5")


@claim(
    "With all else silent the network is a linear map, and begins as scikit-learn's ridge regression",
    place="Sec. 4, the linear component",
    unit="largest difference",
    better="zero",
    tier="quick",
    tolerance=1e-4,
)
def linear_is_ridge(seed: int) -> Measured:
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(200, steps, 3, generator=generator, dtype=torch.float64) for steps in (6, 4))
    rule = ridge(x, y, torch.ones_like(y, dtype=torch.bool), shared=True)
    network = ReGENN(window=6, stride=4, n_variables=3).eval()
    network.start_linear(*(each.float() for each in rule))
    rows, answers = x.mT.reshape(600, 6).numpy(), y.mT.reshape(600, 4).numpy()
    exact = Ridge(alpha=PENALTY * 600).fit(rows, answers).predict(rows).reshape(200, 3, 4).swapaxes(1, 2)
    with torch.no_grad():
        return Measured(float(np.abs(network(x.float()).numpy() - exact).max()), note="600 rows, window 6, stride 4")


@claim(
    "Attention among variables: a prediction does not depend on what else is in the batch",
    place="Sec. 4, the encoder; the release attends to the other samples of a batch",
    unit="largest change",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def batch_mates(seed: int) -> Measured:
    changes = {}
    for attend in ("variables", "samples"):
        torch.manual_seed(seed)
        network = ReGENN(window=7, stride=5, n_variables=4, attend=attend, feedforward=32).eval()
        x, others = torch.randn(2, 6, 7, 4, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            changes[attend] = float((network(x)[:1] - network(torch.cat([x[:1], others]))[:1]).abs().max())
    return Measured(changes["variables"], note=f"as released, attend='samples', it changes by {changes['samples']:.2g}")


@claim(
    "A layer that runs both ways is the sum of two layers",
    place="Sec. 4, the time gate",
    unit="largest difference",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def both_ways(seed: int) -> Measured:
    torch.manual_seed(seed)
    network = ReGENN(
        window=6, stride=3, n_variables=4, encoder=False, sequencer=None, graph=False, autoregression=False
    )
    forwards, backwards = nn.LSTM(6, 3, batch_first=True), nn.LSTM(6, 3, batch_first=True)
    state = network.gate.state_dict()
    forwards.load_state_dict({key: value for key, value in state.items() if not key.endswith("_reverse")})
    reverse = {key.removesuffix("_reverse"): value for key, value in state.items() if key.endswith("_reverse")}
    backwards.load_state_dict(reverse)
    x = torch.randn(5, 6, 4)
    with torch.no_grad():
        exact = (forwards(x.mT)[0] + backwards(x.mT.flip(1))[0].flip(1)).mT
        return Measured(float((network.eval()(x) - exact).abs().max()))


@claim(
    "No forecast changes when everything after it does",
    place="ours: what the published normalisation lacks",
    unit="largest change",
    better="zero",
    tier="quick",
    tolerance=0.0,
)
def no_leak(seed: int) -> Measured:
    panel, _ = coupled_panel(seed, samples=6, length=60, variables=3)

    def run(whole: np.ndarray) -> np.ndarray:
        past = whole[:40].reshape(40, 6, 3).swapaxes(0, 1)
        return ReGENNForecaster(6, 3, steps=4, feedforward=8, random_state=seed).fit(past).predict()

    side_by_side = panel.values.swapaxes(0, 1).reshape(60, 18)
    return Measured(future_leak(run, side_by_side, origin=40), note="fit and forecast; 6 samples, noise from row 40 on")
