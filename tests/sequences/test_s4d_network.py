"""S4D's layer and network: ways to run, lengths, looking ahead, parameter groups, bad input."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.sequences.s4d import S4D, S4DConfig, S4DModel, ssm_param_groups


def drawn(make, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def signal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


SMALL = {"d_input": 2, "d_output": 3, "d_model": 6, "n_layers": 2, "kernel": {"d_state": 8}}


# -------------------------------------------------------------------------------------------------------------- layer


@pytest.mark.parametrize("mixing", ["glu", "linear", "none"])
@pytest.mark.parametrize("channels", [1, 2])
def test_layer_is_its_equation(mixing, channels):
    layer = drawn(lambda: S4D(5, d_state=8, mixing=mixing, channels=channels)).double().eval()
    u = signal(2, 30, 5, dtype=torch.float64)
    kernel = layer.kernel.kernel(30).detach().numpy()
    y = np.stack(
        [
            [
                [
                    np.convolve(u[b, :, h], kernel[c, h])[:30] + float(layer.D[c, h]) * u[b, :, h].numpy()
                    for h in range(5)
                ]
                for c in range(channels)
            ]
            for b in range(2)
        ]
    )
    z = F.gelu(torch.from_numpy(y).flatten(1, 2).transpose(1, 2))
    if mixing != "none":
        z = F.linear(z, layer.output.weight, layer.output.bias)
        z = F.glu(z, -1) if mixing == "glu" else z
    torch.testing.assert_close(layer(u), z)


def test_transposed_is_the_same_layer():
    layer = drawn(lambda: S4D(4, d_state=8)).eval()
    other = drawn(lambda: S4D(4, d_state=8, transposed=True)).eval()
    u = signal(2, 20, 4)
    torch.testing.assert_close(other(u.transpose(1, 2)).transpose(1, 2), layer(u))


@pytest.mark.parametrize("transposed", [False, True])
def test_pieces_and_steps_are_the_whole(transposed):
    layer = drawn(lambda: S4D(4, d_state=8, channels=2, transposed=transposed)).double().eval()
    u = signal(3, 50, 4, dtype=torch.float64)
    whole, time = layer(u.transpose(1, 2) if transposed else u), 2 if transposed else 1
    state, pieces = layer.default_state(3), []
    for piece in u.split([1, 30, 19], 1):
        y, state = layer.run(piece.transpose(1, 2) if transposed else piece, state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, time), whole)
    stepped, after = [], layer.default_state(3)
    for t in range(50):
        y, after = layer.step(u[:, t], after)
        stepped.append(y)
    torch.testing.assert_close(torch.stack(stepped, time), whole)
    torch.testing.assert_close(after, state)


@pytest.mark.parametrize("exact", [False, True])
def test_bidirectional_is_one_kernel_each_way(exact):
    layer = drawn(lambda: S4D(3, d_state=8, mixing="none", bidirectional=True, exact_reverse=exact)).double().eval()
    u = signal(1, 25, 3, dtype=torch.float64)
    past, future = layer.kernel.kernel(25).detach().numpy()
    expected = np.zeros((25, 3))
    for h in range(3):
        x = u[0, :, h].numpy()
        back = np.convolve(x[::-1], future[h] if exact else np.r_[0, future[h]])[:25][::-1]
        expected[:, h] = np.convolve(x, past[h])[:25] + back + float(layer.D[0, h]) * x
    torch.testing.assert_close(layer(u)[0], F.gelu(torch.from_numpy(expected)))
    with pytest.raises(InputError, match="whole input"):
        layer.run(u, layer.default_state(1))


def test_dropout_silences_whole_heads():
    layer = drawn(lambda: S4D(50, d_state=4, dropout=0.5, mixing="none")).train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        silent = layer(signal(4, 30, 50)) == 0
    assert bool((silent.all(1) == silent.any(1)).all())
    assert 0.3 < float(silent.float().mean()) < 0.7


def test_autocast_keeps_the_convolution_in_full_precision():
    layer = drawn(lambda: S4D(8, d_state=16, mixing="none")).eval()
    u = signal(2, 100, 8)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(u), layer(u).float())
        assert layer(u).dtype == torch.float32


# ------------------------------------------------------------------------------------------------------------ network


@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
@pytest.mark.parametrize("prenorm", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "last", "none"])
def test_a_stream_is_the_whole(norm, prenorm, pooling):
    config = S4DConfig.of({**SMALL, "norm": norm, "prenorm": prenorm, "pooling": pooling})
    model = drawn(lambda: S4DModel(config)).double().eval()
    u = signal(2, 60, 2, dtype=torch.float64)
    state, outputs = model.start(2), []
    for piece in u.split([10, 1, 49], 1):
        y, state = model.advance(piece, state)
        outputs.append(y)
    streamed, whole = torch.cat(outputs, 1), model(u)
    torch.testing.assert_close(streamed if pooling == "none" else streamed[:, -1], whole)
    # And at every moment it is what the whole would have been, had the signal ended there.
    torch.testing.assert_close(streamed[:, 36], model(u[:, :37])[:, -1] if pooling == "none" else model(u[:, :37]))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_padding_changes_nothing(pooling, bidirectional):
    config = S4DConfig.of({**SMALL, "pooling": pooling, "kernel": {"d_state": 8, "bidirectional": bidirectional}})
    model = drawn(lambda: S4DModel(config)).double().eval()
    short, long = signal(1, 20, 2, dtype=torch.float64), signal(1, 45, 2, seed=1, dtype=torch.float64)
    padded = torch.cat([F.pad(short, (0, 0, 0, 25), value=7.0), long])
    together = model(padded, lengths=torch.tensor([20, 45]))
    torch.testing.assert_close(together, torch.cat([model(short), model(long)]))


def test_causal_outputs_do_not_see_the_future():
    model = drawn(lambda: S4DModel({**SMALL, "pooling": "none"})).double().eval()
    u = signal(1, 40, 2, dtype=torch.float64)
    changed = u.clone()
    changed[:, 25:] += 1
    before, after = model(u), model(changed)
    torch.testing.assert_close(before[:, :25], after[:, :25])
    assert not torch.allclose(before[:, 25:], after[:, 25:])


def test_parameter_groups_hold_every_parameter_once_also_of_a_copy():
    model = drawn(lambda: S4DModel(SMALL))
    for each in (model, copy.deepcopy(model)):
        fast, slow = ssm_param_groups(each, lr=0.01, weight_decay=0.05)
        names = {id(p): name for name, p in each.named_parameters()}
        assert {names[id(p)].rpartition(".")[2] for p in slow["params"]} == {"inv_dt", "A_real", "A_imag", "B"}
        assert len(fast["params"]) + len(slow["params"]) == len(names)
        assert (slow["lr"], slow["weight_decay"], fast["lr"], fast["weight_decay"]) == (1e-3, 0.0, 0.01, 0.05)
    assert ssm_param_groups(model, lr=1e-4)[1]["lr"] == 1e-4


def test_pretrained_round_trip(tmp_path):
    model = drawn(lambda: S4DModel(SMALL)).eval()
    model.save_pretrained(tmp_path)
    again = S4DModel.from_pretrained(tmp_path).eval()
    u = signal(1, 15, 2)
    torch.testing.assert_close(again(u), model(u))
    assert again.config == model.config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_model": 0}, "counted from 1"),
        ({"mixing": "none"}, "no such choice"),
        ({"depth": 3}, "does not know"),
        ({"kernel": {"size": 3}}, "fields this model does not know"),
    ],
    ids=str,
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        S4DModel({**SMALL, **change})


def test_inputs_that_do_not_fit_are_refused():
    model = drawn(lambda: S4DModel(SMALL)).eval()
    with pytest.raises(InputError, match="do not fit the network"):
        model(signal(1, 10, 3))
    with pytest.raises(InputError, match="do not fit the network"):
        model(signal(1, 0, 2))
    bad = signal(2, 10, 2)
    bad[1, 4, 0] = float("nan")
    with pytest.raises(InputError, match="sequence 1, sample 4, channel 0"):
        model(bad)
    with pytest.raises(InputError, match="lengths"):
        model(signal(1, 10, 2), lengths=torch.tensor([11]))
    with pytest.raises(InputError, match="do not fit the layer"):
        S4D(4)(signal(1, 10, 3))
    with pytest.raises(InputError, match="dropout"):
        S4D(4, dropout=1.0)
