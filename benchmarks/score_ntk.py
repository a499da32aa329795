"""The path of a regularised kernel regression beside a grid of fits by scikit-learn, and tables beside ctgan."""

import numpy as np

from harmonia.app.bench import Race


def pairs(n):
    """A Gram matrix of the denoising regression on three Gaussians, with its labels and new inputs."""
    import torch

    from harmonia.kernels.score_ntk import draw_pairs, three_gaussians
    from harmonia.kernels.score_ntk.forms import GaussianForm
    from harmonia.kernels.score_ntk.kernels import kernel_of

    truth, generator = three_gaussians(), torch.Generator().manual_seed(0)
    points = truth.sample(n // 10, generator)
    train = draw_pairs(truth.process, points, 10, (0.02, 4.0), "log", generator)
    tests = draw_pairs(truth.process, truth.sample(500, generator), 1, (0.02, 4.0), "log", generator)
    form, kernel = GaussianForm.of(truth.process, points, True), kernel_of("deep")
    z, at = form.features(train.t, train.x), form.features(tests.t, tests.x)
    return kernel(z), kernel(at, z), form.labels(train.t, train.x, train.x0)


def ridges(n):
    """Sixty penalties, of the sizes at which training stops: 1 / tau from 1e-5 to 10, times N."""
    return n * np.logspace(-5, 1, 60)


def path_ours(n):
    import torch

    from harmonia.parts.gram import ritz_pairs

    gram, cross, labels = pairs(n)
    penalties = torch.from_numpy(ridges(n)) / n

    def step():
        sharpest = float(penalties[0])
        values, vectors = ritz_pairs(gram / n, labels, lambda values: 1 / (values + sharpest), tolerance=1e-7)
        gains = 1 / (values + penalties[:, None])
        return ((cross @ vectors) @ (gains[:, :, None] * (vectors.T @ labels)) / n).numpy()

    return step


def path_theirs(n):
    from sklearn.kernel_ridge import KernelRidge

    gram, cross, labels = (tensor.numpy() for tensor in pairs(n))

    def step():
        fits = (KernelRidge(alpha=alpha, kernel="precomputed").fit(gram, labels) for alpha in ridges(n))
        return np.stack([fit.predict(cross) for fit in fits])

    return step


def table(rows):
    """Simulated credit card clients: two columns of words, two of numbers."""
    from harmonia.data.tables import credit_default

    return credit_default().frame.head(rows)


def table_ours(rows, epochs):
    from harmonia.kernels.score_ntk import TabularSynthesizer

    frame = table(rows)

    def step():
        TabularSynthesizer(random_state=0).fit(frame).sample(rows)

    return step


def table_theirs(rows, epochs):
    import pandas
    from ctgan import CTGAN

    frame = pandas.DataFrame(table(rows).to_dict(as_series=False))

    def step():
        model = CTGAN(epochs=epochs, enable_gpu=False)
        model.fit(frame, discrete_columns=["default", "student"])
        model.sample(rows)

    return step


RACES = (
    Race(
        "scikit-learn",
        "KernelRidge at 60 penalties, one Gram matrix of 3000 noisy pairs, predictions at 500 points, float64",
        path_ours,
        path_theirs,
        {"n": 3000},
        tolerance=1e-6,
        repeats=2,
    ),
    Race(
        "ctgan",
        "fit 5000 rows of ISLP's Default (theirs: 300 epochs, the default) and sample as many",
        table_ours,
        table_theirs,
        {"rows": 5000, "epochs": 300},
        repeats=1,
        note="what the rows are worth is in the claims",
    ),
)
