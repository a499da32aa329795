"""The paper's headline: a recurrent module without recurrence makes MossFormer better, and is fast."""

from __future__ import annotations

import statistics
import time
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from harmonia.audio.mossformer2.blocks import prelu
from harmonia.audio.mossformer2.claims.embedded import RENDERED, plain, rendered
from harmonia.audio.mossformer2.mixing import DynamicMix, fixed_mixtures
from harmonia.audio.mossformer2.network import MossFormer2, MossFormer2Config
from harmonia.audio.mossformer2.training import improvement, separation_scores, train_separator
from harmonia.core.claim import Measured, claim
from harmonia.data import demo_talk
from harmonia.parts.linear import Linear
from harmonia.parts.separation import pit_si_snr
from harmonia.parts.training import Plan

SMALL = MossFormer2Config(
    n_filters=64, depth=4, group=128, qk_dim=32, fsmn_dim=32, order=20, dropout=0.0, sample_rate=8000
)
MEDIUM = MossFormer2Config(n_filters=256, depth=12, fsmn_dim=128, dropout=0.0, sample_rate=8000)


@claim(
    "The recurrent module improves separation at equal parameters and steps",
    place="abstract; ablation of the recurrent module",
    unit="dB SI-SDR improvement",
    better="higher",
    tier="full",
    tolerance=0.5,
)
def memory_helps(seed: int) -> Measured | None:
    """The baseline, to be beaten by 0.5 dB, is a MossFormer: attention only, widened to as many parameters."""
    runs = compare(SMALL, seed)
    return None if runs is None else _compared(runs)


@claim(
    "The recurrent module improves a larger network",
    place="abstract; ablation of the recurrent module",
    unit="dB SI-SDR improvement",
    better="higher",
    tier="gpu",
    tolerance=0.5,
)
def larger(seed: int) -> Measured | None:
    """256 wide, 12 blocks, 20,000 steps: about 20 min for each of two runs on a data-centre GPU."""
    runs = compare(MEDIUM, seed, steps=20_000, seeds=1) if torch.cuda.is_available() else None
    return None if runs is None else _compared(runs)


@claim(
    "A step with the RNN-free module is faster than one with a GRU in its place",
    place="abstract: RNN-free, in parallel over time",
    unit="times",
    better="higher",
    tier="full",
    gate=3.0,
)
def memory_is_fast(seed: int, repeats: int = 5) -> Measured:
    """Training steps of the network of the first claim: 4 mixtures of 2 s; the median over steps taken in turns."""
    models = [_seeded(SMALL, seed), _seeded(SMALL, seed)]
    for block in models[1].blocks:
        block.memory = GatedRecurrence(SMALL.n_filters, SMALL.fsmn_dim)
    generator = torch.Generator().manual_seed(seed)
    sources = torch.randn(4, 2, 2 * SMALL.sample_rate, generator=generator)
    seconds: list[list[float]] = [[], []]
    alone: list[list[float]] = [[], []]
    frames = torch.randn(4, 2 * sources.shape[-1] // SMALL.kernel, SMALL.n_filters, generator=generator)
    for turn in range(repeats + 1):
        for number, model in enumerate(models):
            start = time.perf_counter()
            pit_si_snr(model(sources.sum(1)), sources)[0].backward()
            middle = time.perf_counter()
            model.blocks[0].memory(frames).sum().backward()  # type: ignore[operator]
            if turn:
                seconds[number].append(middle - start)
                alone[number].append(time.perf_counter() - middle)
    whole, module = (statistics.median(b) / statistics.median(a) for a, b in (seconds, alone))
    return Measured(whole, note=f"the module alone: {module:.2f} times")


@claim(
    "One mixture can be learnt by heart",
    place="sanity of network, loss and optimiser",
    unit="dB SI-SDR improvement",
    better="higher",
    tier="full",
    gate=15.0,
)
def overfit(seed: int, steps: int = 300) -> Measured:
    """Two seconds of the embedded conversation where both talk, 300 steps."""
    speakers = np.stack([speaker.resampled(8000).cut(10.0, 12.0).samples[0] for speaker in demo_talk().speakers])
    pair = torch.from_numpy(speakers.sum(0))[None], torch.from_numpy(speakers)[None]
    plan = Plan(steps=steps, learning_rate=4e-3, warmup=20, ema_decay=0.9, clip_norm=5.0, seed=seed)
    trained = train_separator(_seeded(SMALL, seed), lambda generator: pair, plan, device="cpu")
    level = pair[0].square().mean().sqrt()
    with torch.no_grad():
        estimates = trained.model(pair[0] / level)[0].numpy()
    return Measured(improvement(speakers.sum(0), speakers, estimates)[1], note=f"{steps} steps")


class GatedRecurrence(nn.Module):
    """What the recurrent module would be with recurrence: the same bottleneck and gate around a bidirectional GRU."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.reduce = Linear(dim, inner)
        self.prelu = nn.Parameter(torch.full((1,), 0.25))
        self.norm_in, self.norm_out = nn.LayerNorm(inner), nn.LayerNorm(inner)
        self.gate = Linear(inner, inner, activation="silu")
        self.memory = nn.GRU(inner, inner // 2, batch_first=True, bidirectional=True)
        self.expand = Linear(inner, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm_in(prelu(self.reduce(x), self.prelu))
        z = torch.addcmul(y, self.gate(y), self.memory(y)[0])
        return x + self.expand(self.norm_out(z))


def without_memory(config: MossFormer2Config) -> MossFormer2Config:
    """The width at which a network without the recurrent module has as many parameters as `config` with it."""
    wanted = _size(MossFormer2(config))
    widths = range(config.n_filters, 2 * config.n_filters, 2)
    shapes = [MossFormer2Config(**{**vars(config), "n_filters": width}) for width in widths]
    return min(shapes, key=lambda shape: abs(_size(_attention_only(shape, 0)) - wanted))


@cache
def compare(
    config: MossFormer2Config, seed: int, steps: int = 1000, seeds: int = 3, tests: int = 32
) -> dict[str, list[float]] | None:
    """SI-SDR improvement on unseen voices with and without the recurrent module, for several seeds.

    Arguments:
        config: The network with it.
        seed: The first seed; the others follow.
        steps: Steps of each run.
        seeds: Runs of each network.
        tests: Mixtures of 4 s to measure on.
    """
    train, test = rendered("train", config.sample_rate), rendered("test", config.sample_rate)
    if train is None or test is None:
        return None
    mix = DynamicMix(train, config.sample_rate, seconds=2.0)
    held_out = fixed_mixtures(plain(test, config.sample_rate), tests, seed=1)
    runs: dict[str, list[float]] = {"with": [], "without": []}
    for number in range(seeds):
        plan = Plan(steps=steps, learning_rate=4e-3, warmup=50, clip_norm=5.0, ema_decay=0.99, seed=seed + number)
        networks = {"with": _seeded(config, plan.seed), "without": _attention_only(without_memory(config), plan.seed)}
        for name, network in networks.items():
            trained = train_separator(network, lambda generator: mix.draw(generator, 4), plan)
            runs[name].append(separation_scores(trained.model, held_out)["gain"])
    return runs


def _compared(runs: dict[str, list[float]]) -> Measured:
    spread = "; ".join(f"{name} it {', '.join(f'{gain:.2f}' for gain in gains)}" for name, gains in runs.items())
    return Measured(float(np.mean(runs["with"])), float(np.mean(runs["without"])), f"{spread}; {RENDERED}")


def _attention_only(config: MossFormer2Config, seed: int) -> MossFormer2:
    """The MossFormer of arXiv 2302.11824."""
    model = _seeded(config, seed)
    for block in model.blocks:
        block.memory = nn.Identity()
    return model


def _seeded(config: MossFormer2Config, seed: int) -> MossFormer2:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MossFormer2(config)


def _size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
