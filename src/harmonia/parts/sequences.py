"""What estimators take for sequences: arrays or lists of arrays, of one length or many, checked and standardised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from numpy import ndarray
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data
from torch import Tensor

from harmonia.core.checks import as_numbers
from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.parts.spread import spread_of


@dataclass(frozen=True)
class Sequences:
    """Sequences side by side, zeros behind the shorter ones.

    Attributes:
        values: Padded samples; float64 as they are read, so that nothing is lost before they are standardised.
        lengths: Samples of each.
        flat: Whether they came as a table, one sequence a row.
    """

    values: Float[Tensor, "sequences time channels"]
    lengths: Int64[Tensor, " sequences"]
    flat: bool = False

    @classmethod
    def of(cls, X: Any) -> Sequences:
        """Read (n, time), (n, time, channels), or a list of arrays (time,) or (time, channels) of any lengths.

        Raises:
            InputError: nothing, other shapes, different numbers of channels, or values that are no numbers or not
                finite: it names the first.

        Example:
            >>> Sequences.of([np.zeros(3), np.zeros((5, 1))]).values.shape
            torch.Size([2, 5, 1])
        """
        if isinstance(X, (list, tuple)) and len(X) and all(np.ndim(each) in (1, 2) for each in X):
            ragged = len({np.shape(each) for each in X}) > 1 or np.ndim(X[0]) == 2
            if ragged or all(isinstance(each, np.ndarray) for each in X):
                return cls._listed([as_numbers(each, "samples") for each in X])
        array = np.asarray(X.numpy(force=True) if isinstance(X, Tensor) else X)
        if array.ndim not in (2, 3) or not array.size:
            mend = "Pass (sequences, time), (sequences, time, channels), or a list of arrays."
            raise InputError("these are no sequences", f"the shape {array.shape}", mend)
        array = as_numbers(array, "samples")
        flat = array.ndim == 2
        return cls._padded(list(array[:, :, None] if flat else array), flat)

    @classmethod
    def _listed(cls, arrays: Sequence[np.ndarray]) -> Sequences:
        arrays = [each[:, None] if each.ndim == 1 else each for each in arrays]
        widths = sorted({each.shape[1] for each in arrays})
        if len(widths) > 1 or min(len(each) for each in arrays) < 1 or widths[0] < 1:
            shapes = sorted({each.shape for each in arrays})[:5]
            raise InputError("sequences have samples, and all as many channels", shapes, "Pass (time, channels).")
        return cls._padded(arrays, False)

    @classmethod
    def _padded(cls, arrays: Sequence[np.ndarray], flat: bool) -> Sequences:
        for i, each in enumerate(arrays):
            if not np.isfinite(each).all():
                time, channel = np.argwhere(~np.isfinite(each))[0]
                got = f"{each[time, channel]} in sequence {i}, sample {time}, channel {channel}"
                raise InputError("the sequences contain NaN or infinity", got, "Fill or cut what is missing.")
        lengths = [len(each) for each in arrays]
        values = np.zeros((len(arrays), max(lengths), arrays[0].shape[1]))
        for row, each in zip(values, arrays):
            row[: len(each)] = each
        if not flat and values.shape[1] < values.shape[2]:
            say("The sequences have more channels than samples: the order is (sequences, time, channels).")
        return cls(torch.from_numpy(values), torch.tensor(lengths), flat)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def channels(self) -> int:
        return self.values.shape[2]

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Values and lengths of some, cut to the longest of them."""
        lengths = self.lengths[rows]
        return self.values[rows, : int(lengths.max())], lengths


@dataclass(frozen=True)
class Scaler:
    """Mean and spread of each channel over all samples of all sequences.

    Attributes:
        mean: Subtracted.
        spread: Divided by; 1 for a constant channel.
    """

    mean: Float64[np.ndarray, " channels"]
    spread: Float64[np.ndarray, " channels"]

    @classmethod
    def of(cls, sequences: Sequences) -> Scaler:
        """Measure all samples of all sequences.

        Raises:
            InputError: as `of_rows`.
        """
        inside = torch.arange(sequences.values.shape[1]) < sequences.lengths[:, None]
        return cls.of_rows(sequences.values[inside].double().numpy())

    @classmethod
    def of_rows(cls, rows: Float64[np.ndarray, "rows channels"]) -> Scaler:
        """Measure the columns of a table; one that varies by no more than rounding counts as constant.

        Raises:
            InputError: as `spread_of`.
        """
        return cls(rows.mean(0), spread_of(rows))

    def apply(self, values: Float[Tensor, "*batch channels"]) -> Float32[Tensor, "*batch channels"]:
        """To units of the spread.

        Raises:
            InputError: values so far from those that were measured that float32 cannot hold them.
        """
        mean, spread = (torch.from_numpy(each).to(values) for each in (self.mean, self.spread))
        scaled = ((values - mean) / spread).float()
        if not bool(torch.isfinite(scaled).all()):
            got = f"{float(values.abs().max()):.3g} where {float(self.spread.max()):.3g} is usual"
            raise InputError("values lie too far from those of training", got, "Pass them in the units of training.")
        return scaled


class SequenceInput:
    """Reads what a scikit-learn estimator of sequences is given, and remembers its form; a mixin.

    Attributes:
        flat_: Whether `fit` was given a table, one sequence a row.
        n_features_in_: Samples of a row of a table, else channels.
        scaler_: Of the channels; set by the estimator.
    """

    flat_: bool
    n_features_in_: int
    scaler_: Scaler

    def _of_one_length(self) -> bool:
        """Whether a table must have as many columns as that of `fit`."""
        return self.flat_

    def _read(self, X: Any, *, reset: bool) -> Sequences:
        """Sequences as they were in `fit`: rows of one length, or as many channels."""
        table = not isinstance(X, (list, tuple, Tensor)) and len(getattr(X, "shape", ())) < 3
        if table and (reset or self._of_one_length()):
            # scikit-learn's checks of tables; ours say where a value is missing.
            found = validate_data(self, X, reset=reset, dtype="numeric", ensure_all_finite=False)
            sequences = Sequences.of(np.asarray(found))
        else:
            sequences = Sequences.of(X)
        if reset:
            self.flat_ = sequences.flat
            self.n_features_in_ = sequences.values.shape[1] if sequences.flat else sequences.channels
        elif sequences.channels != len(self.scaler_.mean):
            got = f"{sequences.channels} channels"
            raise InputError(f"the model was trained on {len(self.scaler_.mean)} channels", got, "Pass the same.")
        return sequences


def class_index(y: Any, count: int) -> tuple[ndarray, Int64[ndarray, " sequences"]]:
    """The classes in labels of `count` sequences, and the place of each label's class.

    Raises:
        InputError: another number of labels, or fewer than two classes.

    Example:
        >>> classes, index = class_index(["b", "a", "b"], 3)
        >>> classes.tolist(), index.tolist()
        (['a', 'b'], [1, 0, 1])
    """
    y = column_or_1d(y, warn=True)
    if len(y) != count:
        raise InputError("one label belongs to each sequence", f"{len(y)} for {count}", "Pass as many.")
    check_classification_targets(y)
    classes, index = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise InputError("a classifier needs at least two classes", "one class", "Pass labels that vary.")
    return classes, index


def listed_classes(classes: ndarray) -> list[Any]:
    """Classes as a file holds them.

    Raises:
        InputError: classes that are neither words nor numbers.
    """
    listed = classes.tolist()
    if not all(isinstance(each, (str, int, float, bool)) for each in listed):
        raise InputError("classes are stored as words or numbers", listed[:3], "Rename them.")
    return list(listed)
