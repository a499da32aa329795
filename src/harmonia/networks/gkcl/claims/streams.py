"""Streams learnt in full: digits in eight permutations, five seeds, the task known at test.

One task takes 1,257 rows of 64 numbers; a coreset of n rows a class keeps 80 n rows of 64 bytes, a generator four
bytes a parameter.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from harmonia.core.claim import Measured, claim
from harmonia.data.labelled_pictures import cifar100
from harmonia.networks.gkcl.claims.identities import permuted_digits
from harmonia.networks.gkcl.classifier import KernelContinualClassifier
from harmonia.networks.gkcl.rivals import ReplayClassifier
from harmonia.networks.gkcl.streams import split_classes
from harmonia.networks.gkcl.study import ContinualLearner, StreamResult, learn_stream
from harmonia.networks.gkcl.vae import VAEConfig

SEEDS = 5
ROW_BYTES, CLASSES = 64, 80
"""Bytes of a stored row, and classes of all tasks together."""

FOLDER = "HARMONIA_CIFAR100"
PICTURES = VAEConfig(latent=64, hidden=128, layers="conv", steps=3000)

_PAPER = "permuted digits here, SplitCIFAR100 there"


def _average(result: StreamResult) -> float:
    return result.metrics.average


def _forgetting(result: StreamResult) -> float:
    return result.metrics.forgetting


def _mean(results: tuple[StreamResult, ...], of: Callable[[StreamResult], float]) -> tuple[float, float]:
    """Mean over seeds and its standard error."""
    values = np.array([of(result) for result in results])
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def _say(name: str, results: tuple[StreamResult, ...]) -> str:
    (a, a_error), (f, _) = _mean(results, _average), _mean(results, _forgetting)
    return f"{name} A={a:.3f}±{a_error:.3f} F={f:.3f} {results[0].memory_bytes:,} bytes"


def _beside(name: str, results: tuple[StreamResult, ...], rival: str, others: tuple[StreamResult, ...]) -> Measured:
    """Average accuracy of one learner, with another's as the baseline."""
    note = f"{_say(name, results)}; {_say(rival, others)}"
    return Measured(_mean(results, _average)[0], _mean(others, _average)[0], note)


def _run(make: Callable[[int], ContinualLearner], seed: int, count: int = SEEDS) -> tuple[StreamResult, ...]:
    stream = permuted_digits()
    return tuple(learn_stream(make(seed + k), stream) for k in range(count))


@lru_cache
def stored(n: int, seed: int, kernel: str = "linear") -> tuple[StreamResult, ...]:
    """Kernel continual learning with n rows a class."""
    return _run(lambda k: KernelContinualClassifier(n_per_class=n, kernel=kernel, random_state=k), seed)


@lru_cache
def generated(
    seed: int, contrastive: float = 0.1, kernel: str = "linear", config: VAEConfig | None = None
) -> tuple[StreamResult, ...]:
    """Generative kernel continual learning with one variational autoencoder."""

    def make(k: int) -> KernelContinualClassifier:
        return KernelContinualClassifier(
            memory="generator", generator=config, contrastive=contrastive, kernel=kernel, random_state=k
        )

    return _run(make, seed)


@lru_cache
def fine_tuned(seed: int) -> tuple[StreamResult, ...]:
    """One network for all tasks, nothing kept."""
    return _run(lambda k: ReplayClassifier(range(10), random_state=k), seed)


@claim(
    "Fine-tuning forgets the permutations it has left",
    place="naive baseline of both papers",
    unit="average accuracy, permuted digits, 8 tasks",
    better="lower",
    tier="full",
    gate=0.55,
)
def naive(seed: int) -> Measured:
    return Measured(_mean(fine_tuned(seed), _average)[0], note=_say("fine-tuning", fine_tuned(seed)))


@claim(
    "Kernel continual learning keeps its accuracy with ten stored rows a class",
    place="KCL, Sec. 4 (permuted digits here, permuted MNIST there)",
    unit="average accuracy, permuted digits, 8 tasks",
    better="higher",
    tier="full",
    gate=0.88,
)
def ten_rows(seed: int) -> Measured:
    others = "; ".join(_say(f"{n} a class", stored(n, seed)) for n in (1, 2, 5))
    return Measured(_mean(stored(10, seed), _average)[0], note=f"{_say('10 a class', stored(10, seed))}; {others}")


@claim(
    "Kernel continual learning forgets little with ten stored rows a class",
    place="KCL, Sec. 4 (permuted digits here, permuted MNIST there)",
    unit="forgetting, permuted digits, 8 tasks",
    better="lower",
    tier="full",
    gate=0.10,
)
def ten_rows_forget_little(seed: int) -> Measured:
    return Measured(_mean(stored(10, seed), _forgetting)[0], note=_say("10 a class", stored(10, seed)))


@claim(
    "The generator keeps the accuracy with no stored row, in at most 300 kB",
    place="GKCL, abstract (permuted digits here)",
    unit="average accuracy, permuted digits, 8 tasks",
    better="higher",
    tier="full",
    gate=0.85,
)
def generator(seed: int) -> Measured:
    results = generated(seed)
    assert results[0].memory_bytes <= 300_000
    return Measured(_mean(results, _average)[0], note=_say("generator", results))


@claim(
    "The generator is ahead of two stored rows a class",
    place="GKCL, abstract (permuted digits here)",
    unit="average accuracy, permuted digits, 8 tasks",
    better="higher",
    tier="full",
)
def ahead_of_two_rows(seed: int) -> Measured:
    return _beside("generator", generated(seed), "2 a class", stored(2, seed))


@claim(
    "At equal bytes the generator is ahead of stored rows",
    place=f"GKCL, abstract ({_PAPER})",
    unit="points of accuracy",
    better="higher",
    tier="full",
    paper=10.1,
)
def equal_bytes(seed: int) -> Measured:
    """Rows of digits are small and cheap to store; a generator pays where a row is large beside its network."""
    kept = generated(seed)[0].memory_bytes
    n = round(kept / (ROW_BYTES * CLASSES))
    gain = 100 * (_mean(generated(seed), _average)[0] - _mean(stored(n, seed), _average)[0])
    return Measured(gain, note=f"{_say('generator', generated(seed))}; {_say(f'{n} a class', stored(n, seed))}")


@claim(
    "Stored rows need ten times the generator's memory for its accuracy with random features",
    place=f"GKCL, abstract ({_PAPER})",
    unit="bytes of stored rows over bytes of the generator",
    better="higher",
    tier="full",
    paper=10.0,
)
def equal_accuracy(seed: int) -> Measured:
    """Bytes at which stored rows with variational features reach the generator's accuracy, between measured ones."""
    target, kept = _mean(generated(seed), _average)[0], generated(seed)[0].memory_bytes
    counts = (2, 5, 10, 20)
    accuracies = [_mean(stored(n, seed, "vrf"), _average)[0] for n in counts]
    rows = float(np.interp(target, np.maximum.accumulate(accuracies), counts))
    listed = ", ".join(f"{n} a class {a:.3f}" for n, a in zip(counts, accuracies))
    note = f"generator {target:.3f} with {kept:,} bytes; stored rows, variational features: {listed}"
    return Measured(rows * ROW_BYTES * CLASSES / kept, note=note)


@claim(
    "The supervised contrastive loss helps the generator",
    place="GKCL, abstract",
    unit="points of accuracy over five seeds",
    better="higher",
    tier="full",
    gate=0.0,
)
def contrastive(seed: int) -> Measured:
    pairs = zip(generated(seed), generated(seed, contrastive=0.0))
    gains = np.array([100 * (_average(on) - _average(off)) for on, off in pairs])
    half = 2.776 * gains.std(ddof=1) / np.sqrt(len(gains))  # Student's t, four degrees of freedom
    return Measured(float(gains.mean()), note=f"weight 0.1 beside 0, 95 % interval ± {half:.2f} points")


@claim(
    "Holding the decoder to its own past outputs keeps more than learning made-up rows again",
    place="choice of ours beside the paper's generative replay",
    unit="average accuracy, permuted digits, 8 tasks",
    better="higher",
    tier="full",
)
def distilled(seed: int) -> Measured:
    again = generated(seed, config=VAEConfig(replay="elbo"))
    learnt = generated(seed, config=VAEConfig(replay="elbo", prior="diagonal", shrink=0.8, noise=1 / 16))
    names = {"distilled": generated(seed), "replayed": again, "replayed, diagonal prior, fixed noise": learnt}
    note = "; ".join(_say(name, results) for name, results in names.items())
    return Measured(_mean(generated(seed), _average)[0], _mean(again, _average)[0], note)


@claim(
    "Other kernels do as well as the linear one",
    place="KCL, ablation of kernels",
    unit="average accuracy of the best other kernel, permuted digits",
    better="higher",
    tier="full",
)
def kernels(seed: int) -> Measured:
    found = {name: generated(seed, kernel=name) for name in ("rff", "laplace")}
    note = "; ".join([_say("linear", generated(seed)), *(_say(name, results) for name, results in found.items())])
    best = max(_mean(results, _average)[0] for results in found.values())
    return Measured(best, _mean(generated(seed), _average)[0], note)


@claim(
    "The encoder's own features do as well as those of a network",
    place="choice of features in the generative form",
    unit="average accuracy, permuted digits, 8 tasks",
    better="higher",
    tier="full",
)
def encoder_features(seed: int) -> Measured:
    results = _run(lambda k: KernelContinualClassifier("encoder", memory="generator", random_state=k), seed)
    return _beside("encoder", results, "network", generated(seed))


@claim(
    "Two Gaussians a class are a better prior than one",
    place="variant of the generator in the released code",
    unit="average accuracy, permuted digits, 8 tasks",
    better="higher",
    tier="full",
)
def mixtures(seed: int) -> Measured:
    return _beside("two", generated(seed, config=VAEConfig(components=2)), "one", generated(seed))


@claim(
    "On SplitCIFAR100 the generator is ahead of stored rows at equal memory",
    place="GKCL, abstract",
    unit="points of accuracy",
    better="higher",
    tier="gpu",
    paper=10.1,
)
def split_cifar(seed: int) -> Measured | None:
    """Twenty tasks of five classes, in the order of their numbers, from the folder that HARMONIA_CIFAR100 names."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return None
    data = cifar100(folder)
    x, x_test = (pixels / np.float32(255) for pixels in (data.x, data.x_test))
    stream = split_classes(x, data.y, 5, test=(x_test, data.y_test))
    made = learn_stream(KernelContinualClassifier(memory="generator", generator=PICTURES, random_state=seed), stream)
    n = max(1, round(made.memory_bytes / (100 * x[0].size)))
    kept = learn_stream(KernelContinualClassifier(n_per_class=n, random_state=seed), stream)
    listed = (f"A={_average(result):.3f} {result.memory_bytes:,} bytes" for result in (made, kept))
    note = f"one seed; generator and {n} stored rows a class: {'; '.join(listed)}"
    return Measured(100 * (_average(made) - _average(kept)), note=note)
