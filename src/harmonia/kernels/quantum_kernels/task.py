"""Jobs: classify a table by a quantum kernel, train a variational circuit on it, find how many shots it takes."""

from __future__ import annotations

import warnings
from typing import Annotated, Literal, TypedDict

import numpy as np
import polars
from numpy import ndarray
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV, train_test_split

from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.core.task import Field
from harmonia.kernels.quantum_kernels import figures
from harmonia.kernels.quantum_kernels.ad_hoc import make_ad_hoc
from harmonia.kernels.quantum_kernels.device import DeviceNoise
from harmonia.kernels.quantum_kernels.diagnostics import (
    Concentration,
    concentration_report,
    effective_rank,
    geometric_difference,
    kernel_target_alignment,
)
from harmonia.kernels.quantum_kernels.inputs import Inputs, Scale
from harmonia.kernels.quantum_kernels.kernel import QuantumKernel
from harmonia.kernels.quantum_kernels.shots import accuracy_by_shots
from harmonia.kernels.quantum_kernels.study import (
    BANDWIDTHS,
    LeftOut,
    fewest_rows,
    gaussian_search,
    leave_out,
    probabilities,
    quantum_search,
    with_components,
)
from harmonia.kernels.quantum_kernels.svm import QuantumSVC
from harmonia.kernels.quantum_kernels.variational import VariationalQuantumClassifier
from harmonia.media import Figure, Table

Entangled = Literal["full", "linear", "circular", "pairwise"]
Mitigated = Literal["none", "inverse", "extrapolate"]


def ad_hoc_table() -> Table:
    """200 points of the paper's artificial data: two angles, and a label that only the feature map makes simple."""
    X, y = make_ad_hoc(200, random_state=7)
    return Table(polars.DataFrame({"x1": X[:, 0], "x2": X[:, 1], "label": np.where(y > 0, "plus", "minus")}))


class Classified(TypedDict):
    predictions: Annotated[Table, Field("every row: class, left-out or new prediction, decision value, probabilities")]
    accuracy: Annotated[float, Field("of the quantum kernel on rows that were left out")]
    metrics: Annotated[Table, Field("quantum and Gaussian kernel: accuracy, alignment, rank, overlaps, settings")]
    kernel: Annotated[Figure, Field("both kernel matrices, rows ordered by class")]
    decision: Annotated[Figure, Field("decisions of both in the plane of two inputs")]
    concentration: Annotated[Figure, Field("accuracy and overlaps of rows by bandwidth")]


def classify(
    table: Annotated[Table, Field("one example a row; rows without a class are predicted", example=ad_hoc_table)],
    *,
    target: Annotated[str, Field("column of classes; the last one unless given")] = "",
    qubits: Annotated[int, Field("most qubits; more inputs become principal components", ge=1, le=14)] = 8,
    reps: Annotated[int, Field("repetitions of the feature map", ge=1, le=10)] = 2,
    entanglement: Annotated[Entangled, Field("which qubits are coupled")] = "full",
    scale: Annotated[
        Scale, Field("minmax: inputs become angles from 0 to 2 pi; angles: they are angles; auto: found by looking")
    ] = "auto",
    shots: Annotated[int, Field("runs of each circuit; 0 for the exact kernel", ge=0)] = 0,
    noise: Annotated[float, Field("depolarising probability of a circuit", ge=0, lt=1)] = 0.0,
    seed: Annotated[int, Field("random seed of folds and shots", ge=0)] = 0,
) -> Classified:
    """Classify a table with a quantum kernel, simulated exactly, and say whether a Gaussian one does better.

    Bandwidth and penalty are chosen by cross-validation inside another, for both kernels from equally many settings,
    so that every row with a class is predicted by models that did not see it.
    """
    data = Inputs.of(table, target, qubits, scale, seed)
    qubits = data.qubits(qubits, fewest_rows(len(data.y)))
    options = {"reps": reps, "entanglement": entanglement, "shots": shots or None, "noise": noise}
    ours = quantum_search(data.x.shape[1], qubits, angles=data.angles, seed=seed, **options)
    theirs = gaussian_search(data.x.shape[1], qubits, seed=seed)
    left_out = leave_out(ours, data.known, data.y, seed, "Quantum kernel")
    rival = leave_out(theirs, data.known, data.y, seed, "Gaussian kernel")
    say(f"Accuracy on rows left out: quantum {left_out.accuracy:.3f}, Gaussian {rival.accuracy:.3f}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours.fit(data.known, data.y), theirs.fit(data.known, data.y)
    machine: QuantumSVC = ours.best_estimator_[-1]
    angles = machine.to_angles(ours.best_estimator_[:-1].transform(data.known))
    exact = machine.kernel_(angles).double().numpy()
    gaussian = _gaussian_matrix(theirs, data.known)
    report = concentration_report(machine.kernel_, angles.double().numpy())
    say(f"At the chosen bandwidth {machine.bandwidth:g}: {report}.")
    return {
        "predictions": _predictions(data, ours, left_out),
        "accuracy": left_out.accuracy,
        "metrics": _metrics(data, (ours, theirs), (left_out, rival), (exact, gaussian), report),
        "kernel": figures.kernel_figure(exact, gaussian, data.y),
        "decision": figures.decision_figure(
            {"quantum kernel": ours.best_estimator_, "Gaussian kernel": theirs.best_estimator_},
            data.known,
            data.y,
            data.axes,
        ),
        "concentration": _concentration(ours, machine, angles.double().numpy()),
    }


def _gaussian_matrix(search: GridSearchCV, x: ndarray) -> ndarray:
    """The kernel matrix of the chosen Gaussian kernel."""
    model = search.best_estimator_
    return rbf_kernel(model[:-1].transform(x), gamma=model[-1].gamma)


def _predictions(data: Inputs, ours: GridSearchCV, left_out: LeftOut) -> Table:
    """Every row of the table; those with a class that were used by models that did not see them."""
    classes = ours.classes_
    labels, decisions = ours.predict(data.x).astype(str), ours.decision_function(data.x)
    labels[data.index], decisions[data.index] = left_out.labels, left_out.decisions
    role = np.full(len(data.x), "new", dtype=object)
    role[data.index] = "left out"
    columns: dict[str, object] = {
        "row": np.arange(1, len(data.x) + 1),
        data.name: polars.Series(data.values, dtype=polars.String),
        "role": role.tolist(),
        "prediction": labels.tolist(),
    }
    if decisions.ndim == 1:
        columns[f"decision ({classes[1]} if positive)"] = decisions
    else:
        columns |= {f"decision of {name}": decisions[:, k] for k, name in enumerate(classes)}
    shares = probabilities(left_out, data.y, decisions)
    columns |= {f"probability of {name}": shares[:, k] for k, name in enumerate(classes)}
    return Table(polars.DataFrame(columns))


def _metrics(
    data: Inputs,
    searches: tuple[GridSearchCV, GridSearchCV],
    found: tuple[LeftOut, LeftOut],
    matrices: tuple[ndarray, ndarray],
    report: Concentration,
) -> Table:
    ours, theirs = searches
    settings = (
        f"bandwidth {ours.best_estimator_[-1].bandwidth:g}, C {ours.best_estimator_[-1].C:g}",
        f"gamma {theirs.best_estimator_[-1].gamma:.3g}, C {theirs.best_estimator_[-1].C:g}",
    )
    upper = np.triu_indices(len(data.y), 1)
    rows = [
        {
            "kernel": name,
            "accuracy": left_out.accuracy,
            "standard deviation over folds": float(left_out.fold_accuracy.std()),
            "target alignment": kernel_target_alignment(matrix, data.y),
            "effective rank": effective_rank(matrix),
            "mean overlap of rows": float(matrix[upper].mean()),
            "settings": setting,
        }
        for name, left_out, matrix, setting in zip(("quantum", "Gaussian"), found, matrices, settings)
    ]
    commonest = np.unique(data.y, return_counts=True)[1].max() / len(data.y)
    rows.append({"kernel": "none: the commonest class", "accuracy": float(commonest)})
    difference = geometric_difference(matrices[1], matrices[0], ridge=1e-6)
    say(
        f"Geometric difference from the Gaussian kernel {difference:.3g}, to be seen beside the root of the number of "
        f"rows, {len(data.y) ** 0.5:.3g}; random states would overlap by {report.random:.2g}."
    )
    return Table(polars.DataFrame(rows))


def _concentration(ours: GridSearchCV, machine: QuantumSVC, angles: ndarray) -> Figure:
    """By bandwidth: the best accuracy of the inner folds, and how much rows overlap."""
    tried = np.array([one["machine__bandwidth"] for one in ours.cv_results_["params"]])
    scores, spread = ours.cv_results_["mean_test_score"], ours.cv_results_["std_test_score"]
    best = [max(np.flatnonzero(tried == c), key=lambda k: scores[k]) for c in BANDWIDTHS]
    reports = [concentration_report(QuantumKernel(machine.kernel_.feature_map, c), angles) for c in BANDWIDTHS]
    return figures.concentration_figure(BANDWIDTHS, scores[best], spread[best], reports, machine.bandwidth)


class Trained(TypedDict):
    accuracy: Annotated[float, Field("on rows that were left out")]
    predictions: Annotated[Table, Field("rows left out and rows without a class, with probabilities")]
    curve: Annotated[Figure, Field("risk by step, and accuracy by depth")]
    landscape: Annotated[Figure, Field("what the circuit reads in the plane of two inputs")]


def train(
    table: Annotated[Table, Field("one example a row; rows without a class are predicted", example=ad_hoc_table)],
    *,
    target: Annotated[str, Field("column of classes; the last one unless given")] = "",
    depth: Annotated[int, Field("entangling layers of the circuit; all from 0 to this are compared", ge=0, le=8)] = 2,
    optimizer: Annotated[Literal["adam", "spsa"], Field("exact gradients, or two evaluations a step")] = "adam",
    shots: Annotated[int, Field("read-outs a row and evaluation; 0 for exact expectations", ge=0)] = 0,
    noise: Annotated[float, Field("depolarising probability of a circuit", ge=0, lt=1)] = 0.0,
    readout: Annotated[Literal["parity", "last"], Field("of all qubits, or of one alone")] = "parity",
    qubits: Annotated[int, Field("most qubits; more inputs become principal components", ge=1, le=10)] = 4,
    scale: Annotated[
        Scale, Field("minmax: inputs become angles from 0 to 2 pi; angles: they are angles; auto: found by looking")
    ] = "auto",
    seed: Annotated[int, Field("random seed of starts, shots and the rows left out", ge=0)] = 0,
) -> Trained:
    """Train a variational quantum circuit on a table; a quarter of the rows is left out to judge it."""
    data = Inputs.of(table, target, qubits, scale, seed)
    if np.unique(data.y, return_counts=True)[1].min() < 4:
        raise InputError("every class needs at least four rows", "fewer", "Merge it with another class or drop it.")
    seen, unseen = train_test_split(np.arange(len(data.y)), test_size=0.25, stratify=data.y, random_state=seed)
    qubits = data.qubits(qubits, len(seen))
    models = {}
    for layers in track(range(depth + 1), "Depths"):
        machine = VariationalQuantumClassifier(
            layers,
            optimizer=optimizer,
            shots=shots or None,
            noise=noise,
            readout=readout,
            scaling=None if data.angles else "minmax",
            random_state=seed,
        )
        models[layers] = with_components(machine, data.x.shape[1], qubits, seed).fit(data.known[seen], data.y[seen])
    scores = [model.score(data.known[unseen], data.y[unseen]) for model in models.values()]
    model = models[depth]
    say(f"Accuracy on {len(unseen)} rows left out: {scores[-1]:.3f} at depth {depth}.")
    rows = np.concatenate([data.index[unseen], np.flatnonzero([value is None for value in data.values])])
    shares = model.predict_proba(data.x[rows])
    columns: dict[str, object] = {
        "row": rows + 1,
        data.name: polars.Series([data.values[row] for row in rows], dtype=polars.String),
        "role": ["left out"] * len(unseen) + ["new"] * (len(rows) - len(unseen)),
        "prediction": model.predict(data.x[rows]).tolist(),
    }
    columns |= {f"probability of {name}": shares[:, k] for k, name in enumerate(model.classes_)}
    return {
        "accuracy": float(scores[-1]),
        "predictions": Table(polars.DataFrame(columns)),
        "curve": figures.training_figure({k: one[-1].loss_curve_ for k, one in models.items()}, scores),
        "landscape": figures.decision_figure({f"circuit of depth {depth}": model}, data.known, data.y, data.axes),
    }


class Planned(TypedDict):
    shots: Annotated[float, Field("runs a pair after which the device is within a point of the exact kernel; or inf")]
    plan: Annotated[Table, Field("accuracy by shots: mean and standard deviation over fresh shots")]
    picture: Annotated[Figure, Field("the same as a picture")]


def plan(
    table: Annotated[Table, Field("one example a row with its class", example=ad_hoc_table)],
    *,
    target: Annotated[str, Field("column of classes; the last one unless given")] = "",
    bandwidth: Annotated[float, Field("factor of all angles", gt=0)] = 1.0,
    penalty: Annotated[float, Field("penalty C of the margin", gt=0)] = 100.0,
    noise: Annotated[float, Field("depolarising probability of a circuit", ge=0, lt=1)] = 0.0,
    readout_error: Annotated[float, Field("probability that a bit is read wrongly", ge=0, lt=0.5)] = 0.0,
    mitigation: Annotated[Mitigated, Field("how errors are undone")] = "none",
    repeats: Annotated[int, Field("fresh sets of shots", ge=1, le=100)] = 5,
    qubits: Annotated[int, Field("most qubits; more inputs become principal components", ge=1, le=10)] = 6,
    scale: Annotated[
        Scale, Field("minmax: inputs become angles from 0 to 2 pi; angles: they are angles; auto: found by looking")
    ] = "auto",
    seed: Annotated[int, Field("random seed of the rows left out and the shots", ge=0)] = 0,
) -> Planned:
    """Find how many runs of each circuit a quantum computer needs before its kernel classifies a table well."""
    data = Inputs.of(table, target, qubits, scale, seed)
    curve = accuracy_by_shots(
        data,
        QuantumSVC(penalty, bandwidth=bandwidth, scaling=None if data.angles else "minmax"),
        DeviceNoise(noise, readout_error, mitigation),
        repeats,
        qubits,
        seed,
    )
    needed = curve.shots_within(0.01)
    say(f"Exact kernel {curve.exact:.3f}; within a point of it after {needed:g} runs of each circuit.")
    return {"shots": needed, "plan": Table(curve.frame()), "picture": figures.shots_figure(curve)}


JOBS = (classify, train, plan)
