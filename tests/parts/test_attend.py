"""Attention in blocks beside PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from harmonia.parts.attention import attend


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("queries", [1, 2047, 2048, 2100])
@pytest.mark.parametrize("batch", [(), (2,), (1, 3)], ids=str)
def test_it_is_that_of_pytorch(queries, batch):
    q, k, v = noise(*batch, queries, 8), 3 * noise(*batch, 600, 8, seed=1), noise(*batch, 600, 5, seed=2)
    assert (attend(q, k, v) - F.scaled_dot_product_attention(q, k, v)).abs().max() < 1e-5


def test_strides_do_not_matter():
    q, k, v = (noise(1, 2100, 4, 8, seed=seed).transpose(1, 2) for seed in range(3))
    assert (attend(q, k, v) - F.scaled_dot_product_attention(q, k, v)).abs().max() < 1e-5


def test_masks_gradients_and_other_types_go_the_usual_way():
    q, k, v = (noise(2, 2100, 8, seed=seed) for seed in range(3))
    mask = torch.rand(2, 2100, 2100, generator=torch.Generator().manual_seed(0)) < 0.5
    assert torch.equal(attend(q, k, v, mask), F.scaled_dot_product_attention(q, k, v, mask))
    double = attend(q.double(), k.double(), v.double())
    assert (double - attend(q, k, v)).abs().max() < 1e-5
    q.requires_grad_()
    attend(q, k, v).sum().backward()
    assert q.grad.isfinite().all()
