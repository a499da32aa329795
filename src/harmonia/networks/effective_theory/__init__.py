"""Effective theory of deep networks (arXiv:2106.10165): initialisation, depth, width and learning rates by theory."""

from harmonia.networks.effective_theory.activation import ACTIVATIONS, Pointwise, as_activation
from harmonia.networks.effective_theory.architecture import Residual, network_of
from harmonia.networks.effective_theory.aspect import emergent_slope, gamma_for, optimal_depth, optimal_ratio
from harmonia.networks.effective_theory.criticality import CriticalityReport, analyze, critical_shift
from harmonia.networks.effective_theory.diagnosis import Diagnosis, diagnose
from harmonia.networks.effective_theory.ensemble import Ensemble, sample_ensemble
from harmonia.networks.effective_theory.initialise import LayerScale, critical_init_
from harmonia.networks.effective_theory.measured import measure_ensemble
from harmonia.networks.effective_theory.phase import Phase, phase_of
from harmonia.networks.effective_theory.quadratic import QuadraticModel, quadratic_model
from harmonia.networks.effective_theory.rates import equivalence_param_groups, learning_rates
from harmonia.networks.effective_theory.recursion import LayerTable, recursion
from harmonia.networks.effective_theory.vertex import MultiInput, multi_input_recursion

__all__ = [
    "ACTIVATIONS",
    "CriticalityReport",
    "Diagnosis",
    "Ensemble",
    "LayerScale",
    "LayerTable",
    "MultiInput",
    "Phase",
    "Pointwise",
    "QuadraticModel",
    "Residual",
    "analyze",
    "as_activation",
    "critical_init_",
    "critical_shift",
    "diagnose",
    "emergent_slope",
    "equivalence_param_groups",
    "gamma_for",
    "learning_rates",
    "measure_ensemble",
    "multi_input_recursion",
    "network_of",
    "optimal_depth",
    "optimal_ratio",
    "phase_of",
    "quadratic_model",
    "recursion",
    "sample_ensemble",
]
