"""The singular kernel classifier beside scikit-learn's weighted neighbours, deep kernels beside neural-tangents.

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


def directions(n, d, seed):
    """Uniform on the non-negative part of the unit sphere."""
    z = np.abs(np.random.default_rng(seed).standard_normal((n, d + 1)))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def labels(n):
    return np.random.default_rng(2).integers(0, 2, n)


def classify_ours(n, m, d, activation):
    from harmonia.kernels import SingularKernelClassifier

    model = SingularKernelClassifier(float(d), activation=activation, feature_map="raw")
    model.fit(directions(n, d, 0), labels(n))
    at = directions(m, d, 1)
    return lambda: model.predict_proba(at)


def classify_theirs(n, m, d, activation):
    """The optimal kernel as a weight function is ours: scikit-learn brings none that is singular."""
    from sklearn.neighbors import KNeighborsClassifier

    def weights(distance):
        if activation == "hilbert":
            return distance**-d
        import torch

        return np.exp(table(torch.from_numpy(distance**2 / 2)).numpy())

    if activation == "optimal":
        from harmonia.kernels.singular_classifiers import Koenigs, dual_of, optimal_activation

        table = Koenigs(dual_of(optimal_activation(d))).table
    model = KNeighborsClassifier(n, weights=weights, algorithm="brute").fit(directions(n, d, 0), labels(n))
    at = directions(m, d, 1)
    return lambda: model.predict_proba(at)


def nearest_ours(n, m, d):
    from harmonia.kernels.singular_classifiers import HermiteActivation, SingularKernelClassifier

    model = SingularKernelClassifier(activation=HermiteActivation([0.0, 0.0, 1.0]), feature_map="raw")
    model.fit(directions(n, d, 0), labels(n))
    at = directions(m, d, 1)
    return lambda: model.predict(at)


def nearest_theirs(n, m, d):
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(1).fit(directions(n, d, 0), labels(n))
    at = directions(m, d, 1)
    return lambda: model.predict(at)


def deep_ours(n, depth):
    import torch

    from harmonia.kernels.singular_classifiers import DeepKernel, HermiteActivation, dual_of

    x, phi = torch.from_numpy(directions(n, 3, 0)), HermiteActivation([0.0, 0.9**0.5, 0.0, 0.1**0.5])
    return lambda: DeepKernel(dual_of(phi), depth).matrix(x)[:64].numpy()


def deep_theirs(n, depth):
    sys.modules["neural_tangents.experimental"] = types.ModuleType("experimental")  # imports TensorFlow
    import jax
    from neural_tangents import stax

    jax.config.update("jax_enable_x64", True)
    # sqrt 0.9 h_1 + sqrt 0.1 h_3
    cubic = (0.0, 0.9**0.5 - 3 * (0.1 / 6) ** 0.5, 0.0, (0.1 / 6) ** 0.5)
    layers = [layer for _ in range(depth) for layer in (stax.Polynomial(cubic), stax.Dense(1, 1.0, None))]
    kernel = jax.jit(stax.serial(stax.Dense(1, 2.0, None), *layers)[2], static_argnames="get")
    x = directions(n, 3, 0)
    return lambda: np.log(np.asarray(jax.block_until_ready(kernel(x, None, get="ntk"))[:64]))


RACES = (
    *(
        Race(
            "scikit-learn",
            f"probabilities of 2000 points by {kernel} weights of 20000 points, d = 3, beside weighted neighbours",
            classify_ours,
            classify_theirs,
            {"n": 20_000, "m": 2000, "d": 3, "activation": activation},
            tolerance=1e-7,
            repeats=3,
        )
        for activation, kernel in (("hilbert", "power-law"), ("optimal", "the optimal network's"))
    ),
    Race(
        "scikit-learn",
        "nearest neighbours of 2000 points among 20000, d = 3, as a limit of depth, beside a k-d tree",
        nearest_ours,
        nearest_theirs,
        {"n": 20_000, "m": 2000, "d": 3},
        tolerance=0.0,
    ),
    *(
        Race(
            "neural-tangents",
            f"tangent kernel of depth {depth}, cubic activation, 2000 x 2000 inputs on S^3, logarithms, float64",
            deep_ours,
            deep_theirs,
            {"n": 2000, "depth": depth},
            tolerance=1e-6,
            requirements=PINNED,
            repeats=2,
            note=note,
        )
        for depth, note in ((20, ""), (100, "the peer's variances leave 1: rounding errors grow with each layer"))
    ),
)
