"""The estimator: songs in, mood tags with valence and arousal out; trains on data sets with different labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy import ndarray
from sklearn.base import BaseEstimator

from harmonia.audio.mert import MERTModel
from harmonia.audio.unified_mer.checkpoint import load_network, packed
from harmonia.audio.unified_mer.chords import Backend, ChordRecognizer
from harmonia.audio.unified_mer.datasets import EmotionDataset
from harmonia.audio.unified_mer.features import (
    SEGMENT_SECONDS,
    FeatureTable,
    HeardSong,
    MERTLayers,
    MusicFeatures,
    SoundStatistics,
    hear,
)
from harmonia.audio.unified_mer.losses import Distillation
from harmonia.audio.unified_mer.network import EmotionConfig, EmotionNetwork, TeacherNetwork
from harmonia.audio.unified_mer.result import EmotionResult
from harmonia.audio.unified_mer.scores import rating_scores, tag_scores
from harmonia.audio.unified_mer.training import train_student
from harmonia.core.errors import InputError
from harmonia.core.weights import write_safetensors
from harmonia.media import Audio
from harmonia.parts.training import Plan, Trained

RELEASED_MERT = "hub:m-a-p/MERT-v1-95M"
OWN_SEGMENT = 10.0
"""Segments of the embedded weights, in seconds: as long as the pieces they were trained on."""

_BATCH = 256
Song: TypeAlias = str | Path | Audio


class MusicEmotionModel(BaseEstimator):
    """Tells mood tags, valence and arousal of songs (Music2Emo), and learns from mixed data sets.

    Arguments:
        weights: ``embedded`` (small, trained on rendered music), a checkpoint of the release such as J_all.ckpt, one of
            our own, or an `EmotionNetwork`.
        mert: Where MERT-95M is, for networks that listen to it; ``hub:m-a-p/MERT-v1-95M`` unless given.
        chords: Which recogniser hears the chords, see `ChordRecognizer`.
        chord_weights: A checkpoint of BTC, which the released networks were trained with.
        compat: Encode harmony as the release's inference does: every key counts as major.
        kd: How `fit` distils teachers: ``mse_bce``, ``official`` or None.
        steps: Optimizer steps of `fit`.
        batch: Songs of each set in a step.
        learning_rate: Peak learning rate; the release trains at 1e-4, constantly, for up to 500 epochs.
        held_out: Share of each set on which `fit` chooses the best moment of the run.
        device: ``auto``, ``cpu`` or ``cuda``.
        random_state: Seed of `fit`.

    Attributes:
        network_: The network.
        features_: What it listens with.
        history_: Losses of `fit`.
        held_out_: The sets on which `fit` chose the best moment.

    Example:
        >>> from harmonia.data import demo_song
        >>> model = MusicEmotionModel(chords="templates", device="cpu")
        >>> emotion = model.predict([demo_song()])
        >>> emotion.proba.shape[0], bool(1 < emotion.valence[0] < 9)
        (1, True)
    """

    def __init__(
        self,
        weights: str | Path | EmotionNetwork = "embedded",
        *,
        mert: str | Path | MERTModel | None = None,
        chords: Backend = "auto",
        chord_weights: str | Path | None = None,
        compat: bool = False,
        kd: Distillation | None = "mse_bce",
        steps: int = 1500,
        batch: int = 16,
        learning_rate: float = 1e-3,
        held_out: float = 0.15,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        random_state: int = 0,
    ) -> None:
        self.weights = weights
        self.mert = mert
        self.chords = chords
        self.chord_weights = chord_weights
        self.compat = compat
        self.kd = kd
        self.steps = steps
        self.batch = batch
        self.learning_rate = learning_rate
        self.held_out = held_out
        self.device = device
        self.random_state = random_state

    network_: EmotionNetwork
    features_: MusicFeatures
    segment_: float

    @classmethod
    def from_official(
        cls,
        checkpoint: str | Path,
        btc: str | Path | None = None,
        mert: str | Path | MERTModel | None = None,
        **options: Any,
    ) -> MusicEmotionModel:
        """The released model: its checkpoint, BTC's, and MERT-95M's, all loaded strictly.

        Raises:
            WeightsError: a file that is missing or does not fit.
        """
        return cls(checkpoint, mert=mert, chord_weights=btc, **options).load()

    def load(self) -> MusicEmotionModel:
        """Load the network and what it listens with, unless that was done."""
        if hasattr(self, "network_"):
            return self
        if isinstance(self.weights, EmotionNetwork):
            network, wants = self.weights.eval(), {"features": "", "segment": str(SEGMENT_SECONDS)}
            wants["features"] = "statistics" if network.config.music_width == SoundStatistics.width else "mert"
        else:
            network, wants = load_network(self.weights)
        self._listen_with(wants["features"])
        if self.features_.width != network.config.music_width:
            got = f"{self.features_.width} numbers, not {network.config.music_width}"
            raise InputError("the network wants other features", got, "Give the MERT model it was trained with.")
        self.segment_ = float(wants["segment"])
        self.network_ = network.to(self._device())
        return self

    def _listen_with(self, kind: str) -> None:
        self.features_ = (
            SoundStatistics() if kind == "statistics" else MERTLayers(self.mert or RELEASED_MERT, device=self.device)
        )
        self.recognizer_ = ChordRecognizer(self.chords, self.chord_weights)

    def fit(
        self,
        datasets: Sequence[EmotionDataset],
        y: Any = None,
        *,
        teachers: Mapping[str, TeacherNetwork] | None = None,
        folder: Path | None = None,
    ) -> MusicEmotionModel:
        """Train on all sets together; those without features are listened to first.

        Songs are described by MERT where `mert` is given, else by statistics of the sound.

        Arguments:
            datasets: Tags, ratings, or both kinds; tag sets share one vocabulary.
            teachers: One for each set, by name; trained first unless given, where `kd` wants them.
            folder: Where checkpoints go; an unfinished run in it is resumed.
        """
        self._listen_with("mert" if self.mert is not None else "statistics")
        self.segment_ = SEGMENT_SECONDS if self.mert is not None else OWN_SEGMENT
        ready = [
            each if each.table is not None else each.listen(self.features_, self.recognizer_, self.segment_)
            for each in datasets
        ]
        parts = [each.split(self.held_out, self.random_state) for each in ready]
        self.held_out_ = [part[1] for part in parts]
        trained = self.train([part[0] for part in parts], self.held_out_, teachers=teachers, folder=folder)
        self.network_, self.history_ = trained.model.to(self._device()), trained.history
        return self

    def train(
        self,
        sets: Sequence[EmotionDataset],
        validation: Sequence[EmotionDataset],
        *,
        teachers: Mapping[str, TeacherNetwork] | None = None,
        folder: Path | None = None,
        chords: int = 100,
    ) -> Trained[EmotionNetwork]:
        """The run behind `fit`, with validation sets of one's own."""
        tagged = next((each for each in sets if each.kind == "tags"), None)
        width = next((each.table.segments.shape[1] for each in sets if each.table is not None), 0)
        shape = {} if tagged is None else {"tags": tagged.tags}
        config = EmotionConfig(music_width=width, standardize=True, chords=chords, **shape)  # type: ignore[arg-type]
        plan = Plan(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup=min(50, 1 + self.steps // 10),
            ema_decay=0.99,
            evaluate_every=max(1, self.steps // 30),
            checkpoint_every=max(1, self.steps // 3),
            seed=self.random_state,
        )
        return train_student(
            sets,
            config,
            plan,
            validation=validation,
            kd=self.kd,
            teachers=teachers,
            batch=self.batch,
            folder=folder,
            device=self.device,
        )

    def hear(self, song: Song, detail: int = 1) -> HeardSong:
        """What the model hears in a song, before any emotion."""
        self.load()
        sound = song if isinstance(song, Audio) else Audio.read(song)
        return hear(sound, self.features_, self.recognizer_, segment=self.segment_, detail=detail, compat=self.compat)

    def predict(self, X: Sequence[Song] | FeatureTable | Song) -> EmotionResult:
        """Emotions of songs: paths, sounds, or features.

        Raises:
            InputError: no songs, one that cannot be read, or features of another width.
        """
        self.load()
        if isinstance(X, str | Path | Audio):
            raise InputError("emotions are told of a list of songs", type(X).__name__, "Pass a list.")
        table = X if isinstance(X, FeatureTable) else FeatureTable.of([_row(self.hear(song)) for song in X])
        if table.segments.shape[1] != self.network_.config.music_width:
            got = f"{table.segments.shape[1]}, not {self.network_.config.music_width}"
            raise InputError("the features have another width", got, "Listen with the model itself.")
        return self._emotions(table)

    def predict_curve(self, song: Song | HeardSong, detail: int = 2) -> EmotionResult:
        """Emotions over a song, in overlapping windows; each knows the chords in it and the key of the whole."""
        heard = song if isinstance(song, HeardSong) else self.hear(song, detail)
        found = self._emotions(heard.curve_table())
        return EmotionResult(found.valence, found.arousal, found.proba, found.vocabulary, heard.spans.mean(1))

    def score(self, X: EmotionDataset | Sequence[EmotionDataset], y: Any = None) -> float:
        """Mean R2 over valence and arousal of all rated sets; macro average precision where there are only tags."""
        sets = [X] if isinstance(X, EmotionDataset) else list(X)
        scores = [self.scores(each) for each in sets]
        rated = [(s["r2_valence"] + s["r2_arousal"]) / 2 for s in scores if "r2_valence" in s]
        return float(np.mean(rated or [s["pr_auc"] for s in scores]))

    def scores(self, dataset: EmotionDataset) -> dict[str, float]:
        """All metrics of one set, see `tag_scores` and `rating_scores`."""
        self.load()
        if dataset.table is None:
            dataset = dataset.listen(self.features_, self.recognizer_, self.segment_)
        assert dataset.table is not None
        found = self.predict(dataset.table)
        if dataset.kind == "tags":
            return tag_scores(dataset.labels, found.proba)
        return rating_scores(dataset.labels, np.column_stack([found.valence, found.arousal]))

    def save(self, path: str | Path) -> Path:
        """Write the network with its configuration; matrices in half precision."""
        return write_safetensors(path, *packed(self.network_, self.features_, self.segment_))

    @torch.no_grad()
    def _emotions(self, table: FeatureTable) -> EmotionResult:
        device = self._device()
        tags, emotions = [], []
        for begin in range(0, len(table), _BATCH):
            rows = np.arange(begin, min(begin + _BATCH, len(table)))
            logits, emotion = self.network_(*(column.to(device) for column in table.inputs(rows)))
            tags.append(logits.sigmoid().cpu())
            emotions.append(emotion.cpu())
        both = torch.cat(emotions).numpy()
        return EmotionResult(both[:, 0], both[:, 1], torch.cat(tags).numpy(), self.network_.config.tags)

    def _device(self) -> torch.device:
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("no CUDA device", "device='cuda'", "Use device='auto' or 'cpu'.")
        return torch.device("cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu")


def _row(heard: HeardSong) -> tuple[ndarray, Any]:
    return heard.segments, heard.harmony
