"""What the network makes of a sound: an embedding, and odds for the value of each attribute."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from harmonia.audio.s2cap.attributes import LEXICON
from harmonia.audio.s2cap.network import PRESENCE, Captioner


@dataclass(frozen=True)
class Belief:
    """What the attribute head makes of a clip, and the embedding it judged from.

    Attributes:
        memory: The audio embedding, ``[frames, dim]``.
        attributes: For each attribute the probability of each value, in the lexicon's order.
        voice: Probability that somebody sings.
    """

    memory: Tensor
    attributes: dict[str, dict[str, float]]
    voice: float

    def best(self) -> tuple[dict[str, str], dict[str, float]]:
        """The likeliest value of each attribute and its probability."""
        values = {name: max(odds, key=lambda value: odds[value]) for name, odds in self.attributes.items()}
        return values, {name: self.attributes[name][value] for name, value in values.items()}


@torch.inference_mode()
def hear(network: Captioner, signals: Float[ndarray, "batch time"], seconds: float) -> list[Belief]:
    """Beliefs about signals of equal length: embeddings of windows side by side, the head's mean over them.

    Arguments:
        network: The captioner.
        signals: Mono, at the encoder's sample rate.
        seconds: Length of a window.
    """
    network = network.eval()
    sound = torch.from_numpy(signals).to(next(network.parameters()).device)
    windows = torch.stack(_windows(sound, round(seconds * network.encoder.sample_rate)))
    count, batch = windows.shape[:2]
    memory = network.memory(network.encoder.features(windows.flatten(0, 1)))
    logits = network.head(memory)
    odds = {name: value.softmax(-1).unflatten(0, (count, batch)).mean(0) for name, value in logits.items()}
    joined = memory.unflatten(0, (count, batch)).transpose(0, 1).flatten(1, 2)
    beliefs = []
    for row in range(batch):
        told = {name: dict(zip(LEXICON[name], odds[name][row].tolist(), strict=True)) for name in LEXICON}
        voice = float(odds[PRESENCE][row, 1]) if bool(sound[row].any()) else 0.0
        beliefs.append(Belief(joined[row], told, voice))
    return beliefs


def _windows(sound: Float[Tensor, "batch time"], size: int) -> list[Tensor]:
    """Windows that cover the sound, the last one ending with it; a short sound is continued by silence."""
    time = sound.shape[1]
    if time <= size:
        return [torch.nn.functional.pad(sound, (0, size - time))]
    count = -(-time // size)
    starts = [round(number * (time - size) / (count - 1)) for number in range(count)]
    return [sound[:, start : start + size] for start in starts]
