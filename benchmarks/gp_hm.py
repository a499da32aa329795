"""Equations with two scales beside DeepXDE's network with Fourier features, and beside the official training loop.

DeepXDE's multi-scale Fourier network is not in its PyTorch backend; here its features, waves of random frequencies at
both scales of the example, are a feature transform of DeepXDE's plain network. Each side of a race takes less than a
minute on one core; how far the network comes by then is the difference that the race reports.
"""

import math
import os

import numpy as np

from harmonia.app.bench import Race

SCALES = 50.0
"""Frequency of the small wave, as in DeepXDE's example of a multi-scale Poisson equation."""


def exact(x):
    return np.sin(2 * math.pi * x) + 0.1 * np.sin(SCALES * math.pi * x)


def two_scales(points, **_):
    import torch

    from harmonia.kernels.gp_hm import GPPDESolver, Laplace

    def source(x):
        first = -((2 * math.pi) ** 2) * torch.sin(2 * math.pi * x)
        return first - 0.1 * (SCALES * math.pi) ** 2 * torch.sin(SCALES * math.pi * x)

    grid = [np.linspace(0, 1, points)]
    test = np.linspace(0, 1, 1000)
    return lambda: GPPDESolver(Laplace(), grid, 0.0, max_iter=2).fit(source).predict(test)


def deepxde_network(points, steps):
    os.environ["DDE_BACKEND"] = "pytorch"
    import deepxde
    import torch

    def step():
        deepxde.config.set_random_seed(0)
        waves = 2 * math.pi * torch.cat([torch.randn(1, 100), 10 * torch.randn(1, 100)], 1)
        line = deepxde.geometry.Interval(0, 1)

        def residual(x, u):
            second = deepxde.grad.hessian(u, x)
            first = -((2 * math.pi) ** 2) * torch.sin(2 * math.pi * x)
            return second - (first - 0.1 * (SCALES * math.pi) ** 2 * torch.sin(SCALES * math.pi * x))

        ends = deepxde.icbc.DirichletBC(line, exact, lambda _, on_boundary: on_boundary)
        data = deepxde.data.PDE(line, residual, ends, points, 2, train_distribution="pseudo", solution=exact)
        network = deepxde.nn.FNN([400, *[100] * 3, 1], "tanh", "Glorot uniform")
        network.apply_feature_transform(lambda x: torch.cat([torch.cos(x @ waves), torch.sin(x @ waves)], 1))
        model = deepxde.Model(data, network)
        model.compile("adam", lr=1e-3, loss_weights=[1, 100])
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
        "Poisson in 1-D, sin(2 pi x) + 0.1 sin(50 pi x), 320 points: DeepXDE's example of two scales",
        two_scales,
        deepxde_network,
        {"points": 320, "steps": 2000},
        tolerance=0.15,
        repeats=1,
        note="a tenth of the example's 20 000 steps of Adam and a quarter of its points",
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
