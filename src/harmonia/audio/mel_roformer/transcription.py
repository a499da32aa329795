"""Vocal melody transcription: a head on Mel-RoFormer's features.

From the features ``x[b, t, K, D]`` of the backbone: a Linear(D, e) of its own for each band, all bands to one vector,
pooled in time to about 50 frames a second, then two softmaxes over 88 pitches and "none": which note *begins* in a
frame, and which note *sounds* in it. The lead voice is monophonic, hence softmax rather than independent sigmoids.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.audio.mel_roformer.decoding import LOWEST, PITCHES
from harmonia.audio.mel_roformer.network import MelBandRoformer, MelBandRoformerConfig
from harmonia.core.errors import WeightsError
from harmonia.core.progress import track
from harmonia.core.weights import load_strictly, read_metadata, read_state_dict

NONE = PITCHES
FRAME_RATE = 50
ONSET_WEIGHT = 5.0
"""Weight of a frame in which a note begins; `transcribe` takes its effect on the probabilities back."""


@dataclass(frozen=True)
class MelodyConfig:
    """Shape of a melody network.

    Attributes:
        backbone: The separation network it continues.
        band_dim: Features kept of each band.
        hidden: Features of a frame.
        dropout: Dropout on the features of a frame.
    """

    backbone: MelBandRoformerConfig
    band_dim: int = 8
    hidden: int = 256
    dropout: float = 0.1


class MelodyNetwork(nn.Module):
    """Mel-RoFormer with a melody head instead of masks.

    Arguments:
        config: Its shape.
    """

    def __init__(self, config: MelodyConfig) -> None:
        super().__init__()
        self.config = config
        backbone = config.backbone
        self.backbone = MelBandRoformer(dataclasses.replace(backbone, stems=()))
        self.pool = max(1, round(backbone.sample_rate / backbone.hop_length / FRAME_RATE))
        bands, dim = backbone.num_bands, backbone.dim
        self.bands = nn.Parameter(torch.randn(bands, dim, config.band_dim) / dim**0.5)
        self.frame = nn.Linear(bands * config.band_dim, config.hidden)
        self.norm = nn.LayerNorm(config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.onset = nn.Linear(config.hidden, PITCHES + 1)
        self.pitch = nn.Linear(config.hidden, PITCHES + 1)

    @classmethod
    def continuing(cls, separator: MelBandRoformer, **shape: float) -> MelodyNetwork:
        """A network with the backbone of a separator and a new head: the second stage of the paper's recipe."""
        network = cls(MelodyConfig(separator.config, **shape))  # type: ignore[arg-type]
        state = {key: value for key, value in separator.state_dict().items() if not key.startswith("mask_estimators.")}
        load_strictly(network.backbone, state)
        return network

    @classmethod
    def load(cls, path: Path) -> MelodyNetwork:
        """Read a safetensors file whose metadata holds the configuration.

        Raises:
            WeightsError: not the weights of a melody network.
        """
        state, metadata = read_state_dict(path), read_metadata(path)
        if "onset.weight" not in state or "config" not in metadata:
            raise WeightsError("not the weights of a melody network", path.name, "Use weights made by the job train.")
        shape = json.loads(metadata["config"])
        network = cls(MelodyConfig(**(shape | {"backbone": MelBandRoformerConfig.of(shape["backbone"])})))
        load_strictly(network, {key: value.float() for key, value in state.items()})
        return network.eval()

    def metadata(self) -> dict[str, str]:
        """What `load` needs beside the tensors."""
        return {"config": json.dumps(dataclasses.asdict(self.config))}

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.config.backbone.sample_rate / (self.config.backbone.hop_length * self.pool)

    def frames(self, samples: int) -> int:
        """Number of frames of so many samples."""
        return -(-(1 + samples // self.config.backbone.hop_length) // self.pool)

    def times(self, frames: int) -> Float[ndarray, " frames"]:
        """Centres of the frames in seconds; a pooled frame lies in the middle of those it came from."""
        return (np.arange(frames) + 0.5 * (self.pool - 1) / self.pool) / self.frame_rate

    def forward(
        self, mix: Float[Tensor, "batch channels time"]
    ) -> tuple[Float[Tensor, "batch frames 89"], Float[Tensor, "batch frames 89"]]:
        """Logits of the note that begins, and of the note that sounds; the last class is none."""
        features = torch.einsum("btkd,kde->btke", self.backbone.features(mix), self.bands).flatten(2)
        frames = F.avg_pool1d(self.frame(features).mT, self.pool, ceil_mode=True).mT
        frames = self.dropout(F.gelu(self.norm(frames)))
        return self.onset(frames), self.pitch(frames)


def targets(
    notes: Float[ndarray, "notes 3"], times: Float[ndarray, " frames"]
) -> tuple[Int[ndarray, " frames"], Int[ndarray, " frames"]]:
    """Classes of the note that begins (in three frames around each onset) and of the note that sounds.

    Example:
        >>> begins, sounds = targets(np.array([[0.1, 0.2, 60.0]]), np.arange(12) * 0.02)
        >>> (begins == 39).nonzero()[0].tolist(), (sounds == 39).nonzero()[0].tolist()
        ([4, 5, 6], [5, 6, 7, 8, 9])
    """
    begins = np.full(len(times), NONE)
    sounds = np.full(len(times), NONE)
    for onset, offset, midi in notes:
        pitch = int(np.clip(round(midi) - LOWEST, 0, PITCHES - 1))
        sounds[(times >= onset - 1e-9) & (times < offset - 1e-9)] = pitch
        if onset > 0:
            nearest = int(np.abs(times - onset).argmin())
            begins[max(0, nearest - 1) : nearest + 2] = pitch
    return begins, sounds


@dataclass(frozen=True)
class MelodyLoss:
    """Cross-entropy of both heads; frames in which a note begins count `ONSET_WEIGHT` times, since they are few."""

    def __call__(
        self,
        logits: tuple[Float[Tensor, "b frames 89"], Float[Tensor, "b frames 89"]],
        begins: Int[Tensor, "b frames"],
        sounds: Int[Tensor, "b frames"],
    ) -> Float[Tensor, ""]:
        onset, pitch = (head.float().flatten(0, 1) for head in logits)
        weight = torch.full((PITCHES + 1,), ONSET_WEIGHT, device=onset.device)
        weight[NONE] = 1.0
        return F.cross_entropy(onset, begins.flatten(), weight) + F.cross_entropy(pitch, sounds.flatten())


@torch.no_grad()
def transcribe(
    model: MelodyNetwork, mixture: Float[ndarray, "channels time"], seconds: float = 6.0, margin: float = 1.0
) -> tuple[Float[ndarray, " frames"], Float[ndarray, "frames 89"], Float[ndarray, " frames"]]:
    """Onset probability, pitch probabilities and times of all frames of a song.

    The song is read in windows that overlap by two margins; what lies within a margin of a window's border is taken
    from its neighbour, so that every frame is seen with context and memory does not grow with the song. Where all
    samples are zero nobody sings.

    Arguments:
        model: In evaluation mode.
        mixture: At the model's sample rate and channels.
        seconds: Length of a window; that of training.
        margin: Seconds of context on either side.
    """
    device = next(model.parameters()).device
    step = model.config.backbone.hop_length * model.pool
    total = model.frames(mixture.shape[-1])
    window, border = round(seconds * model.frame_rate), round(margin * model.frame_rate)
    onset, pitch = np.zeros(total), np.zeros((total, PITCHES + 1))
    stride = window - 2 * border
    starts = range(0, max(1, total - 2 * border), stride)
    for start in track(starts, "Transcribing"):
        piece = mixture[:, start * step : (start + window) * step]
        shortest = model.config.backbone.n_fft
        piece = np.pad(piece, ((0, 0), (0, max(0, shortest - piece.shape[-1]))))
        begins, sounds = (head[0].float().cpu() for head in model(torch.from_numpy(piece)[None].to(device)))
        first = 0 if start == 0 else border
        kept = slice(start + first, min(total, start + window))
        taken = slice(first, first + kept.stop - kept.start)
        begins[:, :NONE] -= math.log(ONSET_WEIGHT)
        onset[kept] = 1 - begins.softmax(-1)[taken, NONE].numpy()
        pitch[kept] = sounds.softmax(-1)[taken].numpy()
    padded = np.pad(mixture, ((0, 0), (0, total * step - mixture.shape[-1])))
    sounding = padded.reshape(len(mixture), total, step).any(axis=(0, 2))
    onset[~sounding], pitch[~sounding], pitch[~sounding, NONE] = 0.0, 0.0, 1.0
    return onset, pitch, model.times(total)
