"""Small neural codecs whose decoders leave traces: the generators that this library has at hand for negatives.

A strided convolutional encoder squeezes sound into a slow sequence of vectors, a decoder of transposed convolutions
brings it back. What such decoders add to any sound, peaks where their strides repeat and a missing fine structure, is
also in the output of many song generators, whose last stage is of this kind. The codecs here are tiny, so the traces
are strong; a detector of them is no detector of Suno or Udio.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.audio.mel_roformer import SeparationLoss
from harmonia.audio.sonics.front_end import RATE
from harmonia.core.errors import InputError
from harmonia.core.weights import load_strictly, read_metadata, read_state_dict
from harmonia.parts.spectral import STFT
from harmonia.parts.training import Plan, Trained, train

CODECS = Path(__file__).parent / "weights" / "codecs.safetensors"
STRIDES = {"codec-64": (4, 4, 4), "codec-60": (5, 4, 3), "codec-80": (8, 5, 2)}
"""The embedded codecs by the samples of a latent frame; no embedded detector was trained on the last."""

WIDTH = 16
LATENT = 24


class WaveCodec(nn.Module):
    """An autoencoder of mono sound at 16 kHz.

    Arguments:
        strides: Down- and upsampling of each layer; a latent frame has their product of samples.
        width: Channels of the first layer; every layer doubles them.
        latent: Numbers of a latent frame.

    Example:
        >>> codec = WaveCodec((4, 4, 4))
        >>> codec(torch.zeros(2, 1000)).shape
        torch.Size([2, 1000])
    """

    def __init__(self, strides: Sequence[int], width: int = WIDTH, latent: int = LATENT) -> None:
        super().__init__()
        self.hop = int(np.prod(strides))
        channels = [width * 2**i for i in range(len(strides) + 1)]
        down: list[nn.Module] = [nn.Conv1d(1, width, 7, padding=3)]
        up: list[nn.Module] = []
        for stride, few, many in zip(strides, channels, channels[1:], strict=False):
            # Kernels of two strides, padded so that a multiple of the hop keeps its length.
            pad, odd = divmod(stride, 2)
            down += [nn.ELU(), nn.Conv1d(few, many, 2 * stride, stride, padding=pad + odd)]
            up = [
                nn.ConvTranspose1d(many, few, 2 * stride, stride, padding=pad + odd, output_padding=odd),
                nn.ELU(),
                *up,
            ]
        self.encoder = nn.Sequential(*down, nn.ELU(), nn.Conv1d(channels[-1], latent, 3, padding=1))
        self.decoder = nn.Sequential(
            nn.Conv1d(latent, channels[-1], 3, padding=1), nn.ELU(), *up, nn.Conv1d(width, 1, 7, padding=3)
        )

    def forward(self, sound: Float[Tensor, "batch time"]) -> Float[Tensor, "batch time"]:
        """The sound as the codec gives it back."""
        padded = F.pad(sound, (0, -sound.shape[-1] % self.hop))
        return self.decoder(self.encoder(padded[:, None]))[:, 0, : sound.shape[-1]]


def train_codec(
    strides: Sequence[int],
    songs: Sequence[Float32[np.ndarray, " time"]],
    plan: Plan,
    *,
    folder: Path | None = None,
    seconds: float = 0.5,
    batch: int = 8,
) -> Trained[WaveCodec]:
    """Train a codec to give back mono songs at 16 kHz.

    Arguments:
        strides: Of its layers.
        songs: Sound to learn from.
        plan: Steps, rates and seed.
        folder: Where checkpoints go.
        seconds: Length of an example.
        batch: Examples of a step.
    """
    size = round(seconds * RATE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        codec = WaveCodec(strides)
    waveform = SeparationLoss(windows=(1024,), hop=256)

    def draw(generator: torch.Generator) -> Tensor:
        examples = []
        for which in torch.randint(len(songs), (batch,), generator=generator).tolist():
            start = int(torch.randint(max(1, len(songs[which]) - size), (), generator=generator))
            part = torch.from_numpy(songs[which][start : start + size])
            examples.append(F.pad(part, (0, size - len(part))) / part.std().clamp(min=1e-4) * 0.1)
        return torch.stack(examples)

    def loss(model: nn.Module, sounds: Tensor) -> Tensor:
        again = model(sounds)
        return waveform(again, sounds) + 0.1 * _loudness_gap(again, sounds)

    return train(codec, draw, loss, plan, folder=folder, device="cpu")


def _loudness_gap(again: Float[Tensor, "batch time"], sounds: Float[Tensor, "batch time"]) -> Float[Tensor, ""]:
    """Mean distance of log magnitudes at two resolutions: without it a small codec gives up everything above 1 kHz."""
    total = sounds.new_zeros(())
    for size in (1024, 256):
        stft = STFT(size, size // 2, pad_mode="reflect")
        here, there = (torch.log(stft(sound).abs().clamp(min=1e-3)) for sound in (again, sounds))
        total = total + (here - there).abs().mean()
    return total


def load_codec(name: str) -> WaveCodec:
    """An embedded codec.

    Raises:
        InputError: there is none of that name.
    """
    if name not in STRIDES:
        raise InputError("there is no such codec", name, f"Use one of {', '.join(STRIDES)}.")
    shapes = json.loads(read_metadata(CODECS)["codecs"])
    codec = WaveCodec(shapes[name])
    prefix = f"{name}."
    state = {
        key.removeprefix(prefix): value for key, value in read_state_dict(CODECS).items() if key.startswith(prefix)
    }
    load_strictly(codec, {key: value.float() for key, value in state.items()})
    return codec.eval()
