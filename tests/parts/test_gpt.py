"""The causal backbone: nothing sees the future, the cache and shared queries change nothing, its start is GPT-2's."""

from __future__ import annotations

import pytest
import torch

from harmonia.core.errors import InputError
from harmonia.parts.gpt import GPT, from_gpt2


def network(positions=0, dim=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    gpt = GPT(dim, layers=2, heads=3, positions=positions).initialise(generator)
    for parameter in gpt.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return gpt.eval()


def embeddings(length=9, batch=2, dim=12):
    return torch.randn(batch, length, dim, generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("positions", [0, 16])
def test_nothing_sees_the_future(positions):
    gpt, x = network(positions), embeddings()
    before, _ = gpt(x)
    x[:, 5:] = 9.0
    after, _ = gpt(x)
    torch.testing.assert_close(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


@pytest.mark.parametrize("positions", [0, 16])
@pytest.mark.parametrize("cut", [1, 4, 8])
def test_cache_is_the_whole(positions, cut):
    gpt, x = network(positions), embeddings()
    whole, memory = gpt(x)
    first, cache = gpt(x[:, :cut])
    rest, grown = gpt(x[:, cut:], cache)
    torch.testing.assert_close(torch.cat([first, rest], 1), whole, atol=1e-5, rtol=1e-5)
    for a, b in zip(memory, grown, strict=True):
        torch.testing.assert_close(a.keys, b.keys, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("positions", [0, 16])
def test_queries_share_a_context_and_do_not_see_each_other(positions):
    gpt, x = network(positions), embeddings()
    _, cache = gpt(x[:, :6])
    together = gpt.ask(x[:, 6:], cache)
    alone = torch.cat([gpt(x[:, i : i + 1], cache)[0] for i in range(6, 9)], 1)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_one_layer_against_the_equations():
    gpt, x = network(dim=6), embeddings(4, 1, 6)
    gpt.h = gpt.h[:1]
    block, [h] = gpt.h[0], x

    def normalise(v, layer):
        centred = v - v.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * layer.weight + layer.bias

    q, k, v = block.attn.c_attn(normalise(h, block.ln_1)).chunk(3, -1)
    seen = torch.zeros(4, 6)
    for head in range(3):
        part = slice(2 * head, 2 * head + 2)
        for t in range(4):
            weights = (k[: t + 1, part] @ q[t, part] / 2**0.5).softmax(0)
            seen[t, part] = weights @ v[: t + 1, part]
    h = h + block.attn.c_proj(seen)
    inner = block.mlp.c_fc(normalise(h, block.ln_2))
    inner = 0.5 * inner * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (inner + 0.044715 * inner**3)))
    expected = normalise(h + block.mlp.c_proj(inner), gpt.ln_f)
    torch.testing.assert_close(gpt(x)[0][0], expected, atol=1e-5, rtol=1e-5)


def test_start_is_that_of_gpt2_and_the_seed_s():
    gpt = GPT(64, layers=8, heads=2, positions=100).initialise(torch.Generator().manual_seed(0))
    again = GPT(64, layers=8, heads=2, positions=100).initialise(torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(gpt.parameters(), again.parameters(), strict=True))
    assert gpt.h[0].attn.c_attn.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert gpt.h[3].mlp.c_proj.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)
    assert not gpt.h[0].attn.c_attn.bias.any()
    assert (gpt.ln_f.weight == 1).all()


def test_no_positions_leave_the_last_output_to_the_set_before_it():
    """Without positions one layer sees a set: the order of the past does not matter to it."""
    gpt, x = network(), embeddings()
    gpt.h = gpt.h[:1]
    shuffled = torch.cat([x[:, torch.randperm(8, generator=torch.Generator().manual_seed(0))], x[:, 8:]], 1)
    torch.testing.assert_close(gpt(x)[0][:, -1], gpt(shuffled)[0][:, -1], atol=1e-5, rtol=1e-5)


def test_gpt2_s_matrices_are_turned_and_its_extras_dropped():
    state = {
        "wte.weight": torch.zeros(5, 2),
        "h.0.attn.bias": torch.zeros(1, 1, 4, 4),
        "h.0.attn.masked_bias": torch.zeros(()),
        "h.0.attn.c_attn.weight": torch.zeros(2, 6),
        "h.0.attn.c_attn.bias": torch.zeros(6),
        "h.0.ln_1.weight": torch.zeros(2),
    }
    kept = from_gpt2(state)
    assert set(kept) == {"h.0.attn.c_attn.weight", "h.0.attn.c_attn.bias", "h.0.ln_1.weight"}
    assert kept["h.0.attn.c_attn.weight"].shape == (6, 2)
    with pytest.raises(InputError, match="no matrix"):
        from_gpt2({"h.0.attn.c_attn.weight": torch.zeros(3)})


def test_bad_shapes():
    with pytest.raises(InputError, match="multiple of its heads"):
        GPT(10, layers=1, heads=3)
    with pytest.raises(InputError, match="longer than the table"):
        network(positions=4)(embeddings())


def test_gradients_in_double_precision():
    gpt = network(dim=6).double()
    x = embeddings(4, 1, 6).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: gpt(v)[0], (x,))
