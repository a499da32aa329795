"""A detector on labelled songs: the paper's numbers over all songs and over its partitions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars
from jaxtyping import Float
from numpy import ndarray
from sklearn.metrics import f1_score

from harmonia.audio.sonics.collection import LabelledSong, targets
from harmonia.core.errors import InputError
from harmonia.media import Table
from harmonia.parts.detection import detection


def scores(songs: Sequence[LabelledSong], probabilities: Float[ndarray, " songs"], threshold: float = 0.5) -> Table:
    """F1, sensitivity, specificity, AUC and equal error rate, then by partition.

    As in the paper: sensitivity by generator and by kind of fake, specificity by whether training heard the singer,
    macro F1 by length.

    Arguments:
        songs: What was scored.
        probabilities: Of synthetic; songs without one (silence) are left out.
        threshold: Above it a song is called synthetic.

    Raises:
        InputError: no song could be scored.
    """
    heard = np.flatnonzero(np.isfinite(probabilities))
    if not len(heard):
        raise InputError("no song could be scored", f"{len(songs)} silent songs", "Pass songs that sound.")
    songs, p = [songs[int(i)] for i in heard], probabilities[heard].astype(np.float64)
    labels, said = targets(songs), (p > threshold).astype(int)
    overall = detection(labels, p, threshold)._asdict()
    rows = [("all", name, value, len(songs)) for name, value in overall.items() if np.isfinite(value)]
    for category in sorted({key for song in songs for key in song.partition}):
        for value in sorted({song.partition[category] for song in songs if category in song.partition}):
            inside = [i for i, song in enumerate(songs) if song.partition.get(category) == value]
            y, s = labels[inside], said[inside]
            if category == "length":
                name, number = "macro F1", float(f1_score(y, s, average="macro", zero_division=0))
            else:
                name = "specificity" if category == "singer" else "sensitivity"
                number = float((s == y).mean())
            rows.append((f"{category}: {value}", name, number, len(inside)))
    frame = polars.DataFrame(rows, schema=["songs", "measure", "value", "count"], orient="row")
    return Table(frame.with_columns(polars.col("value").round(4)))
