"""Layers and the network: ways to run, causality, symmetry of variables, gaps, parts, classes of padded sequences."""

from __future__ import annotations

import math

import pytest
import torch

from harmonia.core.errors import InputError
from harmonia.sequences.chimera import ChimeraConfig, ChimeraModel, SSM2d
from harmonia.sequences.chimera.network import parameter_groups
from harmonia.sequences.chimera.ssm import Sweep

KINDS = {
    "diag": {},
    "scalar": {"transition": "scalar"},
    "constant": {"selective": False},
    "companion": {"selective": False, "transition": "companion"},
    "one way": {"bidirectional": False},
    "Mamba's hold": {"hold": "euler"},
    "bounded": {"bounded": True},
}
SMALL = {"d_model": 6, "d_state": 3, "n_layers": 2, "dropout": 0.0}


def seeded(make):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def layer(**options):
    def make():
        found = SSM2d(4, 3, **options).double()
        for each in found.modules():
            if isinstance(each, Sweep):  # couplings of every size, also where they start at 0
                torch.nn.init.uniform_(each.couple2, -0.3, 0.3)
                torch.nn.init.uniform_(each.couple3, -0.3, 0.3)
        return found

    return seeded(make)


def values(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def model(**options):
    return seeded(lambda: ChimeraModel(ChimeraConfig(**{**SMALL, **options})).double().eval())


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_pieces_hand_their_states_on(options):
    found, x = layer(**options), values(2, 3, 10, 4)
    with torch.no_grad():
        first, state = found.run(x[:, :, :6])
        rest, _ = found.run(x[:, :, 6:], state)
        torch.testing.assert_close(torch.cat([first, rest], 2), found(x))


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_time_is_causal_and_variables_mix(options):
    found, x = layer(**options), values(1, 3, 8, 4)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(found(x)[0, 1, 4].sum(), x)
    assert float(slope[:, :, 5:].abs().max()) < 1e-14  # transforms leave their rounding
    assert slope[0, 0, 4].abs().sum() > 0
    assert (slope[0, 2].abs().sum() > 1e-9) == options.get("bidirectional", True)


def test_parameters_have_a_gradient():
    found = layer()
    found(values(1, 3, 8, 4)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in found.parameters())


@pytest.mark.parametrize(("bounded", "power"), [(True, 1), (False, 3)], ids=["bounded", "as in Mamba"])
def test_outputs_grow_like_their_input(bounded, power):
    found, x = layer(bounded=bounded), values(1, 3, 8, 4)
    with torch.no_grad():
        sizes = [float(found(scale * x).norm()) for scale in (1e3, 1e4)]
    # Steps grow too, and with them what a scan forgets: a little less than the cube.
    assert math.log10(sizes[1] / sizes[0]) == pytest.approx(power, abs=0.05 if bounded else 0.5)


def test_small_inputs_are_read_as_they_are():
    plain, bounded = layer(), layer(bounded=True)
    x = 1e-4 * values(1, 3, 8, 4)
    with torch.no_grad():
        torch.testing.assert_close(bounded(x), plain(x), rtol=1e-7, atol=0)


def test_impossible_layers():
    with pytest.raises(InputError, match="companion"):
        SSM2d(2, 2, transition="companion")
    for options in ({"coupling": "paper"}, {"hold": "euler"}):
        with pytest.raises(InputError, match="companion"):
            SSM2d(2, 2, transition="companion", selective=False, **options)
    for options in ({"transition": "scaler"}, {"coupling": "loose"}, {"hold": "foh"}):
        with pytest.raises(InputError, match=f"{next(iter(options))}' is unknown"):
            SSM2d(2, 2, **options)
    with pytest.raises(InputError, match="d_state"):
        SSM2d(2, 0)
    with pytest.raises(InputError, match="no one kernel"):
        Sweep(2, 2).kernel(2, 2)
    with pytest.raises(InputError, match="missing values"):
        Sweep(2, 2, selective=False)(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, dtype=torch.bool))


def test_the_stream_is_the_same_in_pieces():
    for options in ({}, {"coupled": False}, {"seasonal": False}, {"patch": 3}, {"conv": 1}, {"variates": 4}):
        found, x = model(**options), values(2, 12, 4)
        with torch.no_grad():
            first, state = found.run(x[:, :6])
            rest, _ = found.run(x[:, 6:], state)
            torch.testing.assert_close(torch.cat([first, rest], 1), found.following(x))


def test_the_closed_loop_feeds_itself():
    found, x = model(), values(2, 9, 3)
    with torch.no_grad():
        ahead = found.closed_loop(x, 4)
        longer = x
        for step in range(4):
            longer = torch.cat([longer, found.following(longer)[:, -1:]], 1)
            torch.testing.assert_close(ahead[:, step], longer[:, -1])
        assert model(patch=3).closed_loop(x, 4).shape == (2, 4, 3)


def test_a_forecast_is_the_sum_of_its_parts():
    found, x = model(horizon=5, lookback=12), values(2, 12, 3)
    with torch.no_grad():
        parts = found.parts(x, found.streams(x))
        torch.testing.assert_close(sum(parts), found.forecast(x))
        torch.testing.assert_close(
            parts[0], x.transpose(1, 2).matmul(found.linear.weight.T).add(found.linear.bias).transpose(1, 2)
        )
        single = model(horizon=5, lookback=12, seasonal=False)
        assert float(single.parts(x, single.streams(x))[2].abs().max()) == 0


def test_without_coupling_variables_are_series_by_themselves():
    alone, x = model(horizon=5, lookback=12, coupled=False), values(2, 12, 3)
    with torch.no_grad():
        whole = alone.forecast(x)
        for i in range(3):
            torch.testing.assert_close(alone.forecast(x[:, :, i : i + 1]), whole[:, :, i : i + 1])
        together = model(horizon=5, lookback=12)
        assert not torch.allclose(together.forecast(x[:, :, :1]), together.forecast(x)[:, :, :1])


def test_what_was_not_seen_does_not_count_in_the_scan():
    """The state space skips a gap; only the embedded zero in the convolution may know of it."""
    found, x = model(conv=1), values(1, 10, 3)
    seen = torch.ones(1, 10, 3, dtype=torch.bool)
    seen[0, 4, 1] = False
    with torch.no_grad():
        plain, gap = found.streams(x).total(), found.streams(x * seen, seen).total()
        torch.testing.assert_close(gap[:, :, :4], plain[:, :, :4])
        assert not torch.allclose(gap[:, :, 4:], plain[:, :, 4:])


def test_variables_are_told_apart_by_what_is_their_own():
    """Without coupling and embeddings, a class is the same whatever the order of the variables."""
    x = values(2, 10, 3)
    for variates in (0, 3):
        found = model(classes=4, coupled=False, variates=variates)
        with torch.no_grad():
            assert torch.allclose(found.classify(x), found.classify(x.flip(2))) == (variates == 0)
    with pytest.raises(InputError, match="3 variables"):
        found.classify(values(2, 10, 4))


def test_one_embedding_for_all_is_a_bias():
    found, plain, x = model(variates=3), model(), values(2, 10, 3)
    with torch.no_grad():
        found.variate.fill_(0.3)
        plain.load_state_dict({name: each for name, each in found.state_dict().items() if name != "variate"})
        plain.embed.bias += 0.3
        torch.testing.assert_close(plain.following(x), found.following(x))


def test_padding_changes_no_class():
    for options in ({"patch": 1}, {"patch": 4}, {"variates": 3}):
        found, x = model(classes=3, **options), values(2, 11, 3)
        lengths = torch.tensor([11, 7])
        padded = torch.cat([x, torch.zeros(2, 6, 3, dtype=torch.float64)], 1)
        padded[1, 7:] = 0
        with torch.no_grad():
            together = found.classify(padded, lengths)
            torch.testing.assert_close(found.classify(x[:1]), together[:1])
            torch.testing.assert_close(found.classify(x[1:, :7]), together[1:])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"d_model": 0}, "d_model"),
        ({"dropout": 1.0}, "dropout"),
        ({"horizon": 3, "lookback": 7, "patch": 2}, "patches.*lookback=6 or 8"),
        ({"transition": "scaler"}, "transition"),
        ({"coupling": "loose"}, "coupling"),
    ],
    ids=["width", "dropout", "patch", "transition", "coupling"],
)
def test_impossible_shapes(options, told):
    with pytest.raises(InputError, match=told):
        ChimeraConfig(**options)
    with pytest.raises(InputError, match="fields this model does not know"):
        ChimeraConfig.of({"colour": 1})


def test_a_network_comes_back_from_its_folder(tmp_path):
    found = model(horizon=3, lookback=6, classes=2).float()
    found.save_pretrained(tmp_path)
    again, x = ChimeraModel.from_pretrained(tmp_path), values(2, 6, 4).float()
    assert again.config == found.config
    with torch.no_grad():
        torch.testing.assert_close(again.eval().forecast(x), found.forecast(x))


def test_every_parameter_is_in_one_group():
    found = model(horizon=3, lookback=6, classes=2)
    groups = parameter_groups(found, 0.1, 0.5)
    names = {id(p): name for name, p in found.named_parameters()}
    assert sum(len(group["params"]) for group in groups) == len(names)
    plain = {names[id(p)].rsplit(".", 1)[-1] for p in groups[1]["params"]}
    assert {"A1_log", "A4_log", "bias_t", "D", "gamma", "couple2"} <= plain
    assert not plain & {"weight"}
