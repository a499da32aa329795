"""Kernels of networks and kernels for learning. Public names import their method when first used."""

from __future__ import annotations

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "BurrXII": "scale_mixtures",
        "DeepNTKClassifier": "singular_classifiers",
        "InverseGamma": "scale_mixtures",
        "KernelDiffusion": "score_ntk",
        "NTKClassifier": "ntk",
        "NTKKernel": "ntk",
        "NTKRegressor": "ntk",
        "NTKScoreEstimator": "score_ntk",
        "OptimalWeight": "self_distillation",
        "ScaleMixtureEnsemble": "scale_mixtures",
        "ScaleMixtureGPClassifier": "scale_mixtures",
        "ScaleMixtureGPRegressor": "scale_mixtures",
        "SelfDistilledEstimator": "self_distillation",
        "SelfDistilledKernelClassifier": "self_distillation",
        "SelfDistilledKernelRidge": "self_distillation",
        "SelfDistiller": "self_distillation",
        "SingularKernelClassifier": "singular_classifiers",
        "SingularKernelRegressor": "singular_classifiers",
        "StudentTProcessRegressor": "scale_mixtures",
        "TabularSynthesizer": "score_ntk",
        "TwoLayerScoreNet": "score_ntk",
        "activation_taxonomy": "singular_classifiers",
        "distillation_loss": "self_distillation",
        "empirical_ntk": "ntk",
        "infwidth": "infwidth",
        "kernel_alignment": "ntk",
        "linearize": "ntk",
        "nngp_trained_limit": "scale_mixtures",
        "ntk_spectrum": "ntk",
        "optimal_activation": "singular_classifiers",
        "optimal_alpha": "self_distillation",
        "optimal_weight": "self_distillation",
    },
)
