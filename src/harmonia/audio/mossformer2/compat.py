"""The long-recording decoder of the official code, defects included.

Windows of 2 s every 1.5 s; of each the outer quarter seconds are dropped and the rest is put side by side, speakers in
the order in which the network happened to give them. What is dropped at the very end is not filled: where the
recording, after 2 s, lasts a multiple of 1.5 s, its last quarter second is silence. Speakers are brought to the level
of the whole mixture, whatever their own; the padding counts as part of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32

from harmonia.audio.mossformer2.network import MossFormer2Config

WINDOW_S = 2.0


def official_decode(
    network: Callable[[Float32[np.ndarray, "batch time"]], Float32[np.ndarray, "batch speakers time"]],
    config: MossFormer2Config,
    mixture: Float32[np.ndarray, " time"],
) -> Float32[np.ndarray, "speakers time"]:
    """Separate as ``clearvoice`` does.

    Arguments:
        network: The network, arrays in and out.
        config: Its shape.
        mixture: Samples at its rate.
    """
    window = round(WINDOW_S * config.sample_rate)
    stride = window * 3 // 4
    dropped = (window - stride) // 2
    total = len(mixture)
    padded = np.pad(mixture, (0, _padding(total, window, stride)))
    if total > window:
        outputs = np.zeros((config.n_speakers, len(padded)), dtype=np.float32)
        for start in range(0, len(padded) - window + 1, stride):
            separated = network(padded[None, start : start + window])[0]
            first = dropped if start else 0
            outputs[:, start + first : start + window - dropped] = separated[:, first : window - dropped]
    else:
        outputs = network(padded[None])[0]
    level = np.sqrt(np.square(mixture).mean())
    outputs = outputs / np.sqrt(np.square(outputs).mean(1, keepdims=True)).clip(1e-30) * level
    return outputs[:, :total].astype(np.float32)


def _padding(total: int, window: int, stride: int) -> int:
    if total < window:
        return window - total
    if total < window + stride:
        return window + stride - total
    beyond = (total - window) % stride
    # The official code pads by the remainder of the length, not of the stride: up to two windows more than needed.
    return total - (total - window) // stride * stride if beyond else 0
