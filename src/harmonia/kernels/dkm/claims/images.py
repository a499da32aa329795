"""Images: a convolutional machine with learned and with fixed kernels.

CIFAR-10 is read from the folder that the environment variable HARMONIA_CIFAR10 names.
"""

from __future__ import annotations

import math
import os
from typing import Literal

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from harmonia.core.claim import Measured, claim
from harmonia.data.long_range_arena import cifar10
from harmonia.data.tables import digits
from harmonia.kernels.dkm.image_classifier import ConvDeepKernelMachineClassifier
from harmonia.kernels.dkm.resnet import ConvDeepKernelMachineConfig

FOLDER = "HARMONIA_CIFAR10"
EPOCHS = 20


@claim(
    "A convolutional machine that learns its kernels beats one with fixed kernels on digits",
    place="accuracy by degrees of freedom, arXiv:2309.09814",
    unit="accuracy",
    better="higher",
    tier="full",
)
def convolution_on_digits(seed: int) -> Measured:
    images, labels = digits()
    train, test, y, truth = train_test_split(images, labels, test_size=0.2, random_state=seed, stratify=labels)
    found = {}
    for name, dof in (("0.01", 0.01), ("infinite", math.inf)):
        config = ConvDeepKernelMachineConfig(widths=(16, 16, 32), blocks=1, dof=dof, relative=True)
        model = ConvDeepKernelMachineClassifier(config, epochs=25, batch_size=64, lr=0.02, random_state=seed)
        found[name] = float((model.fit(train, y).predict(test) == truth).mean())
    note = "8 x 8 digits, 16 to 32 inducing patches, two stages of one residual block, 25 epochs"
    return Measured(found["0.01"], baseline=found["infinite"], note=note)


@claim(
    "On CIFAR-10 learned kernels beat fixed ones by far",
    place="accuracy by degrees of freedom, arXiv:2309.09814: 89.5 beside 53.7 at size 8 after 100 epochs",
    unit="points of accuracy gained at nu = 0.01",
    better="higher",
    tier="gpu",
    gate=20.0,
)
def convolution_on_cifar(seed: int) -> Measured | None:
    folder = os.environ.get(FOLDER)
    if not folder or not torch.cuda.is_available():
        return None
    (train, y), (test, truth) = (_pictures(folder, "train"), _pictures(folder, "test"))
    accuracy = []
    for dof in (0.01, math.inf):
        config = ConvDeepKernelMachineConfig(scale=2, dof=dof)
        model = ConvDeepKernelMachineClassifier(config, epochs=EPOCHS, margin=4, flip=True, random_state=seed)
        accuracy.append(100 * float((model.fit(train, y).predict(test) == truth).mean()))
    note = f"size 2, {EPOCHS} epochs: {accuracy[0]:.1f}% beside {accuracy[1]:.1f}%"
    return Measured(accuracy[0] - accuracy[1], note=note)


def _pictures(folder: str, part: Literal["train", "test"]) -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = cifar10(folder, part)
    return pixels.transpose(0, 2, 1).reshape(-1, 3, 32, 32) / 255.0, labels
