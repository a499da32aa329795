"""Kernels against neural-tangents 0.6.5 (float64), whose values were recorded once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from harmonia.parts.infwidth import (
    GELU,
    Abs,
    AvgPool2d,
    Conv1d,
    Conv2d,
    Dense,
    Erf,
    FanInSum,
    Flatten,
    GlobalAvgPool,
    GlobalSelfAttention,
    Layer,
    LayerNorm,
    LeakyReLU,
    ReLU,
    Sequential,
    Sin,
    Tanh,
)

X = torch.arange(1, 13).double().sin().reshape(3, 4)
Y = torch.arange(1, 9).double().cos().reshape(2, 4)


def dense() -> Dense:
    return Dense(1.5, 0.3)


def twice(activation: Layer) -> Sequential:
    return Sequential(dense(), activation, dense(), activation, dense())


def standard() -> Dense:
    return Dense(1.5, 0.3, width=512, parameterization="standard")


VECTORS = {
    "relu": (
        twice(ReLU()),
        [1.0869860314, 1.3494958145, 0.7405327898, 0.9218652466, 1.5803014344, 0.6648183895],
        [1.798100113, 2.9600156683, 0.6889845135, 1.2673267431, 4.2631025677, 0.6781985066],
    ),
    "erf": (
        twice(Erf()),
        [0.4009702948, 0.8605371174, -0.44428217, 0.1540161097, 1.1868082213, -0.2655902854],
        [0.9590582066, 2.564760332, -1.7056217664, 0.2065504166, 4.141836063, -1.0910046858],
    ),
    "gelu": (
        twice(GELU()),
        [0.694815857, 0.9779306234, 0.3631471737, 0.5319673109, 1.2167720281, 0.3129697462],
        [1.2566399356, 2.4729475079, 0.2285948069, 0.7338362985, 3.5900932815, 0.2301496028],
    ),
    "sin": (
        twice(Sin()),
        [0.3271643906, 0.7273427201, -0.3010338218, 0.1490112568, 1.0685860515, -0.1810039429],
        [0.7538510528, 2.3038950719, -1.3439840756, 0.2000216811, 4.0715652489, -0.8490866933],
    ),
    "leaky": (
        twice(LeakyReLU(0.2)),
        [0.9930426407, 1.4100591252, 0.2597752189, 0.7241337515, 1.6972960059, 0.3360262989],
        [1.848572309, 3.3812363047, -0.3608148784, 1.0155875281, 4.6744414971, 0.0002956386],
    ),
    "abs": (
        twice(Abs()),
        [5.0786136436, 5.2355790023, 5.7968818942, 4.9354240512, 5.8525018958, 4.5055202551],
        [7.2144998606, 9.6803409238, 10.1090544936, 6.7528198138, 15.6458699812, 7.0208084163],
    ),
    "tanh": (
        twice(Tanh()),
        [0.3589917062, 0.728769487, -0.3438086096, 0.1526127082, 0.9720669489, -0.1919680428],
        [0.832771718, 2.080503518, -1.3561420178, 0.2056261979, 3.1311106784, -0.8525599753],
    ),
    "layer norm": (
        Sequential(dense(), LayerNorm(), ReLU(), dense()),
        [0.6158783978, 0.9708227488, 0.1540417938, 0.4404559784, 1.202630765, 0.2114446178],
        [0.7973822093, 1.6121440318, -0.046583333, 0.4328466787, 2.2614421277, 0.0234199987],
    ),
    "residual": (
        Sequential(dense(), FanInSum(Sequential(dense(), ReLU(), dense()), Sequential()), ReLU(), dense()),
        [2.942890364, 3.9009941761, 1.4923913897, 2.3353159074, 4.6647991568, 1.4141995037],
        [5.123501038, 9.7368020642, 0.573184309, 3.0581802046, 14.8046740839, 0.8745979588],
    ),
    "standard": (
        Sequential(standard(), ReLU(), standard()),
        [0.7278271041, 1.0818721383, 0.1722997076, 0.508136237, 1.3242934197, 0.2150820963],
        [147.0885124943, 228.7145112673, 19.519588334, 96.6014786659, 284.8581028851, 29.4327540317],
    ),
}


IMAGES1 = torch.arange(1, 181).double().sin().reshape(2, 5, 6, 3).permute(0, 3, 1, 2)
IMAGES2 = torch.arange(1, 91).double().cos().reshape(1, 5, 6, 3).permute(0, 3, 1, 2)
SEQUENCES1 = torch.arange(1, 37).double().sin().reshape(2, 6, 3).mT
SEQUENCES2 = torch.arange(1, 19).double().cos().reshape(1, 6, 3).mT


def conv(stride: int = 1, padding: str = "same") -> Conv2d:
    return Conv2d(3, 1.5, 0.3, stride=stride, padding=padding)


POSITIONS = {
    "same, flatten": (
        Sequential(conv(), ReLU(), conv(), ReLU(), Flatten(), dense()),
        [0.6999628283, 1.0987961881],
        [1.0252181464, 2.6388627302],
    ),
    "same, global pool": (
        Sequential(conv(), ReLU(), conv(), ReLU(), GlobalAvgPool(), dense()),
        [0.6750159675, 0.6776497754],
        [1.0584955547, 1.0776798955],
    ),
    "valid, stride 2": (
        Sequential(conv(2, "valid"), ReLU(), GlobalAvgPool(), dense()),
        [0.6783515448, 0.9357877309],
        [0.9712342096, 1.494462052],
    ),
    "circular, pool": (
        Sequential(conv(1, "circular"), ReLU(), AvgPool2d(2), Flatten(), dense()),
        [0.619248465, 0.6883796542],
        [0.7613489436, 0.9797018505],
    ),
}


def check(network: Sequential, x: Tensor, y: Tensor, nngp: list[float], ntk: list[float], tolerance: float) -> None:
    got = network.kernel(x, y)
    for kernel, values in zip(got, (nngp, ntk)):
        expected = torch.tensor(values, dtype=torch.float64)
        torch.testing.assert_close(kernel.flatten(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", VECTORS)
def test_vectors(case: str) -> None:
    # Their tanh is a 60 x 60 Gauss-Hermite sum, good to 1e-6; ours is checked more sharply in test_infwidth_duals.py.
    check(VECTORS[case][0], X, Y, *VECTORS[case][1:], tolerance=5e-7 if case == "tanh" else 1e-8)


@pytest.mark.parametrize("case", POSITIONS)
def test_images(case: str) -> None:
    check(POSITIONS[case][0], IMAGES1, IMAGES2, *POSITIONS[case][1:], tolerance=1e-8)


def test_attention() -> None:
    attention = GlobalSelfAttention(1.1, 1.1, 1.2, 1.3, 0.2)
    network = Sequential(Conv1d(3, 1.5, 0.3), attention, ReLU(), GlobalAvgPool(), dense())
    check(network, SEQUENCES1, SEQUENCES2, [0.8147100342, 0.8733608268], [1.2516549487, 1.8859818572], tolerance=1e-8)
