"""Networks that turn rows or images into the features that kernels compare."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.parts.gram import FourierFeatures, SquaredExponential

Normalise = Literal["l2", "minmax", "none"]


def normalised(features: Float[Tensor, "n d"], how: Normalise) -> Float[Tensor, "n d"]:
    """Rows of length 1; or, as the official multilayer perceptron, the whole batch from 0 to 1.

    Example:
        >>> normalised(torch.tensor([[3.0, 4.0]]), "l2")
        tensor([[0.6000, 0.8000]])
    """
    if how == "l2":
        return F.normalize(features)
    if how == "minmax":
        return (features - features.min()) / (features.max() - features.min())
    return features


class MLP(nn.Module):
    """Two layers of ReLU units with dropout.

    Arguments:
        inputs: Numbers a row.
        hidden: Units of the first layer.
        features: Units of the second layer, the features.
        dropout: After each layer.
        normalise: ``l2``: each row; ``minmax``: as the official code, which makes a row's features depend on the
            other rows of its batch; ``none``.

    Example:
        >>> features = MLP(64)(torch.rand(5, 64))
        >>> features.shape, bool(torch.allclose(features.norm(dim=1), torch.ones(5)))
        (torch.Size([5, 128]), True)
    """

    def __init__(
        self, inputs: int, hidden: int = 256, features: int = 128, dropout: float = 0.0, normalise: Normalise = "l2"
    ) -> None:
        super().__init__()
        if normalise not in get_args(Normalise):
            raise InputError("features are normalised otherwise", repr(normalise), "Use 'l2', 'minmax' or 'none'.")
        self.features, self.normalise = features, normalise
        self.first, self.second = nn.Linear(inputs, hidden), nn.Linear(hidden, features)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n features"]:
        hidden = self.dropout(F.relu(self.first(x.flatten(1))))
        return normalised(self.dropout(F.relu(self.second(hidden))), self.normalise)


class Block(nn.Module):
    """Two convolutions beside a shortcut; after each ReLU batch normalisation and dropout (an IC layer).

    With `one_convolution` the second one is there but never used, as in the official code.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float, one_convolution: bool) -> None:
        super().__init__()
        self.one_convolution = one_convolution
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, padding=1, bias=False)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
        self.ic1 = nn.Sequential(nn.BatchNorm2d(outputs), nn.Dropout(dropout))
        self.ic2 = nn.Sequential(nn.BatchNorm2d(outputs), nn.Dropout(dropout))

    def forward(self, x: Float[Tensor, "n inputs h w"]) -> Float[Tensor, "n outputs h2 w2"]:
        out = self.ic1(F.relu(self.conv1(x)))
        if not self.one_convolution:
            out = self.conv2(out)
        return self.ic2(F.relu(out + self.shortcut(x)))


class SlimResNet(nn.Module):
    """ResNet-18 with few channels and IC layers, global average pooling and features of length 1.

    Arguments:
        channels: Of the images.
        widths: Channels of the stem and of the four stages of two blocks each.
        strides: Of the stem and of the stages.
        stem: Size of the stem's kernel.
        dropout: Of the IC layers.
        compat: ``kcl``: blocks of one convolution, as the official code computes.

    Example:
        >>> SlimResNet(widths=(4, 4, 8, 16, 32)).eval()(torch.rand(2, 3, 32, 32)).shape
        torch.Size([2, 32])
    """

    def __init__(
        self,
        channels: int = 3,
        widths: tuple[int, ...] = (20, 20, 40, 80, 160),
        strides: tuple[int, ...] = (1, 1, 2, 2, 2),
        stem: int = 3,
        dropout: float = 0.0,
        compat: Literal["", "kcl"] = "",
    ) -> None:
        super().__init__()
        if len(widths) != 5 or len(strides) != 5:
            raise InputError("there are a stem and four stages", f"{widths}, {strides}", "Give five of each.")
        self.features = widths[-1]
        self.conv1 = nn.Conv2d(channels, widths[0], stem, strides[0], padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.stages = nn.ModuleList(
            nn.Sequential(
                Block(before, width, stride, dropout, compat == "kcl"), Block(width, width, 1, dropout, compat == "kcl")
            )
            for before, width, stride in zip(widths[:-1], widths[1:], strides[1:])
        )

    @classmethod
    def mini_imagenet(cls, dropout: float = 0.0, compat: Literal["", "kcl"] = "") -> SlimResNet:
        """The official network for larger pictures: a stem of 7 by 7, stride 2 everywhere, 512 features."""
        return cls(3, (64, 64, 128, 128, 512), (2, 2, 2, 2, 2), 7, dropout, compat)

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n features"]:
        out = F.relu(self.bn1(self.conv1(x)))
        for stage in self.stages:
            out = stage(out)
        return F.normalize(out.mean((2, 3)))


class RandomBackbone(nn.Module):
    """Random Fourier features of the rows themselves: nothing is learnt, so nothing can be forgotten.

    Arguments:
        inputs: Numbers a row.
        features: Random features; even.
        lengthscale: Of the Gaussian kernel that they approximate.
        generator: Draws the frequencies.

    Example:
        >>> x = torch.rand(4, 10)
        >>> backbone = RandomBackbone(10, 4000, 2.0, torch.Generator().manual_seed(0))
        >>> exact = SquaredExponential(2.0)(x)
        >>> bool((backbone(x) @ backbone(x).T - exact).abs().max() < 0.1)
        True
    """

    weight: Tensor

    def __init__(self, inputs: int, features: int, lengthscale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.features = features
        drawn = FourierFeatures.draw(
            SquaredExponential(lengthscale), inputs, features, generator=generator, directions="orthogonal"
        )
        self.register_buffer("weight", drawn.frequencies(torch.eye(inputs).double() / lengthscale).float())

    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n features"]:
        angles = x.flatten(1) @ self.weight
        return torch.cat([angles.cos(), angles.sin()], 1) * angles.shape[1] ** -0.5
