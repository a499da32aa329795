"""Features that were computed elsewhere, as representations to be probed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor

from harmonia.audio.music_fm_survey.encoders import Encoder
from harmonia.core.errors import InputError


def read_features(path: Path) -> dict[str, Float[ndarray, "clips *layers d"]]:
    """Arrays of a ``.npy`` or ``.npz`` file by name; nothing in it is executed.

    Raises:
        InputError: no such file, another format, or arrays that are no features.
    """
    if path.suffix.lower() not in (".npy", ".npz"):
        raise InputError("features are read from .npy or .npz", path.name, "Save them by numpy.save.")
    try:
        content = np.load(path, allow_pickle=False, mmap_mode="r" if path.suffix.lower() == ".npy" else None)
        arrays = {path.stem: content} if isinstance(content, np.ndarray) else {name: content[name] for name in content}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path.name} cannot be read", error, "Save it again by numpy.save or numpy.savez.") from None
    for name, array in arrays.items():
        if array.ndim not in (2, 3) or array.dtype.kind != "f" or not array.size:
            got = f"'{name}': {array.dtype} {array.shape}"
            raise InputError("features are floats [clips, d] or [clips, layers, d]", got, "Reshape them.")
    if not arrays:
        raise InputError("the file holds no features", path.name, "Save at least one array.")
    return arrays


class TableEncoder(Encoder):
    """Features that are already there: the clip called i is row i.

    Arguments:
        name: What they are.
        rows: ``[clips, d]`` or ``[clips, layers, d]``.
    """

    rate: int = 1
    window_s: float = 1.0

    def __init__(self, name: str, rows: Float[ndarray, "clips *layers d"]) -> None:
        self.about, self.rows = name, rows if rows.ndim == 3 else rows[:, None]

    def transform(self, clips: Sequence[Any]) -> Float32[ndarray, "clips layers d"]:
        """The rows of clips given by their numbers.

        Raises:
            InputError: rows that are not finite; the first is named.
        """
        rows = np.asarray(self.rows[[int(clip) for clip in clips]], dtype=np.float32)
        bad = np.flatnonzero(~np.isfinite(rows.reshape(len(rows), -1)).all(1))
        if len(bad):
            raise InputError(
                "features hold values that are not finite", f"row {int(clips[bad[0]]) + 1}", "Drop or mend it."
            )
        return rows

    def embed(self, windows: Float32[Tensor, "batch time"]) -> Float32[Tensor, "batch layers d"]:
        """Rows by number, as a batch of windows of one number each."""
        return torch.from_numpy(self.transform([str(int(row)) for row in windows[:, 0]]))
