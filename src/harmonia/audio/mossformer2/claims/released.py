"""The two layouts of released weights, written down name by name, independently of what reads them."""

from __future__ import annotations

import torch
from torch import Tensor

from harmonia.audio.mossformer2.checkpoint import Layout
from harmonia.audio.mossformer2.network import MossFormer2Config

Shapes = dict[str, tuple[int, ...]]


def released_shapes(layout: Layout, config: MossFormer2Config) -> Shapes:
    """Names and shapes of a released checkpoint, constants of the positions included."""
    n, k, s = config.n_filters, config.kernel, config.n_speakers
    old = layout == "standalone"
    mask = "masknet." if old else "mask_net."
    block = f"{mask}dual_mdl.0." if old else f"{mask}mdl."
    stack = f"{block}intra_mdl.mdl.flashT." if old else f"{block}intra_mdl.mossformerM."
    shapes: Shapes = {
        "encoder.conv1d.weight" if old else "enc.conv1d.weight": (n, 1, k),
        "decoder.weight" if old else "dec.weight": (n, 1, k),
        f"{mask}conv1d_encoder.weight": (n, n, 1),
        f"{mask}pos_enc.scale": (1,),
        f"{mask}pos_enc.inv_freq": (n // 2,),
        f"{mask}prelu.weight": (1,),
        f"{mask}conv1d_out.weight": (s * n, n, 1),
        f"{mask}conv1d_out.bias": (s * n,),
        f"{mask}conv1_decoder.weight": (n, n, 1),
    }
    for name in ("output.0", "output_gate.0"):
        shapes |= {f"{mask}{name}.weight": (n, n, 1), f"{mask}{name}.bias": (n,)}
    norms = (f"{mask}norm", f"{block}intra_norm", f"{block}intra_mdl.{'mdl.norm.norm' if old else 'norm'}")
    shapes |= {f"{name}.{part}": (n,) for name in norms for part in ("weight", "bias")}
    for i in range(config.depth):
        shapes |= _attention(f"{stack}layers.{i}.", config) | _memory(f"{stack}fsmn.{i}.", config)
    return shapes


def _attention(place: str, config: MossFormer2Config) -> Shapes:
    n, q = config.n_filters, config.qk_dim
    shapes: Shapes = {
        f"{place}rotary_pos_emb.freqs": (min(32, q) // 2,),
        f"{place}qk_offset_scale.gamma": (4, q),
        f"{place}qk_offset_scale.beta": (4, q),
    }
    for name, inner, outer in (("to_hidden", n, 4 * n), ("to_qk", n, q), ("to_out", 2 * n, n)):
        shapes |= {
            f"{place}{name}.mdl.0.g": (1,),
            f"{place}{name}.mdl.1.weight": (outer, inner),
            f"{place}{name}.mdl.1.bias": (outer,),
            f"{place}{name}.mdl.3.sequential.1.conv.weight": (outer, 1, 17),
        }
    return shapes


def _memory(place: str, config: MossFormer2Config) -> Shapes:
    n, m, taps = config.n_filters, config.fsmn_dim, 2 * config.order - 1
    fsmn = f"{place}gated_fsmn.fsmn."
    shapes: Shapes = {
        f"{place}conv1.0.weight": (m, n, 1),
        f"{place}conv1.0.bias": (m,),
        f"{place}conv1.1.weight": (1,),
        f"{place}conv2.weight": (n, m, 1),
        f"{place}conv2.bias": (n,),
        f"{fsmn}linear.weight": (m, m),
        f"{fsmn}linear.bias": (m,),
        f"{fsmn}project.weight": (m, m),
        f"{fsmn}conv.conv1.weight": (m, 1, taps, 1),
        f"{fsmn}conv.conv2.weight": (m, 2, taps, 1),
    }
    for name in ("norm1", "norm2", "gated_fsmn.fsmn.conv.norm1", "gated_fsmn.fsmn.conv.norm2"):
        shapes |= {f"{place}{name}.{part}": (m,) for part in ("weight", "bias")}
    shapes |= {f"{fsmn}conv.prelu{number}.weight": (m,) for number in (1, 2)}
    for name in ("to_u", "to_v"):
        branch = f"{place}gated_fsmn.{name}.mdl."
        shapes |= {f"{branch}{number}.bias": (m,) for number in (0, 1)}
        shapes |= {f"{branch}0.weight": (m,), f"{branch}1.weight": (m, m)}
        shapes |= {f"{branch}3.sequential.1.conv.weight": (m, 1, 17)}
    return shapes


def released_state(layout: Layout, config: MossFormer2Config, seed: int) -> dict[str, Tensor]:
    """Random tensors in a layout: for one seed the same network in either, with the true constants."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in released_shapes(layout, config).items():
        if name.endswith(("freqs", "inv_freq")):
            width = 2 * shape[0]
            state[name] = 10000.0 ** (-torch.arange(0, width, 2) / width)
        else:
            fan = max(1, torch.Size(shape[1:]).numel())
            state[name] = torch.randn(shape, generator=generator) / fan**0.5
    return state
