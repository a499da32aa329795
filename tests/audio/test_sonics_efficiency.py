"""Costs: kept bytes counted by hand, token counts, crossovers; the rivals' sizes and shapes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harmonia.audio.sonics.baselines import ConvNeXt, ViT
from harmonia.audio.sonics.efficiency import Cost, crossover, frames_of, kept_bytes, measure, network
from harmonia.core.errors import InputError


def test_kept_bytes_of_a_small_network_are_those_counted_by_hand():
    model, x = nn.Sequential(nn.Linear(10, 20), nn.GELU(), nn.Linear(20, 1)), torch.randn(5, 10)
    # the input of the GELU and of the last layer: 5 x 20 floats each; x itself and the weights are not counted
    assert kept_bytes(model, x) == 2 * 5 * 20 * 4


def test_memory_grows_with_the_tokens():
    by = {cost.name: cost for cost in measure(("alpha", "gamma", "ViT"), (5.0,), repeats=1)}
    assert by["gamma"].tokens == 43
    assert by["ViT"].tokens == 64
    assert by["alpha"].memory / by["gamma"].memory == pytest.approx(170 / 43, rel=0.02)
    assert by["ViT"].memory / by["gamma"].memory == pytest.approx(64 / 43, rel=0.02)
    assert all(cost.seconds > 0 for cost in by.values())


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [((1, 1, 1), (2, 2, 2), 5.0), ((2, 2, 2), (1, 1, 1), float("inf")), ((2, 3, 4), (1, 4, 8), 20.0)],
    ids=["always", "never", "between"],
)
def test_the_crossover_is_where_the_times_meet(ours, theirs, expected):
    windows = (5.0, 35.0, 120.0)
    costs = [Cost("a", w, 0, 0, float(s), 0) for w, s in zip(windows, ours, strict=True)]
    costs += [Cost("b", w, 0, 0, float(s), 0) for w, s in zip(windows, theirs, strict=True)]
    assert crossover(costs, "a", "b") == pytest.approx(expected)


def test_windows_between_the_released_ones_keep_the_frame_rate():
    assert [frames_of(window) % 16 for window in (5.0, 10.0, 30.0, 60.0, 120.0)] == [0] * 5
    assert frames_of(60.0) == pytest.approx(3744 / 2, abs=16)
    assert network("beta", 30.0).config.input_shape == (128, frames_of(30.0))


def test_the_vit_sees_patches_in_reading_order():
    torch.manual_seed(0)
    model = ViT((32, 48), patch=16, dim=8, depth=1, heads=2).eval()
    x = torch.randn(1, 32, 48)
    assert model.tokens == 6
    patches = model.patch(x[:, None]).flatten(2).transpose(1, 2)
    weight = model.patch.weight[:, 0].flatten(1)
    expected = x[0, 16:32, 16:32].flatten() @ weight.T + model.patch.bias
    torch.testing.assert_close(patches[0, 4], expected, rtol=1e-4, atol=1e-5)
    assert model(x).shape == (1,)
    with pytest.raises(InputError):
        ViT((30, 48))


def test_convnext_takes_any_length():
    torch.manual_seed(0)
    model = ConvNeXt(depths=(1, 1, 1, 1), dims=(4, 8, 8, 8)).eval()
    assert model(torch.randn(2, 128, 64)).shape == model(torch.randn(2, 128, 96)).shape == (2,)
