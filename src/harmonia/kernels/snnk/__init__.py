"""Scalable neural network kernels (arXiv:2310.13225): layers, adapters and whole networks from random features."""

from harmonia.kernels.snnk.adapters import (
    SNNKAdapter,
    adapter_state,
    add_adapters,
    load_adapters,
    remove_adapters,
    save_adapters,
)
from harmonia.kernels.snnk.bundle import bundle
from harmonia.kernels.snnk.estimators import BundledSNNKClassifier, BundledSNNKRegressor
from harmonia.kernels.snnk.feature_maps import ReluFeatures, Split, UniversalFeatures
from harmonia.kernels.snnk.fourier_series import FourierSeries
from harmonia.kernels.snnk.layers import SNNKLinear
from harmonia.kernels.snnk.official import load_official_adapter, load_official_layer, official_projection
from harmonia.kernels.snnk.replacement import Replaced, feed_forward_layers, replace_ffn
from harmonia.kernels.snnk.universal import UniversalRandomFeatures

__all__ = [
    "BundledSNNKClassifier",
    "BundledSNNKRegressor",
    "FourierSeries",
    "ReluFeatures",
    "Replaced",
    "SNNKAdapter",
    "SNNKLinear",
    "Split",
    "UniversalFeatures",
    "UniversalRandomFeatures",
    "adapter_state",
    "add_adapters",
    "bundle",
    "feed_forward_layers",
    "load_adapters",
    "load_official_adapter",
    "load_official_layer",
    "official_projection",
    "remove_adapters",
    "replace_ffn",
    "save_adapters",
]
