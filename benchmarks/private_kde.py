"""Private classification beside private gradient descent and private logistic regression; queries beside exact ones.

All sides get the same 25,000 jittered digits and the same epsilon; what is compared before timing is their accuracy.
diffprivlib needs an older scikit-learn and lives in an environment of its own.
"""

import numpy as np

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


try:
    from harmonia.app.bench import Race
except ImportError:  # the peer's own environment
    RACES = ()
else:
    RACES = (
        Race(
            "opacus",
            "classification of 25,000 private digits at epsilon 1, fit and predict; theirs: 5 epochs of a linear model",
            classify_ours,
            opacus,
            {"eps": 1.0, "delta": 1e-5},
            tolerance=0.1,
            repeats=3,
        ),
        Race(
            "diffprivlib",
            "classification of 25,000 private digits at epsilon 4, fit and predict; theirs: logistic regression",
            classify_ours,
            diffprivlib,
            {"eps": 4.0, "delta": 1e-5},
            tolerance=0.5,
            requirements=PINNED,
            repeats=3,
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
