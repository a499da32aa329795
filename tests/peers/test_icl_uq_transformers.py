"""The network beside `transformers.GPT2Model`, the official backbone, with the same random weights."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from harmonia.networks.icl_uq import TaskPrior
from harmonia.networks.icl_uq.checkpoint import from_tensors

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("positions", [False, True], ids=["none", "learned"])
def test_network_is_the_official_one(positions):
    """Without positions the table is zeroed, which is what the official patch does."""
    transformers = pytest.importorskip("transformers")
    prompts = TaskPrior(dim=8).sample(4, 21, torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.GPT2Config(
            n_positions=42, n_embd=64, n_layer=3, n_head=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
        )
        backbone = transformers.GPT2Model(config).eval()
        read_in, read_out = torch.nn.Linear(8, 64), torch.nn.Linear(64, 2)
        for parameter in backbone.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    if not positions:
        backbone.wpe.weight.data.zero_()
    wide = F.pad(prompts.ys[..., None], (0, 7))
    tokens = torch.stack([prompts.xs, wide], 2).flatten(1, 2)
    with torch.no_grad():
        expected = read_out(backbone(inputs_embeds=read_in(tokens)).last_hidden_state)[:, ::2]

    state = {f"_backbone.{key}": value for key, value in backbone.state_dict().items()}
    for name, layer in (("_read_in", read_in), ("_read_out", read_out)):
        state |= {f"{name}.{key}": value for key, value in layer.state_dict().items()}
    if not positions:
        del state["_backbone.wpe.weight"]
    model = from_tensors(state, {}).model
    with torch.no_grad():
        found = model(prompts.xs, prompts.ys)
    torch.testing.assert_close(found.mean, expected[..., 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.std, F.softplus(expected[..., 1]) + 1e-4, atol=1e-5, rtol=1e-5)
