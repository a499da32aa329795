"""Deep kernel machines beside gpytorch: the bound that both can compute, and a gradient of a two-layer model.

With fixed kernels and no layers the machine is a sparse Gaussian process (Titsias 2009), gpytorch's
``InducingPointKernel``: bound, its gradient by the inducing points, and predictions agree. By default gpytorch's
predictions would differ by tenths: its diagonal correction puts the variance that inducing points leave unexplained
into the noise of every training row (FITC), a posterior other than the one its bound is of; the race is without.

A deep Gaussian process has no such bound; of the two-layer models a gradient over all rows is timed, on the same table
and numbers of inducing points, and the outputs are not comparable.

The official package is on no index. By hand, on the same core: 400 full-batch steps on UCI yacht (277 rows, 50 inducing
points, two layers) took it 10 s of processor time; ours has fitted after 1 s.
"""

import numpy as np

from harmonia.app.bench import Race

FEATURES = 8


def data(n):
    """Rows with a smooth target and noise, standardised, the same on both sides."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((n + 500, FEATURES))
    y = np.sin(x[:, 0]) + x[:, 1] * x[:, 2] + 0.3 * generator.standard_normal(n + 500)
    return x[:n], (y[:n] - y[:n].mean()) / y[:n].std(), x[n:]


NOISE = 0.2


def sparse_ours(n, inducing):
    import torch

    from harmonia.kernels.dkm import DeepKernelMachine, DeepKernelMachineConfig
    from harmonia.kernels.dkm.collapsed import Sums, best_posterior, collapsed_bound
    from harmonia.kernels.dkm.network import Frozen

    x, y, at = (torch.from_numpy(values) for values in data(n))
    config = DeepKernelMachineConfig(FEATURES, 1, inducing, n_layers=0, kernel="sqexp", jitter=0.0)
    machine = DeepKernelMachine(config, x[:inducing])
    noise = torch.tensor(NOISE, dtype=torch.float64)

    def step():
        frozen = machine.frozen()
        sums = Sums.of(*frozen.features(x), y[:, None])
        bound = collapsed_bound(sums, noise)
        [slope] = torch.autograd.grad(bound, [machine.entry.Xi])
        with torch.no_grad():
            posterior = best_posterior(sums, noise, frozen.posterior.inverse)
            found = Frozen(machine, frozen.known, posterior)(at)
        return np.concatenate([[bound.item() / n], slope.numpy().ravel() / n, found.mean[:, 0].numpy()])

    return step


def sparse_theirs(n, inducing):
    import gpytorch
    import torch

    x, y, at = (torch.from_numpy(values) for values in data(n))

    class Model(gpytorch.models.ExactGP):
        def __init__(self, likelihood):
            super().__init__(x, y, likelihood)
            self.mean_module = gpytorch.means.ZeroMean()
            base = gpytorch.kernels.RBFKernel()
            base.lengthscale = FEATURES**0.5
            self.covar_module = gpytorch.kernels.InducingPointKernel(base, x[:inducing].clone(), likelihood)

        def forward(self, rows):
            return gpytorch.distributions.MultivariateNormal(self.mean_module(rows), self.covar_module(rows))

    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    model = Model(likelihood).double()
    likelihood.noise = NOISE
    evidence = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
    points = model.covar_module.inducing_points

    def step():
        model.train(), likelihood.train()
        model.zero_grad()
        bound = evidence(model(x), y)
        bound.backward()
        model.eval(), likelihood.eval()
        with torch.no_grad(), gpytorch.settings.sgpr_diagonal_correction(False):
            mean = model(at).mean
        return np.concatenate([[bound.item()], points.grad.numpy().ravel(), mean.numpy()])

    return step


def deep_ours(n, inducing):
    import torch

    from harmonia.kernels.dkm import DeepKernelMachine, DeepKernelMachineConfig
    from harmonia.kernels.dkm.collapsed import Sums, collapsed_bound

    x, y, _ = (torch.from_numpy(values) for values in data(n))
    machine = DeepKernelMachine(DeepKernelMachineConfig(FEATURES, 1, inducing, n_layers=2), x[:inducing])
    free = [p for p in [*machine.entry.parameters(), *machine.stack.parameters()] if p.requires_grad]

    def step():
        for _ in range(5):
            sums = Sums.of(*machine.frozen().features(x), y[:, None])
            bound = collapsed_bound(sums, torch.tensor(NOISE, dtype=torch.float64)) - machine.stack.divergence()
            torch.autograd.grad(bound, free)

    return step


def deep_theirs(n, inducing):
    from harmonia.kernels.dkm.claims.deep_gp import fit_deep_gp

    x, y, _ = data(n)

    def step():
        fit_deep_gp(x, y, inducing, steps=5, classes=0, seed=0)

    return step


RACES = (
    Race(
        "gpytorch",
        "sparse bound, its gradient by 256 inducing points, and 500 predictions: 4000 rows, float64",
        sparse_ours,
        sparse_theirs,
        {"n": 4000, "inducing": 256},
        tolerance=1e-5,
        repeats=5,
        note="gpytorch without its diagonal correction, with which it predicts by FITC what it fitted by a bound",
    ),
    Race(
        "gpytorch",
        "five gradients of a two-layer model over all of 1000 rows, 100 inducing points, float64",
        deep_ours,
        deep_theirs,
        {"n": 1000, "inducing": 100},
        repeats=5,
        note="a deep Gaussian process with 10 samples: another model, nothing to compare; its construction is included",
    ),
)
