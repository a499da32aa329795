"""What a pre-training draws from: sounds at the model's rate beside what the teachers say of their frames.

The teachers' frames lie a whole number of strides from the beginning of a file, whatever the crop. So each file is
heard by them once, when it is first drawn, and kept in a folder; a crop is then a slice of three arrays.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from harmonia.audio.mert.catalogue import Catalogue
from harmonia.audio.mert.config import MERTConfig
from harmonia.audio.mert.teachers import ConstantQTeacher, Teacher

KEPT_AT_MOST = 8_000_000_000
"""Bytes of the arrays of a whole catalogue, about fifteen hours; teachers of larger ones hear every crop anew."""
_STRETCH = 4096
_MARGIN = 128
"""Frames around a stretch that its transforms reach into; the longest constant-Q window spans 158 frames."""


class Crops(NamedTuple):
    """Clean clips with their targets.

    Attributes:
        audio: The clips.
        codes: Classes of their frames; without codebooks where there is no such teacher.
        cqt: Constant-Q magnitudes of their frames; without bins where there is no such teacher.
    """

    audio: Float[Tensor, "batch time"]
    codes: Int[Tensor, "batch frames codebooks"]
    cqt: Float[Tensor, "batch frames bins"]


class Material:
    """Random crops of a catalogue with their targets.

    Arguments:
        catalogue: The music; where it has labels and there is no teacher of codes, they are the codes.
        config: Gives sample rate and frames.
        teacher: Gives codes, or None.
        constant_q: Gives the constant-Q spectrum, or None.
        folder: Where sounds and targets are kept, about 150 kB a second, if they fit in half of what is free there;
            None keeps nothing, and teachers hear every crop anew.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        config: MERTConfig,
        teacher: Teacher | None,
        constant_q: ConstantQTeacher | None,
        folder: Path | None = None,
    ) -> None:
        self.catalogue, self.config, self.teacher, self.constant_q = catalogue, config, teacher, constant_q
        frame_bytes = 4 * config.stride + 4 * (teacher.codebooks if teacher else 0)
        frame_bytes += 2 * (constant_q.bins if constant_q else 0)
        wanted = sum(catalogue.seconds) * config.frame_rate * frame_bytes
        room = 0.0 if folder is None else min(KEPT_AT_MOST, shutil.disk_usage(folder).free / 2)
        self._folder = folder if wanted < room else None

    def crops(self, count: int, samples: int, generator: torch.Generator) -> Crops:
        """Random clips of so many samples."""
        where = self.catalogue.places(count, samples, self.config.sample_rate, generator, grid=self.config.stride)
        found = [self._crop(file, start, samples) for file, start in where]
        return Crops(*(torch.stack(parts) for parts in zip(*found, strict=True)))

    def _crop(self, file: int, start: int, samples: int) -> Crops:
        frames, first = self.config.frames(samples), start // self.config.stride
        if self._folder is None:
            audio, codes, cqt = self._heard(self.catalogue.read(file, start, samples, self.config.sample_rate))
        else:
            kept = self._kept(file, self._folder)
            audio, codes, cqt = kept[0][start : start + samples], *(x[first : first + frames] for x in kept[1:])
        if self.teacher is None and self.catalogue.labels:
            codes = self.catalogue.labels[file][first : first + frames]
        sound = torch.from_numpy(np.array(audio))
        spectrum = torch.from_numpy(np.array(cqt[:frames], dtype=np.float32))
        if self.constant_q is not None:
            spectrum *= self.constant_q.gain(sound[None])
        return Crops(sound, torch.from_numpy(np.array(codes[:frames], dtype=np.int64)), spectrum)

    def _kept(self, file: int, folder: Path) -> list[np.ndarray]:
        """Sound, codes and magnitudes of a file, memory-mapped."""
        paths = [folder / f"{file}.{kind}.npy" for kind in ("audio", "codes", "cqt")]
        if not paths[-1].is_file():
            length = int(np.ceil(self.catalogue.seconds[file] * self.config.sample_rate))
            sound = self.catalogue.read(file, 0, length, self.config.sample_rate)
            for path, values in zip(paths, self._heard(sound), strict=True):
                np.save(path, values)
        return [np.load(path, mmap_mode="r") for path in paths]

    def _heard(self, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A sound with codes and magnitudes of its frames, stretch by stretch."""
        stride, total = self.config.stride, len(sound) // self.config.stride
        codes, cqt = [np.zeros((0, 0), np.int32)], [np.zeros((0, 0), np.float16)]
        for start in range(0, total, _STRETCH):
            low, high = max(0, start - _MARGIN), min(total, start + _STRETCH + _MARGIN)
            audio = torch.from_numpy(sound[low * stride : (high * stride if high < total else None)])[None]
            own = slice(start - low, min(start + _STRETCH, total) - low)
            if self.teacher is not None:
                codes.append(self.teacher(audio, high - low)[0, own].int().numpy())
            if self.constant_q is not None:
                cqt.append(self.constant_q.magnitudes(audio, high - low)[0, own].half().numpy())
        return sound, _joined(codes, total), _joined(cqt, total)


def _joined(parts: list[np.ndarray], total: int) -> np.ndarray:
    return np.concatenate(parts[1:]) if len(parts) > 1 else np.zeros((total, 0), parts[0].dtype)
