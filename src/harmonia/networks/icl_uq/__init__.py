"""In-context uncertainty quantification (arXiv 2405.15115): regression with error bars in one forward pass."""

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "FinitePoolBayes": "references",
        "FlippedPrior": "prior",
        "InContextConfig": "network",
        "InContextRegressor": "regressor",
        "InContextTransformer": "network",
        "NIGRegression": "nig",
        "TaskPrior": "prior",
        "bayes": "references",
        "flip_scores": "shifts",
        "gaussian_nll": "training",
        "load_checkpoint": "checkpoint",
        "pretrain": "training",
        "ridge": "references",
        "shift_suite": "shifts",
        "shifted_covariance": "prior",
    },
)
