"""The survey's statements as computed exhibits, and the identities that its tools must keep.

The survey reports no numbers of its own. Bounds are ours and were set before measuring. Probing tasks are rendered
(`harmonia.data.render.labelled`), so scores are not comparable with those on GTZAN or GiantSteps; orders are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np

from harmonia.audio.music_fm_survey.benchmark import ProbingBenchmark, Report
from harmonia.audio.music_fm_survey.catalogue import load
from harmonia.audio.music_fm_survey.encoders import Encoder, load_encoders
from harmonia.audio.music_fm_survey.licences import LICENCES, Terms, terms
from harmonia.audio.music_fm_survey.overlap import Melody, grams
from harmonia.audio.music_fm_survey.scaling import ScalingLaw
from harmonia.audio.music_fm_survey.tasks import Size, key_gains, offline_tasks
from harmonia.audio.music_fm_survey.transparency import Source, TransparencyCard
from harmonia.audio.music_fm_survey.tune_lm import Budget, scaling_runs
from harmonia.core.claim import Measured, claim
from harmonia.core.errors import MissingDependency, require
from harmonia.core.weights import WeightsError
from harmonia.data import folk_tunes
from harmonia.data.render.labelled import TONICS
from harmonia.parts.probing.ridge import ALPHAS, FoldMoments

TRUE_LAW = {"E": 1.7, "A": 400.0, "a": 0.34, "B": 410.0, "b": 0.28}
QUICK_ENCODERS = ("log-mel", "mfcc", "chroma", "cqt", "mert-random")
ALL_ENCODERS = (*QUICK_ENCODERS, "mert", "specttra", "mel-roformer")
QUICK_TASKS = ("key", "instrument", "pitch", "tempo", "style")


# -------------------------------------------------------------------------------------------------------- versatility


@claim(
    "No representation wins everywhere: tasks rank representations differently",
    place="abstract: lack of versatility",
    unit="mean Kendall tau between the rankings of two tasks",
    better="lower",
    tier="quick",
    gate=0.6,
)
def versatility_quick(seed: int) -> Measured | None:
    """Five representations that need no training, five rendered tasks."""
    return _versatility("small", QUICK_ENCODERS, QUICK_TASKS, seed)


@claim(
    "No representation wins everywhere, trained networks among them",
    place="abstract: lack of versatility",
    unit="mean Kendall tau between the rankings of two tasks",
    better="lower",
    tier="full",
    gate=0.6,
)
def versatility_full(seed: int) -> Measured | None:
    """All encoders whose weights are there, seven tasks of 1,440 excerpts."""
    return _versatility("full", ALL_ENCODERS, None, seed)


@claim(
    "Chroma or constant-Q features read keys best",
    place="abstract: lack of versatility",
    unit="weighted key score",
    better="higher",
    tier="full",
)
def pitch_spectra_read_keys(seed: int) -> Measured | None:
    """The baseline is the best of all other encoders."""
    return _best_of("key", ("chroma", "cqt"), seed)


@claim(
    "Cepstral coefficients (MFCC) read instruments best",
    place="abstract: lack of versatility",
    unit="accuracy",
    better="higher",
    tier="full",
)
def cepstra_read_instruments(seed: int) -> Measured | None:
    """The baseline is the best of all other encoders; instruments are General MIDI programs no probe was fitted on."""
    return _best_of("instrument", ("mfcc",), seed)


@claim(
    "Fewer foundation models read scores than hear audio",
    place="abstract: representations underexplored",
    unit="models in the catalogue",
    better="lower",
    tier="quick",
)
def symbolic_gap(seed: int) -> Measured:
    """Counted over the 74 models of the companion list; the baseline counts those that hear audio."""
    symbolic = [model for model in load().models if "symbolic" in model.modality]
    understanding = sum("understanding" in model.purpose for model in symbolic)
    note = f"of them {understanding} for understanding; unverified records included"
    return Measured(float(len(symbolic)), float(len(load().models) - len(symbolic)), note)


# ------------------------------------------------------------------------------------------------------- scaling laws


@claim(
    "The exponents of a scaling law are recovered from 60 runs with 1 % noise",
    place="Sec. on scaling laws; arXiv 2203.15556, approach 3",
    unit="largest error of a or b in 25 repeats",
    better="lower",
    tier="quick",
    gate=0.02,
)
def exponents(seed: int) -> Measured:
    """L = 1.7 + 400 N^-0.34 + 410 D^-0.28, N in 1e5 to 1e9, D in 1e6 to 1e10, log-uniform."""
    laws = [_law(seed + repeat) for repeat in range(25)]
    a, b = (np.array([getattr(law, f"{name}_") for law in laws]) for name in "ab")
    worst = max(np.abs(a - TRUE_LAW["a"]).max(), np.abs(b - TRUE_LAW["b"]).max())
    note = f"a {a.mean():.4f} (sd {a.std(ddof=1):.4f}), b {b.mean():.4f} (sd {b.std(ddof=1):.4f})"
    return Measured(float(worst), note=note)


@claim(
    "The irreducible loss is recovered from 60 runs with 1 % noise",
    place="Sec. on scaling laws; arXiv 2203.15556, approach 3",
    unit="largest relative error of E in 25 repeats",
    better="lower",
    tier="quick",
    gate=0.08,
)
def irreducible(seed: int) -> Measured:
    """The same runs as for the exponents."""
    e = np.array([_law(seed + repeat).E_ for repeat in range(25)])
    worst = np.abs(e / TRUE_LAW["E"] - 1).max()
    return Measured(float(worst), note=f"E {e.mean():.3f} (sd {e.std(ddof=1):.3f})")


@claim(
    "Bootstrap intervals of 95 % cover the true exponents",
    place="Sec. on scaling laws",
    unit="share of 100 intervals, a and b of 50 repeats",
    better="higher",
    tier="full",
    gate=0.88,
)
def coverage(seed: int) -> Measured:
    """About a minute."""
    hits = []
    for repeat in range(50):
        intervals = _law(seed + repeat, resamples=200).confint()
        hits += [intervals[name][0] <= TRUE_LAW[name] <= intervals[name][1] for name in "ab"]
    return Measured(float(np.mean(hits)))


@claim(
    "A law fitted to small models of melodies predicts the largest run",
    place="abstract: scaling laws",
    unit="% error of the held-out loss",
    better="lower",
    tier="full",
    gate=3.0,
)
def melodies_scale(seed: int, budget: Budget | None = None) -> Measured | None:
    """Five sizes, four amounts of folk tunes; the run with most parameters and notes is predicted from the other 19.

    About 20 minutes on one core. The baseline is the best loss of the other runs, taken as the prediction.
    """
    try:
        tunes = [tune for name in ("essen", "oneill", "ryan", "aird") for tune in folk_tunes(name)]
    except MissingDependency:
        return None
    runs = scaling_runs(tunes, seed=seed, budget=budget)
    *others, largest = runs.iter_rows()
    params, notes, loss = np.array(others).T
    law = ScalingLaw(resamples=0).fit(params, notes, loss)
    predicted = float(law.predict(largest[0], largest[1]))
    naive = 100 * abs(float(loss.min()) / largest[2] - 1)
    note = f"loss {largest[2]:.4f}, predicted {predicted:.4f}; E {law.E_:.3f}, a {law.a_:.3f}, b {law.b_:.3f}"
    return Measured(100 * abs(predicted / largest[2] - 1), naive, note)


@claim(
    "The best split of a budget has the lowest loss of all splits",
    place="arXiv 2203.15556, eq. 4",
    unit="loss above that of the best of 20,001 splits, relative",
    better="zero",
    tier="quick",
    tolerance=1e-9,
)
def best_split(seed: int) -> Measured:
    law, budget = _law(seed), 1e19
    sizes = np.geomspace(1e6, 1e12, 20_001)
    along = law.predict(sizes, budget / 6 / sizes)
    return Measured(max(0.0, law.optimal(budget).loss / float(along.min()) - 1))


# -------------------------------------------------------------------------------------------------------------- cards


@claim(
    "A card's checks find everything that was planted, and nothing else",
    place="abstract: ethics, transparency",
    unit="problems missed or raised falsely",
    better="zero",
    tier="quick",
    tolerance=0.0,
)
def planted(seed: int) -> Measured | None:
    """Three test melodies, transposed and slowed, in training, and a non-commercial source in a commercial card."""
    try:
        train, test = _tunes(150, seed)
    except MissingDependency:
        return None
    moved = {f"planted {name}": _moved(test[name], 3 + i, 1.7) for i, name in enumerate(list(test)[:3])}
    free, bound = Source(name="tunes", licence="CC0-1.0"), Source(name="songs", licence="CC-BY-NC-4.0")
    clean = TransparencyCard(name="clean", commercial=True, licence="CC-BY-4.0", sources=[free])
    dirty = TransparencyCard(name="dirty", commercial=True, licence="CC-BY-NC-4.0", sources=[free, bound])
    false = [f for f in clean.check(train, test) if f.check != "fields"]
    found = [f for f in dirty.check(train | moved, test) if f.check != "fields"]
    pairs = {tuple(f.parts) for f in found if f.check == "overlap"}
    wanted = {(f"planted {name}", name) for name in list(test)[:3]}
    licence = sum(f.check == "licence" and "songs" in f.parts for f in found)
    wrong = len(false) + len(wanted ^ pairs) + abs(1 - licence)
    note = f"{len(train)} training and {len(test)} test tunes, each tune once"
    return Measured(float(wrong), note=note)


@claim(
    "N-grams of intervals do not change under transposition and tempo",
    place="definition",
    unit="differing n-grams",
    better="zero",
    tier="quick",
    tolerance=0.0,
)
def transposition(seed: int) -> Measured:
    rng = np.random.default_rng(seed)
    differing = 0
    for _ in range(50):
        onsets = np.cumsum(rng.choice([0.25, 0.5, 1.0], 40))
        tune = [(on, on + 0.2, pitch) for on, pitch in zip(onsets.tolist(), rng.integers(48, 84, 40).tolist())]
        differing += sum(a != b for a, b in zip(grams(tune), grams(_moved(tune, int(rng.integers(-9, 9)), 1.5))))
    return Measured(float(differing))


@claim(
    "Combining licences is associative, commutative and idempotent",
    place="definition of a lattice",
    unit="broken laws",
    better="zero",
    tier="quick",
    tolerance=0.0,
)
def lattice(seed: int) -> Measured:
    each = [terms(name) for name in sorted(LICENCES)]
    broken = sum((x & x != x) + (x & Terms() != x) for x in each)
    broken += sum(x & y != y & x for x, y in product(each, each))
    broken += sum((x & y) & z != x & (y & z) for x, y, z in product(each[::3], each[::3], each[::3]))
    return Measured(float(broken), note=f"{len(each)} licences")


# ------------------------------------------------------------------------------------------------------------- probing


@claim(
    "Cross-validation from the folds' moments is that of refitting every fold",
    place="arXiv 2306.10548: probing protocol",
    unit="largest difference of a prediction",
    better="zero",
    tier="quick",
    tolerance=1e-9,
)
def moments(seed: int) -> Measured:
    rng = np.random.default_rng(seed)
    x, y, fold = rng.normal(size=(200, 30)) + 5, rng.normal(size=(200, 3)), np.arange(200) % 5
    found, worst = FoldMoments(x, y, fold), 0.0
    for left_out in range(5):
        seen = fold != left_out
        z = (x - x[seen].mean(0)) / x[seen].std(0)
        predicted = found.without(left_out).predict(x, ALPHAS)
        for alpha, guess in zip(ALPHAS, predicted):
            centred = y[seen] - y[seen].mean(0)
            weights = np.linalg.solve(z[seen].T @ z[seen] + seen.sum() * alpha * np.eye(30), z[seen].T @ centred)
            worst = max(worst, float(np.abs(z @ weights + y[seen].mean(0) - guess).max()))
    return Measured(worst)


@claim(
    "The gains of keys are mir_eval's weighted score",
    place="MIREX key detection",
    unit="largest difference over 576 pairs of keys",
    better="zero",
    tier="quick",
    tolerance=0.0,
)
def key_scores(seed: int) -> Measured:
    weighted = require("mir_eval.key", extra="audio").weighted_score
    keys = [f"{tonic} {mode}" for mode in ("major", "minor") for tonic in TONICS]
    theirs = np.array([[weighted(truth, guess) for guess in keys] for truth in keys])
    return Measured(float(np.abs(key_gains(keys) - theirs).max()))


# ------------------------------------------------------------------------------------------------------------- helpers


@cache
def _report(size: Size, names: Sequence[str], tasks: Sequence[str] | None, seed: int) -> Report | None:
    """The benchmark over the encoders whose weights are there; None where excerpts cannot be rendered."""
    benchmark = ProbingBenchmark(control=False, seed=seed)
    try:
        for task in offline_tasks(size, seed=seed, only=tasks):
            benchmark.add_task(task)
    except MissingDependency:
        return None
    chosen: dict[str, Encoder] = {}
    for name in names:
        try:
            chosen |= load_encoders([name])
        except WeightsError:
            continue
    return benchmark.run(chosen)


def _versatility(size: Size, names: Sequence[str], tasks: Sequence[str] | None, seed: int) -> Measured | None:
    report = _report(size, names, tasks, seed)
    if report is None:
        return None
    best = {task: report.encoders[int(np.argmax(report.scores()[:, i]))] for i, task in enumerate(report.tasks)}
    wins = ", ".join(f"{task} {encoder}" for task, encoder in best.items())
    means = ", ".join(f"{each.encoder} {each.mean:.2f}" for each in report.versatility())
    return Measured(report.agreement(), note=f"best: {wins}; mean above chance: {means}")


def _best_of(task: str, favoured: Sequence[str], seed: int) -> Measured | None:
    report = _report("full", ALL_ENCODERS, None, seed)
    if report is None:
        return None
    scores = dict(zip(report.encoders, report.scores()[:, report.tasks.index(task)]))
    others = {name: score for name, score in scores.items() if name not in favoured}
    best, rival = max(favoured, key=scores.__getitem__), max(others, key=others.__getitem__)
    note = "; ".join(f"{name} {score:.3f}" for name, score in sorted(scores.items(), key=lambda each: -each[1]))
    return Measured(float(scores[best]), float(others[rival]), note)


@cache
def _law(seed: int, resamples: int = 0) -> ScalingLaw:
    rng = np.random.default_rng(seed)
    size, data = 10 ** rng.uniform(5, 9, 60), 10 ** rng.uniform(6, 10, 60)
    loss = TRUE_LAW["E"] + TRUE_LAW["A"] * size ** -TRUE_LAW["a"] + TRUE_LAW["B"] * data ** -TRUE_LAW["b"]
    return ScalingLaw(resamples=resamples, random_state=seed).fit(size, data, loss * np.exp(0.01 * rng.normal(size=60)))


def _tunes(count: int, seed: int) -> tuple[dict[str, Melody], dict[str, Melody]]:
    """Folk tunes for training and test, of different n-grams: collections hold the same tune more than once."""
    seen: set[tuple[int, ...]] = set()
    chosen: dict[str, Melody] = {}
    tunes = folk_tunes("aird")
    for number in np.random.default_rng(seed).permutation(len(tunes)):
        melody = [(n.onset, n.onset + n.duration, n.pitch) for n in tunes[number].notes]
        found = set(grams(melody))
        if len(found) >= 20 and not found & seen:
            seen |= found
            chosen[f"{number} {tunes[number].title}"] = melody
        if len(chosen) == count:
            break
    names = list(chosen)
    cut = len(names) * 4 // 5
    return {name: chosen[name] for name in names[:cut]}, {name: chosen[name] for name in names[cut:]}


def _moved(melody: Melody, semitones: int, slower: float) -> Melody:
    return [(slower * on, slower * off, pitch + semitones) for on, off, pitch in melody]
