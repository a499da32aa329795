"""Depthwise convolution against torch's conv1d, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.parts.depthwise import depthwise_conv


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def reference(x, weight, dilation, causal):
    reach = (weight.shape[1] - 1) * dilation
    left = reach if causal else reach // 2
    padded = F.pad(x.transpose(1, 2), (left, reach - left))
    return F.conv1d(padded, weight[:, None], dilation=dilation, groups=len(weight)).transpose(1, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("batch", "time", "channels", "taps", "dilation"), [(1, 50, 16, 17, 1), (3, 7, 5, 39, 2)])
def test_equals_conv1d_with_its_gradients(batch, time, channels, taps, dilation, causal, dtype):
    x, weight = draw(batch, time, channels, dtype=dtype), draw(channels, taps, seed=1, dtype=dtype)
    grad = draw(batch, time, channels, seed=2, dtype=dtype)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-12
    expected = reference(x, weight, dilation, causal)
    torch.testing.assert_close(depthwise_conv(x, weight, dilation=dilation, causal=causal), expected)
    ours, theirs = [
        torch.autograd.grad(conv(x, weight), (x, weight), grad)
        for x, weight in [(x.clone().requires_grad_(), weight.clone().requires_grad_())]
        for conv in (
            lambda x, w: depthwise_conv(x, w, dilation=dilation, causal=causal),
            lambda x, w: reference(x, w, dilation, causal),
        )
    ]
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


def test_numerical_gradients():
    x, weight = draw(2, 6, 3).requires_grad_(), draw(3, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: depthwise_conv(a, b, dilation=2), (x, weight))


def test_causal_taps_see_no_future():
    x, weight = draw(1, 30, 4), draw(4, 5, seed=1)
    later = x.clone()
    later[:, 20:] += 1
    a, b = (depthwise_conv(each, weight, dilation=2, causal=True) for each in (x, later))
    assert torch.equal(a[:, :20], b[:, :20])
    assert not torch.equal(a[:, 20:], b[:, 20:])


def test_an_even_number_of_taps_cannot_be_centred():
    with pytest.raises(InputError, match="centred"):
        depthwise_conv(torch.zeros(1, 5, 2), torch.zeros(2, 4))


@pytest.mark.parametrize("channels", [3, 16, 64])
def test_half_precision_is_close(channels):
    x, weight = draw(2, 40, channels, dtype=torch.float32), draw(channels, 5, seed=1, dtype=torch.float32)
    found = depthwise_conv(x.bfloat16(), weight.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), reference(x, weight, 1, causal=False), atol=0.1, rtol=0.05)
