"""Features beside RBFSampler and performer's way, whole fits beside scikit-learn's network and its random features.

A fit has no array that both sides could agree on: its step gives nothing, and the scores stand in the notes, measured
by `harmonia verify snnk`.
"""

import numpy as np

from harmonia.app.bench import Race


def rows(n, d):
    return np.random.default_rng(0).standard_normal((n, d))


def our_features(n, d, m, directions):
    import torch

    from harmonia.parts.gram import ArcCosineFeatures

    x = torch.from_numpy(rows(n, d).astype(np.float32))
    generator = torch.Generator().manual_seed(0)
    phi = ArcCosineFeatures.draw(d, m, generator=generator, directions=directions, dtype=torch.float32)

    def step():
        for block in x.split(1024):
            phi(block)

    return step


def rbf_sampler(n, d, m, directions):
    from sklearn.kernel_approximation import RBFSampler

    x = rows(n, d).astype(np.float32)
    sampler = RBFSampler(n_components=m, random_state=0).fit(x)

    def step():
        for start in range(0, n, 1024):
            sampler.transform(x[start : start + 1024])

    return step


def digits():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    return train_test_split(x / 16, y, test_size=0.3, random_state=0, stratify=y)


def our_fit(width):
    from harmonia.kernels.snnk import BundledSNNKClassifier

    x, _, y, _ = digits()
    model = BundledSNNKClassifier(width, standardize=False, random_state=0)

    def step():
        model.fit(x, y)

    return step


def mlp_fit(width):
    import warnings

    from sklearn.neural_network import MLPClassifier

    x, _, y, _ = digits()
    model = MLPClassifier((256,), max_iter=80, random_state=0)

    def step():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(x, y)

    return step


def rbf_ridge_fit(width):
    from sklearn.kernel_approximation import RBFSampler
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline

    x, _, y, _ = digits()
    ridge = RidgeClassifierCV(np.logspace(-6, 3, 33))
    model = make_pipeline(RBFSampler(gamma="scale", n_components=width, random_state=0), ridge)

    def step():
        model.fit(x, y)

    return step


def our_path(n, m):
    """Leave-one-out errors of 33 penalties on the same features as theirs."""
    import torch

    from harmonia.kernels.snnk.solving import solve

    f, y = torch.from_numpy(rows(n, m)), torch.from_numpy(rows(n, 3))
    return lambda: np.array([error for _, error in solve(f, y).path])


def their_path(n, m):
    import torch
    from sklearn.linear_model import RidgeCV

    from harmonia.kernels.snnk.solving import solve

    f, y = rows(n, m), rows(n, 3)
    penalties = [penalty for penalty, _ in solve(torch.from_numpy(f), torch.from_numpy(y)).path]
    model = RidgeCV(penalties, store_cv_results=True)
    return lambda: model.fit(f, y).cv_results_.mean(0).sum(0)


RACES = (
    Race(
        "scikit-learn",
        "features of 20,000 rows of 512 numbers, 1024 features, beside RBFSampler",
        our_features,
        rbf_sampler,
        {"n": 20_000, "d": 512, "m": 1024, "directions": "orthogonal"},
        repeats=3,
        note="a dense matrix on either side; fast transforms overtake it at rows of about 1000 numbers",
    ),
    Race(
        "scikit-learn",
        "structured features (sorf) of 10,000 rows of 2048 numbers, 2048 features, beside RBFSampler",
        our_features,
        rbf_sampler,
        {"n": 10_000, "d": 2048, "m": 2048, "directions": "sorf"},
        repeats=3,
    ),
    Race(
        "scikit-learn",
        "features of 100,000 rows of 128 numbers, 1024 features, beside RBFSampler",
        our_features,
        rbf_sampler,
        {"n": 100_000, "d": 128, "m": 1024, "directions": "orthogonal"},
        repeats=3,
    ),
    Race(
        "scikit-learn",
        "fit on digits: 256 bundled features beside MLPClassifier of 256 units",
        our_fit,
        mlp_fit,
        {"width": 256},
        repeats=3,
        note="accuracy of both within half a point",
    ),
    Race(
        "scikit-learn",
        "fit on digits, 512 features, beside RBFSampler and RidgeClassifierCV",
        our_fit,
        rbf_ridge_fit,
        {"width": 512},
        repeats=3,
    ),
    Race(
        "scikit-learn",
        "leave-one-out errors of 33 penalties, 3000 rows, 300 features, beside RidgeCV",
        our_path,
        their_path,
        {"n": 3000, "m": 300},
        tolerance=1e-8,
        repeats=3,
    ),
)
