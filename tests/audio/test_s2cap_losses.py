"""Losses against their closed forms, and why the text side of CRESCENDO is frozen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harmonia.audio.s2cap.claims.identities import spread_after_alignment
from harmonia.audio.s2cap.losses import (
    attribute_loss,
    caption_loss,
    cosine_distance,
    crescendo_loss,
    crescendo_tokens_loss,
    demix_loss,
)
from harmonia.core.errors import InputError


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_label_smoothing_has_its_closed_form() -> None:
    logits, targets, s = noise(2, 3, 5).double(), torch.tensor([[1, 2, 0], [4, 0, 0]]), 0.1
    log_p = torch.log(torch.exp(logits) / torch.exp(logits).sum(-1, keepdim=True)).numpy()
    terms = [
        (1 - s) * -log_p[i, j, int(targets[i, j])] + s * -log_p[i, j].mean()
        for i in range(2)
        for j in range(3)
        if targets[i, j] != 0
    ]
    assert float(caption_loss(logits, targets, 0, s)) == pytest.approx(np.mean(terms))


def test_only_padding_is_refused() -> None:
    with pytest.raises(InputError, match="empty"):
        caption_loss(noise(1, 2, 5), torch.zeros(1, 2, dtype=torch.long), 0)


def test_no_gradient_reaches_the_frozen_sides() -> None:
    z, t = noise(3, 4).requires_grad_(), noise(3, 4, seed=1).requires_grad_()
    crescendo_loss(z, t).backward()
    assert z.grad is not None
    assert t.grad is None
    mix, voice = noise(3, 5, 4).requires_grad_(), noise(3, 5, 4, seed=1).requires_grad_()
    demix_loss(mix, voice).backward()
    assert mix.grad is not None
    assert voice.grad is None


def test_the_gradient_of_the_alignment_is_that_of_the_cosine() -> None:
    z, t = noise(2, 4).double().requires_grad_(), noise(2, 4, seed=1).double()
    crescendo_loss(z, t).backward()
    a, b = z.detach(), t
    cos = (a * b).sum(1, keepdim=True) / (a.norm(dim=1, keepdim=True) * b.norm(dim=1, keepdim=True))
    unit_a, unit_b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
    expected = -(unit_b - cos * unit_a) / a.norm(dim=1, keepdim=True) / len(a)
    assert torch.allclose(z.grad, expected, atol=1e-12)


def test_tokens_align_with_their_nearest_frame() -> None:
    frames = torch.eye(4)[None]
    words = torch.stack([2 * torch.eye(4)[1], torch.eye(4)[0] + torch.eye(4)[2], torch.eye(4)[3]])[None]
    kept = torch.tensor([[True, True, False]])
    assert float(crescendo_tokens_loss(frames, words, kept)) == pytest.approx(1 - (1 + 0.5**0.5) / 2, abs=1e-6)


def test_unknown_labels_do_not_count() -> None:
    logits = {"gender": noise(3, 2), "tempo": noise(3, 3)}
    one = attribute_loss(logits, {"gender": torch.tensor([0, -1, -1]), "tempo": torch.tensor([-1, -1, -1])})
    assert float(one) == pytest.approx(float(-logits["gender"][0].log_softmax(0)[0]))
    assert float(attribute_loss(logits, {"gender": torch.tensor([-1, -1, -1])})) == 0


def test_a_trained_text_side_collapses_and_a_frozen_one_does_not() -> None:
    assert spread_after_alignment(1, frozen=False) < 1e-4
    assert spread_after_alignment(1, frozen=True, steps=5) > 0.01


def test_cosine_distance_does_not_see_lengths() -> None:
    a, b = noise(4, 6), noise(4, 6, seed=1)
    assert torch.allclose(cosine_distance(a, b), cosine_distance(7 * a, 0.1 * b), atol=1e-6)
