"""Networks of fifty layers on digits: signals, gradients and learning, critical and as torch initialises them.

The gates: gradient ratios of critical networks between 0.1 and 10, against less than 1e-6 as torch initialises them.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harmonia.core.claim import Measured, claim
from harmonia.core.progress import track
from harmonia.data.tables import digits
from harmonia.networks.effective_theory.architecture import Residual, network_of
from harmonia.networks.effective_theory.aspect import gamma_for, optimal_ratio
from harmonia.networks.effective_theory.initialise import critical_init_

_DEPTH, _WIDTH = 50, 128
_ACTS = {"ReLU": "relu", "Tanh": "tanh", "GELU": "gelu", "SiLU": "silu"}


def _split(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """1,200 digits to learn from and 597 to test on, standardised."""
    images, labels = digits()
    order = np.random.default_rng(seed).permutation(len(images))
    x, y = torch.from_numpy(images.reshape(len(images), -1)[order]).float(), torch.from_numpy(labels[order])
    spread = x[:1200].std(0)
    x = (x - x[:1200].mean(0)) / torch.where(spread > 0, spread, 1.0)
    return x[:1200], y[:1200], x[1200:], y[1200:]


def _deep(activation: str, critical: bool, seed: int, x: Tensor, scale: float = 1.0) -> nn.Sequential:
    model = network_of(
        f"Linear(64, {_WIDTH}), {_DEPTH - 2} * ({activation}(), Linear({_WIDTH}, {_WIDTH})), {activation}(), "
        f"Linear({_WIDTH}, 10)",
        seed,
    )
    if critical:
        critical_init_(model, input_scale=x, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            for layer in _linear(model)[1:]:
                layer.weight.mul_(math.sqrt(scale))
    return model


def _linear(model: nn.Sequential) -> list[nn.Linear]:
    return [part for part in model if isinstance(part, nn.Linear)]


def _gradient_ratio(activation: str, critical: bool, seed: int) -> float:
    """Norm of the weights' gradient in layer 2 over that in layer 49, of the cross-entropy of 256 digits."""
    x, y, _, _ = _split(seed)
    model = _deep(activation, critical, seed, x).double()
    layers = _linear(model)
    loss = F.cross_entropy(model(x[:256].double()), y[:256])
    early, late = torch.autograd.grad(loss, [layers[1].weight, layers[-2].weight])
    return float(early.norm() / late.norm())


@claim(
    "Gradients of critical 50-layer networks keep their size from layer 49 back to layer 2",
    place="chapters 3 and 9",
    unit="largest |log10| of the ratio of norms",
    better="lower",
    tier="quick",
    gate=1.0,
)
def critical_gradients_live(seed: int) -> Measured:
    critical = {name: _gradient_ratio(name, True, seed) for name in _ACTS}
    default = {name: _gradient_ratio(name, False, seed) for name in _ACTS}
    note = "; ".join(f"{name} {critical[name]:.2g} (torch's initialisation {default[name]:.1e})" for name in _ACTS)
    sizes = [abs(math.log10(max(ratio, 1e-300))) for ratio in critical.values()]
    rival = [abs(math.log10(max(ratio, 1e-300))) for ratio in default.values()]
    return Measured(max(sizes), baseline=min(rival), note=note)


@claim(
    "Gradients of 50-layer networks vanish as torch initialises them",
    place="chapter 3",
    unit="largest ratio of norms, layer 2 over layer 49",
    better="lower",
    tier="quick",
    gate=1e-6,
)
def default_gradients_vanish(seed: int) -> Measured:
    ratios = {name: _gradient_ratio(name, False, seed) for name in _ACTS}
    return Measured(max(ratios.values()), note=", ".join(f"{name} {ratio:.1e}" for name, ratio in ratios.items()))


@claim(
    "The signal of a critical 50-layer ReLU network keeps its size; a fifth less weight variance loses it",
    place="chapter 5",
    unit="|log| of K in layer 50 over layer 1",
    better="lower",
    tier="quick",
    gate=5.0,
)
def critical_signal_lives(seed: int) -> Measured:
    def change(scale: float) -> float:
        x = _split(seed)[0][:256]
        z, sizes = x, []
        with torch.no_grad():
            for part in _deep("ReLU", True, seed, x, scale):
                z = part(z)
                if isinstance(part, nn.Linear):
                    sizes.append(float(z.double().square().mean()))
        return math.log(sizes[-1] / sizes[0])

    low, critical, high = change(0.8), change(1.0), change(1.25)
    note = (
        f"log ratios {low:.1f} at 0.8 C_W, {critical:.1f} at C_W, {high:.1f} at 1.25 C_W; theory -10.9, 0 ± 1.4, 10.9"
    )
    return Measured(abs(critical), baseline=min(abs(low), abs(high)), note=note)


def _trained(model: nn.Module, seed: int, epochs: int = 25, lr: float = 1e-2) -> tuple[float, float]:
    """Accuracy and cross-entropy on the test digits after SGD with momentum 0.9, batches of 60, clipped at norm 5."""
    x, y, test_x, test_y = _split(seed)
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    for _ in track(range(epochs), "Training"):
        for batch in torch.randperm(len(x), generator=generator).split(60):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
    with torch.no_grad():
        logits = model(test_x)
    return float((logits.argmax(1) == test_y).float().mean()), float(F.cross_entropy(logits, test_y))


@claim(
    "Critical 50-layer networks learn digits where torch's initialisation stays at chance",
    place="chapters 3, 5 and 9",
    unit="lowest accuracy of ReLU, tanh, GELU",
    better="higher",
    tier="full",
    gate=0.6,
)
def critical_networks_learn(seed: int) -> Measured:
    x, names = _split(seed)[0], ("ReLU", "Tanh", "GELU")
    critical = {name: _trained(_deep(name, True, seed, x), seed)[0] for name in names}
    default = {name: _trained(_deep(name, False, seed, x), seed)[0] for name in names}
    note = "; ".join(f"{name} {critical[name]:.3f} beside {default[name]:.3f}" for name in names)
    return Measured(min(critical.values()), baseline=max(default.values()), note=f"{note}; 25 epochs, one seed")


@claim(
    "Skip connections of the advised weight let 50 layers of width 128 learn digits",
    place="Appendix B",
    unit="accuracy of ReLU",
    better="higher",
    tier="full",
    gate=0.9,
)
def skips_recover(seed: int) -> Measured:
    x, gamma = _split(seed)[0], gamma_for(_DEPTH, _WIDTH, "relu", 10)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        blocks = [Residual(nn.ReLU(), nn.Linear(_WIDTH, _WIDTH), gamma=gamma) for _ in range(_DEPTH - 2)]
        model = nn.Sequential(nn.Linear(64, _WIDTH), *blocks, nn.ReLU(), nn.Linear(_WIDTH, 10))
    critical_init_(model, input_scale=x, generator=torch.Generator().manual_seed(seed))
    with_skips = _trained(model, seed)[0]
    without = _trained(_deep("ReLU", True, seed, x), seed)[0]
    return Measured(with_skips, baseline=without, note=f"gamma = {gamma:.3f}; baseline: critical, without skips")


@claim(
    "The best depth of trained tanh networks is within a factor 3 of the advised one",
    place="Appendix A",
    unit="|log| of the best depth over the advised one",
    better="lower",
    tier="full",
    gate=math.log(3),
)
def advised_depth_is_best(seed: int) -> Measured:
    width, depths, inits = 32, (2, 3, 4, 6, 8, 12, 18), 3
    x = _split(seed)[0]
    losses = []
    for depth in depths:
        text = f"Linear(64, {width}), {depth - 2} * (Tanh(), Linear({width}, {width})), Tanh(), Linear({width}, 10)"
        found = []
        for init in range(inits):
            model = network_of(text)
            critical_init_(model, input_scale=x, generator=torch.Generator().manual_seed(seed + init))
            found.append(_trained(model, seed)[1])
        losses.append(float(np.mean(found)))
    best, advised = depths[int(np.argmin(losses))], optimal_ratio("tanh", 10) * width
    curve = ", ".join(f"{loss:.3f} at {depth}" for depth, loss in zip(depths, losses))
    return Measured(abs(math.log(best / advised)), note=f"width {width}: advised {advised:.1f}; test loss {curve}")
