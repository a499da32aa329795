"""Representations to be probed: anything that turns clips into features ``[clips, layers, d]``.

An encoder is an object with `transform`; those of this library are listed in `ENCODERS`. Sounds are read window by
window, so that a clip may be a file of any length; features are averaged over its windows, the last of which is filled
with the end of the one before it (MARBLE's rule, called "overlap" there).
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float32
from scipy.fft import dct
from torch import Tensor, nn

import harmonia.audio.mel_roformer
import harmonia.audio.sonics
from harmonia.audio.mel_roformer import MelBandRoformer
from harmonia.audio.mert import MERTConfig, MERTModel
from harmonia.audio.sonics import SonicsFrontEnd, SpecTTTra
from harmonia.core.errors import InputError
from harmonia.core.weights import locate
from harmonia.media import Audio
from harmonia.parts.constant_q import C1_HZ, ConstantQ
from harmonia.parts.harmony import fold_octaves
from harmonia.parts.log_mel import LogMel, LogMelConfig
from harmonia.parts.sound_stream import open_sound

Clip: TypeAlias = str | Path | Audio
_BATCH = 8
HOP = 512
"""Samples between two frames of a spectrum."""


class Encoder(ABC):
    """Features of clips.

    Attributes:
        rate: Sampling rate it works at, Hz.
        window_s: Longest window that it takes at once, in seconds.
        about: What it is, in a few words.
    """

    rate: int
    window_s: float
    about: str

    @abstractmethod
    def embed(self, windows: Float32[Tensor, "batch time"]) -> Float32[Tensor, "batch layers d"]:
        """Features of windows of equal length."""

    @property
    def fingerprint(self) -> str:
        """What its features depend on, for the cache."""
        return f"{type(self).__name__} {self.rate} {self.window_s}"

    def transform(self, clips: Sequence[Clip]) -> Float32[np.ndarray, "clips layers d"]:
        """Features of clips, averaged over their windows.

        Raises:
            InputError: no clips, a sound that cannot be read, or features that are not finite; it names the clip.
        """
        if isinstance(clips, str | Path | Audio) or not len(clips):
            raise InputError("features are taken of a list of clips", type(clips).__name__, "Pass at least one.")
        sums: dict[int, Tensor] = {}
        counts = np.zeros(len(clips))
        pending: dict[int, list[tuple[int, Tensor]]] = {}
        for number, clip in enumerate(clips):
            for window in self._windows(clip):
                waiting = pending.setdefault(len(window), [])
                waiting.append((number, window))
                counts[number] += 1
                if len(waiting) == _BATCH:
                    self._add(sums, pending.pop(len(window)))
        for waiting in pending.values():
            self._add(sums, waiting)
        rows = np.stack([sums[number].numpy() / counts[number] for number in range(len(clips))])
        for number in np.flatnonzero(~np.isfinite(rows.reshape(len(rows), -1)).all(1)).tolist():
            raise InputError("the features of a clip are not finite", _named(clips[number], number), "Drop the clip.")
        return rows.astype(np.float32)

    def _add(self, sums: dict[int, Tensor], waiting: list[tuple[int, Tensor]]) -> None:
        with torch.inference_mode():
            features = self.embed(torch.stack([window for _, window in waiting]))
        for (number, _), row in zip(waiting, features):
            sums[number] = sums[number] + row if number in sums else row.clone()

    def _windows(self, clip: Clip) -> Iterator[Float32[Tensor, " time"]]:
        if isinstance(clip, Audio):
            yield from windows_of(clip.mono().resampled(self.rate).samples[0], self.rate * self.window_s)
            return
        size = int(self.rate * self.window_s)
        with open_sound(clip, self.rate) as sound:
            for start in window_starts(sound.total, size):
                yield torch.from_numpy(sound.read(start, min(start + size, sound.total)).mean(0))


def window_starts(samples: int, size: int) -> list[int]:
    """Where windows begin: one after another, the last moved back so that it ends with the sound.

    Example:
        >>> window_starts(25, 10), window_starts(7, 10)
        ([0, 10, 15], [0])
    """
    starts = list(range(0, max(1, samples - size + 1), size))
    return [*starts, samples - size] if starts[-1] + size < samples else starts


def windows_of(samples: Float32[np.ndarray, " time"], size: float | int) -> Iterator[Float32[Tensor, " window"]]:
    """The windows of a sound in memory."""
    for start in window_starts(len(samples), int(size)):
        yield torch.from_numpy(np.ascontiguousarray(samples[start : start + int(size)]))


class SpectralEncoder(Encoder):
    """Statistics over time of a spectrum: what needs no training, and what every learnt feature must beat.

    Mean, standard deviation and mean absolute change of each of: 128 log-mel bands, 20 cepstral coefficients (MFCC),
    12 pitch classes (chroma), or 84 bins of a constant-Q transform.

    Arguments:
        kind: ``log-mel``, ``mfcc``, ``chroma`` or ``cqt``.

    Example:
        >>> tone = Audio(np.sin(2 * np.pi * 440 * np.arange(22050) / 22050), 22050)
        >>> SpectralEncoder("chroma").transform([tone])[0, 0, :12].argmax()      # pitch class A
        np.int64(9)
    """

    rate: int = 22050
    window_s: float = 30.0
    coefficients: ClassVar[int] = 20

    def __init__(self, kind: Literal["log-mel", "mfcc", "chroma", "cqt"]) -> None:
        if kind not in _ABOUT:
            raise InputError("there is no such spectrum", kind, f"Use one of {', '.join(_ABOUT)}.")
        self.kind = kind
        self.about = _ABOUT[kind]

    @property
    def fingerprint(self) -> str:
        return f"{super().fingerprint} {self.kind} 1"

    def embed(self, windows: Float32[Tensor, "batch time"]) -> Float32[Tensor, "batch layers d"]:
        frames = self.frames(windows)
        change = frames.diff(dim=-1).abs().mean(-1) if frames.shape[-1] > 1 else torch.zeros_like(frames[..., 0])
        return torch.cat([frames.mean(-1), frames.std(-1, correction=0), change], -1)[:, None]

    def frames(self, windows: Float32[Tensor, "batch time"]) -> Float32[Tensor, "batch bins frames"]:
        """The spectrum itself, a frame every `HOP` samples."""
        if self.kind in ("log-mel", "mfcc"):
            mel = _LOG_MEL(windows)
            if self.kind == "log-mel":
                return mel
            return torch.from_numpy(dct(mel.numpy(), axis=1, norm="ortho")[:, : self.coefficients])
        magnitudes = _CQT(windows).abs()
        if self.kind == "cqt":
            return 20 * torch.log10(magnitudes.clamp(min=1e-5))
        chroma = np.stack([fold_octaves(each.numpy(), 12, 24.0).T for each in magnitudes])
        return torch.from_numpy((chroma / np.maximum(chroma.sum(1, keepdims=True), 1e-9)).astype(np.float32))


_ABOUT = {
    "log-mel": "mean, deviation, change of 128 log-mel bands",
    "mfcc": "mean, deviation, change of 20 cepstral coefficients",
    "chroma": "mean, deviation, change of 12 pitch classes",
    "cqt": "mean, deviation, change of 84 constant-Q bins",
}
_LOG_MEL = LogMel(LogMelConfig(rate=22050, high_hz=11025.0, pad_mode="constant"))
_CQT = ConstantQ(22050, HOP, fmin=C1_HZ, bins=84, bins_per_octave=12)


class NetworkEncoder(Encoder):
    """A network with the function that reads its layers.

    Arguments:
        about: What it is.
        rate: Sampling rate, Hz.
        window_s: Window in seconds.
        network: The network; its weights are part of the fingerprint.
        layers: From the network and windows ``[batch, time]`` to features ``[batch, layers, d]``.
        shortest_s: Shorter windows are filled with silence up to this.
    """

    def __init__(
        self,
        about: str,
        rate: int,
        window_s: float,
        network: nn.Module,
        layers: Callable[[Any, Tensor], Tensor],
        shortest_s: float = 0.0,
    ) -> None:
        self.about, self.rate, self.window_s = about, rate, window_s
        self.network, self.layers, self.shortest_s = network.eval(), layers, shortest_s

    @cached_property
    def _weights(self) -> str:
        digest = hashlib.sha256()
        for name, tensor in self.network.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def fingerprint(self) -> str:
        return f"{super().fingerprint} {self._weights} {self.shortest_s} 1"

    def embed(self, windows: Float32[Tensor, "batch time"]) -> Float32[Tensor, "batch layers d"]:
        missing = round(self.shortest_s * self.rate) - windows.shape[-1]
        windows = nn.functional.pad(windows, (0, max(0, missing)))
        return self.layers(self.network, windows).float()


def mert(weights: str = "embedded") -> NetworkEncoder:
    """All hidden states of MERT, mean over time.

    Arguments:
        weights: As `harmonia.audio.mert.MERTModel.from_pretrained`, or ``random``.
    """
    if weights == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = MERTModel(MERTConfig.tiny())
    else:
        model = MERTModel.from_pretrained(weights)
    about = {"random": "MERT-tiny, random weights", "embedded": "MERT-tiny, trained on rendered music"}
    name = about.get(weights, f"MERT, {weights}")
    return NetworkEncoder(name, model.config.sample_rate, 30.0, model, _mert_layers, shortest_s=0.1)


def _mert_layers(model: MERTModel, windows: Tensor) -> Tensor:
    if model.config.normalize:
        spread, mean = torch.std_mean(windows, -1, keepdim=True)
        windows = (windows - mean) / (spread + 1e-5)
    return torch.stack([state.mean(1) for state in model(windows)["hidden"]], 1)


def specttra(weights: str = "embedded") -> NetworkEncoder:
    """Mean of the tokens before the first block of SpecTTTra and after each."""
    embedded = Path(str(harmonia.audio.sonics.__file__)).parent / "weights" / "detector.safetensors"
    model = SpecTTTra.from_pretrained(locate(weights, embedded=embedded))
    front_end = SonicsFrontEnd(model.config.input_shape)
    seconds = model.config.seconds
    return NetworkEncoder(
        "SpecTTTra, trained to tell synthetic songs",
        16000,
        float(seconds),
        model,
        lambda network, windows: network.features(front_end(windows)),
        shortest_s=float(seconds),
    )


def mel_roformer(weights: str = "embedded") -> NetworkEncoder:
    """Mel-RoFormer's features before the masks, mean over time, all bands side by side."""
    embedded = Path(str(harmonia.audio.mel_roformer.__file__)).parent / "weights" / "separation.safetensors"
    model = MelBandRoformer.from_checkpoint(locate(weights, embedded=embedded))
    config = model.config

    def layers(network: MelBandRoformer, windows: Tensor) -> Tensor:
        features = network.features(windows[:, None].expand(-1, config.channels, -1))
        return features.mean(1).flatten(1)[:, None]

    about = "Mel-RoFormer, trained to separate vocals"
    return NetworkEncoder(about, config.sample_rate, 8.0, model, layers, shortest_s=0.25)


ENCODERS: dict[str, Callable[[], Encoder]] = {
    "log-mel": lambda: SpectralEncoder("log-mel"),
    "mfcc": lambda: SpectralEncoder("mfcc"),
    "chroma": lambda: SpectralEncoder("chroma"),
    "cqt": lambda: SpectralEncoder("cqt"),
    "mert-random": lambda: mert("random"),
    "mert": mert,
    "specttra": specttra,
    "mel-roformer": mel_roformer,
}
"""Encoders by name; each is made when it is asked for."""


def load_encoders(names: Sequence[str] | None = None) -> dict[str, Encoder]:
    """Encoders by name, all of `ENCODERS` unless named.

    Raises:
        InputError: an unknown name.

    Example:
        >>> list(load_encoders(["chroma", "mfcc"]))
        ['chroma', 'mfcc']
    """
    wanted = list(names) if names is not None else list(ENCODERS)
    unknown = [name for name in wanted if name not in ENCODERS]
    if unknown:
        raise InputError("there is no such encoder", unknown[0], f"Use some of {', '.join(ENCODERS)}.")
    return {name: ENCODERS[name]() for name in wanted}


def _named(clip: Clip, number: int) -> str:
    return f"clip {number}" if isinstance(clip, Audio) else str(clip)
