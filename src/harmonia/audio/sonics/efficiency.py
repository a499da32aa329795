"""What the networks cost on this machine, from seconds to minutes of sound: tokens, time, memory, and the crossover.

Memory is counted, not sampled: the bytes that autograd keeps of a forward pass in training, which is what fills a GPU,
with each storage once and without parameters. It is the same on every machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from harmonia.audio.sonics.baselines import ConvNeXt, ViT
from harmonia.audio.sonics.network import CLIPS, FRAMES, SpecTTTra, SpecTTTraConfig
from harmonia.core.progress import track

BANDS = 128
PATCH = 16
NAMES = (*CLIPS, "ViT", "ConvNeXt")


@dataclass(frozen=True)
class Cost:
    """What a network costs for one window.

    Attributes:
        name: ``alpha``, ``beta``, ``gamma``, ``ViT`` or ``ConvNeXt``.
        window: Length of the window in seconds.
        tokens: Tokens of a transformer; 0 for ConvNeXt.
        parameters: Of the network.
        seconds: Of a forward pass, the fastest of several.
        memory: Bytes kept for the backward pass.
    """

    name: str
    window: float
    tokens: int
    parameters: int
    seconds: float
    memory: int


def frames_of(window: float) -> int:
    """Frames of the input for a window: as released, in between at the frame rate of 120 s, in multiples of a patch.

    Example:
        >>> frames_of(5.0), frames_of(30.0), frames_of(120.0)
        (128, 928, 3744)
    """
    return FRAMES.get(window, max(PATCH, round(window * FRAMES[120.0] / 120 / PATCH) * PATCH))


def network(name: str, window: float) -> nn.Module:
    """A network of the paper's size for windows of that length, with random weights, for inference."""
    shape = (BANDS, frames_of(window))
    if name == "ViT":
        return ViT(shape).eval()
    if name == "ConvNeXt":
        return ConvNeXt().eval()
    f_clip, t_clip = CLIPS[name]
    return SpecTTTra(SpecTTTraConfig(input_shape=shape, t_clip=t_clip, f_clip=f_clip, seconds=window)).eval()


def measure(names: Sequence[str], windows: Sequence[float], repeats: int = 3, seed: int = 0) -> list[Cost]:
    """Costs of networks for windows. Networks of a length take turns, so that a drift of the machine hits all.

    Arguments:
        names: Of `NAMES`.
        windows: Lengths in seconds.
        repeats: Timed passes, after one that is not.
        seed: Of weights and input.
    """
    costs = []
    for window in track(windows, "Timing"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            networks = {name: network(name, window) for name in names}
            spectrogram = torch.randn(1, BANDS, frames_of(window))
        passes = {name: _pass(model, spectrogram) for name, model in networks.items()}
        for run in passes.values():
            run()
        turns = [{name: run() for name, run in passes.items()} for _ in range(repeats)]
        for name, model in networks.items():
            tokens = model.tokens if isinstance(model, ViT) else 0
            tokens = model.config.tokens if isinstance(model, SpecTTTra) else tokens
            size = sum(parameter.numel() for parameter in model.parameters())
            costs.append(
                Cost(name, window, tokens, size, min(turn[name] for turn in turns), kept_bytes(model, spectrogram))
            )
    return costs


def kept_bytes(model: nn.Module, *inputs: Tensor) -> int:
    """Bytes that a forward pass leaves for the backward pass: every storage once, parameters and inputs left out."""
    known = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *inputs)}
    kept: dict[int, int] = {}
    alive = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(storage)  # else its address could be used again
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(*inputs)
    return sum(kept.values())


def crossover(costs: Sequence[Cost], name: str, rival: str) -> float:
    """Length of a window in seconds from which on a network is faster than a rival, by linear interpolation.

    The shortest measured length if it always is, infinity if it is not at the longest.

    Example:
        >>> times = {("a", 5.0): 2.0, ("b", 5.0): 1.0, ("a", 10.0): 3.0, ("b", 10.0): 5.0}
        >>> costs = [Cost(name, window, 0, 0, seconds, 0) for (name, window), seconds in times.items()]
        >>> round(crossover(costs, "a", "b"), 2)
        6.67
    """
    by = {(cost.name, cost.window): cost.seconds for cost in costs}
    windows = sorted({cost.window for cost in costs})
    lead = np.array([by[rival, window] - by[name, window] for window in windows])
    behind = np.flatnonzero(lead <= 0)
    if not len(behind):
        return windows[0]
    last = int(behind[-1])
    if last == len(windows) - 1:
        return float("inf")
    share = -lead[last] / (lead[last + 1] - lead[last])
    return float(windows[last] + share * (windows[last + 1] - windows[last]))


def _pass(model: nn.Module, spectrogram: Tensor) -> Callable[[], float]:
    @torch.inference_mode()
    def run() -> float:
        start = time.perf_counter()
        model(spectrogram)
        return time.perf_counter() - start

    return run
