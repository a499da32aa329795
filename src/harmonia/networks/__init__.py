"""Networks: how deep they can be, how to initialise them, and what they compute. Public names import when used."""

from __future__ import annotations

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "ConditionalPriorVAE": "gkcl",
        "FinitePoolBayes": "icl_uq",
        "InContextRegressor": "icl_uq",
        "InContextTransformer": "icl_uq",
        "KernelContinualClassifier": "gkcl",
        "NIGRegression": "icl_uq",
        "TaskPrior": "icl_uq",
        "analyze": "effective_theory",
        "continual_metrics": "gkcl",
        "critical_init_": "effective_theory",
        "critical_shift": "effective_theory",
        "diagnose": "effective_theory",
        "equivalence_param_groups": "effective_theory",
        "gamma_for": "effective_theory",
        "learning_rates": "effective_theory",
        "measure_ensemble": "effective_theory",
        "multi_input_recursion": "effective_theory",
        "optimal_depth": "effective_theory",
        "optimal_ratio": "effective_theory",
        "permuted_tasks": "gkcl",
        "quadratic_model": "effective_theory",
        "recursion": "effective_theory",
        "rotated_tasks": "gkcl",
        "sample_ensemble": "effective_theory",
        "shift_suite": "icl_uq",
        "split_classes": "gkcl",
    },
)
