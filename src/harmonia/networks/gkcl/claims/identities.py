"""What must hold exactly: the classifiers, the random features, the divergence, and what is never forgotten."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.kernel_ridge import KernelRidge
from torch.distributions import Normal, kl_divergence

from harmonia.core.claim import Measured, claim
from harmonia.data.tables import digits
from harmonia.networks.gkcl.backbones import RandomBackbone
from harmonia.networks.gkcl.classifier import KernelContinualClassifier
from harmonia.networks.gkcl.head import SupportFit, kernel_of
from harmonia.networks.gkcl.rivals import RidgePerTask
from harmonia.networks.gkcl.streams import Task, permuted_tasks
from harmonia.networks.gkcl.study import learn_stream
from harmonia.networks.gkcl.variational import VariationalBases, diagonal_kl


def permuted_digits(tasks: int = 8) -> tuple[Task, ...]:
    """Digits from 0 to 1, the first task as they are, 1,257 rows to learn and 540 to judge in each."""
    images, labels = digits()
    return permuted_tasks(images.reshape(-1, 64) / 16, labels, tasks)


def _normals(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@claim(
    "A task's classifier is kernel ridge regression on its support set",
    place="KCL, eq. 3",
    unit="largest difference from scikit-learn",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def same_as_kernel_ridge(seed: int) -> Measured:
    x, queries = _normals(60, 8, seed=seed), _normals(30, 8, seed=seed + 1)
    targets = torch.eye(5, dtype=torch.float64)[torch.arange(60) % 5]
    worst = 0.0
    for name in ("linear", "laplace", "poly", "gaussian"):
        kernel = kernel_of(name)
        theirs = KernelRidge(alpha=0.11, kernel="precomputed").fit(kernel(x).numpy(), targets.numpy())
        expected = theirs.predict(kernel(queries, x).numpy())
        found = SupportFit.of(kernel, x, targets, 0.11)(queries).numpy()
        worst = max(worst, float(np.abs(found - expected).max()))
    return Measured(worst, note="linear (solved as weights), Laplace, cubic and Gaussian kernel, 60 rows, 5 classes")


@claim(
    "With standard normal frequencies the variational features are those of the Gaussian kernel",
    place="KCL, Sec. 3.2 (Bochner's theorem)",
    unit="largest error of the kernel times sqrt(features) / 4",
    better="lower",
    tier="quick",
    gate=1.0,
)
def random_features(seed: int) -> Measured:
    worst = 0.0
    for count in (256, 1024, 4096):
        bases = VariationalBases(6, count, torch.Generator().manual_seed(seed)).eval()
        with torch.no_grad():
            for network in (bases.posterior.mean, bases.posterior.log_variance):
                for parameter in network[-1].parameters():
                    parameter.zero_()
            x = _normals(30, 6, seed=seed).float()
            phi = bases(x)(x)
            error = phi @ phi.T - kernel_of("gaussian")(x)
        worst = max(worst, float(error.abs().max()) * math.sqrt(count) / 4)
    return Measured(worst, note="256, 1,024 and 4,096 features, all pairs of 30 rows")


@claim(
    "The divergence between frequencies of support set and queries is that of diagonal Gaussians",
    place="KCL, eq. 8",
    unit="largest difference from torch.distributions, in nats",
    better="zero",
    tier="quick",
    tolerance=1e-10,
)
def divergence(seed: int) -> Measured:
    mean, log_variance, other, other_log_variance = _normals(4, 50, 16, seed=seed)
    first, second = (Normal(m, (lv / 2).exp()) for m, lv in ((mean, log_variance), (other, other_log_variance)))
    difference = diagonal_kl(mean, log_variance, other, other_log_variance) - kl_divergence(first, second).sum(-1)
    return Measured(float(difference.abs().max()), note="50 pairs in 16 dimensions")


@claim(
    "Where features stay as they are, later tasks change no prediction of earlier ones",
    place="KCL, Sec. 3 (classifiers are task-specific)",
    unit="largest change of a score over eight tasks",
    better="zero",
    tier="quick",
    tolerance=0.0,
)
def nothing_forgotten(seed: int) -> Measured:
    stream, worst = permuted_digits(), 0.0
    for options in (
        {"memory": "statistics"},
        {"memory": "coreset", "adapt": "never"},
        {"memory": "gaussians", "adapt": "never"},
    ):
        model = KernelContinualClassifier(**options, random_state=seed)
        first: dict[str, np.ndarray] = {}
        for task in stream:
            model.partial_fit(task.x, task.y, task_id=task.name)
            first[task.name] = model.decision_function(task.x_test, task.name)
        for task in stream:
            worst = max(worst, float(np.abs(model.decision_function(task.x_test, task.name) - first[task.name]).max()))
    return Measured(worst, note="sums, stored rows and Gaussians over fixed random features, permuted digits")


@claim(
    "Sums over a coreset give the coreset's own classifier",
    place="equality of the primal and the dual solution",
    unit="largest difference of a probability",
    better="zero",
    tier="quick",
    tolerance=1e-4,
)
def sums_are_enough(seed: int) -> Measured:
    task = permuted_digits(1)[0]
    rows = KernelContinualClassifier(n_per_class=10, epochs=2, random_state=seed).partial_fit(task.x, task.y, "a")
    backbone = rows.learner_.backbone
    sums = KernelContinualClassifier(backbone, memory="statistics", random_state=seed)
    sums.partial_fit(*rows.generate("a"), task_id="a")
    with torch.no_grad():
        for name in ("raw_penalty", "scale"):
            getattr(sums.tasks_["a"].head, name).copy_(getattr(rows.tasks_["a"].head, name))
    difference = sums.predict_proba(task.x_test, "a") - rows.predict_proba(task.x_test, "a")
    return Measured(
        float(np.abs(difference).max()),
        note="10 rows a class, fewer than the 128 features of a trained network: dual beside primal solution",
    )


@claim(
    "Sums over fixed random features are ahead of a ridge regression on the inputs, and forget nothing either",
    place="beyond the paper: memory of sufficient statistics",
    unit="average accuracy, permuted digits, 8 tasks",
    better="higher",
    tier="quick",
)
def sums_on_permuted_digits(seed: int) -> Measured:
    stream = permuted_digits()
    sums = learn_stream(KernelContinualClassifier(memory="statistics", random_state=seed), stream)
    ridge = learn_stream(RidgePerTask(), stream)
    note = (
        f"forgetting {sums.metrics.forgetting:g}; {sums.memory_bytes:,} bytes and {sums.seconds:.2g} s beside "
        f"{ridge.memory_bytes:,} bytes and {ridge.seconds:.2g} s of the ridge"
    )
    return Measured(sums.metrics.average, ridge.metrics.average, note)


@claim(
    "Sums that carry the noise of differential privacy still tell classes apart",
    place="beyond the paper: private memory",
    unit="average accuracy, permuted digits, 8 tasks, epsilon 3 and delta 1e-6 a task",
    better="higher",
    tier="quick",
)
def private_sums_on_permuted_digits(seed: int) -> Measured:
    stream = permuted_digits()
    features = RandomBackbone(64, 64, 2.0, torch.Generator().manual_seed(seed))
    model = KernelContinualClassifier(features, memory="statistics", random_state=seed)
    for task in stream:
        model.partial_fit(task.x, task.y, task_id=task.name)

    def average(of: KernelContinualClassifier) -> float:
        return float(np.mean([of.score(task.x_test, task.y_test, task_id=task.name) for task in stream]))

    found = {epsilon: average(model.release(epsilon, seed=seed)) for epsilon in (1.0, 3.0, 10.0)}
    listed = ", ".join(f"epsilon {epsilon:g}: {accuracy:.3f}" for epsilon, accuracy in found.items())
    chance = max(np.bincount(stream[0].y)) / len(stream[0].y)
    return Measured(
        found[3.0], float(chance), f"without noise {average(model):.3f}; {listed}; the commonest class beside"
    )
