"""The network: the cascade by hand, distributions that agree with themselves, the release's layout, bad sizes."""

from __future__ import annotations

import jaxtyping
import numpy as np
import pytest
import torch

from harmonia.core.errors import InputError, WeightsError
from harmonia.parts.instance_norm import InstanceNorm
from harmonia.sequences.harmony.checkpoint import load_released
from harmonia.sequences.harmony.heads import HEADS
from harmonia.sequences.harmony.network import CascadingAttention, HarmonyConfig, HarmonyNetwork

LEVELS = (1, 3, 2, 2, 1, 1, 1, 1)


def cascade_by_hand(attention, x, levels, mask):
    """The definition, one level, head and token at a time."""
    heads = attention.heads
    q, k, v = (
        p(x).unflatten(-1, (heads, -1)).transpose(1, 2) for p in (attention.query, attention.key, attention.value)
    )
    dim = q.shape[-1]
    passed, total, before = torch.zeros_like(q), torch.zeros_like(q), torch.zeros(len(levels), dtype=torch.bool)
    for level in range(1, max(levels) + 1):
        member = torch.tensor([each in (level, -1) for each in levels])
        m = member[:, None].float()
        ql, kl, vl = m * q + passed, m * k + passed, m * v + passed
        scores = ql @ kl.mT / dim**0.5
        if mask == "inf":
            scores = scores.masked_fill(~(member | before), -torch.inf)
        passed, before = m * (scores.softmax(-1) @ vl), member
        total = total + passed
    return attention.output(total.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("mask", ["inf", "zero"])
@pytest.mark.parametrize("levels", [(1, 2, 1, 3), (2, 1, -1, 1, 2), (1, 1)], ids=str)
def test_cascade_is_its_definition(levels, mask):
    torch.manual_seed(0)
    attention = CascadingAttention(8, 2, levels, 0.0, mask)
    x = torch.randn(3, len(levels), 8)
    torch.testing.assert_close(attention(x), cascade_by_hand(attention, x, levels, mask), atol=1e-5, rtol=1e-5)


def test_a_level_without_tokens_is_passed_over():
    torch.manual_seed(0)
    gap, none = CascadingAttention(8, 2, (1, 3, 3), 0.0), CascadingAttention(8, 2, (1, 2, 2), 0.0)
    none.load_state_dict(gap.state_dict())
    x = torch.randn(2, 3, 8)
    assert torch.isfinite(gap(x)).all()
    torch.testing.assert_close(gap(x), none(x))


def predictive(head, seed=0, batch=3, horizon=4, targets=2):
    generator = torch.Generator().manual_seed(seed)
    made = HEADS[head](horizon, targets, 8, False)
    for parameter in made.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    numbers = torch.randn(made.numbers, batch, horizon, targets, generator=generator)
    norm = InstanceNorm.of(5 + 2 * torch.randn(batch, 30, targets, generator=generator))
    return made(numbers, norm)


@pytest.mark.parametrize("head", sorted(HEADS))
class TestHeads:
    def test_quantiles_and_probabilities_are_inverse(self, head):
        dist = predictive(head)
        levels = torch.tensor([0.02, 0.3, 0.5, 0.8, 0.98])
        with torch.no_grad():
            quantiles = dist.icdf(levels)
            assert (quantiles.diff(dim=0) > 0).all()
            for level, quantile in zip(levels, quantiles):
                assert (dist.cdf(quantile) - level).abs().max() < (1e-3 if head != "realnvp" else 2e-3)

    def test_draws_follow_the_probabilities(self, head):
        dist = predictive(head)
        normal = torch.randn(4000, 3, 4, 2, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            draws = dist.draw(normal)
            below = (draws <= dist.icdf(torch.tensor([0.25]))[0]).float().mean(0)
        assert (below - 0.25).abs().max() < 0.04

    def test_loss_has_gradients(self, head):
        made = HEADS[head](4, 2, 8, False)
        numbers = torch.randn(made.numbers, 3, 4, 2, requires_grad=True)
        made(numbers, InstanceNorm.of(torch.randn(3, 30, 2))).loss(torch.randn(3, 4, 2)).sum().backward()
        assert torch.isfinite(numbers.grad).all()
        assert (numbers.grad.abs().sum((1, 2, 3)) > 0).float().mean() > 0.8


@pytest.mark.parametrize("head", ["normal", "spline", "studentt"])
def test_density_is_the_slope_of_the_probability(head):
    dist = predictive(head, horizon=1, targets=1)
    y = torch.linspace(2, 8, 13)[:, None, None, None]
    with torch.no_grad():
        slope = torch.stack(
            [(dist.cdf(v.expand(3, 1, 1) + 2e-3) - dist.cdf(v.expand(3, 1, 1) - 2e-3)) / 4e-3 for v in y]
        )
        density = torch.stack([dist.log_prob(v.expand(3, 1, 1)).exp() for v in y])
    np.testing.assert_allclose(density, slope[..., 0, 0], atol=2e-3)


def test_density_of_the_flow_integrates_to_one():
    dist = predictive("realnvp", batch=1, horizon=2, targets=1)
    axis = torch.linspace(-25, 35, 401)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2, 1)
    norm = InstanceNorm(dist.norm.mean.expand(len(grid), 1, 1), dist.norm.spread.expand(len(grid), 1, 1))
    dist.norm, dist.mean, dist.std = norm, dist.mean.expand(len(grid), 2, 1), dist.std.expand(len(grid), 2, 1)
    with torch.no_grad():
        total = dist.log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2
    assert total.item() == pytest.approx(1, abs=2e-3)


class TestNetwork:
    def test_units_do_not_matter(self):
        torch.manual_seed(0)
        network = HarmonyNetwork(HarmonyConfig(LEVELS, lookback=24, horizon=3)).eval()
        network.quietest.zero_()
        past, marks = torch.rand(2, 24, 4) + 1, torch.zeros(2, 24, 4)
        levels = torch.tensor([0.1, 0.5, 0.9])
        with torch.no_grad():
            plain, scaled = network(past, marks).icdf(levels), network(1000 * past, marks).icdf(levels)
        torch.testing.assert_close(scaled, 1000 * plain, rtol=1e-3, atol=1e-2)

    def test_targets_are_chosen(self):
        network = HarmonyNetwork(HarmonyConfig(LEVELS, targets=(2,), lookback=24, horizon=3)).eval()
        assert network(torch.rand(5, 24, 4), torch.zeros(5, 24, 4)).shape == (5, 3, 1)

    @pytest.mark.parametrize(
        ("changes", "what"),
        [
            ({"lookback": 0}, "positive"),
            ({"levels": (1, 0, 1, 1, 1, 1)}, "count from 1"),
            ({"targets": (7,)}, "targets"),
            ({"dropout": 1.5}, "dropped"),
            ({"mask": "foo"}, "no such mask"),
            ({"compat": "old"}, "no such compat"),
            ({"head": "flow"}, "no such head"),
        ],
        ids=["size", "level", "target", "dropout", "mask", "compat", "head"],
    )
    def test_bad_sizes(self, changes, what, monkeypatch):
        monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users run it: types are not checked
        with pytest.raises(InputError, match=what):
            HarmonyConfig(**{"levels": LEVELS, **changes})


def released_state(config):
    """Random tensors under the release's names."""
    w, h, n = config.width, config.hidden, config.variables
    shapes = {"enc_embedding.value_embedding": (w, config.lookback), "encoder.norm": None}
    for i in range(config.layers):
        layer = f"encoder.attn_layers.{i}"
        shapes |= {f"{layer}.attention.{p}_projection": (w, w) for p in ("query", "key", "value", "out")}
        shapes |= {
            f"{layer}.conv1": (h, w, 1),
            f"{layer}.conv2": (w, h, 1),
            f"{layer}.norm1": None,
            f"{layer}.norm2": None,
        }
    shapes |= {"projector": (config.horizon, w), "projector_dis": (2 * config.horizon, w)}
    dim = n * config.horizon
    for j in range(4):
        for net in ("scale_net", "translation_net"):
            shapes |= {f"real_nvp.layers.{j}.{net}.{i}": s for i, s in ((0, (w, dim)), (2, (w, w)), (4, (dim, w)))}
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        shape = shape or (w,)
        state[f"{name}.weight"] = 0.1 * torch.randn(shape, generator=generator)
        state[f"{name}.bias"] = 0.1 * torch.randn(shape[0], generator=generator)
    return state


class TestRelease:
    config = HarmonyConfig.released((1, 3, 2, 1, 1, 1, 1), width=16, hidden=32, lookback=12, horizon=2)

    def test_its_layout_loads_and_predicts(self):
        network = load_released(released_state(self.config), self.config)
        with torch.no_grad():
            dist = network(torch.rand(3, 12, 3), torch.rand(3, 12, 4))
        assert dist.shape == (3, 2, 3)
        assert network.config.mask == "zero"

    def test_a_file(self, tmp_path):
        torch.save(released_state(self.config), tmp_path / "checkpoint.pth")
        assert load_released(tmp_path / "checkpoint.pth", self.config).config is self.config

    def test_it_has_no_floor(self):
        network = load_released(released_state(self.config), self.config)
        assert network.head.floor == 0
        window = torch.rand(3, 12, 3)
        torch.testing.assert_close(network.normalisation(window).spread, InstanceNorm.of(window, 1e-5).spread)

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            (lambda s: s.pop("encoder.norm.bias"), "lack 'norm.bias'"),
            (lambda s: s.update(extra=torch.ones(1)), "no 'extra'"),
            (lambda s: s.update({"projector_dis.bias": torch.ones(9)}), "another shape"),
        ],
        ids=["missing", "unknown", "shape"],
    )
    def test_strictly(self, change, what):
        state = released_state(self.config)
        change(state)
        with pytest.raises(WeightsError, match=what):
            load_released(state, self.config)
