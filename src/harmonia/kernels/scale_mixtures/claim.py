"""The paper's statements, measured: the limit theorems, exact inference, and what robustness amounts to.

The paper's tables were not at hand, so claims of robustness are judged by gates that were set before measuring: a
mixture loses at most 0.02 nats on clean data, and keeps calibrated when the targets' units change.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from harmonia.core.claim import Measured, claim
from harmonia.data.tables import boston, diabetes, digits
from harmonia.kernels.ntk import empirical_ntk
from harmonia.kernels.scale_mixtures.classifier import ScaleMixtureGPClassifier
from harmonia.kernels.scale_mixtures.finite import random_erf_networks
from harmonia.kernels.scale_mixtures.process import ScaleMixtureProcess, importance_sampled
from harmonia.kernels.scale_mixtures.regressor import StudentTProcessRegressor
from harmonia.kernels.scale_mixtures.robustness import PRIORS, Fitted, compare, split
from harmonia.kernels.scale_mixtures.scales import FromDensity, InverseGamma, PointMass
from harmonia.kernels.scale_mixtures.trained import nngp_trained_limit
from harmonia.media import Table
from harmonia.parts import infwidth
from harmonia.parts.calibration import central_coverage

_A, _B = 2.0, 2.0


def _problem(seed: int, n: int = 12) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A kernel matrix, targets, and a new point's cross and own covariance."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n + 1, 3, dtype=torch.float64, generator=generator)
    kernel = infwidth.Sequential(infwidth.Dense(1.5, 0.3), infwidth.Erf(), infwidth.Dense()).kernel(x, get="nngp")
    y = torch.randn(n, 1, dtype=torch.float64, generator=generator)
    return kernel[:n, :n], y, kernel[n:, :n], kernel[n:, n:].diagonal()


@claim(
    "The evidence and the prediction of a Student-t process are scipy's multivariate t",
    place="Sec. 2",
    unit="largest difference in nats",
    better="zero",
    tier="quick",
    tolerance=1e-10,
)
def process_is_multivariate_t(seed: int) -> Measured:
    kernel, y, cross, own = _problem(seed)
    process = ScaleMixtureProcess(kernel, y, InverseGamma(_A, _B), noise=0.1)

    def density(matrix: Tensor, values: Tensor) -> float:
        shape = _B / _A * (matrix + 0.1 * torch.eye(len(matrix), dtype=torch.float64)).numpy()
        return float(stats.multivariate_t(shape=shape, df=2 * _A).logpdf(values[:, 0].numpy()))

    new = torch.tensor([[0.7]], dtype=torch.float64)
    joint = torch.cat([torch.cat([kernel, cross.mT], 1), torch.cat([cross, own[:, None]], 1)])
    before, after = density(kernel, y), density(joint, torch.cat([y, new]))
    predicted = process.marginal(*process.condition(cross, own), noise=0.1).log_prob(new.numpy()).item()
    worst = max(abs(process.log_marginal_likelihood - before), abs(predicted - (after - before)))
    return Measured(worst, note="12 points; the prediction as the ratio of two joint densities")


@claim(
    "With a = b = 1e8 the Student-t process is the Gaussian process",
    place="Sec. 2",
    unit="largest difference in nats",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def large_a_is_gaussian(seed: int) -> Measured:
    kernel, y, cross, own = _problem(seed)
    found = []
    for prior in (InverseGamma(1e8, 1e8), PointMass(1.0)):
        process = ScaleMixtureProcess(kernel, y, prior, noise=0.1)
        dist = process.marginal(*process.condition(cross, own), noise=0.1)
        found.append(np.array([process.log_marginal_likelihood / 12, dist.log_prob(0.7).item()]))
    return Measured(float(np.abs(found[0] - found[1]).max()), note="evidence per point, and a predictive density")


@claim(
    "Quadrature over any prior equals the closed form where there is one",
    place="Sec. 3; ours replaces importance sampling",
    unit="largest difference in nats",
    better="zero",
    tier="quick",
    tolerance=1e-10,
)
def quadrature_is_exact(seed: int) -> Measured:
    kernel, y, cross, own = _problem(seed)
    exact = InverseGamma(_A, _B)
    found = []
    for prior in (exact, FromDensity(exact.log_density)):
        process = ScaleMixtureProcess(kernel, y, prior, noise=0.1)
        dist = process.marginal(*process.condition(cross, own), noise=0.1)
        found.append(np.array([process.log_marginal_likelihood, *dist.log_prob([[-2.0], [0.0], [5.0]]).ravel()]))
    counts = [(1, 0.3), (100, 80.0), (10_000, 3e4), (1_000_000, 1e5)]
    far = [FromDensity(exact.log_density).log_marginal(*c) / exact.log_marginal(*c) - 1 for c in counts]
    worst = max(float(np.abs(found[0] - found[1]).max()), float(np.abs(far).max()))
    return Measured(worst, note="evidence and predictive densities; evidence of up to 10^6 numbers, relative")


@claim(
    "Targets times c with b times c^2 give predictions times c; with a, b to 0 any c does",
    place="Sec. 2",
    unit="largest relative difference",
    better="zero",
    tier="quick",
    tolerance=1e-8,
)
def scale_is_equivariant(seed: int) -> Measured:
    kernel, y, cross, own = _problem(seed)

    def interval(factor: float, a: float, b: float) -> np.ndarray:
        process = ScaleMixtureProcess(kernel, factor * y, InverseGamma(a, b), noise=0.1)
        dist = process.marginal(*process.condition(cross, own), noise=0.1)
        return np.concatenate([dist.quantile(0.05), dist.quantile(0.95)]) / factor

    proper = interval(3.0, _A, 9 * _B) / interval(1.0, _A, _B) - 1
    vague = interval(3.0, 1e-10, 1e-10) / interval(1.0, 1e-10, 1e-10) - 1
    return Measured(float(np.abs(np.stack([proper, vague])).max()), note="5% and 95% quantiles, c = 3")


@claim(
    "The posterior of s2 is IG(a + n/2, b + q/2): its moments by a million draws from the prior",
    place="Sec. 3",
    unit="largest difference in standard errors",
    better="zero",
    tier="quick",
    tolerance=4.0,
)
def posterior_is_conjugate(seed: int) -> Measured:
    exact = InverseGamma(_A, _B).update(4, 5.0)
    sampled, share = importance_sampled(InverseGamma(_A, _B), 4, 5.0, samples=1_000_000, seed=seed)
    worst = 0.0
    for power, expected in ((-1, exact.a / exact.b), (1, exact.b / (exact.a - 1))):
        values = sampled.values**power
        mean = float(sampled.weights @ values)
        error = math.sqrt(float(np.square(sampled.weights) @ np.square(values - mean)))
        worst = max(worst, abs(mean - expected) / error)
    return Measured(worst, note=f"means of s2 and of 1/s2; {100 * share:.0f}% effective samples")


_POINTS = torch.tensor([[-1.5], [-0.7], [0.1], [0.8], [1.6], [0.4]], dtype=torch.float64)
"""Five training inputs and a new one."""

_TARGETS = torch.tensor([0.5, -0.8, 1.0, 0.2, -1.2], dtype=torch.float64)


def _limit(layers: int = 3) -> infwidth.Sequential:
    hidden = [layer for _ in range(layers) for layer in (infwidth.Dense(8.0, 0.05), infwidth.Erf())]
    return infwidth.Sequential(*hidden, infwidth.Dense())


def _scales(seed: int, count: int) -> np.ndarray:
    return np.sqrt(InverseGamma(_A, _B).sample(count, np.random.default_rng(seed)))


@claim(
    "Wide random networks with an inverse-gamma output scale are Student's t, not Gaussian",
    place="main theorem",
    unit="p-value of Kolmogorov and Smirnov's test (0.01 rejects)",
    better="higher",
    tier="quick",
    gate=0.01,
)
def random_networks_are_student(seed: int) -> Measured:
    nets = random_erf_networks(_POINTS[-1:], 5000, generator=torch.Generator().manual_seed(seed))
    outputs = _scales(seed, 5000) * nets.outputs[:, 0].numpy()
    scale = float(_limit().diagonal(_POINTS[-1:], get="nngp").sqrt())
    p = stats.kstest(outputs, stats.t(2 * _A, scale=scale).cdf).pvalue
    normal = stats.kstest(outputs, stats.norm(outputs.mean(), outputs.std()).cdf).pvalue
    note = f"5000 erf networks of 3 x 512 units at one input, s2 ~ IG(2, 2); kurtosis {stats.kurtosis(outputs):.0f}"
    return Measured(float(p), baseline=float(normal), note=f"{note}; beside a Gaussian of the same variance")


@claim(
    "Wide networks whose last layer is trained are Student's t with the prior's degrees of freedom",
    place="theorem on training",
    unit="p-value of Kolmogorov and Smirnov's test (0.01 rejects)",
    better="higher",
    tier="quick",
    gate=0.01,
)
def last_layer_training(seed: int) -> Measured:
    nets = random_erf_networks(_POINTS, 5000, width=512, generator=torch.Generator().manual_seed(seed))
    start = torch.from_numpy(_scales(seed, 5000))[:, None] * nets.outputs
    gram, residual = nets.gram, _TARGETS - start[:, :5]
    trained = start[:, 5] + (gram[:, 5:, :5] @ torch.linalg.solve(gram[:, :5, :5], residual[..., None]))[:, 0, 0]
    return _against_limit(trained.numpy(), "last", "5000 networks of 3 x 512 units, 5 targets, trained to the end")


@claim(
    "Wide networks trained in all layers are Student's t with the prior's degrees of freedom",
    place="theorem on training",
    unit="p-value of Kolmogorov and Smirnov's test (0.01 rejects)",
    better="higher",
    tier="full",
    gate=0.01,
)
def all_layer_training(seed: int) -> Measured:
    trained = []
    for j, s in enumerate(_scales(seed, 1000)):
        model = _limit().to_torch(512, (1,), seed=seed + j).double()
        kernel = empirical_ntk(model, _POINTS)
        with torch.no_grad():
            start = float(s) * model(_POINTS)[:, 0].double()
        pull = torch.linalg.solve(kernel[:5, :5], _TARGETS - start[:5])
        trained.append(float(start[5] + kernel[5, :5] @ pull))
    note = "1000 networks of 3 x 512 units, 5 targets, linearised and trained to the end"
    return _against_limit(np.array(trained), "all", note)


def _against_limit(outputs: np.ndarray, layers: str, note: str) -> Measured:
    chosen = "last" if layers == "last" else "all"
    limit = nngp_trained_limit(_limit(), _POINTS[:5].numpy(), _TARGETS.numpy(), InverseGamma(_A, _B), chosen)  # type: ignore[arg-type]
    dist = limit.predict(_POINTS[5:].numpy())
    p = stats.kstest(outputs, lambda v: dist.cdf(v[:, None, None])[:, 0, 0]).pvalue
    normal = stats.kstest(outputs, stats.norm(outputs.mean(), outputs.std()).cdf).pvalue
    return Measured(float(p), baseline=float(normal), note=f"{note}; beside a Gaussian of the same variance")


def _columns(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and the last column."""
    values = table.numeric()
    return values[:, :-1], values[:, -1]


@claim(
    "In units three times larger, a Student-t process keeps its loss; a Gaussian process does not",
    place="Sec. 5 (robustness), one split",
    unit="loss added, nats per row",
    better="lower",
    tier="quick",
    paper=0.0,
    tolerance=0.1,
)
def scale_shift(seed: int) -> Measured:
    sample = split(*_columns(diabetes()), seed)
    added = []
    for prior in (PRIORS["inverse gamma"], PRIORS["Gaussian"]):
        fitted = Fitted.on(sample, prior, depth=1)
        added.append(fitted.nll(sample, 3.0) - fitted.nll(sample))
    note = "diabetes, hyperparameters of the original units; Gaussian beside, for which theory says 2.9; log 3 is off"
    return Measured(added[0], baseline=added[1], note=note)


@claim(
    "Left-out intervals of the Student-t process hold what they state",
    place="usefulness",
    unit="largest difference of stated and true coverage",
    better="lower",
    tier="quick",
    gate=0.05,
)
def intervals_are_calibrated(seed: int) -> Measured:
    x, y = _columns(diabetes())
    sample = split(x, y, seed, share=1.0)
    model = StudentTProcessRegressor(depth=1).fit(sample.x, sample.y)
    pit = model.predict_left_out().cdf(sample.y)
    levels = np.linspace(0.1, 0.95, 18)
    return Measured(float(np.abs(central_coverage(pit, levels) - levels).max()), note="diabetes, 442 rows left out")


@lru_cache(maxsize=1)
def _losses(seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Loss by condition and prior, (tables, splits): diabetes and Boston, ten splits."""
    seeds = range(seed, seed + 10)
    found = [compare(*table, seeds) for table in (_columns(diabetes()), _columns(boston()))]
    return {c: {name: np.stack([f[c][name] for f in found]) for name in PRIORS} for c in found[0]}


_TABLES = "diabetes and Boston, 10 splits, MLP kernel of depth 4, hyperparameters by marginal likelihood"


def _listed(by: dict[str, np.ndarray]) -> str:
    """Means by table, and how sure their difference is."""
    means = "; ".join(f"{name} {', '.join(f'{v:.3f}' for v in values.mean(1))}" for name, values in by.items())
    gain = (by["Gaussian"] - by["inverse gamma"]).mean(0)
    return f"{means}; gain {gain.mean():.4f} ± {gain.std(ddof=1) / math.sqrt(len(gain)):.4f} (standard error)"


@claim(
    "On clean tables a Student-t process predicts as well as the Gaussian process",
    place="tables of UCI regression; the gate of 0.02 is ours",
    unit="loss added to the Gaussian's, nats per row, the worse of two tables",
    better="lower",
    tier="full",
    gate=0.02,
)
def clean_regression(seed: int) -> Measured:
    by = _losses(seed)["clean"]
    added = (by["inverse gamma"] - by["Gaussian"]).mean(1)
    return Measured(float(added.max()), note=f"{_TABLES}; {_listed(by)}")


@claim(
    "With 5% of the training targets moved by 10 deviations, a Student-t process predicts better",
    place="abstract (robustness)",
    unit="loss, nats per row, mean of two tables",
    better="lower",
    tier="full",
)
def outlier_regression(seed: int) -> Measured:
    """It does not: all rows share one scale, which outliers raise as they raise the noise of a Gaussian process.

    A Gaussian process seems worse by 0.06 nats when its amplitude is searched along with the noise: then it stops at
    an explanation by noise alone. With the amplitude at its most probable place, as here, the two are equal.
    """
    by = _losses(seed)["outliers"]
    return Measured(
        float(by["inverse gamma"].mean()), baseline=float(by["Gaussian"].mean()), note=f"{_TABLES}; {_listed(by)}"
    )


@claim(
    "With three features of the test rows moved by 2 deviations, a Student-t process predicts better",
    place="abstract (out-of-distribution data)",
    unit="loss, nats per row, mean of two tables",
    better="lower",
    tier="full",
)
def shifted_regression(seed: int) -> Measured:
    by = _losses(seed)["shifted inputs"]
    return Measured(
        float(by["inverse gamma"].mean()), baseline=float(by["Gaussian"].mean()), note=f"{_TABLES}; {_listed(by)}"
    )


@claim(
    "Targets times three ruin a calibrated Gaussian process",
    place="theory: (9 - 1) / 2 - log 3 = 2.9; the gate of 1 is ours",
    unit="loss added, nats per row, the smaller of two tables",
    better="higher",
    tier="full",
    paper=2.9,
    tolerance=1.9,
)
def scale_shift_ruins_gaussian(seed: int) -> Measured:
    losses = _losses(seed)
    added = (losses["scale"]["Gaussian"] - losses["clean"]["Gaussian"]).mean(1)
    return Measured(float(added.min()), note=_TABLES)


@claim(
    "Targets times three leave a Student-t process calibrated",
    place="abstract (robustness); the gate of 0.1 is ours",
    unit="loss added, nats per row, the worse of two tables",
    better="lower",
    tier="full",
    paper=0.0,
    tolerance=0.1,
)
def scale_shift_spares_student(seed: int) -> Measured:
    losses = _losses(seed)
    added = {name: losses["scale"][name] - losses["clean"][name] for name in PRIORS}
    student, gaussian = (float(added[name].mean(1).max()) for name in ("inverse gamma", "Gaussian"))
    return Measured(student, baseline=gaussian, note=f"{_TABLES}; {_listed(added)}")


@lru_cache(maxsize=1)
def _digits(seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Student-t and Gaussian classifiers of digits without 1, 4 and 8: clean, corrupted, those three; by image."""
    images, labels = digits()
    x = (images.reshape(len(images), -1) - 8) / 8
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(x))
    held = np.isin(labels, (1, 4, 8))
    train, test = (rows[~held[rows]] for rows in (order[:1200], order[1200:]))
    noisy = x[test] + 0.7 * generator.standard_normal(x[test].shape)
    found = {}
    for name, prior in (("t", InverseGamma(_A, _B)), ("Gaussian", PointMass(1.0))):
        model = ScaleMixtureGPClassifier(prior=prior, n_inducing=100, epochs=50, random_state=seed)
        model.fit(x[train], labels[train])
        truth = np.searchsorted(model.classes_, labels[test])
        clean, corrupted = model.predict_proba(x[test]), model.predict_proba(noisy)
        rows = np.arange(len(test))
        found[name] = {
            "accuracy": clean.argmax(1) == truth,
            "clean": -np.log(clean[rows, truth]),
            "corrupted": -np.log(corrupted[rows, truth]),
            "confidence elsewhere": model.predict_proba(x[held]).max(1),
        }
    return found


_DIGITS = "8 x 8 digits without 1, 4 and 8; 100 inducing points, 50 epochs"


@claim(
    "On corrupted digits the Student-t process assigns more probability to the truth",
    place="tables of image classification",
    unit="loss, nats per image",
    better="lower",
    tier="full",
)
def corrupted_digits(seed: int) -> Measured:
    found = _digits(seed)
    elsewhere = ", ".join(f"{name} {by['confidence elsewhere'].mean():.3f}" for name, by in found.items())
    student, gaussian = found["t"]["corrupted"], found["Gaussian"]["corrupted"]
    gain = gaussian - student
    sure = f"gain {gain.mean():.4f} ± {gain.std() / math.sqrt(len(gain)):.4f} (standard error over images)"
    note = f"{_DIGITS}; Gaussian noise of 0.7; {sure}; mean confidence on digits that were never seen: {elsewhere}"
    return Measured(float(student.mean()), baseline=float(gaussian.mean()), note=note)


@claim(
    "On clean digits the Student-t process is as accurate as the Gaussian process",
    place="tables of image classification; the gate of 1 point is ours",
    unit="accuracy lost to the Gaussian",
    better="lower",
    tier="full",
    gate=0.01,
)
def clean_digits(seed: int) -> Measured:
    found = _digits(seed)
    lost = found["Gaussian"]["accuracy"].mean() - found["t"]["accuracy"].mean()
    note = ", ".join(f"{n} {by['accuracy'].mean():.3f} and {by['clean'].mean():.3f} nats" for n, by in found.items())
    return Measured(float(lost), note=f"{_DIGITS}; {note}")
