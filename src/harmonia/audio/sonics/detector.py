"""The detector a user holds: songs in, verdicts out; scikit-learn's conventions where they make sense for sounds."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy import ndarray
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GroupShuffleSplit
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn import functional as F

from harmonia.audio.sonics.calibration import Calibration
from harmonia.audio.sonics.checkpoint import read_detector, weights_file
from harmonia.audio.sonics.front_end import RATE, SonicsFrontEnd
from harmonia.audio.sonics.network import SpecTTTra, SpecTTTraConfig
from harmonia.audio.sonics.scanning import Network, scan
from harmonia.audio.sonics.training import checked_labels, mel_levels, train_detector
from harmonia.audio.sonics.verdict import Verdict
from harmonia.audio.sonics.windows import Song, Songs, Source, listening
from harmonia.core.card import Card
from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.core.weights import Checkpoint, locate
from harmonia.parts.training import Plan

HERE = Path(__file__).parent
EMBEDDED = HERE / "weights" / "detector.safetensors"
SMALL = SpecTTTraConfig(input_shape=(128, 128), dim=96, depth=4, heads=3, seconds=5.0)
"""The embedded detector: alpha's tokens for 5 s, 413,345 parameters."""

_RELEASED = "songs of 2023 and 2024: Suno v2 to v3.5 and Udio against YouTube (the SONICS data set)"


class SyntheticSongDetector(ClassifierMixin, BaseEstimator):
    """Tells synthetic songs (class 1) from real ones (class 0), window by window.

    The logit of a song is the mean over windows that slide over all of it. Songs are files, `Audio`, or arrays of
    samples, which need their rate; everything is resampled to 16 kHz and made mono.

    Arguments:
        config: Shape of the network that `fit` trains.
        hop: Seconds between windows; a half of their length unless given.
        steps: Steps of training.
        batch: Windows of a step.
        learning_rate: Peak of its schedule.
        compat: ``sonics`` listens to one window only, which starts at three quarters of what is left of the song, as
            the official evaluation does.
        dtype: Type the network computes in; ``bfloat16`` is about twice as fast on recent processors and moves logits
            by some hundredths.
        device: ``auto``, ``cpu`` or ``cuda``.
        random_state: Seed of the training.

    Attributes:
        model_: The network.
        calibration_: How its logits become probabilities.
        trained_on_: What it learnt from, in words.
        classes_: 0 and 1.

    Example:
        >>> detector = SyntheticSongDetector.from_pretrained(device="cpu")
        >>> from harmonia.data import demo_song
        >>> verdict = detector.explain(demo_song())
        >>> verdict.synthetic, len(verdict.logits)
        (False, 7)
        >>> detector.features([demo_song()]).shape     # songs, layers, width
        (1, 5, 96)
    """

    def __init__(
        self,
        config: SpecTTTraConfig = SMALL,
        *,
        hop: float | None = None,
        steps: int = 900,
        batch: int = 32,
        learning_rate: float = 1e-3,
        compat: str = "none",
        dtype: str = "float32",
        device: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.config = config
        self.hop = hop
        self.steps = steps
        self.batch = batch
        self.learning_rate = learning_rate
        self.compat = compat
        self.dtype = dtype
        self.device = device
        self.random_state = random_state

    model_: SpecTTTra
    calibration_: Calibration
    trained_on_: str
    classes_: Int64[ndarray, " two"]

    @classmethod
    def from_pretrained(cls, source: str | Path = "embedded", **parameters: Any) -> SyntheticSongDetector:
        """A detector with trained weights.

        Arguments:
            source: ``embedded`` (small; knows re-synthesised renderings only), a folder or file of released weights or
                of ours, or ``hub:<repo>/<file>``.
            parameters: Of the constructor.

        Raises:
            WeightsError: weights that cannot be found, read, or loaded strictly.
        """
        if Path(source).is_dir():
            path = weights_file(source)
        else:
            path = locate(source, embedded=EMBEDDED, released=Card.load(HERE / "card.toml").weights)
        loaded = read_detector(path)
        detector = cls(**{"config": loaded.model.config, **parameters})
        told = json.loads(loaded.metadata.get("calibration", "{}"))
        calibration = Calibration(**{**told, "real": tuple(told.get("real", ()))})
        return detector._with(loaded.model, calibration, loaded.metadata.get("trained_on", _RELEASED))

    def fit(
        self,
        X: Songs,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        sr: int | None = None,
        *,
        folder: Path | None = None,
    ) -> SyntheticSongDetector:
        """Train on labelled songs; a fifth of the groups is kept apart to calibrate the probabilities.

        Arguments:
            X: Songs.
            y: 1 for synthetic, 0 for real.
            groups: What belongs together (an artist, a piece and all that was made from it); each song for itself
                unless given.
            sr: Rate of songs given as samples.
            folder: Where checkpoints go; an unfinished run in it is resumed.

        Raises:
            InputError: songs that cannot be read, labels that are not 0 and 1, too few songs of a kind.
        """
        labels = checked_labels(y, len(X))
        names = np.arange(len(X)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
        front_end = SonicsFrontEnd(self.config.input_shape)
        levels = []
        for song in track(X, "Listening"):
            with listening(song, sr) as source:
                sound = torch.from_numpy(np.array(source.read(0, source.total)))
            levels.append(mel_levels(front_end, F.pad(sound, (0, max(0, self.config.samples - len(sound))))))
        split = GroupShuffleSplit(1, test_size=0.2, random_state=self.random_state)
        learn, kept = next(split.split(names, labels, names)) if len(set(names)) > 4 else (np.arange(len(X)), [])
        plan = Plan(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup=min(100, 1 + self.steps // 10),
            weight_decay=0.05,
            ema_decay=0.995,
            clip_norm=5.0,
            evaluate_every=150,
            checkpoint_every=150,
            seed=self.random_state,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            model = SpecTTTra(self.config)
        tests = ([levels[i] for i in kept], labels[kept]) if len(set(labels[kept].tolist())) == 2 else None
        trained = train_detector(
            model,
            [levels[i] for i in learn],
            labels[learn],
            plan,
            batch=self.batch,
            held_out=tests,
            folder=folder,
            device=self.device,
        )
        self.history_ = trained.history
        self._with(trained.model.cpu(), Calibration(), f"{len(X)} songs given to fit, {int(labels.sum())} synthetic")
        if tests is not None and min(np.bincount(tests[1])) >= 5:
            self.calibrate([X[i] for i in kept], tests[1], sr)
        return self

    def explain(self, song: Song, sr: int | None = None) -> Verdict:
        """The verdict on a song with the score of every window.

        Arguments:
            song: A file (of any length: it is never held as a whole), a sound, or samples.
            sr: Rate of samples in hertz.

        Raises:
            InputError: a song that cannot be read.
        """
        check_is_fitted(self, "model_")
        with listening(song, sr) as source:
            starts, outputs = self._through(source, self.model_)
        logits = np.array([math.nan if logit is None else float(logit) for logit in outputs])
        seconds, window, notes = source.total / RATE, self.model_.config.seconds, []
        if seconds < window:
            notes.append(f"The song lasts {seconds:.1f} s, less than a window of {window:g} s: it ends in silence.")
        if np.isnan(logits).any():
            silent = int(np.isnan(logits).sum())
            notes.append(f"{silent} of {len(logits)} windows are silent for more than half and get no score.")
        begins = np.array(starts) / RATE
        return Verdict(seconds, window, begins, logits, self.calibration_, self.trained_on_, tuple(notes))

    def decision_function(self, X: Songs, sr: int | None = None) -> Float[ndarray, " songs"]:
        """Logits of songs, before calibration; NaN for silence."""
        return np.array([self.explain(song, sr).logit for song in track(X, "Listening")])

    def predict_proba(self, X: Songs, sr: int | None = None) -> Float[ndarray, "songs 2"]:
        """Probabilities of real and of synthetic; NaN for silence."""
        synthetic = self.calibration_.probability(self.decision_function(X, sr))
        return np.stack([1 - synthetic, synthetic], axis=1)

    def predict(self, X: Songs, sr: int | None = None) -> Int64[ndarray, " songs"]:
        """1 for songs above the threshold, 0 for others and for silence."""
        return (self.decision_function(X, sr) > self.calibration_.threshold).astype(np.int64)

    def calibrate(
        self, X: Songs, y: ArrayLike | None = None, sr: int | None = None, *, false_alarms: float = 0.05
    ) -> SyntheticSongDetector:
        """Fit probabilities and threshold to songs the network has not seen.

        Arguments:
            X: Songs.
            y: 1 for synthetic, 0 for real; None if all are real: then only the threshold is set.
            sr: Rate of songs given as samples.
            false_alarms: Share of real songs that may pass the threshold, where all are real.

        Raises:
            InputError: too few songs of a kind, or scores that do not part them.
        """
        logits = self.decision_function(X, sr)
        heard = np.isfinite(logits)
        if y is None:
            note = f"threshold from {int(heard.sum())} real songs, at most {false_alarms:.0%} of false alarms"
            self.calibration_ = Calibration.of_real(logits[heard], false_alarms, note)
        else:
            labels = checked_labels(y, len(X))
            note = f"{int((labels[heard] == 0).sum())} real and {int((labels[heard] == 1).sum())} synthetic songs"
            self.calibration_ = Calibration.of_both(logits[heard], labels[heard], f"Platt's scaling on {note}")
        return self

    def features(self, X: Songs, sr: int | None = None) -> Float[ndarray, "songs layers dim"]:
        """What the network makes of songs: means of its tokens before and after each block, over all windows.

        Raises:
            InputError: a song that cannot be read, or is silent.
        """
        check_is_fitted(self, "model_")
        rows = []
        for song in track(X, "Listening"):
            with listening(song, sr) as source:
                heard = [layers for layers in self._through(source, self.model_.features)[1] if layers is not None]
            if not heard:
                raise InputError("a silent song has no features", str(song), "Leave it out.")
            rows.append(torch.stack(heard).mean(0).numpy())
        return np.stack(rows)

    def spectrogram(self, song: Song, start: float, sr: int | None = None) -> Float[Tensor, "bands frames"]:
        """What the network sees of the window that begins at `start` seconds."""
        check_is_fitted(self, "model_")
        first = round(start * RATE)
        with listening(song, sr) as source:
            sound = torch.from_numpy(
                np.array(source.read(first, min(first + self.model_.config.samples, source.total)))
            )
        sound = F.pad(sound, (0, self.model_.config.samples - len(sound)))
        return SonicsFrontEnd(self.model_.config.input_shape)(sound[None])[0]

    def checkpoint(self) -> Checkpoint:
        """The detector as a file that `from_pretrained` reads; matrices in half precision."""
        check_is_fitted(self, "model_")
        state = self.model_.state_dict()
        tensors = {key: value.half() if value.ndim > 1 else value for key, value in state.items()}
        metadata = {
            "config": json.dumps(dataclasses.asdict(self.model_.config)),
            "calibration": json.dumps(dataclasses.asdict(self.calibration_)),
            "trained_on": self.trained_on_,
        }
        return Checkpoint(tensors, metadata)

    def _through(self, source: Source, network: Network) -> tuple[list[int], list[Tensor | None]]:
        device = next(self.model_.parameters()).device
        return scan(source, network, self.model_.config, device, hop=self.hop, dtype=self.dtype, compat=self.compat)

    def _with(self, model: SpecTTTra, calibration: Calibration, trained_on: str) -> SyntheticSongDetector:
        _check(self)
        self.model_ = model.to(_device(self.device)).eval()
        self.calibration_, self.trained_on_, self.classes_ = calibration, trained_on, np.array([0, 1])
        return self


def _check(detector: SyntheticSongDetector) -> None:
    for name, value, allowed in (
        ("compat", detector.compat, ("none", "sonics")),
        ("dtype", detector.dtype, ("float32", "bfloat16")),
    ):
        if value not in allowed:
            raise InputError(f"'{name}' has no such choice", value, f"Use one of {', '.join(allowed)}.")
    if detector.hop is not None and not detector.hop > 0:
        raise InputError("windows are some time apart", detector.hop, "Give a hop above zero.")


def _device(name: str) -> torch.device:
    if name not in ("auto", "cpu", "cuda") or (name == "cuda" and not torch.cuda.is_available()):
        raise InputError("there is no such device here", name, "Use auto or cpu.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")
