"""Takes songs of any length apart, chunk by chunk.

The chunks overlap and their results are joined by a weighted mean, so there are no clicks at the joints; `stream`
does the same from file to file in memory that does not grow with the song.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn import functional as F

from harmonia.audio.mel_roformer.network import MelBandRoformer
from harmonia.core.errors import InputError, WeightsError
from harmonia.core.progress import say, track
from harmonia.media import Audio
from harmonia.parts.chunks import Chunk, OverlapAdd, Window, even_chunks
from harmonia.parts.sound_stream import new_sound, open_sound

Samples = Float32[np.ndarray, "channels time"]


class ChunkedSeparator:
    """Applies a `MelBandRoformer` to songs of any length.

    Arguments:
        model: The network.
        chunk_seconds: Length of a chunk, at least one frame of the spectrum.
        overlap: Overlap of neighbouring chunks as a fraction of a chunk, from 0 to below 1. A half costs twice the
            time of none.
        window: Weight of a sample within its chunk: ``hann``, ``triangle``, or a function of the length.
        batch_size: Chunks that go through the network together; 1 is best without a GPU.
        compat: ``msst`` for the chunks of Music-Source-Separation-Training, the de-facto standard, defects included
            (see `msst_chunks`); `overlap` is then ``1 - 1 / num_overlap`` and `window` does not count.
        dtype: Compute in this type, for example `torch.bfloat16`; the spectra stay in float32.
        device: ``auto`` for a GPU where there is one.

    Raises:
        InputError: a chunk, overlap or window that cannot be used.

    Example:
        >>> from harmonia.audio.mel_roformer import MelBandRoformerConfig
        >>> config = MelBandRoformerConfig(
        ...     sample_rate=16000, channels=1, n_fft=512, hop_length=160, num_bands=12,
        ...     dim=16, depth=1, heads=2, head_dim=8)
        >>> separator = ChunkedSeparator(MelBandRoformer(config), chunk_seconds=1.0)
        >>> stems = separator.separate(np.random.default_rng(0).normal(size=(2, 40000)) / 10, 16000)
        >>> {name: stem.shape for name, stem in stems.items()}
        {'vocals': (2, 40000), 'instrumental': (2, 40000)}
    """

    def __init__(
        self,
        model: MelBandRoformer,
        *,
        chunk_seconds: float = 8.0,
        overlap: float = 0.25,
        window: Window = "hann",
        batch_size: int = 1,
        compat: Literal["msst"] | None = None,
        dtype: torch.dtype | None = None,
        device: str = "auto",
    ) -> None:
        if batch_size < 1 or compat not in (None, "msst"):
            raise InputError("there is no such separator", f"batch_size {batch_size}, compat {compat}", "Change them.")
        if dtype not in (None, next(model.parameters()).dtype):
            model = copy.deepcopy(model).to(dtype)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = model.to(device).eval()
        frame_seconds = model.config.n_fft / model.config.sample_rate
        if not frame_seconds <= chunk_seconds < 1e6:
            raise InputError(
                "a chunk is at least one frame long", f"{chunk_seconds} s", f"Use {frame_seconds:.2g} s or more."
            )
        self.size = round(chunk_seconds * model.config.sample_rate)
        self.overlap, self.window, self.batch_size, self.compat = overlap, window, batch_size, compat
        if compat is None:
            even_chunks(self.size, self.size, overlap, window)
        else:
            num_overlaps(overlap)

    @property
    def names(self) -> tuple[str, ...]:
        """The stems of the model, then what is left of the mixture."""
        stems = self.model.config.stems
        if "vocals" in stems:
            return (*stems, "instrumental")
        return (*stems, "rest") if len(stems) == 1 else stems

    def separate(self, samples: np.ndarray, rate: int) -> dict[str, Samples]:
        """The stems of a song and what is left of it, all at the model's sample rate and as long as the song.

        What is left (``instrumental``) is the mixture minus the vocals, sample by sample. The level does not matter:
        the model is homogeneous.

        Arguments:
            samples: ``[channels, time]`` or ``[time]``, one or two channels; integers are scaled to ±1.
            rate: Sampling rate in hertz; other rates than the model's are resampled.

        Raises:
            InputError: empty, not finite, or more than two channels.
        """
        mixture = self._mixture(np.asarray(samples), rate)
        total = mixture.shape[1]
        margin = self.size - self.size // num_overlaps(self.overlap) if self.compat else 0
        margin = margin if total > 2 * margin else 0
        padded = np.pad(mixture, ((0, 0), (margin, margin)), mode="reflect") if margin else mixture
        stems = np.empty((len(self.model.config.stems), *padded.shape), dtype=np.float32)
        end = 0
        for _, block in self._blocks(padded.shape[1], lambda start, stop: padded[:, start:stop]):
            stems[..., end : end + block.shape[-1]] = block
            end += block.shape[-1]
        separated = self._named(mixture, stems[..., margin : margin + total])
        for name, stem in separated.items():
            if (peak := float(np.abs(stem).max())) > 1:
                say(f"The {name} peak at {peak:.2f}, above full scale: keep them as floats, or turn them down.")
        return separated

    def stream(self, source: str | Path, targets: str | Path | Mapping[str, str | Path]) -> dict[str, Path]:
        """Separate a file into files, in memory that does not grow with its length.

        The files appear whole or not at all, as 32-bit floats (``.wav``) or with 24 bits (``.flac``).

        Arguments:
            source: A file that libsndfile reads (wav, flac, ogg, mp3, ...).
            targets: File of each stem to write, by name (see `names`); or one file, for the first stem.

        Raises:
            InputError: a file that cannot be read or ends early, more than two channels, an unknown stem, or
                ``compat="msst"``, which needs the whole song.
        """
        if self.compat:
            raise InputError("streams use our own chunks", f"compat {self.compat}", "Use separate(), or no compat.")
        files = dict(targets) if isinstance(targets, Mapping) else {self.names[0]: targets}
        if not files or not set(files) <= set(self.names):
            raise InputError("there are no such stems", ", ".join(files), f"Choose from {', '.join(self.names)}.")
        rate = self.model.config.sample_rate
        with ExitStack() as opened:
            song = opened.enter_context(open_sound(source, rate))
            channels = self._checked_channels(song.channels)
            writers = {
                name: opened.enter_context(new_sound(path, rate, channels, song.total)) for name, path in files.items()
            }
            for part, block in self._blocks(
                song.total, lambda start, stop: song.read(start, stop).repeat(channels // song.channels, axis=0)
            ):
                separated = self._named(part, block)
                for name, writer in writers.items():
                    writer.write(separated[name])
        return {name: Path(path) for name, path in files.items()}

    def _mixture(self, samples: np.ndarray, rate: int) -> Samples:
        song = Audio(samples, rate)
        if samples.dtype.kind in "iu":
            say("The samples are integers: scaled to ±1.")
        if self._checked_channels(song.channels) > song.channels:
            song = song.stereo()
        if rate != self.model.config.sample_rate:
            say(f"Resampled from {rate} to {self.model.config.sample_rate} Hz; the stems stay at that rate.")
            song = song.resampled(self.model.config.sample_rate)
        return song.samples

    def _checked_channels(self, channels: int) -> int:
        """Channels of the stems."""
        wanted = self.model.config.channels
        if channels > 2:
            raise InputError("songs have one or two channels", channels, "Mix them down to stereo first.")
        if channels < wanted:
            say("The song is mono: both channels of the model get the same.")
        elif channels > wanted:
            say("The model is mono: each channel is separated by itself.")
        return max(channels, wanted)

    def _named(self, mixture: Samples, stems: Float32[np.ndarray, "stems channels time"]) -> dict[str, Samples]:
        named = dict(zip(self.names, stems, strict=False))
        if len(self.names) > len(stems):
            named[self.names[-1]] = mixture - named.get("vocals", stems[0])
        return named

    def _blocks(
        self, total: int, read: Callable[[int, int], Samples]
    ) -> Iterator[tuple[Samples, Float32[np.ndarray, "stems channels time"]]]:
        """Neighbouring pieces of the mixture with their stems."""
        if self.compat:
            chunks, size = msst_chunks(total, self.size, num_overlaps(self.overlap), self.batch_size), self.size
        else:
            chunks, size = even_chunks(total, self.size, self.overlap, self.window), min(self.size, total)
        if total < self.model.config.n_fft:
            say("The song is shorter than a frame of the spectrum: it is continued for the model, then cut again.")
        batches = [chunks[i : i + self.batch_size] for i in range(0, len(chunks), self.batch_size)]
        joined, end = OverlapAdd(), 0
        for batch in track(batches, "Separating"):
            parts = [read(chunk.start, chunk.stop) for chunk in batch]
            for chunk, part, stems in zip(batch, parts, self._stems(parts, size), strict=True):
                joined.add(chunk.start, stems[..., : part.shape[1]], chunk.weights)
                yield part[:, end - chunk.start : chunk.settled - chunk.start], joined.take(chunk.settled)
                end = chunk.settled

    @torch.inference_mode()
    def _stems(self, parts: Sequence[np.ndarray], size: int) -> Float32[np.ndarray, "batch stems channels padded"]:
        config = self.model.config
        mixture = torch.stack([_filled(torch.tensor(part), max(size, config.n_fft)) for part in parts])
        mixture = mixture.to(next(self.model.parameters()).device)
        if config.channels == 1:
            stems = self.model(mixture.flatten(0, 1).unsqueeze(1)).squeeze(2)
            stems = stems.unflatten(0, mixture.shape[:2]).transpose(1, 2)
        else:
            stems = self.model(mixture)
        if not stems.isfinite().all():
            raise WeightsError("the network gives no finite sound", "NaN or infinity", "Use float32, or other weights.")
        return stems.cpu().numpy()


def _filled(part: Float32[Tensor, "channels time"], size: int) -> Float32[Tensor, "channels filled"]:
    """A short part, continued by its reflection where that is long enough, else by silence."""
    missing = size - part.shape[1]
    return F.pad(part, (0, missing), mode="reflect" if part.shape[1] > size // 2 else "constant")


def num_overlaps(overlap: float) -> int:
    """The ``num_overlap`` of Music-Source-Separation-Training, ``1 / (1 - overlap)``.

    Raises:
        InputError: not a whole number.
    """
    number = 1 / (1 - overlap) if 0 <= overlap < 1 else 0.0
    if round(number) < 1 or abs(number - round(number)) > 0.01:
        raise InputError("compat='msst' knows overlaps of 1 - 1/n only", overlap, "Use 0, 0.5, 0.667, 0.75, 0.8, ...")
    return round(number)


def msst_chunks(total: int, size: int, num_overlap: int, batch_size: int) -> list[Chunk]:
    """The chunks of Music-Source-Separation-Training: weight one, with linear fades over a tenth at either end.

    Their defects are kept. The fades reach zero, so that without an overlap there are zero samples at the joints. One
    window serves all chunks of a batch: it lacks the fade-in if the batch is the first chunk alone, else the fade-out
    if the batch reaches the end.
    """
    step = size // num_overlap
    starts = list(range(0, total, step))
    fade = size // 10
    plain = np.ones(size, dtype=np.float32)
    plain[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    plain[:fade] *= np.linspace(0, 1, fade, dtype=np.float32)
    chunks = []
    for batch in (starts[i : i + batch_size] for i in range(0, len(starts), batch_size)):
        window = plain.astype(np.float64)
        if batch == [0]:
            window[:fade] = 1
        elif batch[-1] + step >= total:
            window[-fade:] = 1
        chunks += [Chunk(start, window[: total - start], min(start + step, total)) for start in batch]
    return chunks
