"""Score of a diffusion by early-stopped kernel regression (arXiv:2401.15604): tables from tables, and the theory."""

from harmonia.kernels.score_ntk.codec import TableCodec
from harmonia.kernels.score_ntk.dissection import Dissection, dissect
from harmonia.kernels.score_ntk.estimator import NTKScoreEstimator
from harmonia.kernels.score_ntk.flow import KernelFlow, flow_gain
from harmonia.kernels.score_ntk.kernels import TwoLayerKernel
from harmonia.kernels.score_ntk.network import TwoLayerScoreNet
from harmonia.kernels.score_ntk.oracles import GaussianOracle, MixtureOracle, empirical_oracle, three_gaussians
from harmonia.kernels.score_ntk.process import NoisyPairs, Process, draw_pairs
from harmonia.kernels.score_ntk.quality import Memorisation, energy_distance, memorisation
from harmonia.kernels.score_ntk.sampling import KernelDiffusion
from harmonia.kernels.score_ntk.stopping import EarlyStop, complexity_rule
from harmonia.kernels.score_ntk.synthesizer import TabularSynthesizer

__all__ = [
    "Dissection",
    "EarlyStop",
    "GaussianOracle",
    "KernelDiffusion",
    "KernelFlow",
    "Memorisation",
    "MixtureOracle",
    "NTKScoreEstimator",
    "NoisyPairs",
    "Process",
    "TableCodec",
    "TabularSynthesizer",
    "TwoLayerKernel",
    "TwoLayerScoreNet",
    "complexity_rule",
    "dissect",
    "draw_pairs",
    "empirical_oracle",
    "energy_distance",
    "flow_gain",
    "memorisation",
    "three_gaussians",
]
