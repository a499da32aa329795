"""The networks that SpecTTTra is compared with: a vision transformer with the same blocks, and ConvNeXt-tiny.

Both take the same spectrograms and give one logit. They are here to be timed, and to be trained on the same songs.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.audio.sonics.network import LearnedPosition, Transformer
from harmonia.core.errors import InputError


class ViT(nn.Module):
    """A vision transformer over square patches of the spectrogram: ``(F / p) (T / p)`` tokens.

    The baseline of the paper: p = 16, normalised patches, learnt positions, blocks as in `SpecTTTra`.

    Arguments:
        input_shape: Bands and frames, multiples of `patch`.
        patch: Side of a patch.
        dim, depth, heads, mlp_ratio: As in `SpecTTTraConfig`.

    Raises:
        InputError: a shape that is no multiple of the patch.

    Example:
        >>> model = ViT((128, 128), depth=1)
        >>> model.tokens, model(torch.zeros(2, 128, 128)).shape
        (64, torch.Size([2]))
    """

    def __init__(
        self,
        input_shape: tuple[int, int],
        patch: int = 16,
        dim: int = 384,
        depth: int = 12,
        heads: int = 6,
        mlp_ratio: float = 2.67,
    ) -> None:
        super().__init__()
        bands, frames = input_shape
        if bands % patch or frames % patch:
            raise InputError("patches tile the spectrogram", f"{bands} by {frames}, patch {patch}", "Change the shape.")
        self.tokens = bands // patch * (frames // patch)
        self.patch = nn.Conv2d(1, dim, patch, patch)
        self.norm = nn.LayerNorm(dim)
        self.position = LearnedPosition(self.tokens, dim)
        self.transformer = Transformer(dim, depth, heads, int(dim * mlp_ratio))
        self.classifier = nn.Linear(dim, 1)

    def forward(self, spectrogram: Float[Tensor, "batch bands frames"]) -> Float[Tensor, " batch"]:
        """Logits."""
        patches = self.patch(spectrogram[:, None]).flatten(2).transpose(1, 2)
        return self.classifier(self.transformer(self.position(self.norm(patches))).mean(1)).squeeze(-1)


class ConvNeXt(nn.Module):
    """ConvNeXt-tiny (arXiv 2201.03545) over a spectrogram of one channel, 27.8 M parameters.

    Example:
        >>> sum(parameter.numel() for parameter in ConvNeXt().parameters())
        27817825
    """

    def __init__(self, depths: tuple[int, ...] = (3, 3, 9, 3), dims: tuple[int, ...] = (96, 192, 384, 768)) -> None:
        super().__init__()
        stages: list[nn.Module] = [nn.Conv2d(1, dims[0], 4, 4), ChannelNorm(dims[0])]
        for number, (depth, dim) in enumerate(zip(depths, dims, strict=True)):
            if number:
                stages += [ChannelNorm(dims[number - 1]), nn.Conv2d(dims[number - 1], dim, 2, 2)]
            stages += [ConvNeXtBlock(dim) for _ in range(depth)]
        self.stages = nn.Sequential(*stages)
        self.norm = nn.LayerNorm(dims[-1], eps=1e-6)
        self.classifier = nn.Linear(dims[-1], 1)

    def forward(self, spectrogram: Float[Tensor, "batch bands frames"]) -> Float[Tensor, " batch"]:
        """Logits."""
        image = spectrogram[:, None].to(memory_format=torch.channels_last)
        return self.classifier(self.norm(self.stages(image).mean((2, 3)))).squeeze(-1)


class ConvNeXtBlock(nn.Module):
    """``x += g * W2 GELU(W1 LN(depthwise 7 x 7 of x))``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.gain = nn.Parameter(torch.full((dim,), 1e-6))

    def forward(self, x: Float[Tensor, "batch dim h w"]) -> Float[Tensor, "batch dim h w"]:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + (self.gain * self.down(F.gelu(self.up(y)))).permute(0, 3, 1, 2)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of an image."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Float[Tensor, "batch dim h w"]) -> Float[Tensor, "batch dim h w"]:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
