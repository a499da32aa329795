"""Networks: how deep they can be, how to initialise them, and what they compute. Public names import when used."""

from __future__ import annotations

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "FinitePoolBayes": "icl_uq",
        "InContextRegressor": "icl_uq",
        "InContextTransformer": "icl_uq",
        "NIGRegression": "icl_uq",
        "TaskPrior": "icl_uq",
        "analyze": "effective_theory",
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
        "quadratic_model": "effective_theory",
        "recursion": "effective_theory",
        "sample_ensemble": "effective_theory",
        "shift_suite": "icl_uq",
    },
)
