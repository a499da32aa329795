"""Private classification beside private gradient descent and private logistic regression; queries beside exact ones.

All sides get the same 25,000 jittered digits and the same epsilon; their accuracies are compared before timing.
diffprivlib needs an older scikit-learn and lives in an environment of its own. LSQ-RFF is a repository and no package:
its races are run when HARMONIA_LSQ names a folder with its `lsq.py` (github.com/talwagner/lsq); their outputs are
errors beside the exact sums, from as many features at the same epsilon.
"""

import os
import sys

import numpy as np

from harmonia.app.bench import Race

LSQ = os.environ.get("HARMONIA_LSQ", "")
"""A folder with LSQ's module, if there is one."""

PINNED = (
    "diffprivlib==0.6.6",
    "scikit-learn==1.5.2",
    "numpy==2.0.2",
    "scipy==1.13.1",
    "joblib==1.4.2",
)


def digits():
    """Private digits of length 1, and held-out ones."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    generator = np.random.default_rng(0)
    order = generator.permutation(len(x))
    chosen = generator.choice(order[:1300], 25_000)
    private, new = x[chosen] + generator.standard_normal((25_000, 64)), x[order[1300:]]
    private, new = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (private, new))
    return private, y[chosen], new, y[order[1300:]]


def classify_ours(eps, delta):
    from harmonia.kernels.private_kde import PrivateSimilarityClassifier

    x, y, new, truth = digits()

    def step():
        model = PrivateSimilarityClassifier(bandwidth=0.5, eps=eps, delta=delta, classes=range(10), random_state=0)
        return np.array([model.fit(x, y).score(new, truth)])

    return step


def opacus(eps, delta, epochs=5):
    from harmonia.kernels.private_kde.descent import train_privately

    x, y, new, truth = digits()

    def step():
        predict = train_privately(x, y, eps=eps, delta=delta, epochs=epochs, seed=0)
        return np.array([(predict(new) == truth).mean()])

    return step


def diffprivlib(eps, delta):
    from diffprivlib.models import LogisticRegression

    x, y, new, truth = digits()

    def step():
        model = LogisticRegression(epsilon=eps, data_norm=1.0, max_iter=200, random_state=0).fit(x, y)
        return np.array([model.score(new, truth)])

    return step


def rows_and_queries(n, q, d):
    generator = np.random.default_rng(0)
    return generator.standard_normal((n, d)) / d**0.5, generator.standard_normal((q, d)) / d**0.5


def queries_ours(n, q, d):
    from harmonia.kernels.private_kde import PrivateKDE

    x, y = rows_and_queries(n, q, d)
    model = PrivateKDE(bandwidth=1.0, delta=1e-6, n_features=1000, random_state=0).fit(x)
    return lambda: model.score_samples(y)


def queries_theirs(n, q, d):
    from sklearn.metrics.pairwise import rbf_kernel

    x, y = rows_and_queries(n, q, d)
    return lambda: np.concatenate([rbf_kernel(part, x, gamma=1.0).mean(1) for part in np.array_split(y, 20)])


def exact(x, y):
    from sklearn.metrics.pairwise import rbf_kernel

    return rbf_kernel(y, x, gamma=1.0).mean(1)


def release_ours(n, d, features, eps):
    from harmonia.kernels.private_kde import PrivateKDE

    x, y = rows_and_queries(n, 50, d)
    truth = exact(x, y)

    def step():
        model = PrivateKDE(bandwidth=1.0, eps=eps, n_features=features, random_state=0).fit(x)
        return np.array([-np.abs(model.score_samples(y) - truth).mean()])

    return step


def release_lsq(n, d, features, eps):
    sys.path.append(LSQ)
    from lsq import LSQ_RFF

    x, y = rows_and_queries(n, 50, d)
    truth = exact(x, y)

    def step():
        model = LSQ_RFF(x, d, features)
        model.sanitize(eps)
        return np.array([-np.abs(model.private_kde(y) - truth).mean()])

    return step


def answer_ours(n, q, d, features, eps):
    from harmonia.kernels.private_kde import PrivateKDE

    x, y = rows_and_queries(n, q, d)
    model = PrivateKDE(bandwidth=1.0, eps=eps, n_features=features, random_state=0).fit(x)
    truth = exact(x, y[:50])

    def step():
        return np.array([-np.abs(model.score_samples(y)[:50] - truth).mean()])

    return step


def answer_lsq(n, q, d, features, eps):
    sys.path.append(LSQ)
    from lsq import LSQ_RFF

    x, y = rows_and_queries(n, q, d)
    model = LSQ_RFF(x, d, features)
    model.sanitize(eps)
    truth = exact(x, y[:50])

    def step():
        return np.array([-np.abs(model.private_kde(y)[:50] - truth).mean()])

    return step


RACES = (
    Race(
        "opacus",
        "classification of 25,000 private digits at epsilon 1, fit and predict; theirs: 5 epochs of a linear model",
        classify_ours,
        opacus,
        {"eps": 1.0, "delta": 1e-5},
        tolerance=0.02,
        repeats=3,
        scores=True,
    ),
    Race(
        "diffprivlib",
        "classification of 25,000 private digits at epsilon 4, fit and predict; theirs: logistic regression",
        classify_ours,
        diffprivlib,
        {"eps": 4.0, "delta": 1e-5},
        tolerance=0.02,
        requirements=PINNED,
        repeats=3,
        scores=True,
    ),
    Race(
        "scikit-learn",
        "mean Gaussian kernels of 2000 queries to 100,000 rows of 64 columns; theirs exact and not private",
        queries_ours,
        queries_theirs,
        {"n": 100_000, "q": 2000, "d": 64},
        tolerance=0.25,
        repeats=3,
    ),
)
if LSQ:
    RACES += (
        Race(
            "talwagner/lsq",
            "release of 100,000 rows of 64 columns at epsilon 1, 1000 features; outputs are errors",
            release_ours,
            release_lsq,
            {"n": 100_000, "d": 64, "features": 1000, "eps": 1.0},
            tolerance=0.5,
            repeats=3,
            scores=True,
            note="our noise is exact and on a grid, theirs floating-point",
        ),
        Race(
            "talwagner/lsq",
            "20,000 queries of 64 columns to a release of 100,000 rows, 1000 features; outputs are errors",
            answer_ours,
            answer_lsq,
            {"n": 100_000, "q": 20_000, "d": 64, "features": 1000, "eps": 1.0},
            tolerance=0.5,
            repeats=3,
            scores=True,
        ),
    )
