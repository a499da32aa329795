"""What must hold exactly, whatever the weights."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from harmonia.audio.mert.config import MERTConfig
from harmonia.audio.mert.encoder import relaxed_attention
from harmonia.audio.mert.network import MERTModel
from harmonia.audio.mert.pretraining import Batch, Pretraining, mix_in_batch, span_mask
from harmonia.audio.mert.teachers import ConstantQTeacher
from harmonia.core.claim import Measured, claim
from harmonia.parts.constant_q import ConstantQ

SMALL = dataclasses.replace(MERTConfig.tiny(), layers=2, cqt_bins=0, conv_dim=(16,) * 7, dim=32, feed_forward=64)


@claim(
    "A second of music is 74 frames, five are 374, thirty 2,249",
    place="Sec. 3.1: seven convolutions, 75 frames a second",
    unit="differences",
    better="zero",
    tier="quick",
)
def frame_counts(seed: int) -> Measured:
    """The formula beside the numbers, and beside the shapes that convolutions give."""
    config = MERTConfig()
    wrong = sum(config.frames(24000 * s) != n for s, n in ((1, 74), (5, 374), (30, 2249)))
    for samples in (400, 401, 719, 720, 24007, 120000):
        x = torch.zeros(1, 1, samples, device="meta")
        for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
            x = F.conv1d(x, torch.zeros(1, 1, kernel, device="meta"), stride=stride)
        wrong += x.shape[-1] != config.frames(samples)
    return Measured(float(wrong))


@claim(
    "The released shapes have 94,371,712 and 315,428,992 parameters",
    place="state dicts of MERT-v1-95M and MERT-v1-330M",
    unit="parameters",
    better="zero",
    tier="quick",
)
def sizes(seed: int) -> Measured:
    with torch.device("meta"):
        counts = [sum(p.numel() for p in MERTModel(c).parameters()) for c in (MERTConfig.base(), MERTConfig.large())]
    return Measured(float(abs(counts[0] - 94_371_712) + abs(counts[1] - 315_428_992)))


@claim(
    "Relaxed attention is attention",
    place="attention relaxation of the 330M model: softmax((A/c - max A/c) c)",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def relaxed(seed: int) -> Measured:
    q, k, v = _noise((3, 2, 50, 20), seed)
    return Measured(float((relaxed_attention(q, k, v, 32.0) - F.scaled_dot_product_attention(q, k, v)).abs().max()))


@claim(
    "Relaxed attention stays finite in half precision where logits overflow",
    place="Sec. 3.4: training stability at scale",
    unit="share of finite numbers",
    better="higher",
    tier="quick",
    gate=1.0,
)
def half_precision(seed: int) -> Measured:
    """Logits of about 1e5, beyond 65,504. The baseline divides after the product, as the official code does."""
    q, k, v = (x.half() for x in _noise((3, 1, 64, 16), seed))
    q, k = q * 40, k * 10_000
    ours, official = (relaxed_attention(q, k, v, 32.0, compat=c).isfinite().float().mean() for c in (False, True))
    exact = relaxed_attention(q.float(), k.float(), v.float(), 32.0)
    close = float((relaxed_attention(q, k, v, 32.0) - exact).abs().median())
    return Measured(float(ours), float(official), f"median difference from single precision {close:.1e}")


@claim(
    "Spans cover 1 - (1 - 0.8/5)^5 of the frames",
    place="Sec. 3: masking probability 0.8, spans of 5",
    unit="difference of shares",
    better="zero",
    tier="quick",
    tolerance=0.01,
)
def masked_share(seed: int) -> Measured:
    generator = torch.Generator().manual_seed(seed)
    shares = [float(span_mask(1, 1000, generator).float().mean()) for _ in range(200)]
    expected = 1 - (1 - 0.8 / 5) ** 5
    return Measured(sum(shares) / 200 - expected, note=f"expected {expected:.3f}")


@claim(
    "An untrained head is as good as guessing among 1,024 codes",
    place="cosine similarity over 0.1, 8 codebooks: ln 1024 + about 0.2",
    unit="nats from 7.2",
    better="zero",
    tier="quick",
    tolerance=0.5,
)
def first_loss(seed: int) -> Measured:
    network, batch = _pretraining(seed, classes=(1024,) * 8)
    with torch.no_grad():
        return Measured(float(network(batch).codes.mean()) - 7.2)


@claim(
    "Contrasting a target with all classes but itself is a cross-entropy",
    place="official loss: the target first, then all classes with its duplicate at minus infinity",
    unit="nats",
    better="zero",
    tier="quick",
    tolerance=1e-5,
)
def cross_entropy(seed: int) -> Measured:
    network, batch = _pretraining(seed, classes=(50, 50))
    with torch.no_grad():
        (last,) = network.encoder(batch.audio, layers=[-1], spans=batch.spans)["hidden"]
        masked = last[batch.spans]
        worst = 0.0
        for book, (projected, ours) in enumerate(
            zip(network.final_proj(masked).chunk(2, -1), network(batch).codes, strict=True)
        ):
            vectors = network.label_embs_concat[50 * book : 50 * book + 50]
            codes = batch.codes[batch.spans][:, book]
            targets = torch.cat([vectors[codes][None], vectors[:, None].expand(-1, len(masked), -1)])
            logits = torch.cosine_similarity(projected, targets, dim=-1) / 0.1
            logits[1:][codes == torch.arange(50)[:, None]] = -torch.inf
            contrast = -torch.log_softmax(logits.T, 1)[:, 0].mean()
            worst = max(worst, float((contrast - ours).abs()))
    return Measured(worst)


@claim(
    "The penalty of the convolutions moves only them",
    place="Sec. 3: feature penalty",
    unit="max abs gradient elsewhere",
    better="zero",
    tier="quick",
)
def convolution_penalty(seed: int) -> Measured:
    network, batch = _pretraining(seed, classes=(50,))
    network(batch).penalty.backward()
    elsewhere = [p.grad for name, p in network.named_parameters() if "feature_extractor" not in name]
    assert all(p.grad is not None for p in network.encoder.feature_extractor.parameters())
    return Measured(max((float(grad.abs().max()) for grad in elsewhere if grad is not None), default=0.0))


@claim(
    "What is disturbed is not what is guessed",
    place="Sec. 3.3: in-batch noise mixture",
    unit="differences",
    better="zero",
    tier="quick",
)
def targets_stay_clean(seed: int) -> Measured:
    """Clips that are mixed are copies: the clean ones, from which targets are taken, keep every bit."""
    clean = _noise((4, 24000), seed)
    kept = clean.clone()
    mixed = mix_in_batch(clean, torch.Generator().manual_seed(seed), probability=1.0)
    moved = [(mixed[i] != kept[i]).float().mean() for i in range(4)]
    return Measured(float((clean != kept).sum()) + sum(float(not 0.4 < share <= 1) for share in moved))


@claim(
    "A padded clip comes out as it would alone",
    place="follows from statistics over the clip only",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-5,
)
def padding(seed: int) -> Measured:
    """The baseline is the difference with compat="transformers", which counts padding in the first norm."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MERTModel(SMALL).eval()
    audio = _noise((2, 24000), seed)
    mask = torch.ones(2, 24000, dtype=torch.bool)
    mask[1, 15000:] = False
    with torch.no_grad():
        alone = model(audio[1:, :15000])["hidden"]
        frames = alone[0].shape[1]

        def difference(out: list[Tensor]) -> float:
            return max(float((a[1:, :frames] - b).abs().max()) for a, b in zip(out, alone, strict=True))

        ours = difference(model(audio * mask, mask)["hidden"])
        theirs = difference(model(audio * mask, mask, compat="transformers")["hidden"])
    return Measured(ours, theirs, "baseline: transformers")


@claim(
    "A tone in the middle of a constant-Q bin has half its amplitude times the root of the window's length",
    place="the musical teacher, nnAudio's scale",
    unit="relative",
    better="zero",
    tier="quick",
    tolerance=1e-3,
)
def constant_q_of_a_tone(seed: int) -> Measured:
    transform = ConstantQ(24000, 320, 32.7, 336, 48)
    time, worst = torch.arange(72000, dtype=torch.float64) / 24000, 0.0
    for bin_ in (100, 200, 335):
        tone = 0.3 * torch.sin(2 * math.pi * float(transform.frequencies[bin_]) * time)
        expected = 0.15 * math.sqrt(float(transform.lengths[bin_]))
        found = transform(tone)[bin_, 100:120].abs()
        worst = max(worst, float((found / expected - 1).abs().max()))
    return Measured(worst)


def _noise(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _pretraining(seed: int, classes: tuple[int, ...]) -> tuple[Pretraining, Batch]:
    """A small network with random weights, and a batch of noise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Pretraining(MERTModel(SMALL), classes).eval()
    generator = torch.Generator().manual_seed(seed)
    audio = 0.1 * _noise((2, 48000), seed)
    frames = SMALL.frames(48000)
    codes = torch.randint(0, classes[0], (2, frames, len(classes)), generator=generator)
    spans = span_mask(2, frames, generator)
    return network, Batch(audio, spans, codes, ConstantQTeacher(SMALL)(audio, frames))
