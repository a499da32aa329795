"""Infinitely wide networks: their Gaussian-process (NNGP) and neural tangent (NTK) kernels, exactly, in torch."""

from harmonia.parts.infwidth.activations import (
    GELU,
    ABReLU,
    Abs,
    Activation,
    Cos,
    Erf,
    Exp,
    Gaussian,
    Identity,
    LeakyReLU,
    ReLU,
    Sign,
    Sin,
)
from harmonia.parts.infwidth.attention import GlobalSelfAttention
from harmonia.parts.infwidth.convolution import (
    AvgPool1d,
    AvgPool2d,
    Conv1d,
    Conv2d,
    Flatten,
    GlobalAvgPool,
    SumPool1d,
    SumPool2d,
)
from harmonia.parts.infwidth.layers import Affine, Dense, Layer
from harmonia.parts.infwidth.lift import from_torch
from harmonia.parts.infwidth.linear_map import LinearMap
from harmonia.parts.infwidth.matrix import NetworkKernel, kernel_matrix
from harmonia.parts.infwidth.mehler import Elementwise, Hermite, Polynomial, SiLU, Tanh
from harmonia.parts.infwidth.multihead import MultiHeadSelfAttention
from harmonia.parts.infwidth.network import FanInConcat, FanInProd, FanInSum, Kernels, Residual, Scaled, Sequential
from harmonia.parts.infwidth.normalization import Dropout, LayerNorm
from harmonia.parts.infwidth.state import KernelState
from harmonia.parts.infwidth.transposed import ConvTranspose1d, ConvTranspose2d

__all__ = [
    "GELU",
    "ABReLU",
    "Abs",
    "Activation",
    "Affine",
    "AvgPool1d",
    "AvgPool2d",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "Cos",
    "Dense",
    "Dropout",
    "Elementwise",
    "Erf",
    "Exp",
    "FanInConcat",
    "FanInProd",
    "FanInSum",
    "Flatten",
    "Gaussian",
    "GlobalAvgPool",
    "GlobalSelfAttention",
    "Hermite",
    "Identity",
    "KernelState",
    "Kernels",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "LinearMap",
    "MultiHeadSelfAttention",
    "NetworkKernel",
    "Polynomial",
    "ReLU",
    "Residual",
    "Scaled",
    "Sequential",
    "SiLU",
    "Sign",
    "Sin",
    "SumPool1d",
    "SumPool2d",
    "Tanh",
    "from_torch",
    "kernel_matrix",
]
