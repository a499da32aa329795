"""What images need before and around a convolutional machine: whitening, inducing patches, augmentation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from harmonia.core.errors import InputError


class ImageWhitening(nn.Module):
    """ZCA whitening of standardised images, standardised again: ``E diag((l + share mean l)^-1/2) E^T``.

    Arguments:
        images: Training images (n, channels, height, width).
        share: Of the mean eigenvalue that is added to all.

    Raises:
        InputError: images of one value everywhere, in every channel.
    """

    mean: Tensor
    scale: Tensor
    matrix: Tensor
    mean_after: Tensor
    scale_after: Tensor

    def __init__(self, images: Float[Tensor, "n c h w"], share: float = 0.1) -> None:
        super().__init__()
        if (images == images[:1, :, :1, :1]).all():
            raise InputError("images of one value everywhere cannot be whitened", "no contrast", "Check the images.")
        mean, scale = _moments(images)
        rows = ((images - mean) / scale).flatten(1)
        values, vectors = torch.linalg.eigh(rows.mT @ rows)
        values = values.clamp(min=0)
        matrix = (vectors * (values + share * values.mean()).rsqrt()) @ vectors.mT
        found = (mean, scale, matrix, *_moments((rows @ matrix).reshape(images.shape)))
        for name, value in zip(("mean", "scale", "matrix", "mean_after", "scale_after"), found, strict=True):
            self.register_buffer(name, value)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        rows = ((x - self.mean) / self.scale).flatten(1)
        return ((rows @ self.matrix).reshape(x.shape) - self.mean_after) / self.scale_after


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every channel, (1, channels, 1, 1)."""
    scale = images.std((0, 2, 3), keepdim=True)
    return images.mean((0, 2, 3), keepdim=True), torch.where(scale > 0, scale, 1.0)


def random_patches(
    images: Float[Tensor, "n c h w"],
    labels: Int64[Tensor, " n"],
    count: int,
    size: int = 3,
    *,
    per_class: int = 50,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "count c size size"]:
    """Patches at random places of the first images of every class.

    Raises:
        InputError: images smaller than a patch.

    Example:
        >>> random_patches(torch.ones(4, 1, 5, 5), torch.tensor([0, 1, 0, 1]), 7).shape
        torch.Size([7, 1, 3, 3])
    """
    if min(images.shape[2:]) < size:
        raise InputError(f"images are smaller than a patch of {size}", tuple(images.shape[2:]), "Pass larger ones.")
    some = torch.cat([images[labels == label][:per_class] for label in labels.unique()])
    rows, columns = images.shape[2] - size + 1, images.shape[3] - size + 1
    place = torch.randint(len(some) * rows * columns, (count,), generator=generator)
    image, top, left = place // (rows * columns), place // columns % rows, place % columns
    inside = torch.arange(size)
    return some[
        image[:, None, None, None],
        torch.arange(images.shape[1])[None, :, None, None],
        (top[:, None] + inside)[:, None, :, None],
        (left[:, None] + inside)[:, None, None, :],
    ]


def augmented(
    images: Float[Tensor, "n c h w"], margin: int, flip: bool, generator: torch.Generator
) -> Float[Tensor, "n c h w"]:
    """Every image shifted by up to `margin` pixels, with zeros beyond the border, and half of them mirrored."""
    n, _, height, width = images.shape
    padded = F.pad(images, (margin,) * 4)
    shift = torch.randint(2 * margin + 1, (2, n, 1), generator=generator)
    rows, columns = shift[0] + torch.arange(height), shift[1] + torch.arange(width)
    if flip:
        mirrored = torch.rand(n, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    image = torch.arange(n)[:, None, None, None]
    channel = torch.arange(images.shape[1])[None, :, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
