"""Encoders and decoders of the generator, perceptrons or convolutions."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.errors import InputError

Layers = Literal["mlp", "conv"]


class TaskEncoder(nn.Module):
    """Rows and their tasks' embeddings to means and log variances, side by side."""

    def __init__(self, body: nn.Module, width: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.body = body
        self.read = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, x: Float[Tensor, "n *shape"], embedding: Float[Tensor, "n e"]) -> Float[Tensor, "n outputs"]:
        # The task enters beside the pixels: in a permuted task even a perceptron's first layer has to know of it.
        return self.read(torch.cat([self.body(x), embedding], 1))


def make_networks(
    shape: tuple[int, ...], layers: Layers, hidden: int, latent: int, embedding: int
) -> tuple[TaskEncoder, nn.Module]:
    """Encoder and decoder of rows of a shape; a decoder takes latent and embedding side by side.

    Convolutions of stride 2 halve images as long as their sides are even and longer than 4.

    Raises:
        InputError: convolutions of what is no image, or one that cannot be halved.

    Example:
        >>> encoder, decoder = make_networks((3, 32, 32), "conv", 64, 8, 2)
        >>> encoder(torch.rand(5, 3, 32, 32), torch.rand(5, 2)).shape, decoder(torch.rand(5, 10)).shape
        (torch.Size([5, 16]), torch.Size([5, 3, 32, 32]))
    """
    code = latent + embedding
    if layers == "mlp":
        size = math.prod(shape)
        first, last = (nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, hidden)), nn.Linear(hidden, size)
        return TaskEncoder(nn.Flatten(), size + embedding, hidden, 2 * latent), nn.Sequential(*first, nn.ReLU(), last)
    halvings = 0
    while len(shape) == 3 and min(shape[1:]) >> halvings > 4 and not any((side >> halvings) % 2 for side in shape[1:]):
        halvings += 1
    if not halvings:
        mend = "Pass (channels, height, width), even and above 4, or layers='mlp'."
        raise InputError("a convolutional generator takes images", shape, mend)
    widths = [shape[0], *(max(1, hidden >> (halvings - 1 - i)) for i in range(halvings))]
    grid = (hidden, shape[1] >> halvings, shape[2] >> halvings)
    down: list[nn.Module] = []
    up: list[nn.Module] = []
    for before, after in pairwise(widths):
        down += [nn.Conv2d(before, after, 4, 2, 1), nn.ReLU()]
        up = [nn.ReLU(), nn.ConvTranspose2d(after, before, 4, 2, 1), *up]
    body = nn.Sequential(*down, nn.Flatten())
    decoder = nn.Sequential(nn.Linear(code, math.prod(grid)), nn.Unflatten(1, grid), *up)
    return TaskEncoder(body, math.prod(grid) + embedding, hidden, 2 * latent), decoder
