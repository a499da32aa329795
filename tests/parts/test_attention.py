"""Rotary positions and RMS normalisation against their definitions."""

from __future__ import annotations

import cmath

import pytest
import torch

from harmonia.parts.attention import RMSNorm, rotate


@pytest.mark.parametrize("pairing", ["adjacent", "halves"])
def test_products_depend_on_the_distance_only(pairing):
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 16, generator=generator)
    queries, keys = (rotate(x.expand(50, 1, 16), pairing=pairing)[:, 0] for x in (q, k))
    products = queries @ keys.T
    for distance in (0, 1, 17):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-5)
    assert products[0].std() > 0.1


def test_adjacent_channels_turn_by_the_closed_form():
    x = torch.randn(4, 1, 8, generator=torch.Generator().manual_seed(0))
    turned = rotate(x, pairing="adjacent", theta=100.0)
    for position in range(4):
        for i in range(4):
            a, b = x[position, 0, 2 * i : 2 * i + 2].tolist()
            expected = complex(a, b) * cmath.exp(1j * position * 100.0 ** (-2 * i / 8))
            pair = complex(*turned[position, 0, 2 * i : 2 * i + 2].tolist())
            assert pair == pytest.approx(expected, abs=1e-6)


def test_pairings_differ_by_a_permutation_only():
    x = torch.randn(5, 2, 8, generator=torch.Generator().manual_seed(0))
    halves = [0, 2, 4, 6, 1, 3, 5, 7]
    torch.testing.assert_close(
        rotate(x[..., halves], pairing="halves"), rotate(x, pairing="adjacent")[..., halves], rtol=0, atol=0
    )


def test_positions_may_begin_later():
    x = torch.randn(9, 2, 6, generator=torch.Generator().manual_seed(0))
    whole = rotate(x, pairing="adjacent")
    assert torch.equal(rotate(x[4:], pairing="adjacent", first=4), whole[4:])


def test_half_precision_is_rotated_in_single():
    x = torch.randn(3000, 1, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    exact = rotate(x.float(), pairing="adjacent")
    assert rotate(x, pairing="adjacent").dtype == torch.bfloat16
    torch.testing.assert_close(rotate(x, pairing="adjacent").float(), exact, rtol=1e-2, atol=1e-2)


def test_a_table_first_used_for_inference_serves_training():
    with torch.inference_mode():
        rotate(torch.ones(37, 1, 6), pairing="adjacent")
    x = torch.ones(37, 1, 6, requires_grad=True)
    rotate(x, pairing="adjacent").square().sum().backward()
    torch.testing.assert_close(x.grad, 2 * torch.ones_like(x))


def test_normalised_vectors_have_the_length_of_ones_and_zero_stays_zero():
    norm = RMSNorm(12)
    x = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(norm(x).norm(dim=-1), torch.full((5,), 12**0.5))
    torch.testing.assert_close(norm(1e-6 * x), norm(x))
    assert (norm(torch.zeros(12)) == 0).all()
