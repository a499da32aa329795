"""The paper's statements, measured: the limit at initialisation, constancy in training, spectral bias, positivity.

The paper has figures and theorems but no table, so claims are judged by the exponents its theorems give, by identities,
and by what neural-tangents 0.6.5 (the authors' successors' library) computes in float64.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.svm import SVC
from torch import Tensor

from harmonia.core.claim import Measured, claim
from harmonia.data.tables import digits
from harmonia.kernels.ntk.dynamics import ntk_spectrum, stopping_time
from harmonia.kernels.ntk.empirical import empirical_ntk
from harmonia.kernels.ntk.estimators import NTKClassifier
from harmonia.kernels.ntk.finite import compare_with_limit, loglog_slope, train_full_batch
from harmonia.kernels.ntk.networks import mlp
from harmonia.kernels.ntk.predict import GradientFlow, InfiniteEnsemble
from harmonia.parts import infwidth

_W, _B = 1.5, 0.3

# NNGP and NTK of Dense-act-Dense-act-Dense (last row: Dense-act-Dense with a skip, act, Dense) between three inputs
# sin(1..12) and two inputs cos(1..8), row by row, by neural-tangents 0.6.5 with jax 0.4.23 in float64.
_GOLDEN: dict[str, tuple[list[float], list[float]]] = {
    "ReLU": (
        [1.0869860314, 1.3494958145, 0.7405327898, 0.9218652466, 1.5803014344, 0.6648183895],
        [1.798100113, 2.9600156683, 0.6889845135, 1.2673267431, 4.2631025677, 0.6781985066],
    ),
    "Erf": (
        [0.4009702948, 0.8605371174, -0.44428217, 0.1540161097, 1.1868082213, -0.2655902854],
        [0.9590582066, 2.564760332, -1.7056217664, 0.2065504166, 4.141836063, -1.0910046858],
    ),
    "GELU": (
        [0.694815857, 0.9779306234, 0.3631471737, 0.5319673109, 1.2167720281, 0.3129697462],
        [1.2566399356, 2.4729475079, 0.2285948069, 0.7338362985, 3.5900932815, 0.2301496028],
    ),
    "Sin": (
        [0.3271643906, 0.7273427201, -0.3010338218, 0.1490112568, 1.0685860515, -0.1810039429],
        [0.7538510528, 2.3038950719, -1.3439840756, 0.2000216811, 4.0715652489, -0.8490866933],
    ),
    "LeakyReLU": (
        [0.9930426407, 1.4100591252, 0.2597752189, 0.7241337515, 1.6972960059, 0.3360262989],
        [1.848572309, 3.3812363047, -0.3608148784, 1.0155875281, 4.6744414971, 0.0002956386],
    ),
    "Abs": (
        [5.0786136436, 5.2355790023, 5.7968818942, 4.9354240512, 5.8525018958, 4.5055202551],
        [7.2144998606, 9.6803409238, 10.1090544936, 6.7528198138, 15.6458699812, 7.0208084163],
    ),
    "residual": (
        [2.942890364, 3.9009941761, 1.4923913897, 2.3353159074, 4.6647991568, 1.4141995037],
        [5.123501038, 9.7368020642, 0.573184309, 3.0581802046, 14.8046740839, 0.8745979588],
    ),
}
_ACTIVATIONS = {"LeakyReLU": infwidth.LeakyReLU(0.2)}

# The same of convolutional networks between two images sin(1..180) and one image cos(1..90) of 5 x 6 positions and 3
# channels, and of self-attention between sequences sin(1..36) and cos(1..18) of 6 positions and 3 channels.
_GOLDEN_IMAGES: dict[str, tuple[list[float], list[float]]] = {
    "same, flatten": ([0.6999628283, 1.0987961881], [1.0252181464, 2.6388627302]),
    "same, pool": ([0.6750159675, 0.6776497754], [1.0584955547, 1.0776798955]),
    "valid, stride 2, pool": ([0.6783515448, 0.9357877309], [0.9712342096, 1.494462052]),
    "circular, average, flatten": ([0.619248465, 0.6883796542], [0.7613489436, 0.9797018505]),
    "attention": ([0.8147100342, 0.8733608268], [1.2516549487, 1.8859818572]),
}


def _golden_inputs() -> tuple[Tensor, Tensor]:
    x = torch.arange(1, 13, dtype=torch.float64).sin().reshape(3, 4)
    return x, torch.arange(1, 9, dtype=torch.float64).cos().reshape(2, 4)


def _golden_images(name: str) -> tuple[Tensor, Tensor]:
    shape = (6, 3) if name == "attention" else (5, 6, 3)
    count = math.prod(shape)
    x = torch.arange(1, 2 * count + 1, dtype=torch.float64).sin().reshape(2, *shape)
    y = torch.arange(1, count + 1, dtype=torch.float64).cos().reshape(1, *shape)
    return x.movedim(-1, 1), y.movedim(-1, 1)


def _golden_convolution(name: str) -> infwidth.Sequential:
    def convolution(**options: Any) -> infwidth.Layer:
        return infwidth.Conv2d(3, _W, _B, **options)

    relu, dense, pool = infwidth.ReLU(), infwidth.Dense(_W, _B), infwidth.GlobalAvgPool()
    layers: dict[str, list[infwidth.Layer]] = {
        "same, flatten": [convolution(), relu, convolution(), relu, infwidth.Flatten()],
        "same, pool": [convolution(), relu, convolution(), relu, pool],
        "valid, stride 2, pool": [convolution(padding="valid", stride=2), relu, pool],
        "circular, average, flatten": [
            convolution(padding="circular"),
            relu,
            infwidth.AvgPool2d(2, 2, "valid"),
            infwidth.Flatten(),
        ],
        "attention": [
            infwidth.Conv1d(3, _W, _B),
            infwidth.GlobalSelfAttention(key_std=1.1, query_std=1.1, value_std=1.2, out_std=1.3, b_std=0.2),
            relu,
            pool,
        ],
    }
    return infwidth.Sequential(*layers[name], dense)


def _golden_network(name: str) -> infwidth.Sequential:
    def dense() -> infwidth.Dense:
        return infwidth.Dense(_W, _B)

    if name == "residual":
        block = infwidth.Residual(dense(), infwidth.ReLU(), dense())
        return infwidth.Sequential(dense(), block, infwidth.ReLU(), dense())
    activation = _ACTIVATIONS.get(name) or getattr(infwidth, name)()
    return infwidth.Sequential(dense(), activation, dense(), activation, dense())


@claim(
    "Kernels of seven fully connected networks equal those of neural-tangents",
    place="Theorem 1, against neural-tangents 0.6.5",
    unit="largest difference",
    better="zero",
    tier="quick",
    tolerance=1e-8,
)
def kernels_are_golden(seed: int) -> Measured:
    x, y = _golden_inputs()
    worst = 0.0
    for name, expected in _GOLDEN.items():
        for ours, theirs in zip(_golden_network(name).kernel(x, y), expected):
            worst = max(worst, float((ours.flatten() - torch.tensor(theirs, dtype=torch.float64)).abs().max()))
    return Measured(worst, note="ReLU, erf, GELU, sin, leaky ReLU, |x|, and a residual block; float64")


@claim(
    "Kernels of four convolutional networks and of self-attention equal those of neural-tangents",
    place="beyond the paper, against neural-tangents 0.6.5",
    unit="largest difference",
    better="zero",
    tier="quick",
    tolerance=1e-8,
)
def convolutions_are_golden(seed: int) -> Measured:
    worst = 0.0
    for name, expected in _GOLDEN_IMAGES.items():
        for ours, theirs in zip(_golden_convolution(name).kernel(*_golden_images(name)), expected):
            worst = max(worst, float((ours.flatten() - torch.tensor(theirs, dtype=torch.float64)).abs().max()))
    return Measured(worst, note="paddings, strides, average and global pooling, tied softmax attention; float64")


@claim(
    "Mean and covariance of trained ensembles equal those of neural-tangents",
    place="Sec. 5, against neural-tangents 0.6.5",
    unit="largest difference",
    better="zero",
    tier="quick",
    tolerance=1e-8,
)
def predictions_are_golden(seed: int) -> Measured:
    x, at = _golden_inputs()
    net = infwidth.Sequential(infwidth.Dense(_W, _B), infwidth.Erf(), infwidth.Dense(_W, _B))
    (nngp, ntk), (cross_nngp, cross_ntk) = net.kernel(x), net.kernel(at, x)
    y = torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64)
    tangent, bayesian = InfiniteEnsemble(nngp, y, ntk), InfiniteEnsemble(nngp, y)
    mean, covariance = tangent.predict(cross_ntk, cross_nngp, net.kernel(at, get="nngp"))
    assert covariance is not None
    ours = torch.cat(
        [
            mean.flatten(),
            covariance.flatten(),
            tangent.predict(cross_ntk, training=GradientFlow(1.0)).mean.flatten(),
            bayesian.predict(cross_nngp).mean.flatten(),
            bayesian.predict(cross_nngp, training=GradientFlow(10.0)).mean.flatten(),
        ]
    )
    theirs = [0.6294163452, 0.3663599203, 0.009004128, 0.0169138171, 0.0169138171, 0.1607727517]
    theirs += [0.5358429735, 0.2320647615, 0.6376757753, 0.3958560095, 0.6439436317, 0.3870939645]
    worst = (ours - torch.tensor(theirs, dtype=torch.float64)).abs().max()
    return Measured(float(worst), note="NTK and NNGP ensembles at finite and infinite time; float64")


def _initial_errors(widths: tuple[int, ...], seed: int, inits: int = 5) -> list[float]:
    """Mean relative distance of the tangent kernel at initialisation to its limit, by width."""
    x = torch.randn(40, 16, generator=torch.Generator().manual_seed(seed))
    network = mlp(3)
    limit = network.kernel(x.double(), get="ntk")

    def error(width: int, init: int) -> float:
        model = network.to_torch(width, (16,), seed=seed + 1000 + init)
        return float((empirical_ntk(model, x) - limit).norm() / limit.norm())

    return [sum(error(width, init) for init in range(inits)) / inits for width in widths]


def _listed(widths: tuple[int, ...], values: list[float]) -> str:
    return ", ".join(f"{value:.3f} at {width}" for width, value in zip(widths, values))


@claim(
    "The tangent kernel at initialisation nears its limit as width^-1/2",
    place="Theorem 1",
    unit="log-log slope",
    better="near",
    tier="quick",
    paper=-0.5,
    tolerance=0.1,
)
def kernel_converges(seed: int) -> Measured:
    widths = (64, 128, 256, 512, 1024)
    errors = _initial_errors(widths, seed, inits=10)
    return Measured(
        loglog_slope(widths, errors), note=f"ReLU, 3 hidden layers, 10 inits; error {_listed(widths, errors)}"
    )


@claim(
    "The tangent kernel at initialisation nears its limit as width^-1/2, up to width 4096",
    place="Theorem 1",
    unit="log-log slope",
    better="near",
    tier="full",
    paper=-0.5,
    tolerance=0.1,
)
def kernel_converges_far(seed: int) -> Measured:
    widths = (64, 256, 1024, 4096)
    errors = _initial_errors(widths, seed)
    return Measured(
        loglog_slope(widths, errors), note=f"ReLU, 3 hidden layers, 5 inits; error {_listed(widths, errors)}"
    )


def _trained(widths: tuple[int, ...], seed: int, inits: int) -> tuple[list[float], list[float]]:
    """Drift of the kernel, and distance to the predicted path, by width, on the task of the paper's Sec. 6.1."""
    generator = torch.Generator().manual_seed(seed)
    x, at = torch.randn(64, 2, generator=generator), torch.randn(64, 2, generator=generator)
    y = x[:, :1] * x[:, 1:]
    drifts, distances = [], []
    for width in widths:
        found = [compare_with_limit(mlp(3), width, x, y, at, seed=seed + 1000 + init) for init in range(inits)]
        drifts.append(sum(one.kernel_drift for one in found) / inits)
        distances.append(math.sqrt(sum(one.distance**2 for one in found) / inits))
    return drifts, distances


_CONSTANT = "The tangent kernel stays constant during training, the better the wider the network"


@claim(
    _CONSTANT,
    place="Theorem 2",
    unit="log-log slope of the drift",
    better="lower",
    tier="quick",
    paper=-0.5,
    tolerance=0.1,
)
def kernel_is_constant(seed: int) -> Measured:
    widths = (64, 128, 256, 512)
    drifts, _ = _trained(widths, seed, inits=2)
    return Measured(
        loglog_slope(widths, drifts), note=f"y = x1 x2, 200 full-batch steps, 2 inits; drift {_listed(widths, drifts)}"
    )


@claim(
    f"{_CONSTANT}, up to width 4096",
    place="Theorem 2",
    unit="log-log slope of the drift",
    better="lower",
    tier="full",
    paper=-0.5,
    tolerance=0.1,
)
def kernel_is_constant_far(seed: int) -> Measured:
    widths = (64, 256, 1024, 4096)
    drifts, _ = _trained(widths, seed, inits=2)
    return Measured(
        loglog_slope(widths, drifts), note=f"y = x1 x2, 200 full-batch steps, 2 inits; drift {_listed(widths, drifts)}"
    )


@claim(
    "Networks of width 1024 follow the predicted path of training",
    place="Sec. 5 and Fig. 2",
    unit="root mean square difference, targets of unit variance",
    better="lower",
    tier="full",
    paper=0.05,
    tolerance=0.0,
)
def training_is_predicted(seed: int) -> Measured:
    drifts, distances = _trained((64, 1024), seed, inits=3)
    note = (
        f"200 steps, 3 inits; 0.05 is what neural-tangents reports at width 512; drift {drifts[1]:.3f}; width 64 beside"
    )
    return Measured(distances[1], baseline=distances[0], note=note)


def _digits() -> tuple[Tensor, Tensor]:
    images, labels = digits()
    x = torch.from_numpy(images.reshape(len(images), -1))
    return (x - x.mean(0)) / 16, torch.from_numpy(labels)


def _onehot(labels: Tensor) -> Tensor:
    return torch.eye(10, dtype=torch.float64)[labels] - 0.1


@claim(
    "A network of width 4096 learns along kernel principal component i as e^(-lambda_i t)",
    place="Sec. 5 and Fig. 3",
    unit="mean difference of the residual shares of ten components",
    better="zero",
    tier="quick",
    tolerance=0.01,
)
def components_decay(seed: int) -> Measured:
    inputs, labels = _digits()
    x, y = inputs[:256].float(), _onehot(labels[:256])
    network = mlp(1)
    kernel = network.kernel(x.double(), get="ntk")
    spectrum = ntk_spectrum(kernel)
    top = spectrum.components[:, :10]
    learning_rate = InfiniteEnsemble(kernel, y).largest_learning_rate / 20
    model = network.to_torch(4096, (64,), outputs=10, seed=seed)
    errors: list[Tensor] = []
    shares: list[Tensor] = []

    def watch(step: int) -> None:
        if step % 40 == 0:
            with torch.no_grad():
                shares.append(top.T @ (model(x).double() - y))
            remaining = (shares[-1] * shares[0]).sum(1) / shares[0].square().sum(1)
            errors.append(remaining - torch.exp(-learning_rate * step * spectrum.eigenvalues[:10] / y.numel()))

    train_full_batch(model, x, y.float(), 200, learning_rate, watch)
    mean = torch.stack(errors[1:]).abs().mean()
    return Measured(float(mean), note="256 digits, one hidden layer, five moments; one network")


@claim(
    "With noisy labels, stopping early beats training to the end",
    place="Sec. 5",
    unit="accuracy",
    better="higher",
    tier="quick",
    tolerance=0.03,
)
def early_stopping_helps(seed: int) -> Measured:
    inputs, labels = _digits()
    generator = torch.Generator().manual_seed(seed)
    network = mlp(1)
    stopped: list[float] = []
    trained: list[float] = []
    for _ in range(3):
        order = torch.randperm(len(inputs), generator=generator)
        train, test = order[:1000], order[1000:]
        wrong = (torch.rand(1000, generator=generator) < 0.2) * torch.randint(1, 10, (1000,), generator=generator)
        ntk = network.kernel(inputs[train], get="ntk")
        cross = network.kernel(inputs[test], inputs[train], get="ntk")
        ensemble = InfiniteEnsemble(ntk, _onehot((labels[train] + wrong) % 10), ntk)
        for scores, time in ((stopped, stopping_time(ensemble, generator=generator).time), (trained, math.inf)):
            guess = ensemble.predict(cross, training=GradientFlow(time)).mean.argmax(1)
            scores.append(float((guess == labels[test]).double().mean()))
    note = "digits, 20% of labels wrong, one hidden layer, stopped by cross-validation; beside t = infinity; 3 splits"
    return Measured(sum(stopped) / 3, baseline=sum(trained) / 3, note=note)


@claim(
    "On the sphere, a ReLU network's limiting kernel is positive definite",
    place="Proposition 2",
    unit="smallest eigenvalue",
    better="higher",
    tier="quick",
    paper=0.0,
)
def kernel_is_positive(seed: int) -> Measured:
    images, _ = digits()
    x = torch.from_numpy(images.reshape(len(images), -1))[:300]
    x = 8 * x / x.norm(dim=1, keepdim=True)
    values = ntk_spectrum(mlp(3, b_std=0.0).kernel(x, get="ntk")).eigenvalues
    return Measured(float(values[-1]), note=f"300 digits scaled to |x| = 8, no bias; largest {float(values[0]):.0f}")


@claim(
    "A quadratic network's limiting kernel on the sphere S^2 is not: its rank is 9",
    place="Proposition 2 (polynomials are excluded)",
    unit="tenth largest eigenvalue over the largest",
    better="zero",
    tier="quick",
    tolerance=1e-10,
)
def quadratic_kernel_is_degenerate(seed: int) -> Measured:
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = x / x.norm(dim=1, keepdim=True)
    net = infwidth.Sequential(infwidth.Dense(), infwidth.Polynomial([0.5, 1.0, 1.0]), infwidth.Dense())
    values = ntk_spectrum(net.kernel(x, get="ntk")).eigenvalues
    return Measured(
        float(values[9] / values[0]),
        note=f"20 points; ninth eigenvalue {float(values[8] / values[0]):.1e} of the largest",
    )


@claim(
    "The infinite network classifies digits without training, better than a linear model",
    place="usefulness",
    unit="accuracy",
    better="higher",
    tier="quick",
    tolerance=0.03,
)
def digits_are_classified(seed: int) -> Measured:
    inputs, labels = _digits()
    x, y = inputs.numpy(), labels.numpy()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).numpy()
    train, test = order[:1000], order[1000:]

    def accuracy(model: NTKClassifier | SVC | RidgeClassifier) -> float:
        return float(model.fit(x[train], y[train]).score(x[test], y[test]))

    bayesian, machine = accuracy(NTKClassifier(kernel="nngp")), accuracy(SVC(C=10))
    note = f"1000 of 1797 to train; ridge regression beside; NNGP {bayesian:.3f}, SVC with an RBF kernel {machine:.3f}"
    return Measured(accuracy(NTKClassifier()), baseline=accuracy(RidgeClassifier()), note=note)
