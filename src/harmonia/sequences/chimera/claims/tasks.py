"""Classes of real sequences, and anomalies put into a real series."""

from __future__ import annotations

from functools import cache

import numpy as np

from harmonia.core.claim import Measured, claim
from harmonia.core.errors import MissingDependency
from harmonia.data import bundled_series
from harmonia.data.traces import electricity
from harmonia.media import Series
from harmonia.parts.forecasting import RidgeAR
from harmonia.sequences.chimera.classifier import ChimeraClassifier
from harmonia.sequences.chimera.detection_scores import AnomalyScores, anomaly_scores
from harmonia.sequences.chimera.detector import ChimeraAnomalyDetector


def accuracy(name: str, seed: int, epochs: int) -> Measured | None:
    """Test accuracy on a set that aeon ships, beside the nearest neighbour of the same sequences, cut to one length."""
    try:
        learn, test = bundled_series(name, "train"), bundled_series(name, "test")
    except MissingDependency:
        return None
    model = ChimeraClassifier(epochs=epochs, batch_size=8, random_state=seed).fit(list(learn.values), learn.labels)
    found = float((model.predict(list(test.values)) == test.labels).mean())
    shortest = min(len(each) for each in (*learn.values, *test.values))
    known, asked = (np.stack([each[:shortest].ravel() for each in split.values]) for split in (learn, test))
    distance = np.square(asked[:, None] - known[None]).sum(-1)
    nearest = float((learn.labels[distance.argmin(1)] == test.labels).mean())
    return Measured(found, note=f"{len(learn.labels)} to learn from, {len(test.labels)} to test; 1-NN {nearest:.3f}")


@claim(
    "Classes of movement: BasicMotions",
    place="classification table, on another set",
    unit="accuracy",
    better="higher",
    tier="full",
    gate=0.95,
)
def basic_motions(seed: int) -> Measured | None:
    return accuracy("BasicMotions", seed, epochs=40)


@claim(
    "Speakers by their vowels: JapaneseVowels",
    place="classification table, on another set",
    unit="accuracy",
    better="higher",
    tier="full",
    gate=0.95,
)
def japanese_vowels(seed: int) -> Measured | None:
    return accuracy("JapaneseVowels", seed, epochs=20)


def disturbed(series: Series, start: int, seed: int) -> tuple[Series, np.ndarray]:
    """Twelve events from a row on: a variable's level shifts, holds still, or takes another time's course."""
    random = np.random.default_rng(seed)
    values, labels = series.values.copy(), np.zeros(len(series), bool)
    spread = values[:start].std(0)
    places = np.linspace(start + 30, len(series) - 60, 12).astype(int)
    for number, at in enumerate(places):
        size, variable = int(random.integers(6, 25)), int(random.integers(values.shape[1]))
        rows = slice(at, at + size)
        if number % 3 == 0:
            values[rows, variable] += 2 * spread[variable]
        elif number % 3 == 1:
            values[rows, variable] = values[at, variable]
        else:
            other = int(random.integers(0, start - size))
            values[rows, variable] = values[other : other + size, variable]
        labels[rows] = True
    return Series(values, series.names, series.times), labels


@cache
def detection(seed: int = 0, steps: int = 300, days: int = 120) -> tuple[AnomalyScores, AnomalyScores] | None:
    """Chimera and autoregression by ridge, both by the error of one step ahead, on demand and temperature."""
    try:
        whole = electricity(days)
    except MissingDependency:
        return None
    clean = Series(whole.values[:, [0, 2]], [whole.names[0], whole.names[2]], whole.times)
    start = round(0.6 * len(clean))
    series, labels = disturbed(clean, start, seed)
    past = Series(series.values[:start], series.names, series.times[:start])
    model = ChimeraAnomalyDetector(lookback=96, steps=steps, n_layers=1, random_state=seed).fit(past)
    ours = anomaly_scores(labels[start:], model.score_samples(series)[start:], model.threshold_)
    rule = RidgeAR(1, order=12, season=48).fit([past])
    rows = np.arange(rule.lookback, len(series))
    errors = series.values[rows] - rule.point(series.values[rows[:, None] + np.arange(-rule.lookback, 0)])[:, 0]
    known = rows < start
    scores = np.square(errors / errors[known].std(0)).mean(1)
    theirs = anomaly_scores(labels[rows[~known]], scores[~known], float(np.quantile(scores[known], 0.99)))
    return ours, theirs


@claim(
    "Anomalies put into a real series are found as well as by autoregression",
    place="anomaly detection table, on another series",
    unit="volume under the precision-recall surface",
    better="higher",
    tier="full",
)
def anomalies(seed: int) -> Measured | None:
    """Demand and temperature of Victoria; twelve simulated events. F1 as it is, and point-adjusted, in the note."""
    found = detection(seed)
    if found is None:
        return None
    ours, theirs = found
    table = "; ".join(
        f"{name} F1 {each.f1:.2f}, point-adjusted {each.f1_point_adjusted:.2f}, VUS-ROC {each.vus_roc:.2f}"
        for name, each in (("Chimera", ours), ("seasonal AR ridge", theirs))
    )
    return Measured(ours.vus_pr, theirs.vus_pr, table)
