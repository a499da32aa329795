"""What the best representations hear in a song: probes learnt on labelled excerpts, applied to it piece by piece."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars
from scipy.special import softmax

from harmonia.audio.music_fm_survey.benchmark import Report
from harmonia.audio.music_fm_survey.encoders import Encoder
from harmonia.core.errors import InputError
from harmonia.media import Audio, Table
from harmonia.parts.probing import ProbeClassifier, ProbeRegressor

PIECE_S = 4.0
"""Length of the excerpts that the probes were fitted on."""


def hear(song: Audio, report: Report, encoders: Mapping[str, Encoder], tasks: tuple[str, ...]) -> Table:
    """For each task: what the probe on the best encoder and its best layer says of a song.

    The song is heard in pieces of four seconds, whose predictions are averaged. What is predicted is only as good as
    the score beside it, and that was measured on rendered excerpts.

    Arguments:
        song: The song.
        report: What the benchmark found.
        encoders: Those it was run with.
        tasks: Which of its tasks make sense of a song.

    Raises:
        InputError: no task of the report is among `tasks`.
    """
    rows = []
    pieces = _pieces(song)
    for name in report.tasks:
        if name not in tasks:
            continue
        best = max((report.cell(encoder, name) for encoder in report.encoders), key=lambda c: c.probed.score.score)
        encoder, task, layer = encoders[best.encoder], best.task, best.probed.layer
        train = np.asarray(task.clips.features(encoder)[:, layer], dtype=np.float64)
        heard = encoder.transform(pieces)[:, layer].astype(np.float64)
        row = {"task": name, "encoder": best.encoder, "score": best.probed.score.score, "metric": task.score.name}
        if task.targets.goal == "regression":
            probe = ProbeRegressor().fit(train, task.targets.values[:, 0])
            values = probe.predict(heard)
            rows.append(row | {"heard": f"{values.mean():.2f}", "share": None, "spread": float(values.std())})
        else:
            classifier = ProbeClassifier("logistic").fit(train, task.targets.classes[task.targets.values], task.groups)
            # Pieces of a song are no independent witnesses: their logits are averaged, not added up.
            logits = heard @ classifier.coef_ + classifier.intercept_
            shares = softmax(logits.mean(0))
            rows.append(
                row
                | {"heard": str(task.targets.classes[shares.argmax()]), "share": float(shares.max()), "spread": None}
            )
    if not rows:
        raise InputError(
            "no task of this benchmark makes sense of a song", ", ".join(report.tasks), "Run key or style."
        )
    schema = {"share": polars.Float64, "spread": polars.Float64}
    return Table(polars.DataFrame(rows, schema_overrides=schema))


def _pieces(song: Audio) -> list[Audio]:
    if song.seconds <= PIECE_S:
        return [song]
    starts = np.arange(0, song.seconds - PIECE_S / 2, PIECE_S)
    return [
        song.cut(min(start, song.seconds - PIECE_S), min(start, song.seconds - PIECE_S) + PIECE_S) for start in starts
    ]
