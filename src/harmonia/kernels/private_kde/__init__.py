"""Similarities to private data under differential privacy (arXiv:2403.08917): distances, kernels, classes."""

from harmonia.kernels.private_kde.bandwidth import median_distance, private_rms_distance
from harmonia.kernels.private_kde.classifier import PrivateSimilarityClassifier
from harmonia.kernels.private_kde.distances import PrivateDistanceSum
from harmonia.kernels.private_kde.exponentials import ExponentialSum, reciprocal_exponentials, sum_of_exponentials
from harmonia.kernels.private_kde.kde import PrivateKDE
from harmonia.kernels.private_kde.similarity import Similarity
from harmonia.parts.privacy import Charge, PrivacyAccountant, Spent, compose

__all__ = [
    "Charge",
    "ExponentialSum",
    "PrivacyAccountant",
    "PrivateDistanceSum",
    "PrivateKDE",
    "PrivateSimilarityClassifier",
    "Similarity",
    "Spent",
    "compose",
    "median_distance",
    "private_rms_distance",
    "reciprocal_exponentials",
    "sum_of_exponentials",
]
