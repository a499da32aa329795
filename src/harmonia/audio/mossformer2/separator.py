"""Separates recordings of any length and keeps every speaker in one output throughout.

A network gives speakers in any order and at any scale. Long recordings go through it in overlapping chunks; each chunk
is scaled so that its speakers add up to the mixture, put into the order of the chunks before
(`harmonia.parts.separation.Stitcher`), and joined by a weighted mean. `SpeechSeparator.stream` does this from file to
files in memory that does not grow with the recording.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32
from scipy.ndimage import uniform_filter1d
from sklearn.base import BaseEstimator

from harmonia.audio.mossformer2.checkpoint import load_checkpoint
from harmonia.audio.mossformer2.compat import official_decode
from harmonia.audio.mossformer2.mixing import DynamicMix, fixed_draw, has_mixtures, read_mixtures, read_speakers
from harmonia.audio.mossformer2.network import MossFormer2
from harmonia.audio.mossformer2.training import train_separator
from harmonia.core.errors import InputError, WeightsError
from harmonia.core.progress import say, track
from harmonia.core.weights import locate
from harmonia.media import Audio
from harmonia.parts.chunks import OverlapAdd, even_chunks
from harmonia.parts.separation import Stitcher, mixture_gains
from harmonia.parts.sound_stream import new_sound, open_sound
from harmonia.parts.training import Plan

EMBEDDED = Path(__file__).parent / "weights" / "speech.safetensors"

Samples = Float32[np.ndarray, " time"]
Speakers = Float32[np.ndarray, "speakers time"]


@dataclass(frozen=True)
class Joint:
    """Where two chunks meet.

    Attributes:
        seconds: Where the later one begins.
        swapped: Whether its speakers had to be reordered.
        confidence: From 0 (the order is a guess) to 1.
    """

    seconds: float
    swapped: bool
    confidence: float


@dataclass(frozen=True)
class Separation:
    """What a recording was separated into.

    Attributes:
        mixture: The recording, mono, at the sampling rate of the model.
        speakers: As long as the recording, at the level they have in it.
        rate: Sampling rate in hertz.
        joints: Where chunks met, and how sure their order is.
    """

    mixture: Samples
    speakers: Speakers
    rate: int
    joints: tuple[Joint, ...]


class SpeechSeparator(BaseEstimator):
    """Splits a recording into one waveform per speaker.

    Arguments:
        weights: A `MossFormer2`, or where its weights are: ``embedded`` (small, trained on synthetic voices), a file or
            folder of a release, or ``hub:<repo>/<file>``. `fit` trains what this gives further.
        chunk_seconds: Length of a chunk; None takes every recording whole. Networks are trained on a few seconds and
            lose what they learnt over more: the embedded one gains 7.7 dB on mixtures of 16 s in chunks of 8 s, 3.3 dB
            whole.
        overlap: Overlap of neighbouring chunks as a fraction of a chunk, from 0 to below 1; 0.5 takes twice the time
            of 0, but without any, nothing tells who is who.
        stitch: ``correlation`` matches the speakers of neighbouring chunks; ``none`` leaves them as they come.
        match: ``mixture_ls`` scales the speakers of a chunk so that their sum is nearest to the mixture; ``none``
            leaves the network's arbitrary scale.
        level_normalise: Bring every chunk to unit level for the network, and its speakers back: quiet recordings are
            then separated like loud ones.
        gate_db: Fade a speaker out where they are by more than this below the loudest one; None never does.
        compat: ``clearvoice`` for the decoder of the official code, defects included (`official_decode`); chunks,
            stitching and levels are then its own.
        dtype: Compute in this type, for example ``bfloat16``.
        steps: Optimizer steps of `fit`.
        learning_rate: Peak rate of `fit`.
        device: ``auto`` for a GPU where there is one.
        random_state: Seed of `fit`.

    Example:
        >>> from harmonia.data import demo_talk
        >>> talk = demo_talk().mixture.cut(0.0, 2.0)
        >>> SpeechSeparator(device="cpu").predict(talk.samples, talk.rate).shape     # speakers, samples at 8 kHz
        (2, 16000)
    """

    def __init__(
        self,
        weights: MossFormer2 | str | Path = "embedded",
        *,
        chunk_seconds: float | None = 8.0,
        overlap: float = 0.5,
        stitch: Literal["correlation", "none"] = "correlation",
        match: Literal["mixture_ls", "none"] = "mixture_ls",
        level_normalise: bool = True,
        gate_db: float | None = None,
        compat: Literal["clearvoice"] | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
        steps: int = 1000,
        learning_rate: float = 2e-3,
        device: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.weights = weights
        self.chunk_seconds = chunk_seconds
        self.overlap = overlap
        self.stitch = stitch
        self.match = match
        self.level_normalise = level_normalise
        self.gate_db = gate_db
        self.compat = compat
        self.dtype = dtype
        self.steps = steps
        self.learning_rate = learning_rate
        self.device = device
        self.random_state = random_state

    def fit(self, folder: str | Path, y: None = None) -> SpeechSeparator:
        """Train the network further on a folder of single speakers, or on published mixtures.

        Arguments:
            folder: What `harmonia.audio.mossformer2.mixing.read_speakers` or `read_mixtures` reads.
            y: Ignored.

        Raises:
            InputError: a folder that holds neither.
        """
        model = copy.deepcopy(self._loaded())
        rate, count = model.config.sample_rate, model.config.n_speakers
        if has_mixtures(folder):
            draw = fixed_draw(read_mixtures(folder, rate), 2 * rate, batch=4)
        else:
            mix = DynamicMix(read_speakers(folder, rate), rate, seconds=2.0, n_speakers=count)
            draw = lambda generator: mix.draw(generator, 4)  # noqa: E731
        plan = Plan(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup=min(50, self.steps),
            clip_norm=5.0,
            ema_decay=0.995,
            seed=self.random_state,
        )
        self.model_ = self._prepared(train_separator(model, draw, plan, device=self.device).model)
        return self

    def predict(self, samples: np.ndarray, rate: int) -> Speakers:
        """One waveform a speaker, at the sampling rate of the model.

        Arguments:
            samples: ``[channels, time]`` or ``[time]``; channels are mixed down, integers are scaled to ±1.
            rate: Sampling rate in hertz; other rates than the model's are resampled.

        Raises:
            InputError: empty, not finite, or parameters that cannot be used.
        """
        return self.separate(samples, rate).speakers

    transform = predict

    @property
    def sample_rate(self) -> int:
        """Of what comes out, in hertz."""
        return self._model().config.sample_rate

    def separate(self, samples: np.ndarray, rate: int) -> Separation:
        """The speakers with the recording they came from, and how sure their order is.

        Arguments:
            samples: As in `predict`.
            rate: As in `predict`.
        """
        self._check()
        recording = Audio(np.asarray(samples), rate)
        model, own = self._model(), self.sample_rate
        if recording.channels > 1:
            say(f"The recording has {recording.channels} channels: they are mixed down to one.")
        if rate != own:
            say(f"Resampled from {rate} to {own} Hz; the speakers stay at that rate.")
        mixture = recording.mono().resampled(own).samples[0]
        if self.compat:
            return Separation(mixture, official_decode(self._network, model.config, mixture), own, ())
        speakers = np.empty((model.config.n_speakers, len(mixture)), dtype=np.float32)
        joints: list[Joint] = []
        end = 0
        for block in self._blocks(len(mixture), lambda start, stop: mixture[start:stop], joints):
            speakers[:, end : end + block.shape[1]] = block
            end += block.shape[1]
        return Separation(mixture, speakers, own, tuple(joints))

    def stream(self, source: str | Path, targets: Sequence[str | Path]) -> tuple[Joint, ...]:
        """Separate a file into files, in memory that does not grow with its length.

        The files appear whole or not at all, as 32-bit floats (``.wav``) or with 24 bits (``.flac``).

        Arguments:
            source: A file that libsndfile reads (wav, flac, ogg, mp3, ...).
            targets: A file for each speaker of the model.

        Returns:
            Where chunks met, and how sure their order is.

        Raises:
            InputError: a file that cannot be read or ends early, another number of targets, or
                ``compat="clearvoice"``, which needs the whole recording.
        """
        self._check()
        count, rate = self._model().config.n_speakers, self.sample_rate
        if self.compat:
            raise InputError("streams use our own chunks", f"compat {self.compat}", "Use separate(), or no compat.")
        if len(targets) != count:
            raise InputError(f"the model gives {count} speakers", f"{len(targets)} files", f"Give {count}.")
        joints: list[Joint] = []
        with ExitStack() as opened:
            recording = opened.enter_context(open_sound(source, rate))
            writers = [opened.enter_context(new_sound(path, rate, 1, recording.total)) for path in targets]
            blocks = self._blocks(recording.total, lambda start, stop: recording.read(start, stop).mean(0), joints)
            for block in blocks:
                for writer, speaker in zip(writers, block, strict=True):
                    writer.write(speaker[None])
        return tuple(joints)

    def _check(self) -> None:
        choices = (self.stitch in ("correlation", "none"), self.match in ("mixture_ls", "none"))
        types = (self.compat in (None, "clearvoice"), self.dtype in ("float32", "bfloat16"))
        if not all((*choices, *types)):
            got = f"stitch {self.stitch}, match {self.match}, compat {self.compat}, dtype {self.dtype}"
            raise InputError("there is no such separator", got, "Use the values of the documentation.")
        if self.chunk_seconds is not None and not 0.5 <= self.chunk_seconds < 1e6:
            raise InputError("a chunk lasts half a second or more", f"{self.chunk_seconds} s", "Use a longer one.")
        if self.gate_db is not None and not self.gate_db >= 0:
            raise InputError("a gate is 0 dB or more below the loudest", f"{self.gate_db} dB", "Use 20, or None.")
        even_chunks(2, 2, self.overlap)

    def _loaded(self) -> MossFormer2:
        if isinstance(self.weights, MossFormer2):
            return self.weights
        if self.weights == "embedded":
            return load_checkpoint(locate("embedded", embedded=EMBEDDED))
        return load_checkpoint(self.weights)

    def _model(self) -> MossFormer2:
        """What was fitted, or else what the parameters name, read once."""
        if hasattr(self, "model_"):
            return self.model_
        named = (self.weights, self.dtype, self.device)
        if not hasattr(self, "_ready") or self._ready[0] != named:
            self._ready: tuple[tuple[object, ...], MossFormer2] = (named, self._prepared(self._loaded()))
        return self._ready[1]

    def _prepared(self, model: MossFormer2) -> MossFormer2:
        dtype = torch.bfloat16 if self.dtype == "bfloat16" else torch.float32
        if next(model.parameters()).dtype != dtype:
            model = copy.deepcopy(model).to(dtype)
        automatic = "cuda" if torch.cuda.is_available() else "cpu"
        return model.to(automatic if self.device == "auto" else self.device).eval()

    def _blocks(self, total: int, read: Callable[[int, int], Samples], joints: list[Joint]) -> Iterator[Speakers]:
        """Neighbouring pieces of the speakers; notes in `joints` where chunks met."""
        rate, count = self.sample_rate, self._model().config.n_speakers
        size = total if self.chunk_seconds is None else round(self.chunk_seconds * rate)
        chunks = even_chunks(total, size, self.overlap)
        stitcher, joined = Stitcher(count, rate), OverlapAdd()
        for number, chunk in enumerate(track(chunks, "Separating")):
            speakers = self._chunk(np.ascontiguousarray(read(chunk.start, chunk.stop)))
            if self.stitch == "correlation":
                order = stitcher.place(chunk.start, speakers)
                swapped = bool((order.permutation != np.arange(count)).any())
                speakers = speakers[order.permutation]
                if number:
                    joints.append(Joint(chunk.start / rate, swapped, order.margin))
            joined.add(chunk.start, speakers, chunk.weights)
            yield joined.take(chunk.settled)

    def _chunk(self, mixture: Samples) -> Speakers:
        """The speakers of a chunk at the level they have in it."""
        level = float(np.sqrt(np.square(mixture, dtype=np.float64).mean()))
        if level == 0:
            return np.zeros((self._model().config.n_speakers, len(mixture)), dtype=np.float32)
        scale = level if self.level_normalise else 1.0
        speakers = self._network((mixture / np.float32(scale))[None])[0] * np.float32(scale)
        if self.match == "mixture_ls":
            speakers = speakers * mixture_gains(mixture, speakers)[:, None].astype(np.float32)
        return speakers if self.gate_db is None else gated(speakers, self.sample_rate, self.gate_db)

    @torch.inference_mode()
    def _network(self, mixtures: Float32[np.ndarray, "batch time"]) -> Float32[np.ndarray, "batch speakers time"]:
        model = self._model()
        device = next(model.parameters()).device
        speakers = model(torch.from_numpy(mixtures).to(device)).float().cpu().numpy()
        if not np.isfinite(speakers).all():
            raise WeightsError("the network gives no finite sound", "NaN or infinity", "Use float32, or other weights.")
        return speakers


def gated(speakers: Speakers, rate: int, gate_db: float, window_s: float = 0.2) -> Speakers:
    """Fade speakers out where they are by more than `gate_db` below the loudest one; over 6 dB, from full to none.

    Example:
        >>> loud, leak = np.ones((2, 8000), dtype=np.float32) * np.array([[1.0], [0.01]], dtype=np.float32)
        >>> gated(np.stack([loud, leak]), 8000, gate_db=20.0).max(axis=1)
        array([1., 0.], dtype=float32)
    """
    power = uniform_filter1d(np.square(speakers, dtype=np.float64), max(1, round(window_s * rate)), axis=1)
    below_db = 10 * np.log10((power + 1e-20) / (power.max(0) + 1e-20))
    return (speakers * np.clip((below_db + gate_db) / 6 + 1, 0, 1)).astype(np.float32)
