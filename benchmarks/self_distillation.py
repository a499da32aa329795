"""Self-distillation beside what one writes by hand with scikit-learn: a loop of `KernelRidge`, a grid search."""

import numpy as np

from harmonia.app.bench import Race

GAMMA, PENALTY = 0.05, 0.5
ALPHAS = np.linspace(0.0, 1.0, 21)


def data(n, columns=10):
    """Inputs, a noisy function of them, and new inputs, the same on both sides of a race."""
    generator = np.random.default_rng(0)
    X = generator.standard_normal((n + 200, columns))
    y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + 0.5 * generator.standard_normal(n + 200)
    return X[:n], y[:n], X[n:]


def path_ours(n, steps):
    from harmonia.kernels import SelfDistilledKernelRidge

    X, y, new = data(n)

    def step():
        model = SelfDistilledKernelRidge(gamma=GAMMA, lam=PENALTY, alpha=1.0, steps=steps, fit_intercept=False)
        model.fit(X, y)
        return model.path(new, alpha=ALPHAS)

    return step


def path_theirs(n, steps):
    """A refit for every step and weight; the kernel matrices are computed once."""
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.metrics.pairwise import rbf_kernel

    X, y, new = data(n)

    def step():
        kernel, cross = rbf_kernel(X, gamma=GAMMA), rbf_kernel(new, X, gamma=GAMMA)
        found = np.empty((len(ALPHAS), steps, len(new)))
        for i, alpha in enumerate(ALPHAS):
            soft = y
            for t in range(steps):
                model = KernelRidge(alpha=PENALTY, kernel="precomputed").fit(kernel, alpha * y + (1 - alpha) * soft)
                soft, found[i, t] = model.predict(kernel), model.predict(cross)
        return found

    return step


def search_ours(n):
    """The error of every weight of the grid; the best weight of all is there as well."""
    import torch
    from sklearn.metrics.pairwise import rbf_kernel
    from sklearn.model_selection import KFold

    from harmonia.kernels.self_distillation.spectral import Smoother
    from harmonia.kernels.self_distillation.tuning import Folds

    X, y, _ = data(n)

    def step():
        kernel, targets = torch.from_numpy(rbf_kernel(X, gamma=GAMMA)), torch.from_numpy(y)[:, None]
        folds = Folds.of(kernel, targets, list(KFold(5).split(X)), intercept=False)
        mixture = folds.start(Smoother(PENALTY)).mixture()
        return np.array([mixture.score(float(alpha)) for alpha in ALPHAS])

    return step


def search_theirs(n):
    """`GridSearchCV` over the weight of one distillation step."""
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.model_selection import GridSearchCV, KFold

    class OneStep(RegressorMixin, BaseEstimator):
        def __init__(self, alpha=1.0):
            self.alpha = alpha

        def fit(self, X, y):
            teacher = KernelRidge(alpha=PENALTY, kernel="rbf", gamma=GAMMA).fit(X, y)
            self.student_ = KernelRidge(alpha=PENALTY, kernel="rbf", gamma=GAMMA)
            self.student_.fit(X, self.alpha * y + (1 - self.alpha) * teacher.predict(X))
            return self

        def predict(self, X):
            return self.student_.predict(X)

    X, y, _ = data(n)

    def step():
        search = GridSearchCV(OneStep(), {"alpha": ALPHAS}, cv=KFold(5), scoring="neg_mean_squared_error", refit=False)
        return -search.fit(X, y).cv_results_["mean_test_score"]

    return step


RACES = (
    Race(
        "scikit-learn",
        "20 steps with 21 weights each of kernel ridge regression, 2000 rows, 200 predictions, float64",
        path_ours,
        path_theirs,
        {"n": 2000, "steps": 20},
        tolerance=1e-8,
        repeats=2,
        note="theirs is a loop of 420 KernelRidge fits, which is what one writes by hand",
    ),
    Race(
        "scikit-learn",
        "five-fold errors of 21 weights of one step, 2000 rows, float64",
        search_ours,
        search_theirs,
        {"n": 2000},
        tolerance=1e-8,
        repeats=2,
        note="theirs is GridSearchCV around two KernelRidge fits; ours also has the best weight in closed form",
    ),
)
