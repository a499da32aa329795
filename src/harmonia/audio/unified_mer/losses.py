"""Losses for tags and emotions, and two ways for a student to learn from teachers.

The release distils with a softmax over the *output vector*. Over (valence, arousal) a softmax sees only their
difference: adding a number to both changes nothing, so a student may be right about V - A and wrong about both. Over
tags, which are independent yes-or-no questions, it couples each with all others. ``kd="mse_bce"`` instead compares
numbers with numbers and each tag's probability with the same tag's.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.core.progress import say

Distillation = Literal["official", "mse_bce"]
Kind = Literal["tags", "va"]

KD_WEIGHT = 0.8
"""Share of the teacher in the loss; the labels have the rest."""


def tag_weights(labels: Float[Tensor, "pieces tags"]) -> tuple[Float[Tensor, " tags"], Float[Tensor, " tags"]]:
    """Weights of the positive examples and of the tags, ``1 / p`` and ``2 / (1 + 1 / p)``, from their frequency p.

    A tag that no piece has counts as one that half a piece had, and the user is told.

    Example:
        >>> positive, weight = tag_weights(torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
        >>> positive.tolist(), weight.tolist()
        ([2.0, 1.0], [0.6666666865348816, 1.0])
    """
    counts = labels.sum(0)
    if bool((counts == 0).any()):
        say(f"{int((counts == 0).sum())} tags have no positive example; they cannot be learnt.")
    positive = len(labels) / counts.clamp(min=0.5)
    return positive, 2 / (1 + positive)


def tag_loss(
    logits: Float[Tensor, "batch tags"],
    labels: Float[Tensor, "batch tags"],
    weights: tuple[Float[Tensor, " tags"], Float[Tensor, " tags"]],
) -> Float[Tensor, ""]:
    """Weighted cross-entropy of every tag on its own: ``w_c [-(1 / p_c) y log s - (1 - y) log(1 - s)]``, their mean."""
    positive, weight = weights
    return F.binary_cross_entropy_with_logits(logits, labels, weight=weight, pos_weight=positive)


def distillation_loss(
    student: Float[Tensor, "batch outputs"], teacher: Float[Tensor, "batch outputs"], kind: Kind, kd: Distillation | str
) -> Float[Tensor, ""]:
    """How far a student's outputs are from a teacher's.

    ``official``: ``KL(softmax(teacher) || softmax(student))``, summed over outputs, mean over the batch. ``mse_bce``:
    mean squared error of valence and arousal; for tags ``KL`` of each tag's yes and no, their mean.

    Arguments:
        student, teacher: Logits of tags, or valence and arousal.
        kind: Which of them.
        kd: Which distance.

    Raises:
        InputError: an unknown distance.

    Example:
        >>> teacher = torch.tensor([[6.0, 3.0]])
        >>> shifted = teacher + 2.0                     # both wrong by two points
        >>> distillation_loss(shifted, teacher, "va", "official").item() < 1e-6
        True
        >>> distillation_loss(shifted, teacher, "va", "mse_bce").item()
        4.0
    """
    if kd == "official":
        return F.kl_div(student.log_softmax(-1), teacher.log_softmax(-1), reduction="batchmean", log_target=True)
    if kd != "mse_bce":
        raise InputError("there is no such distillation", kd, "Use 'mse_bce', 'official' or None.")
    if kind == "va":
        return F.mse_loss(student, teacher)
    pairs = (torch.stack([-logits, logits], -1) for logits in (student, teacher))
    of_student, of_teacher = (F.logsigmoid(pair) for pair in pairs)
    return (of_teacher.exp() * (of_teacher - of_student)).sum(-1).mean()
