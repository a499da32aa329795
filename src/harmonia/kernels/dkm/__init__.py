"""Deep kernel machines (arXiv:2108.13097): learned Gram matrices instead of weights."""

from harmonia.kernels.dkm.conv import ConvGramMixup, GramMixup, ImagePatches, MeanPool, NystromPool, WholeImageMixup
from harmonia.kernels.dkm.estimators import DeepKernelMachineClassifier, DeepKernelMachineRegressor
from harmonia.kernels.dkm.export import DeepKernel
from harmonia.kernels.dkm.full import DKMSolution, solve_dkm
from harmonia.kernels.dkm.gram_kernels import (
    ArcCosineGramKernel,
    LinearGramKernel,
    NormalizedGaussianGramKernel,
    SqExpGramKernel,
)
from harmonia.kernels.dkm.gram_layer import GramLayer, gram_kl
from harmonia.kernels.dkm.image_classifier import ConvDeepKernelMachineClassifier
from harmonia.kernels.dkm.images import ImageWhitening, random_patches
from harmonia.kernels.dkm.network import DeepKernelMachine, DeepKernelMachineConfig
from harmonia.kernels.dkm.norm import GramNorm
from harmonia.kernels.dkm.official import load_official
from harmonia.kernels.dkm.output import InducingOutput
from harmonia.kernels.dkm.path import learning_path
from harmonia.kernels.dkm.resnet import ConvDeepKernelMachine, ConvDeepKernelMachineConfig
from harmonia.kernels.dkm.triple import GramTriple, Stack

__all__ = [
    "ArcCosineGramKernel",
    "ConvDeepKernelMachine",
    "ConvDeepKernelMachineClassifier",
    "ConvDeepKernelMachineConfig",
    "ConvGramMixup",
    "DKMSolution",
    "DeepKernel",
    "DeepKernelMachine",
    "DeepKernelMachineClassifier",
    "DeepKernelMachineConfig",
    "DeepKernelMachineRegressor",
    "GramLayer",
    "GramMixup",
    "GramNorm",
    "GramTriple",
    "ImagePatches",
    "ImageWhitening",
    "InducingOutput",
    "LinearGramKernel",
    "MeanPool",
    "NormalizedGaussianGramKernel",
    "NystromPool",
    "SqExpGramKernel",
    "Stack",
    "WholeImageMixup",
    "gram_kl",
    "learning_path",
    "load_official",
    "random_patches",
    "solve_dkm",
]
