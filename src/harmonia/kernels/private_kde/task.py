"""Jobs: similarities to a private table, private classification, and both beside what came before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import polars
from jaxtyping import Float64
from scipy.spatial.distance import cdist
from sklearn.model_selection import train_test_split

from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.core.task import Field
from harmonia.data.tables import digits
from harmonia.kernels.private_kde import figures, prior
from harmonia.kernels.private_kde.classifier import PrivateSimilarityClassifier
from harmonia.kernels.private_kde.distances import PrivateDistanceSum
from harmonia.kernels.private_kde.kde import PrivateKDE
from harmonia.kernels.private_kde.similarity import Similarity
from harmonia.media import Figure, Table
from harmonia.parts.features import Target
from harmonia.parts.privacy.mechanism import Budget, Mechanism

Measure = Literal["gaussian", "exponential", "laplace", "cauchy", "inverse", "inverse-l1", "l1", "l2", "sqeuclidean"]
DISTANCES = ("l1", "l2", "sqeuclidean")
SWEEP = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
SIDE = 60


def visits() -> Table:
    """40,000 generated positions in a unit square: six places, two streets and people everywhere."""
    generator = np.random.default_rng(0)
    places = generator.uniform(0.15, 0.85, (6, 2))
    around = places[generator.choice(6, 24_000, p=[0.3, 0.25, 0.15, 0.15, 0.1, 0.05])]
    along = generator.random((12_000, 1))
    streets = np.where(
        generator.random((12_000, 1)) < 0.5, np.c_[along, 0.35 + 0.2 * along], np.c_[0.7 - 0.3 * along, along]
    )
    positions = np.r_[
        around + 0.035 * generator.standard_normal((24_000, 2)),
        streets + 0.01 * generator.standard_normal((12_000, 2)),
        generator.random((4_000, 2)),
    ].clip(0, 1)
    return Table(polars.DataFrame({"east": positions[:, 0], "north": positions[:, 1]}))


def digit_table() -> Table:
    """1,797 digits: 64 grey values and which digit it is, from scikit-learn."""
    found = digits()
    columns = {f"pixel_{i}": values for i, values in enumerate(found.images.reshape(-1, 64).T)}
    return Table(polars.DataFrame(columns | {"digit": [str(label) for label in found.labels]}))


class Answered(TypedDict):
    scores: Annotated[Table, Field("every query with its answer and standard error; may be shared")]
    spent: Annotated[str, Field("what the release cost")]
    answers: Annotated[Figure, Field("the answers: a map where there are two columns")]
    expected: Annotated[Figure, Field("error to expect by epsilon, known before the release")]


def similarity(
    private: Annotated[Table, Field("private rows: their columns of numbers", example=visits)],
    queries: Annotated[
        Table | None, Field("public rows to compare with them; a grid or random rows if left out")
    ] = None,
    *,
    kernel: Annotated[
        Measure,
        Field("kernel of the mean similarity, or distance of the mean distance, where each column's range is 1"),
    ] = "gaussian",
    eps: Annotated[float, Field("privacy budget, for adding or removing one row", gt=0, le=1000)] = 1.0,
    delta: Annotated[float, Field("probability by which eps may fail; 0: never", ge=0, le=0.1)] = 1e-6,
    bounds: Annotated[
        str, Field("public ranges: 0:1 for all, or age=0:100,income=0:1e6; by the queries if left out")
    ] = "",
    bandwidth: Annotated[float, Field("of the kernel, where each column's range is 1", gt=0, le=100)] = 0.05,
    features: Annotated[int, Field("random features, an even number", ge=2, le=200_000)] = 2000,
    project: Annotated[int, Field("numbers a row is projected to first; 0: none", ge=0, le=10_000)] = 0,
    sketch: Annotated[str, Field("file to write the shareable sketch to (.npz); it takes the table's own units")] = "",
    exact: Annotated[bool, Field("also show exact answers; that picture is not private")] = False,
    seed: Annotated[int, Field("seed of features and grid; the noise has none", ge=0, le=2**31 - 1)] = 0,
) -> Answered:
    """Release a sketch of a private table and answer how similar it is, on average, to any public row.

    Columns are scaled by their public ranges, so distances are in units of these; private values outside a range are
    moved to its end. The scores and the sketch may be shared: whoever has them learns about any one private row no more
    than eps and delta say. More queries cost nothing; a loaded sketch takes them with the table's columns and units.
    """
    names = private.numeric_names()
    if taken := {"value", "std"} & set(names):
        raise InputError("a column has the name of an answer", ", ".join(sorted(taken)), "Rename it.")
    rows = private.numeric(names)
    lower, upper = _ranges(bounds, private, queries)
    asked = _grid(lower, upper, seed) if queries is None else queries.numeric(names)
    y = polars.DataFrame(asked, schema=names)
    model = _model(kernel, (lower, upper), eps, delta, bandwidth, features, project, seed)
    model.fit(polars.DataFrame(rows, schema=names))
    say(f"Released: {model.privacy_spent().epsilon:g}-private sums of about {model.n_rows_:,.0f} rows.")
    sign = -1 if kernel in DISTANCES else 1
    values = sign * model.score_samples(y)
    _, std = model.query(y, return_std=True)
    std = std / model.n_rows_
    name = kernel.capitalize() if kernel in ("gaussian", "laplace", "cauchy") else kernel
    quantity = f"mean {name} distance" if kernel in DISTANCES else f"mean {name} similarity"
    if sketch:
        say(f"Wrote {model.save(Path(sketch))}.")
    truth = None
    if exact:
        truth = _exact(kernel, bandwidth, *((values - lower) / (upper - lower) for values in (rows, asked)))
    if queries is None and len(names) == 2:
        extent = (float(lower[0]), float(upper[0]), float(lower[1]), float(upper[1]))
        noise = float(np.median(std))
        square = None if truth is None else truth.reshape(SIDE, SIDE)
        answers = figures.map_figure(values.reshape(SIDE, SIDE), square, extent, names, quantity, noise)
    else:
        answers = figures.profile_figure(values, std, truth, quantity)
    frame = y.with_columns(value=values, std=std)
    spent = model.privacy_spent()
    return {
        "scores": Table(frame),
        "spent": f"epsilon {spent.epsilon:g} at delta {spent.delta:g}, for adding or removing one row",
        "answers": answers,
        "expected": _expected(model, len(names), delta, quantity),
    }


def _model(
    kernel: str,
    ranges: tuple[np.ndarray, np.ndarray],
    eps: float,
    delta: float,
    bandwidth: float,
    features: int,
    project: int,
    seed: int,
) -> Any:
    """The structure: of a Gaussian kernel in one or two columns the fast Gauss transform, exact up to noise."""
    if kernel in DISTANCES:
        return PrivateDistanceSum(kernel, eps=eps, delta=delta, bounds=(0.0, 1.0), ranges=ranges, random_state=seed)
    options: dict[str, Any] = {"n_features": features, "project_dim": project or None, "random_state": seed}
    if kernel == "gaussian" and len(ranges[0]) <= 2 and not project and bandwidth >= 0.01:
        options = {"method": "hermite", "bounds": (0.0, 1.0), "order": 10}
    return PrivateKDE(kernel, bandwidth=bandwidth, eps=eps, delta=delta, ranges=ranges, **options)


def _ranges(bounds: str, private: Table, queries: Table | None) -> tuple[np.ndarray, np.ndarray]:
    """Public ranges of the columns of numbers: as given, of the public queries, or as is known of the example."""
    names = private.numeric_names()
    if not bounds and queries is None and private.frame.equals(visits().frame):
        bounds = "0:1"
    if not bounds:
        if queries is None:
            mend = "Give bounds, e.g. bounds=0:1 or bounds=age=0:100,height=0:2.5, known without the rows."
            raise InputError("the public ranges of the columns are missing", "neither bounds nor queries", mend)
        public = queries.numeric(names)
        lower, upper = public.min(0), public.max(0)
        return lower, np.where(upper > lower, upper, lower + 1)
    parts = [part.strip() for part in bounds.split(",") if part.strip()]
    given = dict(part.rsplit("=", 1) for part in parts if "=" in part)
    common = [part for part in parts if "=" not in part]
    unknown = set(given) - set(names)
    missing = [name for name in names if name not in given]
    if unknown or len(common) > 1 or (missing and not common):
        wrong = sorted(unknown) or missing or common
        raise InputError("bounds do not fit the columns", ", ".join(wrong), f"Give one for each: {', '.join(names)}.")
    try:
        ends = np.array([[float(end) for end in (given.get(name) or common[0]).split(":")] for name in names])
        lower, upper = ends.T
    except ValueError:
        raise InputError("a range is two numbers with a colon", bounds, "Give e.g. 0:1.") from None
    if not (np.isfinite(ends).all() and (lower < upper).all()):
        raise InputError("ranges are finite and go upward", bounds, "Give e.g. 0:1.")
    return lower, upper


def _grid(lower: np.ndarray, upper: np.ndarray, seed: int) -> Float64[np.ndarray, "q d"]:
    if len(lower) == 2:
        ends = [np.linspace(a, b, SIDE) for a, b in zip(lower, upper)]
        return np.stack(np.meshgrid(*ends, indexing="ij"), -1).reshape(-1, 2)
    return np.random.default_rng(seed).uniform(lower, upper, (500, len(lower)))


def _exact(kernel: str, bandwidth: float, x: np.ndarray, y: np.ndarray) -> Float64[np.ndarray, " q"]:
    metric = {"l1": "cityblock", "l2": "euclidean", "sqeuclidean": "sqeuclidean"}.get(kernel)
    parts = []
    for part in track(np.array_split(y, -(-len(y) // 100)), "Exact answers"):
        if metric is None:
            parts.append(Similarity.of(kernel).matrix(x, part, bandwidth).mean(0))
        else:
            parts.append(cdist(x, part, metric).mean(0))
    return np.concatenate(parts)


def _expected(model: Any, columns: int, delta: float, quantity: str) -> Figure:
    """From the noisy number of rows; the true one is private."""
    rows, sweep = model.n_rows_, np.geomspace(0.01, 10, 25).tolist()

    def noise(e: float, at: float) -> float:
        return float(np.sqrt(Mechanism.calibrate(model.sketch_.blocks, Budget(e, at)).cost)) / rows

    lines = {f"noise, delta = {at:g}": [noise(e, at) for e in sweep] for at in dict.fromkeys([0.0, delta])}
    sampling = model.expected_error(round(rows), columns).sampling
    return figures.expected_figure(sweep, lines, sampling, float(model.eps), quantity, rows)


class Classified(TypedDict):
    predictions: Annotated[Table, Field("every row without a class, or else every held-out row, with its prediction")]
    accuracy: Annotated[float, Field("share of held-out rows that get their class")]
    curve: Annotated[Figure, Field("accuracy by epsilon")]
    confusion: Annotated[Figure, Field("which classes are taken for which")]


def classify(
    table: Annotated[Table, Field("private rows with a class; rows without one are predicted", example=digit_table)],
    *,
    target: Annotated[str, Field("column with the class; the last one unless given")] = "",
    eps: Annotated[float, Field("privacy budget, for adding or removing one row", gt=0, le=1000)] = 1.0,
    delta: Annotated[float, Field("probability by which eps may fail; 0: never", ge=0, le=0.1)] = 1e-5,
    bounds: Annotated[
        str, Field("public ranges: 0:16 for all columns, or age=0:100,...; rows have length 1 if left out")
    ] = "",
    bandwidth: Annotated[float, Field("of the Gaussian kernel", gt=0, le=1000)] = 0.5,
    features: Annotated[int, Field("random features, an even number", ge=2, le=200_000)] = 2000,
    seed: Annotated[int, Field("seed of features and split; the noise has none", ge=0, le=2**31 - 1)] = 0,
) -> Classified:
    """Classify by the average similarity to each class's private rows: no training, one release.

    A fifth of the labelled rows is held out to judge by; accuracies and pictures of them are for the owner of the data.
    Rows are scaled to length 1, or their columns by public ranges.
    """
    wanted = Target.of(table, target, "classification")
    frame = table.frame.drop(wanted.name)
    names = Table(frame).numeric_names()
    x = Table(frame).numeric(names)
    if bounds:
        lower, upper = _ranges(bounds, Table(frame), None)
        x = (x.clip(lower, upper) - lower) / (upper - lower)
    else:
        x = x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-300)
    known = wanted.known
    labels = np.array([str(value) for value in wanted.values])
    classes, counts = np.unique(labels[known], return_counts=True)
    if counts.min() < 5:
        got = f"{counts.min()} of '{classes[counts.argmin()]}'"
        raise InputError("every class needs at least 5 rows", got, "Merge or drop it.")
    fit_x, test_x, fit_y, test_y = train_test_split(
        x[known], labels[known], test_size=0.2, random_state=seed, stratify=labels[known]
    )

    def fitted(e: float, at: float, **options: Any) -> PrivateSimilarityClassifier:
        model = PrivateSimilarityClassifier(
            eps=e, delta=at, bandwidth=bandwidth, n_features=features, random_state=seed, **options
        )
        return model.fit(fit_x, fit_y)

    def curve(at: float) -> list[float]:
        return [float(fitted(e, at).score(test_x, test_y)) for e in track(SWEEP, f"delta = {at:g}")]

    model = fitted(eps, delta)
    predicted = model.predict(test_x)
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (np.searchsorted(classes, test_y), np.searchsorted(classes, predicted)), 1)
    if known.all():
        answers = polars.DataFrame({wanted.name: test_y, "prediction": predicted})
    else:
        answers = table.frame.filter(~polars.Series(known)).with_columns(
            polars.Series("prediction", model.predict(x[~known]))
        )
    open_model = fitted(np.inf, 0.0, secure=False)
    return {
        "predictions": Table(answers),
        "accuracy": float((predicted == test_y).mean()),
        "curve": figures.accuracy_figure(
            SWEEP,
            {f"delta = {at:g}": curve(at) for at in dict.fromkeys([delta, 0.0])},
            float(open_model.score(test_x, test_y)),
            float(counts.max() / counts.sum()),
            eps,
        ),
        "confusion": figures.confusion_figure(confusion, list(classes), wanted.name),
    }


class Beside(TypedDict):
    errors: Annotated[Table, Field("mean errors by structure and epsilon")]
    picture: Annotated[Figure, Field("the same, and the time of a query")]


def compare(
    private: Annotated[Table, Field("rows: their first columns of numbers", example=visits)],
    *,
    bounds: Annotated[str, Field("public ranges: 0:1 for all, or age=0:100,...; values outside are moved in")] = "",
    bandwidth: Annotated[float, Field("of the Gaussian kernel, where each column's range is 1", gt=0, le=100)] = 0.1,
    features: Annotated[int, Field("random features, an even number", ge=2, le=20_000)] = 1000,
    largest: Annotated[int, Field("most rows of the time curve", ge=1000, le=10_000_000)] = 1_000_000,
    seed: Annotated[int, Field("random seed, of the noise too: these results are not private", ge=0, le=2**31 - 1)] = 0,
) -> Beside:
    """Measure error and query time beside the paper's shells and prior work, on your own table.

    This compares with exact answers, so nothing it gives is private.
    """
    lower, upper = _ranges(bounds, private, None)
    x = (private.numeric().clip(lower, upper) - lower) / (upper - lower)
    y = np.random.default_rng(seed).random((200, x.shape[1]))
    distances = prior.l1_errors(x, y, SWEEP, seed)
    kernels = prior.kernel_errors(x, x[:: max(1, len(x) // 200)], bandwidth, SWEEP, features, seed=seed)
    sizes = np.unique(np.geomspace(1000, largest, 4).round().astype(int)).tolist()
    times = prior.query_times(sizes)
    rows = [
        {"quantity": quantity, "structure": name, "epsilon": e, "error": error}
        for quantity, found in (("l1 sum, relative", distances), ("mean Gaussian kernel", kernels))
        for name, errors in found.errors.items()
        for e, error in zip(found.eps, errors)
    ]
    return {
        "errors": Table(polars.DataFrame(rows)),
        "picture": figures.prior_figure(distances, kernels, sizes, times),
    }


JOBS = (similarity, classify, compare)
