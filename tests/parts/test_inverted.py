"""Inverted tokens and instance normalisation: round trips, plain attention by hand, permutations of variables."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harmonia.core.errors import InputError
from harmonia.parts.instance_norm import InstanceNorm
from harmonia.parts.inverted import EncoderLayer, InvertedEmbedding, SelfAttention


def test_instance_norm_round_trip_and_moments():
    window = 5 + 3 * torch.randn(4, 50, 2, generator=torch.Generator().manual_seed(0)).double()
    norm = InstanceNorm.of(window, floor=0.0)
    scaled = norm.apply(window)
    torch.testing.assert_close(scaled.mean(1), torch.zeros(4, 2).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(scaled.std(1, correction=0), torch.ones(4, 2).double())
    torch.testing.assert_close(norm.undo(scaled), window)
    draws = torch.randn(7, 4, 3, 2).double()
    torch.testing.assert_close(norm.apply(norm.undo(draws)), draws)


def test_a_constant_window_stays_finite():
    window = torch.full((1, 10, 1), 4.0)
    assert InstanceNorm.of(window).apply(window).tolist() == torch.zeros(1, 10, 1).tolist()


def test_attention_is_torchs():
    attention = SelfAttention(8, heads=2, dropout=0.0)
    reference = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        parts = (attention.query, attention.key, attention.value)
        reference.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        reference.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        reference.out_proj.weight.copy_(attention.output.weight)
        reference.out_proj.bias.copy_(attention.output.bias)
    x = torch.randn(3, 5, 8)
    torch.testing.assert_close(attention(x), reference(x, x, x)[0], atol=1e-5, rtol=1e-5)


def test_variables_are_a_set():
    torch.manual_seed(0)
    embed = InvertedEmbedding(12, 8).eval()
    layer = EncoderLayer(SelfAttention(8, 2), 8, 16).eval()
    window, order = torch.randn(2, 12, 5), torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(layer(embed(window[:, :, order])), layer(embed(window))[:, order])


def test_heads_divide_the_width():
    with pytest.raises(InputError, match="heads"):
        SelfAttention(8, 3)
