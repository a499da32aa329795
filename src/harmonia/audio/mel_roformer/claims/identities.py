"""What must hold exactly, whatever the weights."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from harmonia.audio.mel_roformer.claims.songs import random_network
from harmonia.audio.mel_roformer.network import MelBandRoformer, MelBandRoformerConfig
from harmonia.audio.mel_roformer.separator import ChunkedSeparator
from harmonia.core.claim import Measured, claim
from harmonia.parts.attention import rotate
from harmonia.parts.spectral import STFT

TINY = MelBandRoformerConfig(
    sample_rate=16000, channels=2, n_fft=512, hop_length=160, num_bands=12, dim=16, depth=1, heads=2, head_dim=8
)


@claim(
    "A mask of one gives the mixture back",
    place="Sec. 3: mask, band averaging, inverse STFT",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def identity_mask(seed: int) -> Measured:
    """Zero last weights, value half of the biases 1 + 0i, gate half wide open."""
    model = random_network(MelBandRoformer, TINY, seed)
    with torch.no_grad():
        for band in model.mask_estimators[0].to_freqs:  # type: ignore[union-attr]
            last = band[0][-1]
            half = len(last.bias) // 2
            last.weight.zero_()
            last.bias[:half:2], last.bias[1:half:2], last.bias[half:] = 1.0, 0.0, 40.0
        mixture = 0.1 * _noise((1, 2, 12345), seed)
        return Measured(float((model(mixture)[:, 0] - mixture).abs().max()))


@claim(
    "Level does not matter: model(g x) = g model(x)",
    place="follows from the RMS normalisation of every band",
    unit="relative",
    better="zero",
    tier="quick",
    tolerance=1e-5,
)
def homogeneity(seed: int) -> Measured:
    model = random_network(MelBandRoformer, TINY, seed).eval()
    mixture = _noise((1, 2, 16000), seed)
    with torch.no_grad():
        one = model(mixture)
        errors = [float((model(g * mixture) / g - one).abs().max() / one.abs().max()) for g in (1e-3, 0.1, 10.0)]
    return Measured(max(errors), note="largest of g = 0.001, 0.1, 10")


@claim(
    "Chunks of an identity network add up to the song",
    place="chunked inference, Sec. 4.2",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def overlap_add(seed: int) -> Measured:
    """Lengths around one chunk and many chunks, overlaps 0 to 7/8, and the chunks of compat="msst" from one half on."""

    class Identity(MelBandRoformer):
        def forward(self, mixture: torch.Tensor) -> torch.Tensor:
            return mixture[:, None]

    size, worst = 16000, 0.0
    compats: tuple[Literal["msst"] | None, ...] = (None, "msst")
    for compat in compats:
        for number in range(2 if compat else 1, 9):
            separator = ChunkedSeparator(
                Identity(TINY),
                chunk_seconds=1.0,
                overlap=1 - 1 / number,
                compat=compat,
                device="cpu",
            )
            for length in (1, size - 1, size, size + 1, 2 * size + 17):
                mixture = _noise((2, length), seed).numpy()
                worst = max(worst, float(np.abs(separator.separate(mixture, size)["vocals"] - mixture).max()))
    return Measured(worst)


@claim(
    "Attention sees distances only",
    place="rotary positions, arXiv 2104.09864",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-4,
)
def rotary_distance(seed: int) -> Measured:
    q, k = _noise((2, 8), seed)
    length = 200
    turned = [rotate(x.expand(length, 1, 8), pairing="adjacent")[:, 0] for x in (q, k)]
    logits = turned[0] @ turned[1].T
    spread = [float(torch.diagonal(logits, d).max() - torch.diagonal(logits, d).min()) for d in range(-150, 151)]
    return Measured(max(spread))


@claim(
    "The inverse STFT inverts the STFT",
    place="n_fft 2048, hop 441, Hann",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def round_trip(seed: int) -> Measured:
    stft, sound = STFT(2048, 441, pad_mode="reflect"), 0.1 * _noise((2, 44100), seed)
    return Measured(float((stft.inverse(stft(sound), 44100) - sound).abs().max()))


@claim(
    "The weights have the layout of the public checkpoints",
    place="state dict of the KimberleyJensen vocals model",
    unit="differences",
    better="zero",
    tier="quick",
)
def layout(seed: int) -> Measured:
    """684 names and shapes written down from the checkpoint's layout, against those of the network."""
    config = MelBandRoformerConfig()
    with torch.device("meta"):
        own = {name: tuple(tensor.shape) for name, tensor in MelBandRoformer(config).state_dict().items()}
    published = public_layout(config)
    differences = len(set(own.items()) ^ set(published.items())) + abs(len(published) - 684)
    # The rotary frequencies of all layers along an axis are one tensor that the file repeats.
    rotary = 2 * config.head_dim // 2
    parameters = rotary + sum(int(np.prod(shape)) for name, shape in own.items() if not name.endswith("freqs"))
    differences += parameters != 228_202_852
    return Measured(float(differences), note=f"{len(own)} tensors, {parameters:,} parameters")


def public_layout(config: MelBandRoformerConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a public checkpoint of the default configuration, written down independently of the network.

    Bins per band are those measured on librosa's filterbank for 44.1 kHz, n_fft 2048, 60 bands.
    """
    bins = [7, *[6] * 14, 7, 7, 7, 9, 9, 9, 10, 10, 11, 13, 13, 13, 15, 16, 17, 19, 20, 20, 22, 24, 26, 28, 29, 31, 33]
    bins += [36, 39, 41, 44, 47, 50, 54, 57, 61, 66, 71, 76, 80, 86, 93, 99, 105, 113, 122, 130]
    dim, inner = config.dim, config.heads * config.head_dim
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(config.depth):
        for j in range(2):
            attention, mlp = f"layers.{i}.{j}.layers.0.0.", f"layers.{i}.{j}.layers.0.1.net."
            shapes |= {
                f"{attention}rotary_embed.freqs": (config.head_dim // 2,),
                f"{attention}norm.gamma": (dim,),
                f"{attention}to_qkv.weight": (3 * inner, dim),
                f"{attention}to_gates.weight": (config.heads, dim),
                f"{attention}to_gates.bias": (config.heads,),
                f"{attention}to_out.0.weight": (dim, inner),
                f"{mlp}0.gamma": (dim,),
                f"{mlp}1.weight": (4 * dim, dim),
                f"{mlp}1.bias": (4 * dim,),
                f"{mlp}4.weight": (dim, 4 * dim),
                f"{mlp}4.bias": (dim,),
                f"layers.{i}.{j}.norm.gamma": (dim,),
            }
    for k, count in enumerate(bins):
        width = 4 * count
        split, mask = f"band_split.to_features.{k}.", f"mask_estimators.0.to_freqs.{k}.0."
        shapes |= {f"{split}0.gamma": (width,), f"{split}1.weight": (dim, width), f"{split}1.bias": (dim,)}
        for layer, (rows, columns) in zip((0, 2, 4), ((4 * dim, dim), (4 * dim, 4 * dim), (2 * width, 4 * dim))):
            shapes |= {f"{mask}{layer}.weight": (rows, columns), f"{mask}{layer}.bias": (rows,)}
    return shapes


def _noise(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
