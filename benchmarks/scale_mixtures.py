"""Exact processes beside gpytorch: evidence and its gradient, step by step, then predictions.

Both sides evaluate the log marginal likelihood and all its derivatives at the same hyperparameters, as many times as a
fit takes, and predict new rows. The scale is certain, so that both are the same Gaussian process; a Student-t process
costs ours nothing more.
"""

import numpy as np

from harmonia.app.bench import Race

STEPS = 3


def data(n):
    """Rows with a smooth target and noise, standardised, the same on both sides."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((n + 200, 8))
    y = np.sin(x[:, 0]) + x[:, 1] * x[:, 2] + 0.3 * generator.standard_normal(n + 200)
    return x[:n], (y[:n] - y[:n].mean()) / y[:n].std(), x[n:]


def hyperparameters(kernel):
    """Scales (of the kernel, of the noise) by step."""
    steps = np.arange(STEPS)
    first = {"rbf": [2.0 + 0.3 * steps], "nngp": [1.4 + 0.05 * steps, 0.3 + 0.05 * steps]}[kernel]
    return np.stack([*first, 0.3 - 0.05 * steps], 1)


def ours(n, kernel):
    import torch
    from sklearn.gaussian_process.kernels import RBF

    from harmonia.kernels.scale_mixtures import Hyperparameters, PointMass, ScaleMixtureProcess, as_covariance
    from harmonia.kernels.scale_mixtures.search import Objective

    x, y, at = (torch.from_numpy(values) for values in data(n))
    path = hyperparameters(kernel)
    covariance = as_covariance(RBF(2.0) if kernel == "rbf" else "nngp-mlp", w_std=1.4, b_std=0.3)
    objective = Objective(x, y[:, None], Hyperparameters(covariance, 0.3, PointMass(1.0)))

    def step():
        found = [objective(np.log(row)) for row in path]
        last, noise, prior = objective.unpack(np.log(path[-1]))
        process = ScaleMixtureProcess(last.matrix(x), y[:, None], prior, noise)
        mean, variance = process.condition(last.matrix(at, x), last.diagonal(at))
        slopes = np.concatenate([slope for _, slope in found])
        values = np.array([value for value, _ in found])
        return np.concatenate([values, slopes, mean[:, 0].numpy(), variance.numpy()])

    return step


def theirs(n, kernel):
    import gpytorch
    import torch

    from harmonia.kernels.scale_mixtures import as_covariance

    x, y, at = (torch.from_numpy(values) for values in data(n))
    path = hyperparameters(kernel)

    class Network(gpytorch.kernels.Kernel):
        """Our network in their framework: derivatives by autograd."""

        def __init__(self):
            super().__init__()
            self.register_parameter("scales", torch.nn.Parameter(torch.tensor([1.4, 0.3], dtype=torch.float64)))
            self.build = as_covariance("nngp-mlp").build

        def forward(self, x1, x2, diag=False, **_):
            network = self.build(*self.scales)
            if diag:
                return network.diagonal(x1, get="nngp")
            return network.kernel(x1, None if torch.equal(x1, x2) else x2, get="nngp")

    class Model(gpytorch.models.ExactGP):
        def __init__(self, likelihood):
            super().__init__(x, y, likelihood)
            self.mean_module = gpytorch.means.ZeroMean()
            self.covar_module = gpytorch.kernels.RBFKernel() if kernel == "rbf" else Network()

        def forward(self, inputs):
            return gpytorch.distributions.MultivariateNormal(self.mean_module(inputs), self.covar_module(inputs))

    likelihood = gpytorch.likelihoods.GaussianLikelihood()
    model = Model(likelihood).double()
    evidence = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
    raw = [model.covar_module.raw_lengthscale if kernel == "rbf" else model.covar_module.scales]
    raw.append(likelihood.noise_covar.raw_noise)

    def load(row):
        likelihood.noise = row[-1]
        if kernel == "rbf":
            model.covar_module.lengthscale = row[0]
        else:
            with torch.no_grad():
                model.covar_module.scales.copy_(torch.from_numpy(row[:-1]))

    def slopes(row):
        """Derivatives by the logarithms of the scales."""
        by_raw = np.concatenate([p.grad.numpy().ravel() for p in raw])
        plain = kernel == "nngp"
        inner = [np.ones(2) if plain else [1 - np.exp(-row[0])], [1 - np.exp(-(row[-1] - 1e-4))]]
        return by_raw / np.concatenate(inner) * row

    def step():
        values, gradients = [], []
        with gpytorch.settings.fast_computations(False, False, False):
            model.train(), likelihood.train()
            for row in path:
                load(row)
                model.zero_grad()
                loss = -evidence(model(x), y)
                loss.backward()
                values.append(loss.item())
                gradients.append(slopes(row))
            model.eval(), likelihood.eval()
            with torch.no_grad():
                found = model(at)
                mean, variance = found.mean.numpy(), found.variance.numpy()
        return np.concatenate([values, *gradients, mean, variance])

    return step


RACES = tuple(
    Race(
        "gpytorch",
        f"evidence with gradient, {STEPS} times, and prediction of 200 rows: {name}, {n} rows, float64",
        ours,
        theirs,
        {"n": n, "kernel": kernel},
        tolerance=1e-5,
        repeats=repeats,
    )
    for kernel, name, n, repeats in (
        ("nngp", "NNGP of 4 hidden ReLU layers", 400, 5),
        ("nngp", "NNGP of 4 hidden ReLU layers", 2000, 3),
        ("rbf", "RBF kernel", 400, 5),
        ("rbf", "RBF kernel", 2000, 3),
    )
)
