"""Linear probes of frozen features: what a representation knows, with how much certainty, in closed form.

probe_layers(features, targets)     score of every layer, nested cross-validation, bootstrap intervals
ProbeClassifier, ProbeRegressor     the same probe of one layer, as scikit-learn estimators
bootstrap_interval                  an interval for any of the scores
paired_permutation                  whether two representations differ
Gain, RocAuc, AveragePrecision, R2  the scores; each takes weights, so that all resamples are one call
"""

from __future__ import annotations

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "AveragePrecision": "scores",
        "Gain": "scores",
        "Goal": "targets",
        "Interval": "resampling",
        "Metric": "scores",
        "Permutation": "resampling",
        "ProbeClassifier": "estimators",
        "ProbeRegressor": "estimators",
        "Probed": "layers",
        "R2": "scores",
        "RocAuc": "scores",
        "Targets": "targets",
        "bootstrap_interval": "resampling",
        "check_features": "layers",
        "fold_numbers": "folds",
        "group_folds": "folds",
        "macro": "scores",
        "paired_permutation": "resampling",
        "probe_layers": "layers",
    },
)
