"""Poisson's equation beside DeepXDE's network with Fourier features, and beside the official training loop.

DeepXDE's multi-scale Fourier network is not in its PyTorch backend; here its features, waves of random frequencies,
are a feature transform of DeepXDE's plain network, and the boundary holds by an output transform. The equation is the
easiest there is and steps are few, so that each side takes less than a minute on one core.
"""

import math
import os

import numpy as np

from harmonia.app.bench import Race

WAVES = 1
"""Periods of the solution on [0, 1]; more are beyond the network within a minute."""


def exact(x):
    return np.sin(2 * math.pi * WAVES * x)


def our_waves(points, **_):
    import torch

    from harmonia.kernels.gp_hm import GPPDESolver, Laplace

    omega = 2 * math.pi * WAVES
    grid, test = [np.linspace(0, 1, points)], np.linspace(0, 1, 1000)
    solver = GPPDESolver(Laplace(), grid, 0.0, max_iter=2)
    return lambda: solver.fit(lambda x: -(omega**2) * torch.sin(omega * x)).predict(test)


def deepxde_network(points, steps):
    os.environ["DDE_BACKEND"] = "pytorch"
    import deepxde
    import torch

    omega = 2 * math.pi * WAVES

    def step():
        deepxde.config.set_random_seed(0)
        waves = 2 * math.pi * torch.randn(1, 50)
        line = deepxde.geometry.Interval(0, 1)

        def residual(x, u):
            return deepxde.grad.hessian(u, x) / omega**2 + torch.sin(omega * x)

        data = deepxde.data.PDE(line, residual, [], points, 2, train_distribution="pseudo")
        network = deepxde.nn.FNN([100, *[50] * 3, 1], "tanh", "Glorot uniform")
        network.apply_feature_transform(lambda x: torch.cat([torch.cos(x @ waves), torch.sin(x @ waves)], 1))
        network.apply_output_transform(lambda x, u: x * (1 - x) * u)
        model = deepxde.Model(data, network)
        model.compile("adam", lr=1e-3)
        model.train(iterations=steps, display_every=steps)
        return model.predict(np.linspace(0, 1, 1000)[:, None])[:, 0].astype(np.float64)

    return step


def our_line(points, wave, **_):
    import torch

    from harmonia.kernels.gp_hm import GPPDESolver, Laplace, SpectralMixtureKernel1D

    grid = [np.linspace(0, 2 * math.pi, points)]
    test = np.linspace(0, 2 * math.pi, 300)
    kernel = SpectralMixtureKernel1D(freq_scale=1.25 * wave / (2 * math.pi), envelope="gaussian")

    def step():
        solver = GPPDESolver(Laplace(), grid, 0.0, kernel, max_iter=2)
        return solver.fit(lambda x: -(wave**2) * torch.sin(wave * x)).predict(test)

    return step


def official_line(points, wave, steps, enough):
    import torch

    from harmonia.kernels.gp_hm import Laplace, OfficialLoop
    from harmonia.kernels.gp_hm.official import official_kernels

    x = torch.linspace(0, 2 * math.pi, points, dtype=torch.float64)
    test = torch.linspace(0, 2 * math.pi, 300, dtype=torch.float64)
    truth = torch.sin(wave * test)

    def step():
        kernels = official_kernels(1, 30, 1.25 * wave / (2 * math.pi))
        source, sides = -(wave**2) * torch.sin(wave * x), torch.zeros(2, dtype=torch.float64)
        loop = OfficialLoop(Laplace(), [x], kernels, source, sides)
        for _ in range(steps // 100):
            found = loop.run(100).predict([test])
            if float((found - truth).norm() / truth.norm()) < enough:
                break
        return found.numpy()

    return step


RACES = (
    Race(
        "deepxde",
        "Poisson in 1-D, sin(2 pi x), 60 points",
        our_waves,
        deepxde_network,
        {"points": 60, "steps": 1000},
        tolerance=0.05,
        repeats=1,
        note="1000 steps of Adam; with eight periods 600 steps leave an error of 1.2, with two scales 1200 one of 0.8",
    ),
    Race(
        "xuangu-fang/Gaussian-Process-Slover-for-High-Freq-PDE",
        "Poisson in 1-D, sin(20 x) on [0, 2 pi], 120 points, to a relative error of 1e-3",
        our_line,
        official_line,
        {"points": 120, "wave": 20.0, "steps": 5000, "enough": 1e-3},
        tolerance=5e-3,
        repeats=1,
        note="the official loop, re-implemented in torch, which is given the truth to know when to stop: 3400 steps",
    ),
)
