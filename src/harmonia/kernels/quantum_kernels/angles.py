"""Angles as tensors, whatever they come as."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError


def as_angles(values: Any) -> Float[Tensor, "*shape"]:
    """Real numbers as a tensor: of float32 or float64 as it is, anything else in float64.

    Arguments:
        values: A tensor, or what numpy makes an array of: numbers of any real kind, lists, data frames. Arrays of
            float32 become float64, too; tensors of float32 ask for single precision.

    Raises:
        InputError: words, objects or complex numbers, rows of different lengths, or no numbers at all.

    Example:
        >>> as_angles([[1, 2], [3, 4]]).dtype
        torch.float64
    """
    tensor = values if isinstance(values, Tensor) else _from_array(values)
    if tensor.is_complex():
        raise _no_numbers(tensor.dtype)
    if 0 in tensor.shape:
        raise InputError("there are no angles", tuple(tensor.shape), "Pass at least one row.")
    return tensor if tensor.dtype == torch.float32 else tensor.double()


def _from_array(values: Any) -> Float[Tensor, "*shape"]:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise _no_numbers(error) from error
    if array.dtype.kind not in "biuf":
        raise _no_numbers(array.dtype)
    return torch.from_numpy(np.array(array, dtype=np.float64, order="C"))  # a copy: torch takes no negative strides


def _no_numbers(got: object) -> InputError:
    return InputError("angles and their factors are real numbers", got, "Pass an array of numbers.")
