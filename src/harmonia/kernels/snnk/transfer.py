"""Adapters beside adapters: a small frozen transformer learns new classes through what is put behind its layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from harmonia.data.tables import digits
from harmonia.kernels.snnk.adapters import Adapted, add_adapters


class RowTransformer(nn.Module):
    """An image of 8 by 8 as eight tokens, its rows: two encoder layers, mean, classes.

    Arguments:
        classes: How many.
        width: Of the states.
    """

    def __init__(self, classes: int, width: int = 64) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.position = nn.Parameter(0.02 * torch.randn(8, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Float[Tensor, "n 8 8"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        return self.classifier(self.encoder(self.embed(x) + self.position).mean(1))


class Bottleneck(nn.Module):
    """The adapter of Houlsby et al. 2019: ``x + U relu(D x + d) + u``, U and u zero at first."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, bottleneck), nn.Linear(bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        return x + self.up(self.down(x).relu())


@dataclass(frozen=True)
class Transferred:
    """Accuracy on new classes, and trainable numbers of the adapters alone."""

    accuracy: float
    parameters: int


def transfer(change: Callable[[nn.Module], object], seed: int, epochs: int = 40) -> Transferred:
    """Train on digits 0 to 4, freeze, change, train what is left trainable and a new classifier on digits 5 to 9.

    Arguments:
        change: Puts adapters into the frozen model, in place; what it adds is trained.
        seed: Of everything.
        epochs: Passes of either training.
    """
    images, labels = (torch.from_numpy(part) for part in digits())
    images = (images / 16).float()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    images, labels = images[order], labels[order]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # torch's own layers draw their weights from nowhere else
        model = RowTransformer(5)
        old = labels < 5
        _train(model, images[old], labels[old], epochs, seed)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        change(model)
        added = sum(p.numel() for p in model.parameters() if p.requires_grad)
        model.classifier = nn.Linear(model.classifier.in_features, 5)
        new, targets = images[~old], labels[~old] - 5
        cut = int(0.7 * len(new))
        _train(model, new[:cut], targets[:cut], epochs, seed)
    model.eval()
    with torch.no_grad():
        found = model(new[cut:]).argmax(1)
    return Transferred(float((found == targets[cut:]).double().mean()), added)


def bottlenecks(width: int) -> Callable[[nn.Module], object]:
    """Behind the same layers as ours."""

    def change(model: nn.Module) -> None:
        add_adapters(model, 1, targets="linear2")
        for module in model.modules():
            if isinstance(module, Adapted):
                module.adapter = Bottleneck(int(getattr(module.base_layer, "out_features", 0)), width)

    return change


def ours(features: int, seed: int = 0) -> Callable[[nn.Module], object]:
    """Adapters of random features."""
    return lambda model: add_adapters(model, features, targets="linear2", seed=seed)


def _train(model: nn.Module, x: Float[Tensor, "n 8 8"], y: Int64[Tensor, " n"], epochs: int, seed: int) -> None:
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer, generator = torch.optim.Adam(trained, 3e-3), torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
