"""Songs to features: a scikit-learn transformer in front of any classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float32
from sklearn.base import BaseEstimator, TransformerMixin
from torch import Tensor

from harmonia.audio.mert.config import MERTConfig
from harmonia.audio.mert.network import MERTModel
from harmonia.audio.mert.summary import Summary
from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.media import Audio
from harmonia.parts.chunks import OverlapAdd, chunk_weights, even_chunks
from harmonia.parts.sound_stream import open_sound

Clip: TypeAlias = str | Path | Audio | np.ndarray
Pool: TypeAlias = Literal["mean", "frames", "stats"]


class Source(Protocol):
    """A sound at the model's rate, read from left to right."""

    total: int

    def read(self, start: int, stop: int) -> Float32[np.ndarray, "channels time"]:
        """Samples from `start` to `stop`."""
        ...


class MERTFeatures(TransformerMixin, BaseEstimator):
    """Features of songs from the layers of a MERT model, of files of any length in constant memory.

    Channels are mixed to one and resampled to the model's rate. Long songs are cut into chunks of equal length: the
    network's first norm looks at a whole chunk, so the length of chunks is part of what features mean.

    Arguments:
        weights: ``embedded``, a file, a folder, ``hub:<owner>/<name>``, or a `MERTModel`.
        layers: ``all``, or hidden states to give, 0 to the number of layers.
        chunk_seconds: Length of the chunks.
        hop_seconds: Greatest distance of their starts; the length of a chunk when None.
        pool: ``mean`` over all frames; ``stats``, mean and standard deviation; ``frames``, every frame.
        sample_rate: Rate of clips that are plain arrays; the model's when None.
        normalize: ``clip`` or ``chunk``: what gets zero mean and unit variance; ``off``; None as the weights expect
            (``clip`` or ``off``).
        dtype: ``float32``, or ``bfloat16``, faster on processors and devices that have it.
        device: ``auto``, ``cpu`` or ``cuda``.

    Attributes:
        model_: The model, after `fit` or `transform`.

    Raises:
        InputError: clips that are empty, shorter than 400 samples at the model's rate, or not finite.

    Example:
        >>> features = MERTFeatures(layers=[1, 4])
        >>> tones = [np.sin(np.arange(24000) * pitch) for pitch in (0.05, 0.06)]
        >>> features.fit_transform(tones).shape                # clips, layers, dim
        (2, 2, 128)
    """

    def __init__(
        self,
        weights: str | Path | MERTModel = "embedded",
        *,
        layers: Literal["all"] | Sequence[int] = "all",
        chunk_seconds: float = 30.0,
        hop_seconds: float | None = None,
        pool: Pool = "mean",
        sample_rate: int | None = None,
        normalize: Literal["clip", "chunk", "off"] | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
        device: Literal["auto", "cpu", "cuda"] = "auto",
    ) -> None:
        self.weights = weights
        self.layers = layers
        self.chunk_seconds = chunk_seconds
        self.hop_seconds = hop_seconds
        self.pool = pool
        self.sample_rate = sample_rate
        self.normalize = normalize
        self.dtype = dtype
        self.device = device

    model_: MERTModel

    def fit(self, X: Sequence[Clip] | None = None, y: Any = None) -> MERTFeatures:
        """Load the model; nothing is learnt from X."""
        self._check()
        model = self.weights if isinstance(self.weights, MERTModel) else MERTModel.from_pretrained(self.weights)
        cuda = self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available())
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("no CUDA device", "device='cuda'", "Use device='auto' or 'cpu'.")
        self.model_ = model.to("cuda" if cuda else "cpu").eval()
        self.layers_ = self.model_.wanted(None if self.layers == "all" else self.layers)
        return self

    def transform(self, X: Sequence[Clip]) -> Any:
        """Features of clips: paths, `Audio`, or arrays ``[time]`` or ``[channels, time]``.

        Returns:
            ``[clips, layers, dim]``; with ``stats`` mean and deviation side by side, ``[clips, layers, 2 dim]``; with
            ``frames`` a list of ``[layers, frames, dim]``.
        """
        if not hasattr(self, "model_"):
            self.fit(X)
        if isinstance(X, str | Path | Audio) or not len(X):
            raise InputError("features are taken of a list of clips", type(X).__name__, "Pass a list of at least one.")
        rows = [self._features(clip) for clip in track(X, "Listening")]
        return rows if self.pool == "frames" else np.stack(rows)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the features of one clip, flattened: ``layer3_17``, or ``layer3_mean17`` and ``layer3_std17``."""
        if not hasattr(self, "model_"):
            self.fit()
        kinds = ("mean", "std") if self.pool == "stats" else ("",)
        dim = self.model_.config.dim
        names = [f"layer{layer}_{kind}{i}" for layer in self.layers_ for kind in kinds for i in range(dim)]
        return np.array(names, dtype=object)

    def chunks(self, clip: Clip) -> Iterator[tuple[int, Float32[Tensor, "layers frames dim"]]]:
        """First frame and features of each chunk of a clip, one after another, in constant memory."""
        if not hasattr(self, "model_"):
            self.fit()
        config = self.model_.config
        device = self.model_.masked_spec_embed.device
        how = self.normalize or ("clip" if config.normalize else "off")
        mean, deviation = 0.0, 1.0
        if how == "clip":
            mean, deviation = self._moments(clip)
        with self._opened(clip) as source:
            frames = config.frames(source.total)
            for chunk in self._pieces(frames):
                start = chunk.start * config.stride
                stop = source.total if chunk.stop == frames else (chunk.stop - 1) * config.stride + config.receptive
                samples = source.read(start, stop).mean(0)
                if how == "chunk":
                    mean, deviation = float(samples.mean()), _deviation(float(samples.var()))
                audio = torch.from_numpy((samples - mean) / deviation).float().to(device)
                yield chunk.start, torch.stack([state[0].float().cpu() for state in self._states(audio)])

    def summary(self, sound: Audio) -> Summary:
        """A song in all wanted layers at once, in constant memory."""
        if not hasattr(self, "model_"):
            self.fit()
        config = self.model_.config
        sound = sound.mono().resampled(config.sample_rate)
        _long_enough(sound.samples.shape[1], config)
        return Summary.of(self.chunks(sound), config.frames(sound.samples.shape[1]), sound.seconds)

    def _features(self, clip: Clip) -> Float[np.ndarray, "layers *features"]:
        """Pooled features or all frames of a clip."""
        if self.pool == "frames":
            return self._joined(clip)
        count, first, second = 0, torch.zeros(()), torch.zeros(())
        for _, states in self.chunks(clip):
            count += states.shape[1]
            first = first + states.double().sum(1)
            if self.pool == "stats":
                second = second + states.double().square().sum(1)
        mean = first / count
        if self.pool == "stats":
            deviation = (second / count - mean.square()).clamp(min=0).sqrt()
            mean = torch.cat([mean, deviation], -1)
        return mean.float().numpy()

    def _joined(self, clip: Clip) -> Float32[np.ndarray, "layers frames dim"]:
        joined, pieces, settled = OverlapAdd(), [], 0
        for start, states in self.chunks(clip):
            if start > settled:
                pieces.append(joined.take(start))
                settled = start
            joined.add(start, states.transpose(1, 2).numpy(), chunk_weights("hann", states.shape[1]))
            end = start + states.shape[1]
        pieces.append(joined.take(end))
        return np.concatenate(pieces, -1).swapaxes(1, 2)

    def _pieces(self, frames: int) -> list[Any]:
        config = self.model_.config
        size = max(1, round(self.chunk_seconds * config.frame_rate))
        hop = size if self.hop_seconds is None else max(1, round(self.hop_seconds * config.frame_rate))
        return even_chunks(frames, size, max(0.0, 1 - hop / size))

    def _states(self, audio: Float32[Tensor, " time"]) -> list[Tensor]:
        half = torch.autocast(audio.device.type, torch.bfloat16, enabled=self.dtype == "bfloat16")
        with torch.inference_mode(), half:
            return self.model_(audio[None], layers=self.layers_)["hidden"]

    def _moments(self, clip: Clip) -> tuple[float, float]:
        """Mean and standard deviation of a clip, read once from left to right."""
        block, total, squares = 1 << 20, 0.0, 0.0
        with self._opened(clip) as source:
            for start in range(0, source.total, block):
                samples = source.read(start, min(start + block, source.total)).mean(0).astype(np.float64)
                total, squares = total + samples.sum(), squares + np.square(samples).sum()
            mean = total / source.total
            return mean, _deviation(squares / source.total - mean**2)

    @contextmanager
    def _opened(self, clip: Clip) -> Iterator[Source]:
        config = self.model_.config
        if isinstance(clip, str | Path):
            with open_sound(clip, config.sample_rate) as file:
                _long_enough(file.total, config)
                yield file
            return
        sound = clip if isinstance(clip, Audio) else Audio(np.asarray(clip), self.sample_rate or config.sample_rate)
        held = _Held(sound.mono().resampled(config.sample_rate).samples)
        _long_enough(held.total, config)
        yield held

    def _check(self) -> None:
        if not self.chunk_seconds > 0 or (self.hop_seconds is not None and not self.hop_seconds > 0):
            got = f"{self.chunk_seconds} s every {self.hop_seconds} s"
            raise InputError("chunks and their distance are longer than nothing", got, "Give positive seconds.")
        if self.hop_seconds is not None and self.hop_seconds > self.chunk_seconds:
            got = f"{self.chunk_seconds} s every {self.hop_seconds} s"
            raise InputError("chunks would leave gaps", got, "Make hop_seconds at most chunk_seconds.")
        if self.pool not in ("mean", "frames", "stats"):
            raise InputError("there is no such pooling", self.pool, "Use mean, stats or frames.")


class _Held:
    """Samples in memory, read as a file is."""

    def __init__(self, samples: Float32[np.ndarray, "channels time"]) -> None:
        self._samples, self.total = samples, samples.shape[1]

    def read(self, start: int, stop: int) -> Float32[np.ndarray, "channels time"]:
        return self._samples[:, start:stop]


def _deviation(variance: float) -> float:
    return float(np.sqrt(max(variance, 0.0) + 1e-7))


def _long_enough(samples: int, config: MERTConfig) -> None:
    if samples < config.receptive:
        mend = f"Pass at least {config.receptive} samples at {config.sample_rate} Hz."
        raise InputError("the clip is too short for this model", f"{samples} samples", mend)
