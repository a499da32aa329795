"""How many bits a probe needs to tell the labels of a data set, learning as it goes (Voita & Titov 2020).

The clips come in blocks that double in size; each block is coded with the probe that was fitted on all blocks before
it. A representation in which labels are easy to find costs few bits, whatever the final accuracy.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import log_softmax

from harmonia.core.errors import InputError
from harmonia.parts.probing import ProbeClassifier, Targets

SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)


class CodeLength(NamedTuple):
    """Bits for all labels, bits of a code that knows nothing, and their ratio: above 1 is compression."""

    bits: float
    uniform: float

    @property
    def compression(self) -> float:
        """How many times shorter than the uniform code."""
        return self.uniform / self.bits


def online_codelength(features: Float[ndarray, "items d"], targets: Targets, *, seed: int = 0) -> CodeLength:
    """Prequential code length of classes, in bits.

    Arguments:
        features: Of one layer.
        targets: Classes.
        seed: Of the order.

    Raises:
        InputError: targets that are no classes, or too few items for a first block.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> classes = np.arange(256) % 4
        >>> known = online_codelength(3 * np.eye(4)[classes] + rng.normal(size=(256, 4)), Targets.of(classes))
        >>> guessed = online_codelength(rng.normal(size=(256, 4)), Targets.of(classes))
        >>> known.compression > 1.5 > guessed.compression
        True
    """
    if targets.goal != "multiclass":
        raise InputError("code lengths are of classes", targets.goal, "Pass classes.")
    count, classes = len(targets), len(targets.classes)
    order = np.random.default_rng(seed).permutation(count)
    borders = sorted({max(2 * classes, round(share * count)) for share in SHARES})
    if borders[0] >= count:
        raise InputError("there are too few items for a first block", f"{count} of {classes} classes", "Pass more.")
    bits = borders[0] * np.log2(classes)
    for start, stop in pairwise(borders):
        seen, coming = order[:start], order[start:stop]
        bits += _bits(features, targets.values, seen, coming, classes)
    return CodeLength(float(bits), float(count * np.log2(classes)))


def _bits(features: ndarray, truth: ndarray, seen: ndarray, coming: ndarray, classes: int) -> float:
    """Bits of a block; a small share of probability is kept for every class, so that no label is impossible."""
    known = np.unique(truth[seen])
    logs = np.full((len(coming), classes), -np.inf)
    if len(known) > 1:
        probe = ProbeClassifier("logistic", (1e-3, 1e-2, 0.1, 1.0)).fit(features[seen], truth[seen])
        logits = features[coming] @ probe.coef_ + probe.intercept_
        logs[:, known] = log_softmax(logits, axis=1)
    else:
        logs[:, known] = 0.0
    mixed = np.logaddexp(np.log(0.98) + logs, np.log(0.02 / classes))
    return float(-mixed[np.arange(len(coming)), truth[coming]].sum() / np.log(2))
