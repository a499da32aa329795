"""Scale mixtures of infinitely wide networks (arXiv:2107.01408): Student-t processes and their relatives."""

from harmonia.kernels.scale_mixtures.classifier import ScaleMixtureGPClassifier
from harmonia.kernels.scale_mixtures.covariance import as_covariance
from harmonia.kernels.scale_mixtures.ensemble import ScaleMixtureEnsemble
from harmonia.kernels.scale_mixtures.predictive import NormalMixture, Predictive, StudentT
from harmonia.kernels.scale_mixtures.process import ScaleMixtureProcess
from harmonia.kernels.scale_mixtures.regressor import ScaleMixtureGPRegressor, StudentTProcessRegressor
from harmonia.kernels.scale_mixtures.scales import (
    BetaPrime,
    BurrXII,
    Discrete,
    FromDensity,
    Gamma,
    HalfCauchy,
    InverseGamma,
    LogNormal,
    PointMass,
    ScaleDistribution,
)
from harmonia.kernels.scale_mixtures.search import Hyperparameters, maximise_marginal_likelihood
from harmonia.kernels.scale_mixtures.trained import TrainedLimit, nngp_trained_limit
from harmonia.kernels.scale_mixtures.uci import read_uci
from harmonia.kernels.scale_mixtures.variational import SparseProcess

__all__ = [
    "BetaPrime",
    "BurrXII",
    "Discrete",
    "FromDensity",
    "Gamma",
    "HalfCauchy",
    "Hyperparameters",
    "InverseGamma",
    "LogNormal",
    "NormalMixture",
    "PointMass",
    "Predictive",
    "ScaleDistribution",
    "ScaleMixtureEnsemble",
    "ScaleMixtureGPClassifier",
    "ScaleMixtureGPRegressor",
    "ScaleMixtureProcess",
    "SparseProcess",
    "StudentT",
    "StudentTProcessRegressor",
    "TrainedLimit",
    "as_covariance",
    "maximise_marginal_likelihood",
    "nngp_trained_limit",
    "read_uci",
]
