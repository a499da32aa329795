"""Training Mel-RoFormer: separation first, then transcription from the separation weights (the paper's two stages)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.audio.mel_roformer.decoding import Decoding
from harmonia.audio.mel_roformer.network import MelBandRoformer
from harmonia.audio.mel_roformer.stems import Remix, Stems
from harmonia.audio.mel_roformer.transcription import MelodyLoss, MelodyNetwork, targets, transcribe
from harmonia.core.errors import InputError
from harmonia.parts.metrics import note_f1, si_sdr
from harmonia.parts.training import Plan, Trained, train

SPEC_WINDOWS = (4096, 2048, 1024, 512, 256)


@dataclass(frozen=True)
class SeparationLoss:
    """Distance of waveforms plus distance of complex spectrograms at several resolutions.

    ``|y - y'|_1 + weight * sum_W mean|STFT_W(y) - STFT_W(y')|`` with ``n_fft = max(W, 2048)``, a Hann window of W and
    hop 147 (BS-RoFormer, Sec. 2.4).

    Arguments:
        windows: Window lengths; fewer are cheaper.
        hop: Hop of all spectrograms; longer ones are cheaper.
        weight: Weight of the spectrograms.

    Example:
        >>> y = torch.randn(1, 2, 8000, generator=torch.Generator().manual_seed(0))
        >>> SeparationLoss()(y, y).item()
        0.0
    """

    windows: Sequence[int] = SPEC_WINDOWS
    hop: int = 147
    weight: float = 1.0

    def __call__(self, estimate: Float[Tensor, "*b time"], target: Float[Tensor, "*b time"]) -> Float[Tensor, ""]:
        # Every transform is linear, so the difference is transformed once.
        difference = (estimate - target).float().flatten(0, -2)
        total = difference.abs().mean()
        for window in self.windows:
            spectrogram = torch.stft(
                difference,
                n_fft=max(window, 2048),
                hop_length=self.hop,
                win_length=window,
                window=torch.hann_window(window, device=difference.device),
                center=True,
                pad_mode="reflect",
                return_complex=True,
            )
            total = total + self.weight * spectrogram.abs().mean()
        return total


FAST_LOSS = SeparationLoss(windows=(2048, 512), hop=441)
"""A tenth of the cost, for small networks on a processor."""


def train_separator(
    model: MelBandRoformer,
    songs: Sequence[Stems],
    plan: Plan,
    *,
    seconds: float,
    batch: int = 4,
    held_out: Sequence[Stems] = (),
    loss: SeparationLoss | None = None,
    folder: Path | None = None,
    device: str = "auto",
) -> Trained[MelBandRoformer]:
    """Train a network with one stem, the vocals, on random remixes of songs.

    Arguments:
        model: The network, trained in place.
        songs: Voices and backings to remix.
        plan: Steps, rates and seed.
        seconds: Length of an example.
        batch: Examples of a batch.
        held_out: Songs on which the averaged model is measured: SI-SDR and its gain over the mixture.
        loss: The specification's by default.
        folder: Where checkpoints go, see `harmonia.parts.training.train`.
        device: ``auto``, ``cpu`` or ``cuda``.
    """
    loss = loss or SeparationLoss()
    remix = Remix(songs, model.config.sample_rate, round(seconds * model.config.sample_rate), batch)

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        mixture, vocals, _ = remix.draw(generator)
        return mixture, vocals

    def distance(network: nn.Module, pair: tuple[Tensor, Tensor]) -> Tensor:
        mixture, vocals = pair
        return loss(network(mixture)[:, 0], vocals)

    def evaluate(network: MelBandRoformer) -> dict[str, float]:
        return separation_scores(network, held_out) if held_out else {}

    def make_optimizers(network: nn.Module) -> list[torch.optim.Optimizer]:
        return optimizers(network, plan)

    return train(
        model, draw, distance, plan, folder=folder, evaluate=evaluate, make_optimizers=make_optimizers, device=device
    )


def optimizers(model: nn.Module, plan: Plan, head_rate: float = 1.0) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for everything else.

    In one short trial (125 steps, one seed) orthogonalised updates were ahead of AdamW: 5.8 dB beside 4.9 dB.

    Arguments:
        model: A separator or a melody network.
        plan: Learning rate and weight decay.
        head_rate: Learning rate of what lies outside blocks and band split, over the plan's.
    """
    blocks, backbone, head = [], [], []
    for name, parameter in model.named_parameters():
        place = name.removeprefix("backbone.")
        if place.startswith("layers.") and parameter.ndim == 2:
            blocks.append(parameter)
        elif place.startswith(("layers.", "band_split.")):
            backbone.append(parameter)
        else:
            head.append(parameter)
    groups: list[dict[str, Any]] = [{"params": backbone}, {"params": head, "lr": plan.learning_rate * head_rate}]
    return [
        torch.optim.Muon(blocks, plan.learning_rate, weight_decay=plan.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, plan.learning_rate, plan.betas, weight_decay=plan.weight_decay),
    ]


@torch.no_grad()
def separation_scores(model: MelBandRoformer, songs: Sequence[Stems], seconds: float = 6.0) -> dict[str, float]:
    """Mean SI-SDR of the vocals over the middle `seconds` of songs, and its gain over the mixture.

    Songs whose middle has no voice are left out.
    """
    device = next(model.parameters()).device
    rate = model.config.sample_rate
    scores, gains = [], []
    for song in songs:
        start = max(0, song.vocals.shape[-1] - round(seconds * rate)) // 2
        part = slice(start, start + round(seconds * rate))
        vocals, mixture = song.vocals[:, part] / 32768, song.mixture()[:, part]
        if not vocals.any():
            continue
        estimate = model(torch.from_numpy(mixture)[None].to(device))[0, 0].cpu().numpy()
        scores.append(si_sdr(vocals, estimate))
        gains.append(scores[-1] - si_sdr(vocals, mixture))
    return {"si_sdr": float(np.mean(scores)), "gain": float(np.mean(gains))}


def train_transcriber(
    model: MelodyNetwork,
    songs: Sequence[Stems],
    plan: Plan,
    *,
    seconds: float = 6.0,
    batch: int = 4,
    head_rate: float = 3.0,
    held_out: Sequence[Stems] = (),
    loss: MelodyLoss | None = None,
    folder: Path | None = None,
    device: str = "auto",
) -> Trained[MelodyNetwork]:
    """Train a melody network on songs whose notes are known.

    Arguments:
        model: The network, usually with the backbone of a separator; trained in place.
        songs: Songs with notes; those without serve as backing only.
        plan: Steps, rates and seed; its learning rate is the backbone's.
        seconds: Length of an example.
        batch: Examples of a batch.
        head_rate: Learning rate of the new head over that of the backbone.
        held_out: Songs on which the averaged model is measured: F1 of notes.
        loss: Cross-entropy of both heads by default.
        folder: Where checkpoints go, see `harmonia.parts.training.train`.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InputError: no song has notes.
    """
    loss = loss or MelodyLoss()
    config = model.config.backbone
    known = [song for song in songs if len(song.notes)]
    if not known:
        raise InputError("no song has notes", f"{len(songs)} songs", "Put a notes.json beside each song's stems.")
    remix = Remix(known, config.sample_rate, round(seconds * config.sample_rate), batch, backings=songs)
    times = model.times(model.frames(remix.length))

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        mixture, _, notes = remix.draw(generator)
        begins, sounds = zip(*(targets(rows, times) for rows in notes), strict=True)
        return mixture, torch.from_numpy(np.stack(begins)), torch.from_numpy(np.stack(sounds))

    def distance(network: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        mixture, begins, sounds = batch
        return loss(network(mixture), begins, sounds)

    def evaluate(network: MelodyNetwork) -> dict[str, float]:
        return transcription_scores(network, held_out) if held_out else {}

    def make_optimizers(network: nn.Module) -> list[torch.optim.Optimizer]:
        return optimizers(network, plan, head_rate)

    return train(
        model, draw, distance, plan, folder=folder, evaluate=evaluate, make_optimizers=make_optimizers, device=device
    )


def transcription_scores(
    model: MelodyNetwork, songs: Sequence[Stems], decoding: Decoding | None = None
) -> dict[str, float]:
    """Mean F1 of the notes of whole songs: onset; onset and pitch; onset, pitch and offset."""
    decoding = decoding or Decoding()
    scores = [note_f1(song.notes, list(decoding(*transcribe(model, song.mixture())))) for song in songs]
    return dict(zip(("con", "conp", "conpoff"), np.mean(scores, axis=0).tolist(), strict=True))
