"""What must hold exactly: sizes, symmetries, and both forms of each attention."""

from __future__ import annotations

from itertools import permutations
from typing import cast

import numpy as np
import torch
from torch import Tensor

from harmonia.audio.mossformer2.checkpoint import infer_config, layout_of, renamed
from harmonia.audio.mossformer2.claims.released import released_shapes, released_state
from harmonia.audio.mossformer2.live import LiveSeparation
from harmonia.audio.mossformer2.network import Block, MossFormer2, MossFormer2Config
from harmonia.core.claim import Measured, claim
from harmonia.parts.metrics import si_sdr
from harmonia.parts.separation import pit_si_snr

TINY = MossFormer2Config(n_filters=32, depth=2, group=64, qk_dim=16, fsmn_dim=16, order=5, dropout=0.0)
CONSTANTS = 16
"""Frequencies of the positions, which the official count of parameters holds too."""


@claim(
    "Two speakers: as many parameters as the paper says",
    place="Table 1: 55.7 M parameters",
    unit="million",
    better="near",
    tier="quick",
    paper=55.7,
    tolerance=0.05,
)
def large_size(seed: int) -> Measured:
    return Measured(_parameters(2) / 1e6, note=f"{_parameters(2):,} with the constants of the positions")


@claim(
    "Three speakers: as many parameters as the official network",
    place="counted in the official code: 55,998,066",
    unit="difference",
    better="zero",
    tier="quick",
)
def three_speakers_size(seed: int) -> Measured:
    return Measured(float(abs(_parameters(3) - 55_998_066) + abs(_parameters(2) - 55_735_410)))


@claim(
    "Both released layouts load strictly and are the same network",
    place="keys of the standalone code and of ClearVoice: 1,099 tensors",
    unit="max abs",
    better="zero",
    tier="quick",
)
def layouts(seed: int) -> Measured:
    """Random tensors under the keys and shapes of either layout, written down independently; outputs compared."""
    config = MossFormer2Config(**{**vars(TINY), "group": 256})
    outputs = []
    for layout in ("standalone", "clearvoice"):
        state = released_state(layout, config, seed)
        model = MossFormer2(infer_config(state, layout_of(state), sample_rate=config.sample_rate))
        model.load_state_dict(renamed(state, model.config, layout_of(state)))
        outputs.append(model.eval()(noise((1, 4000), seed)).detach())
    counted = len(released_shapes("standalone", MossFormer2Config()))
    return Measured(float((outputs[0] - outputs[1]).abs().max()) + abs(counted - 1099), note=f"{counted:,} tensors")


@claim(
    "The loss takes the best order of speakers",
    place="utterance-level PIT, arXiv 1703.06284",
    unit="dB",
    better="zero",
    tier="quick",
    tolerance=1e-4,
)
def permutation_invariance(seed: int) -> Measured:
    """Beside fast_bss_eval's SI-SDR of all orders of two and three speakers."""
    worst = 0.0
    for count in (2, 3):
        reference = noise((4, count, 800), seed).double()
        reference -= reference.mean(-1, keepdim=True)
        estimate = reference.flip(1) + noise((4, count, 800), seed + 1).double()
        estimate -= estimate.mean(-1, keepdim=True)
        loss, _ = pit_si_snr(estimate, reference)
        best = []
        for e, s in zip(estimate.numpy(), reference.numpy(), strict=True):
            orders = permutations(range(count))
            best.append(max(np.mean([si_sdr(s[i], e[j]) for i, j in enumerate(order)]) for order in orders))
        worst = max(worst, abs(float(loss) + float(np.mean(best))))
    return Measured(worst)


@claim(
    "Louder in, louder out: model(g x) = g model(x) for g of 1 to 10",
    place="follows from the global normalisation of the code",
    unit="relative",
    better="zero",
    tier="quick",
    tolerance=1e-4,
)
def homogeneity(seed: int) -> Measured:
    """Not so for quiet input: the normalisation adds 1e-8 to a variance that is then smaller still."""
    model, mixture = random_model(TINY, seed), 0.1 * noise((1, 8000), seed)
    one = model(mixture)

    def deviation(gain: float) -> float:
        return float((model(gain * mixture) / gain - one).abs().max() / one.abs().max())

    quiet = ", ".join(f"{deviation(gain):.1e} at {gain}" for gain in (0.1, 0.01, 0.001))
    return Measured(max(deviation(gain) for gain in (2.0, 5.0, 10.0)), note=f"without level_normalise: {quiet}")


@claim(
    "Exchanged output heads exchange the speakers",
    place="one shared decoder of masks",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def permuted_heads(seed: int) -> Measured:
    model, mixture = random_model(TINY, seed), noise((1, 4000), seed)
    before = model(mixture)
    for parameter in (model.to_speakers.weight, model.to_speakers.bias):
        parameter.data = parameter.data.unflatten(0, (2, -1)).flip(0).flatten(0, 1)
    return Measured(float((model(mixture).flip(1) - before).abs().max()))


@claim(
    "Inside one group attention is full",
    place="local attention, relu(q k / g)^2",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def local_attention(seed: int) -> Measured:
    """With the global summary switched off, beside the quadratic formula written out; one group holds all frames."""
    return Measured(_attention_error(seed, length=TINY.group, local=True))


@claim(
    "Linear attention equals its quadratic form",
    place="global attention, q (k^T v) / L",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def linear_attention(seed: int) -> Measured:
    """With the local part switched off, over several groups, beside ``(q k^T) v / L``."""
    return Measured(_attention_error(seed, length=3 * TINY.group + 17, local=False))


@claim(
    "The causal network does not hear the future",
    place="causal mode: one-sided filters, cumulative normalisation",
    unit="max abs",
    better="zero",
    tier="quick",
)
def causality(seed: int) -> Measured:
    """Everything from sample 3,000 on is changed; what comes out before that frame must not move by a bit."""
    config = MossFormer2Config(**{**vars(TINY), "causal": True})
    model, mixture = random_model(config, seed), noise((1, 6000), seed)
    later = mixture.clone()
    later[:, 3000:] = noise((1, 3000), seed + 1)
    known = 3000 - config.kernel
    official = random_model(MossFormer2Config(**{**vars(config), "compat": "clearvoice"}), seed)
    leak = float((official(later) - official(mixture))[..., :known].abs().max())
    moved = float((model(later) - model(mixture))[..., :known].abs().max())
    return Measured(moved, note=f"the official causal flag, whose filters look ahead: {leak:.1e}")


@claim(
    "A conversation that comes piece by piece is separated like the whole",
    place="causal mode: cumulative attention and norms carry over",
    unit="relative",
    better="zero",
    tier="quick",
    tolerance=1e-5,
)
def live(seed: int) -> Measured:
    """Pieces from one sample to several groups of frames; what is kept between them does not grow."""
    model = random_model(MossFormer2Config(**{**vars(TINY), "causal": True}), seed)
    talk = noise((1, 20_000), seed)
    session = LiveSeparation(model)
    lengths = [1, 7, 500, 16, 9000, 3, 4000, 6473]
    found = torch.cat([*(session.step(piece) for piece in talk.split(lengths, 1)), session.finish()], -1)
    whole = model(talk)
    return Measured(float((found - whole).abs().max() / whole.abs().max()), note=f"pieces of {lengths} samples")


@torch.no_grad()
def _attention_error(seed: int, length: int, local: bool) -> float:
    """Largest difference of the attention of a block from its formula written out as matrices."""
    attention = cast("Block", random_model(TINY, seed).blocks[0]).attention
    attention.gamma[[1, 3] if local else [0, 2]] = 0
    attention.beta[[1, 3] if local else [0, 2]] = 0
    qk, vu = noise((1, length, TINY.qk_dim), seed), noise((1, length, 8 * TINY.n_filters), seed + 1)
    heads = attention._queries_and_keys(qk)
    local_q, global_q, local_k, global_k = (head[0].double() for head in heads)
    weights = (local_q @ local_k.T / TINY.group).clamp(min=0) ** 2 if local else global_q @ global_k.T / length
    attended = weights @ vu[0].double()
    (av, au), (v, u) = attended.chunk(2, -1), vu[0].double().chunk(2, -1)
    expected = (au * v) / (1 + torch.exp(-av * u))
    found = attention._attend_in_place(heads, vu)[0]
    return float((found - expected).abs().max() / expected.abs().max())


def _parameters(speakers: int) -> int:
    with torch.device("meta"):
        model = MossFormer2(MossFormer2Config(n_speakers=speakers))
    return sum(parameter.numel() for parameter in model.parameters()) + CONSTANTS


def random_model(config: MossFormer2Config, seed: int) -> MossFormer2:
    """Random weights that leave no gate, scale or bias at its start; without gradients."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MossFormer2(config).eval().requires_grad_(requires_grad=False)
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def noise(shape: tuple[int, ...], seed: int) -> Tensor:
    """Gaussian noise of a seed of its own."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
