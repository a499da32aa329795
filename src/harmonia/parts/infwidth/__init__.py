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
from harmonia.parts.infwidth.layers import Affine, Dense, Layer
from harmonia.parts.infwidth.network import FanInConcat, FanInProd, FanInSum, Kernels, Residual, Scaled, Sequential
from harmonia.parts.infwidth.state import KernelState

__all__ = [
    "GELU",
    "ABReLU",
    "Abs",
    "Activation",
    "Affine",
    "Cos",
    "Dense",
    "Erf",
    "Exp",
    "FanInConcat",
    "FanInProd",
    "FanInSum",
    "Gaussian",
    "Identity",
    "KernelState",
    "Kernels",
    "Layer",
    "LeakyReLU",
    "ReLU",
    "Residual",
    "Scaled",
    "Sequential",
    "Sign",
    "Sin",
]
