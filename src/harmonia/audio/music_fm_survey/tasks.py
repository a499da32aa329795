"""Tasks of the probing benchmark: clips, what is true of them, what belongs together, and the score."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray

from harmonia.audio.music_fm_survey.encoders import Clip, Encoder
from harmonia.core.errors import InputError
from harmonia.core.media import whole_file
from harmonia.core.progress import track
from harmonia.data.cache import cache_folder
from harmonia.data.render.labelled import RENDERER, TONICS, Kind, excerpts
from harmonia.media import Audio
from harmonia.parts.probing import Gain, Metric, Targets, macro

Size = Literal["small", "full"]
COUNTS: dict[str, dict[Kind, int]] = {
    "small": {"notes": 300, "pieces": 144, "moods": 60},
    "full": {"notes": 720, "pieces": 480, "moods": 240},
}
_BLOCK = 32


@dataclass(frozen=True, eq=False)
class ClipSet:
    """Clips that several tasks may share, with a key by which their features are cached.

    Attributes:
        key: What the clips are: another key for other clips.
        clips: Sounds, or paths of files.
    """

    key: str
    clips: Sequence[Clip]

    @classmethod
    def of_files(cls, paths: Sequence[str | Path]) -> ClipSet:
        """Files, told apart by path, size and time of change.

        Raises:
            InputError: a file that is not there.
        """
        digest = hashlib.sha256()
        for path in map(Path, paths):
            if not path.is_file():
                raise InputError("a clip is missing", path, "Check the data set's folder.")
            state = path.stat()
            digest.update(f"{path.resolve()} {state.st_size} {state.st_mtime_ns}\n".encode())
        return cls(f"files {digest.hexdigest()}", [Path(path) for path in paths])

    def features(self, encoder: Encoder, *, cached: bool = True) -> Float[ndarray, "clips layers d"]:
        """Features of all clips ``[clips, layers, d]``; a memory map in half precision where cached."""
        key = hashlib.sha256(f"{self.key}\n{encoder.fingerprint}".encode()).hexdigest()[:24]
        path = cache_folder("features") / f"{key}.npy"
        if not cached or not path.is_file():
            starts = range(0, len(self.clips), _BLOCK)
            blocks = [encoder.transform(self.clips[i : i + _BLOCK]) for i in track(starts, encoder.about)]
            features = np.concatenate(blocks)
            if not cached:
                return features
            with whole_file(path) as temporary:
                np.save(temporary, features.astype(np.float16))
        return np.load(path, mmap_mode="r")


@dataclass(frozen=True, eq=False)
class Task:
    """Something to predict of clips.

    Attributes:
        name: Of the task.
        clips: What is listened to.
        targets: What is true.
        groups: What must not be split between training and test, such as songs, artists or instruments.
        test: The clips of a published test set; cross-validation over all clips where there is none.
        metric: The score; the usual one of the targets when None.
        source: Where the clips come from.
    """

    name: str
    clips: ClipSet
    targets: Targets
    groups: ndarray | None = None
    test: ndarray | None = None
    metric: Metric | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if len(self.targets) != len(self.clips.clips):
            got = f"{len(self.targets)} targets, {len(self.clips.clips)} clips"
            raise InputError(f"the task '{self.name}' has one target for each clip", got, "Align them.")

    @property
    def score(self) -> Metric:
        """The score that is reported."""
        return self.metric or self.targets.metric

    @property
    def chance(self) -> float:
        """The best score without listening: always the same class, random ranks, or the mean."""
        if self.targets.goal == "regression":
            return 0.0
        if self.targets.goal == "multilabel":
            return 0.5 if self.score.name == "ROC-AUC" else float(self.targets.values.mean())
        constant = np.eye(len(self.targets.classes))
        weights = np.ones((1, len(self.targets)))
        each = [self.score(self.targets.values, np.tile(row, (len(self.targets), 1)), weights) for row in constant]
        return float(max(macro(score)[0] for score in each))


def key_gains(classes: Sequence[str] | ndarray) -> Float64[ndarray, "k k"]:
    """MIREX's score of one key for another, as mir_eval's weighted score.

    1 for the same key, 0.5 for one whose tonic is a fifth above the truth (same mode), 0.3 for the relative, 0.2 for
    the parallel key, else 0.

    Arguments:
        classes: Keys such as ``"A minor"`` or ``"Gb major"``.

    Example:
        >>> key_gains(["C major", "G major", "A minor", "C minor"])[0]
        array([1. , 0.5, 0.3, 0.2])
    """
    parsed = [_parsed_key(name) for name in classes]
    return np.array([[_key_gain(truth, guess) for guess in parsed] for truth in parsed])


def _parsed_key(name: str) -> tuple[int, bool]:
    tonic, _, mode = str(name).partition(" ")
    sharps = {"C#": "Db", "D#": "Eb", "F#": "Gb", "G#": "Ab", "A#": "Bb", "Cb": "B", "Fb": "E", "E#": "F", "B#": "C"}
    tonic = sharps.get(tonic[:1].upper() + tonic[1:], tonic[:1].upper() + tonic[1:])
    if tonic not in TONICS or mode not in ("major", "minor"):
        raise InputError("this is no key", f"'{name}'", "Write keys as 'A minor' or 'Gb major'.")
    return TONICS.index(tonic), mode == "minor"


def _key_gain(truth: tuple[int, bool], guess: tuple[int, bool]) -> float:
    (tonic, minor), (other, other_minor) = truth, guess
    if truth == guess:
        return 1.0
    if minor == other_minor:
        return 0.5 if (other - tonic) % 12 == 7 else 0.0
    if other == tonic:
        return 0.2
    return 0.3 if (other - tonic) % 12 == (3 if minor else 9) else 0.0


def key_task(name: str, clips: ClipSet, keys: ndarray, **more: object) -> Task:
    """A task of 24 keys under MIREX's weighted score."""
    targets = Targets.of(keys, "multiclass")
    return Task(name, clips, targets, metric=Gain(key_gains(targets.classes), "weighted key score"), **more)  # type: ignore[arg-type]


def offline_tasks(size: Size = "small", *, seed: int = 0, only: Sequence[str] | None = None) -> list[Task]:
    """Seven tasks of rendered excerpts: key, instrument, pitch, tempo, style, arousal, valence.

    Instruments and pitch classes are tested on General MIDI programs that no probe was fitted on.

    Arguments:
        size: ``small`` renders in half a minute, ``full`` in a few.
        seed: Another seed gives other excerpts.
        only: Names of the tasks; what they do not need is not rendered.

    Raises:
        InputError: an unknown task.
        MissingDependency: symusic, FluidSynth or the soundfont is not installed.
    """
    names = list(only) if only is not None else [name for each in _LABELS.values() for name in each]
    known = {name: kind for kind, each in _LABELS.items() for name in each}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise InputError("there is no such task", unknown[0], f"Use some of {', '.join(known)}.")
    made = {
        kind: excerpts(kind, COUNTS[size][kind], seed=seed) for kind in dict.fromkeys(known[name] for name in names)
    }
    sets = {
        kind: ClipSet(f"excerpts {RENDERER} {kind} {len(e)} {seed}", [Audio(row, e.rate) for row in e.samples])
        for kind, e in made.items()
    }
    return [_offline(name, sets[known[name]], made[known[name]].labels) for name in names]


_LABELS: dict[Kind, tuple[str, ...]] = {
    "pieces": ("key", "tempo", "style"),
    "notes": ("instrument", "pitch"),
    "moods": ("arousal", "valence"),
}


def _offline(name: str, clips: ClipSet, labels: dict[str, ndarray]) -> Task:
    if name == "key":
        return key_task("key", clips, labels["key"], source="rendered")
    groups = labels.get("program")
    if name == "pitch":
        return Task("pitch", clips, Targets.of(labels["pitch"] % 12, "multiclass"), groups=groups, source="rendered")
    column = "family" if name == "instrument" else name
    return Task(name, clips, Targets.of(labels[column]), groups=groups, source="rendered")
