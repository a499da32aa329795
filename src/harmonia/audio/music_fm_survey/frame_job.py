"""The job that probes representations over time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypedDict

from harmonia.audio.music_fm_survey import report
from harmonia.audio.music_fm_survey.frame_encoders import FRAME_ENCODERS, load_frame_encoders
from harmonia.audio.music_fm_survey.frame_probe import frame_table, probe_frames
from harmonia.audio.music_fm_survey.frame_songs import TASKS_OF, FrameLayout, rendered_songs, true_songs
from harmonia.audio.music_fm_survey.frame_tasks import frame_tasks
from harmonia.core.errors import InputError
from harmonia.core.task import Field
from harmonia.media import Figure, Table


class FrameProbed(TypedDict):
    scores: Annotated[Table, Field("score of each representation, without listening, and of the truth itself")]
    report: Annotated[Figure, Field("scores with intervals, between floor and ceiling")]


def frames(
    folder: Annotated[Path | None, Field("folder of a public data set; songs are rendered when left out")] = None,
    *,
    layout: Annotated[FrameLayout, Field("which data set")] = "rendered",
    tasks: Annotated[list[str] | None, Field("beats, downbeats, chords, melody, notes, vocals; all that fit")] = None,
    encoders: Annotated[
        list[str] | None, Field(f"representations: {', '.join(FRAME_ENCODERS)}; all unless given")
    ] = None,
    songs: Annotated[int, Field("at most so many songs; 0 takes all of a data set, 40 rendered ones", ge=0)] = 0,
    seconds: Annotated[float, Field("of each song of a data set, from its start", unit="s", ge=5, le=600)] = 30.0,
    folds: Annotated[int, Field("folds of the cross-validation over songs", ge=3, le=20)] = 5,
    seed: Annotated[int, Field("random seed", ge=0)] = 0,
) -> FrameProbed:
    """Probe representations over time: beats, downbeats, chords, melody, notes, the singing voice.

    MARBLE's tasks on sequences. Ridge probes read every frame; songs are never split. Scores are those of mir_eval (F1
    of beats within 70 ms, chord and melody accuracy, F1 of notes) and the SDR of the voice, a mean over songs with its
    95 % interval, beside what is reached without listening and by the truth itself.
    """
    if (folder is None) != (layout == "rendered"):
        got = f"layout '{layout}', {'no folder' if folder is None else 'a folder'}"
        raise InputError("a folder and its layout go together", got, "Pass both, or none for rendered songs.")
    fitting = TASKS_OF[layout]
    unknown = [name for name in tasks or () if name not in fitting]
    if unknown:
        raise InputError(f"songs of the layout '{layout}' have no such task", unknown[0], f"Use {', '.join(fitting)}.")
    chosen = load_frame_encoders(encoders)
    known = (
        rendered_songs(songs or 40, seed) if folder is None else true_songs(folder, layout, seconds=seconds, most=songs)
    )
    cells = [
        cell
        for task in frame_tasks(tasks or fitting)
        for cell in probe_frames(task, known, chosen, folds=folds, seed=seed)
    ]
    return {"scores": frame_table(cells), "report": report.over_time(cells)}
