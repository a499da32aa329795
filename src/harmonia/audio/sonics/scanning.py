"""A network put to all windows of a song, a few at a time, while the song is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from harmonia.audio.sonics.front_end import RATE, SonicsFrontEnd, resized
from harmonia.audio.sonics.network import SpecTTTraConfig
from harmonia.audio.sonics.windows import Source, WindowLevels, silent_share, window_starts
from harmonia.core.progress import track

Network: TypeAlias = Callable[[Tensor], Tensor]
"""Standardised spectrograms ``[batch, bands, frames]`` to a result each."""

TOKENS_AT_ONCE = 4096


@torch.inference_mode()
def scan(
    source: Source,
    network: Network,
    config: SpecTTTraConfig,
    device: torch.device,
    *,
    hop: float | None = None,
    dtype: str = "float32",
    compat: str = "none",
) -> tuple[list[int], list[Tensor | None]]:
    """First samples of the windows of a song, and what a network makes of each; None for silence.

    Arguments:
        source: The song.
        network: What is put to each window.
        config: Length of a window, and how many are taken at once.
        device: Where the network is.
        hop: Seconds between windows; half of their length unless given.
        dtype: ``float32`` or ``bfloat16``.
        compat: ``sonics`` for its one window.
    """
    front_end = SonicsFrontEnd(config.input_shape)
    at_once = max(1, TOKENS_AT_ONCE // config.tokens)
    starts: list[int] = []
    outputs: list[Tensor | None] = []
    waiting: dict[int, Tensor] = {}

    def flush() -> None:
        levels = front_end.standardised(torch.stack(list(waiting.values())))
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
            results = network(resized(levels, front_end.shape).to(device)).float().cpu()
        for place, result in zip(waiting, results, strict=True):
            outputs[place] = result
        waiting.clear()

    one = compat == "sonics"
    for start, level in _official(source, front_end, config) if one else _sliding(source, front_end, config, hop):
        starts.append(start)
        outputs.append(None)
        if silent_share(level) <= 0.5:
            waiting[len(outputs) - 1] = level
        if len(waiting) == at_once:
            flush()
    if waiting:
        flush()
    return starts, outputs


def _sliding(
    source: Source, front_end: SonicsFrontEnd, config: SpecTTTraConfig, hop: float | None
) -> Iterator[tuple[int, Tensor]]:
    """First sample and decibels of every window."""
    step = round((config.seconds / 2 if hop is None else hop) * RATE)
    starts = window_starts(source.total, config.samples, front_end.log_mel.config.hop_length, step)
    levels = WindowLevels(front_end.log_mel, config.samples)(source, starts)
    yield from track(zip(starts, levels, strict=True), "Listening", len(starts))


def _official(source: Source, front_end: SonicsFrontEnd, config: SpecTTTraConfig) -> Iterator[tuple[int, Tensor]]:
    """The window at three quarters of what is left of the song, as in the official evaluation."""
    start = int((source.total - config.samples) / 4 * 3) if source.total > config.samples else 0
    sound = torch.from_numpy(np.array(source.read(start, min(start + config.samples, source.total))))
    sound = F.pad(sound, (0, config.samples - len(sound)))
    yield start, front_end.log_mel.level(front_end.log_mel.power(sound))
