"""Jobs of the survey: compare representations, query the catalogue, fit scaling laws, check cards, list tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import polars

from harmonia.audio.music_fm_survey import catalogue as records
from harmonia.audio.music_fm_survey import report
from harmonia.audio.music_fm_survey.benchmark import ProbeName, ProbingBenchmark, Report
from harmonia.audio.music_fm_survey.encoders import ENCODERS, Encoder, load_encoders
from harmonia.audio.music_fm_survey.features import TableEncoder, read_features
from harmonia.audio.music_fm_survey.frame_job import frames
from harmonia.audio.music_fm_survey.hearing import hear
from harmonia.audio.music_fm_survey.layouts import Layout, dataset
from harmonia.audio.music_fm_survey.pieces import read_collection
from harmonia.audio.music_fm_survey.scaling import ScalingLaw
from harmonia.audio.music_fm_survey.tasks import ClipSet, Size, Task, offline_tasks
from harmonia.audio.music_fm_survey.tools import export_schema
from harmonia.audio.music_fm_survey.transparency import TransparencyCard
from harmonia.core.errors import InputError, WeightsError
from harmonia.core.progress import say
from harmonia.core.task import Field
from harmonia.data import demo_song
from harmonia.media import Audio, Figure, Table, Text
from harmonia.parts.probing import Targets

HERE = Path(__file__).parent
QUICK = ("log-mel", "mfcc", "chroma", "cqt", "mert-random", "mert", "specttra")
HEARD = ("key", "tempo", "style", "arousal", "valence")

Encoders = Annotated[
    list[str] | None,
    Field(f"representations: {', '.join(ENCODERS)}; all but the slow mel-roformer unless given, or all"),
]
Probe = Annotated[ProbeName, Field("ridge (closed form), logistic, mlp (MARBLE's network, slow), knn")]
Folds = Annotated[int, Field("folds of the nested cross-validation", ge=3, le=20)]
Seed = Annotated[int, Field("random seed", ge=0)]


class Probed(TypedDict):
    scores: Annotated[Table, Field("score of each representation in each task, with 95 % interval and controls")]
    significance: Annotated[Table, Field("whether the best of each task beats the others: p by permutation, Holm")]
    report: Annotated[Figure, Field("scores with intervals, means, layers")]


class Compared(Probed):
    heard: Annotated[Table, Field("what the best probe of each task hears in the song")]


class Queried(TypedDict):
    records: Annotated[Table, Field("records that match; what nobody checked says unverified")]
    report: Annotated[Figure, Field("models by paradigm, data sets by what they hold, years")]


class Fitted(TypedDict):
    law: Annotated[Table, Field("E, A, B, a, b with 95 % intervals")]
    budget: Annotated[Table, Field("best size and data for budgets of computation")]
    report: Annotated[Figure, Field("runs on the law, errors, the best split of a budget")]


class Checked(TypedDict):
    findings: Annotated[Text, Field("what the checks found")]
    card: Annotated[Text, Field("the card as Markdown")]
    report: Annotated[Figure, Field("checks and data")]


class Listed(TypedDict):
    schema: Annotated[Text, Field("tools as JSON: name, description, JSON schema of the arguments, outputs")]
    report: Annotated[Figure, Field("which tools take and give which media")]


def compare(
    song: Annotated[Audio, Field("a song that the best probes listen to at the end", example=demo_song)],
    *,
    encoders: Encoders = None,
    probe: Probe = "ridge",
    size: Annotated[Size, Field("small renders 500 excerpts in half a minute, full 1,440 in a few; once")] = "small",
    folds: Folds = 5,
    seed: Seed = 0,
) -> Compared:
    """Compare representations of music on seven rendered tasks, and let the best listen to a song.

    Key, instrument, pitch class, tempo, style, arousal and valence are read off frozen features by probes; layers and
    penalties are chosen by nested cross-validation, instruments are tested on programs no probe was fitted on. Each
    score has an interval and a control on shuffled labels. Excerpts and features are kept, so the next run is quick.
    """
    benchmark = ProbingBenchmark(probe, folds=folds, seed=seed)
    for task in offline_tasks(size, seed=seed):
        benchmark.add_task(task)
    chosen = available(encoders)
    found = benchmark.run(chosen)
    return {**_probed(found), "heard": hear(song, found, chosen, HEARD)}


def probe(
    features: Annotated[Path, Field("features of clips: .npy [clips, d] or [clips, layers, d], or .npz of several")],
    labels: Annotated[Table, Field("a table with a row for each clip, in the same order")],
    *,
    target: Annotated[str, Field("column to predict; the last one unless given")] = "",
    groups: Annotated[str, Field("column of what belongs together; 'group', 'song' or 'artist' is found by name")] = "",
    split: Annotated[str, Field("column that says 'test' for test clips; 'split' is found by name")] = "",
    probe: Probe = "ridge",
    folds: Folds = 5,
    seed: Seed = 0,
) -> Probed:
    """Probe features of your own: any model, any task.

    Give features as an array, or several representations of the same clips in one .npz. A column of groups keeps songs
    or artists from being split between training and test.
    """
    sets = read_features(features)
    for name, rows in sets.items():
        if len(rows) != labels.frame.height:
            got = f"'{name}': {len(rows)} rows, {labels.frame.height} labels"
            raise InputError("features have a row for each label", got, "Align them.")
    task = _task_of(
        labels, target, groups, split, ClipSet("own features", [str(row) for row in range(labels.frame.height)])
    )
    own: dict[str, Encoder] = {name: TableEncoder(name, rows) for name, rows in sets.items()}
    benchmark = ProbingBenchmark(probe, folds=folds, seed=seed, cached=False).add_task(task)
    return _probed(benchmark.run(own))


def clips(
    labels: Annotated[Table, Field("a table with a column of sound files and a column of labels")],
    *,
    target: Annotated[str, Field("column to predict; the last one unless given")] = "",
    path: Annotated[str, Field("column of files, relative to --folder")] = "path",
    folder: Annotated[Path | None, Field("folder of the files; the current one unless given")] = None,
    groups: Annotated[str, Field("column of what belongs together; 'group', 'song' or 'artist' is found by name")] = "",
    split: Annotated[str, Field("column that says 'test' for test clips; 'split' is found by name")] = "",
    encoders: Encoders = None,
    probe: Probe = "ridge",
    folds: Folds = 5,
    seed: Seed = 0,
) -> Probed:
    """Compare representations on labelled sound files of your own, of any rate and length."""
    base = folder or Path()
    files = ClipSet.of_files([base / name for name in labels.column(path).cast(polars.String).to_list()])
    benchmark = ProbingBenchmark(probe, folds=folds, seed=seed)
    benchmark.add_task(_task_of(labels, target, groups, split, files))
    return _probed(benchmark.run(available(encoders)))


def public(
    folder: Annotated[Path, Field("folder of a public data set as it is published")],
    *,
    layout: Annotated[Layout, Field("which data set; jsonl is MARBLE v2's form of any")],
    encoders: Encoders = None,
    probe: Probe = "ridge",
    folds: Folds = 5,
    seed: Seed = 0,
) -> Probed:
    """Compare representations on a public data set with its published test set, such as GTZAN or NSynth."""
    benchmark = ProbingBenchmark(probe, folds=folds, seed=seed).add_task(dataset(folder, layout))
    return _probed(benchmark.run(available(encoders)))


def catalogue(
    *,
    where: Annotated[
        list[str] | None,
        Field("conditions such as modality=symbolic paradigm=GPT min_year=2023 weights__license__commercial=true"),
    ] = None,
    kind: Annotated[Literal["models", "datasets", "methods"], Field("which records")] = "models",
) -> Queried:
    """Query the survey's taxonomy: 74 models, 41 data sets, and the methods of this library."""
    whole = records.load()
    found = whole.query(kind, **dict(_condition(text) for text in where or ()))
    return {"records": records.as_table(found), "report": Figure(report.catalogue(whole, found).figure)}


def _melody_runs() -> Table:
    say("The example's runs were measured: melody models of 5 sizes on 4 amounts of folk tunes, 600 steps each.")
    return Table.read(HERE / "melody_runs.csv")


def scaling(
    runs: Annotated[Table, Field("training runs: parameters, data, held-out loss", example=_melody_runs)],
    *,
    params: Annotated[str, Field("column of parameters; the first one unless given")] = "",
    data: Annotated[str, Field("column of data (tokens, notes, hours); the second one unless given")] = "",
    loss: Annotated[str, Field("column of losses; the third one unless given")] = "",
    resamples: Annotated[int, Field("bootstrap resamples for the intervals", ge=20, le=5000)] = 200,
    seed: Seed = 0,
) -> Fitted:
    """Fit L(N, D) = E + A N^-a + B D^-b to training runs, with intervals and the best use of a budget."""
    if len(runs.numeric_names()) < 3 and not (params and data and loss):
        got = ", ".join(runs.names)
        raise InputError(
            "runs have columns of parameters, data and loss", got, "Name them by --params, --data, --loss."
        )
    names = [given or runs.numeric_names()[i] for i, given in enumerate((params, data, loss))]
    values = runs.numeric(names)
    law = ScalingLaw(resamples=resamples, random_state=seed).fit(*values.T)
    intervals = law.confint()
    fitted = [
        {"parameter": n, "value": getattr(law, f"{n}_"), "low": lo, "high": hi} for n, (lo, hi) in intervals.items()
    ]
    spent = 6 * (law.size_ * law.data_).max()
    budgets = [(factor, law.optimal(float(factor * spent))) for factor in (0.1, 1.0, 10.0, 100.0)]
    rows = [
        {"budget": f"{factor:g} times the largest run", "operations": factor * spent, **best._asdict()}
        for factor, best in budgets
    ]
    return {
        "law": Table(polars.DataFrame(fitted)),
        "budget": Table(polars.DataFrame(rows)),
        "report": report.scaling(law, names[1]),
    }


def card(
    folder: Annotated[
        Path,
        Field(
            "folder of a model, with card.toml or card.json", example=lambda: HERE.parent / "mel_roformer" / "weights"
        ),
    ],
    *,
    training: Annotated[Path | None, Field("folder of training pieces: MIDI, MusicXML, ABC, or sound")] = None,
    test: Annotated[Path | None, Field("folder of test pieces")] = None,
    outputs: Annotated[Path | None, Field("folder of pieces that the model generated")] = None,
    commercial: Annotated[bool, Field("judge the licences for commercial use, whatever the card says")] = False,
) -> Checked:
    """Check a model's card against files: licences, overlap of training and test, memorisation, checksums.

    What nobody stated says "unknown". Melodies are compared under any transposition and tempo, sounds by landmarks.
    """
    stated = TransparencyCard.from_folder(folder)
    if commercial:
        stated = stated.for_commerce()
    given = {
        name: read_collection(path)
        for name, path in (("training", training), ("test", test), ("outputs", outputs))
        if path
    }
    findings = [*stated.verify(folder), *stated.check(**given)]
    needs = {"overlap": {"training", "test"}, "memorisation": {"training", "outputs"}}
    unchecked = [check for check, pieces in needs.items() if not pieces <= set(given)]
    lines = [f"{each.check}: {each.what}: {', '.join(each.parts)}" for each in findings]
    return {
        "findings": Text("\n".join(lines) or "Nothing was found."),
        "card": Text(stated.to_markdown(findings)),
        "report": report.card(stated, findings, unchecked),
    }


def tools() -> Listed:
    """List every job of this library as a tool for an agent."""
    schemas = export_schema()
    return {"schema": Text(json.dumps(schemas, indent=1)), "report": report.tools(schemas)}


JOBS = (compare, probe, clips, public, frames, catalogue, scaling, card, tools)


def available(names: list[str] | None) -> dict[str, Encoder]:
    """The encoders that were asked for, or all of the quick ones whose weights are there."""
    if names == ["all"]:
        names = list(ENCODERS)
    elif names:
        return load_encoders(names)
    found: dict[str, Encoder] = {}
    for name in names or QUICK:
        try:
            found |= load_encoders([name])
        except WeightsError as error:
            say(f"Left out {name}: {error}")
    return found


def _probed(found: Report) -> Probed:
    several = len(found.encoders) > 1
    only = polars.DataFrame({"best": found.encoders, "other": ["none to compare with"]}) if not several else None
    return {
        "scores": found.table(),
        "significance": found.significance() if only is None else Table(only),
        "report": found.plot(),
    }


def _task_of(labels: Table, target: str, groups: str, split: str, clips: ClipSet) -> Task:
    """A task from a table: the target column, a column of groups, a column that marks the test set."""
    column = labels.column(target or labels.names[-1])
    if column.null_count():
        row = column.is_null().arg_max()
        raise InputError(f"column '{column.name}' has an empty row", f"row {(row or 0) + 1}", "Fill or drop it.")
    together = groups or next((name for name in labels.names if name.lower() in ("group", "song", "artist")), "")
    parts = split or next((name for name in labels.names if name.lower() == "split"), "")
    test = labels.column(parts).cast(polars.String).str.to_lowercase().to_numpy() == "test" if parts else None
    if together:
        say(f"Clips of one '{together}' stay on one side.")
    return Task(
        column.name,
        clips,
        Targets.of(column.to_numpy() if column.dtype.is_numeric() else np.array(column.cast(polars.String).to_list())),
        groups=labels.column(together).cast(polars.String).to_numpy().astype(str) if together else None,
        test=test,
        source="own clips",
    )


def _condition(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign or not name.strip() or not value.strip():
        raise InputError("a condition is a field, =, and a word", f"'{text}'", "Write modality=symbolic.")
    words: dict[str, Any] = {"true": True, "false": False}
    word = value.strip()
    number = float(word) if word.replace(".", "", 1).isdigit() else word
    return name.strip(), words.get(word.lower(), int(word) if word.isdigit() else number)
