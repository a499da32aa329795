"""The tangent kernel beside neural-tangents, scikit-ntk and torch.func.

neural-tangents needs an old jax; it lives in an environment of its own, without the TensorFlow that only its converter
for TensorFlow models imports.
"""

import sys
import types

import numpy as np

from harmonia.app.bench import Race

PINNED = (
    "--no-deps",
    "neural-tangents==0.6.5",
    "jax==0.4.23",
    "jaxlib==0.4.23",
    "numpy==1.26.4",
    "scipy==1.12.0",
    "ml-dtypes==0.3.2",
    "opt-einsum==3.3.0",
    "frozendict==2.4.0",
    "typing-extensions==4.9.0",
)
SHOWN = 64
"""Rows of the result that are compared."""


def inputs(*shape):
    """Two sets of inputs of unit variance, the same on both sides of a race."""
    generator = np.random.default_rng(0)
    return generator.standard_normal(shape, dtype=np.float32), generator.standard_normal(shape, dtype=np.float32)


def neural_tangents():
    sys.modules["neural_tangents.experimental"] = types.ModuleType("experimental")  # imports TensorFlow
    from neural_tangents import stax

    return stax


def jitted(kernel, x1, x2):
    import jax

    fast = jax.jit(kernel, static_argnames="get")

    def step():
        kernels = jax.block_until_ready(fast(x1, x2, get=("nngp", "ntk")))
        return np.stack([kernels.nngp[:SHOWN], kernels.ntk[:SHOWN]])

    return step


def engine(network, x1, x2):
    import torch

    a, b = torch.from_numpy(x1), torch.from_numpy(x2)

    def step():
        with torch.no_grad():
            kernels = network.kernel(a, b)
        return np.stack([kernels.nngp[:SHOWN].numpy(), kernels.ntk[:SHOWN].numpy()])

    return step


def dense_ours(n, depth, activation):
    from harmonia.parts import infwidth

    act = {"relu": infwidth.ReLU, "erf": infwidth.Erf, "gelu": infwidth.GELU, "tanh": infwidth.Tanh}[activation]()
    layers = [layer for _ in range(depth) for layer in (infwidth.Dense(1.5, 0.1), act)]
    return engine(infwidth.Sequential(*layers, infwidth.Dense(1.5, 0.1)), *inputs(n, 784))


def dense_theirs(n, depth, activation):
    stax = neural_tangents()
    import jax.numpy as jnp

    act = {
        "relu": stax.Relu,
        "erf": stax.Erf,
        "gelu": stax.Gelu,
        "tanh": lambda: stax.ElementwiseNumerical(jnp.tanh, deg=25),
    }[activation]
    layers = [layer for _ in range(depth) for layer in (stax.Dense(512, 1.5, 0.1), act())]
    return jitted(stax.serial(*layers, stax.Dense(1, 1.5, 0.1))[2], *inputs(n, 784))


def convolution_ours(n, depth, pool):
    from harmonia.parts import infwidth

    layers = [layer for _ in range(depth) for layer in (infwidth.Conv2d(3, 1.5, 0.1), infwidth.ReLU())]
    end = infwidth.GlobalAvgPool() if pool else infwidth.Flatten()
    return engine(infwidth.Sequential(*layers, end, infwidth.Dense(1.5, 0.1)), *inputs(n, 1, 28, 28))


def convolution_theirs(n, depth, pool):
    stax = neural_tangents()
    layers = [
        layer
        for _ in range(depth)
        for layer in (stax.Conv(512, (3, 3), W_std=1.5, b_std=0.1, padding="SAME"), stax.Relu())
    ]
    end = stax.GlobalAvgPool() if pool else stax.Flatten()
    x1, x2 = (np.moveaxis(x, 1, -1) for x in inputs(n, 1, 28, 28))
    return jitted(stax.serial(*layers, end, stax.Dense(1, 1.5, 0.1))[2], x1, x2)


def sklearn_ours(n, depth):
    import torch

    from harmonia.parts import infwidth

    x = torch.from_numpy(inputs(n, 100)[0]).double()
    hidden = [layer for _ in range(depth) for layer in (infwidth.ReLU(), infwidth.Dense(2**0.5))]
    net = infwidth.Sequential(infwidth.Dense(10.0), *hidden)
    return lambda: net.kernel(x, get="ntk").numpy()[:SHOWN] / (depth + 1)


def sklearn_theirs(n, depth):
    from skntk import NeuralTangentKernel

    x = inputs(n, 100)[0].astype(np.float64)
    kernel = NeuralTangentKernel(depth, bias=0.0, bias_bounds="fixed")
    return lambda: kernel(x)[:SHOWN]


def perceptron(width):
    """A finite network and its parameters, the same on both sides."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
    ).eval()


def empirical_ours(n, width):
    import torch

    from harmonia.kernels.ntk import empirical_ntk

    net, x = perceptron(width), torch.from_numpy(inputs(n, 784)[0])
    return lambda: empirical_ntk(net, x).numpy()[:SHOWN]


def empirical_theirs(n, width):
    """Jacobian contraction as in pytorch.org's tutorial, in blocks of rows where Jacobians would not fit."""
    import torch
    from torch.func import functional_call, jacrev, vmap

    net, x = perceptron(width), torch.from_numpy(inputs(n, 784)[0])
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def jacobian(at):
        return vmap(jacrev(lambda p, one: functional_call(net, p, (one[None],))[0]), (None, 0))(parameters, at)

    def step():
        with torch.no_grad():
            found = jacobian(x)
            return (
                sum(torch.einsum("Naf,Maf->NM", j.flatten(2), j.flatten(2)) for j in found.values()).numpy()[:SHOWN]
                / 10
            )

    return step


RACES = (
    *(
        Race(
            "neural-tangents",
            f"NNGP and NTK of {depth} hidden {activation} layers, 4000 x 4000 inputs of 784 numbers, float32",
            dense_ours,
            dense_theirs,
            {"n": 4000, "depth": depth, "activation": activation},
            tolerance=2e-4,
            requirements=PINNED,
            repeats=3,
        )
        for depth, activation in ((3, "relu"), (20, "relu"), (3, "erf"), (3, "gelu"))
    ),
    Race(
        "neural-tangents",
        "NNGP and NTK of 3 hidden tanh layers (theirs by quadrature of degree 25), 500 x 500, float32",
        dense_ours,
        dense_theirs,
        {"n": 500, "depth": 3, "activation": "tanh"},
        tolerance=1e-2,
        requirements=PINNED,
        repeats=2,
    ),
    Race(
        "neural-tangents",
        "NNGP and NTK of 5 convolutions 3 x 3 and Flatten, 256 x 256 images of 28 x 28, float32",
        convolution_ours,
        convolution_theirs,
        {"n": 256, "depth": 5, "pool": False},
        tolerance=2e-4,
        requirements=PINNED,
        repeats=2,
    ),
    Race(
        "neural-tangents",
        "NNGP and NTK of 5 convolutions 3 x 3 and global pooling, 8 x 8 images of 28 x 28, float32",
        convolution_ours,
        convolution_theirs,
        {"n": 8, "depth": 5, "pool": True},
        tolerance=2e-4,
        requirements=PINNED,
        repeats=2,
    ),
    Race(
        "scikit-ntk",
        "NTK of 3 hidden ReLU layers, 2000 x 2000 inputs of 100 numbers, float64",
        sklearn_ours,
        sklearn_theirs,
        {"n": 2000, "depth": 3},
        tolerance=1e-6,
    ),
    *(
        Race(
            "torch",
            f"empirical NTK of a perceptron 784-{width}-{width}-10, {n} inputs, beside torch.func, float32",
            empirical_ours,
            empirical_theirs,
            {"n": n, "width": width},
            tolerance=1e-4,
        )
        for n, width in ((64, 256), (100, 512), (60, 1024))
    ),
)
