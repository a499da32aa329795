"""Identities that the parts of the method keep, exactly."""

from __future__ import annotations

import numpy as np
import polars
import torch
from torch import nn

from harmonia.audio.s2cap.attributes import LEXICON, Levels, parse_attributes
from harmonia.audio.s2cap.builder import faults
from harmonia.audio.s2cap.grammar import caption_of
from harmonia.audio.s2cap.losses import cosine_distance, crescendo_loss, demix_loss
from harmonia.audio.s2cap.network import Captioner
from harmonia.audio.s2cap.small import LogMelEncoder, SmallConfig, SmallDecoder
from harmonia.core.claim import Measured, claim
from harmonia.parts.text_metrics import cider_d

TINY = SmallConfig(dim=32, encoder_layers=1, decoder_layers=2, heads=2, vocabulary=300, dropout=0.0)


@claim(
    "Cosine losses are 0 for the same and 2 for opposite embeddings",
    place="CRESCENDO, our reading of the abstract",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def cosine_ends(seed: int) -> Measured:
    a = torch.randn(16, 8, generator=torch.Generator().manual_seed(seed))
    ends = [crescendo_loss(a, 3 * a), crescendo_loss(a, -a) - 2]
    z = a.reshape(4, 4, 8)
    ends += [demix_loss(z, 0.5 * z), demix_loss(z, -z) - 2]
    return Measured(max(abs(float(end)) for end in ends))


@claim(
    "Where the mixture is the voice alone, demix supervision pulls at nothing",
    place="demix supervision, our reading of the abstract",
    unit="gradient norm",
    better="zero",
    tier="quick",
    tolerance=1e-5,
)
def nothing_to_demix(seed: int) -> Measured:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        captioner = Captioner(LogMelEncoder(TINY), SmallDecoder(TINY))
    features = torch.randn(4, TINY.num_mels, 100, generator=torch.Generator().manual_seed(seed))
    z = captioner.memory(features)
    gradients = torch.autograd.grad(demix_loss(z, captioner.memory(features)), [*captioner.encoder.parameters()])
    return Measured(float(torch.stack([gradient.norm() for gradient in gradients]).norm()))


@claim(
    "A text side that is trained along collapses to one point; a frozen one cannot",
    place="why CRESCENDO needs no negatives",
    unit="variance of unit text embeddings",
    better="zero",
    tier="quick",
    tolerance=1e-4,
)
def collapse(seed: int) -> Measured:
    spreads = [spread_after_alignment(seed, frozen) for frozen in (False, True)]
    return Measured(spreads[0], baseline=spreads[1], note="the baseline is the frozen text side")


@claim(
    "Captions of the grammar are read back without a fault",
    place="attribute parser, our metric",
    unit="share misread",
    better="zero",
    tier="quick",
    tolerance=0.0,
)
def round_trip(seed: int) -> Measured:
    rng = np.random.default_rng(seed)
    wrong, count = 0, 1500
    for number in range(count):
        style = {name: str(rng.choice(list(values))) for name, values in LEXICON.items()}
        text = caption_of(style, rng, phrasing="train" if number % 2 else "test")
        wrong += bool(faults(text, style)) or any(
            style[name] != value for name, value in parse_attributes(text).items()
        )
    return Measured(wrong / count, note=f"{count} captions of all patterns")


@claim(
    "The levels of Algorithm 1 are 0.33 and 0.66 quantiles, boundaries going down",
    place="Algorithm 1",
    unit="disagreements with polars",
    better="zero",
    tier="quick",
    tolerance=0.0,
)
def tertiles(seed: int) -> Measured:
    rng, wrong = np.random.default_rng(seed), 0
    for size in (3, 10, 101, 400):
        population = rng.integers(0, 12, size).astype(float)
        low, high = (polars.Series(population).quantile(q, "linear") for q in (0.33, 0.66))
        assert low is not None
        assert high is not None
        levels = Levels.of(population)
        expected = np.select([population <= low, population <= high], ["low", "normal"], "high")
        wrong += sum(levels.name(value) != name for value, name in zip(population, expected, strict=True))
    return Measured(float(wrong), note="populations of 3 to 400 with ties")


@claim(
    "CIDEr-D of captions against themselves is 10",
    place="definition of CIDEr-D",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-9,
)
def cider_of_itself(seed: int) -> Measured:
    rng = np.random.default_rng(seed)
    styles = [{name: str(rng.choice(list(values))) for name, values in LEXICON.items()} for _ in range(50)]
    captions = list({caption_of(style, rng) for style in styles})
    return Measured(abs(cider_d(captions, [[text] for text in captions]) - 10))


@claim(
    "Decoding with cached keys and values is decoding without",
    place="transformer decoder",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-5,
)
def cached_decoding(seed: int) -> Measured:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = SmallDecoder(TINY).eval()
        memory, tokens = torch.randn(3, 7, TINY.dim), torch.randint(3, TINY.vocabulary, (3, 12))
    worst = 0.0
    with torch.no_grad():
        whole, kept = decoder(tokens, memory), decoder.begin(memory)
        for position in range(tokens.shape[1]):
            logits, kept = decoder.advance(tokens[:, position], kept)
            worst = max(worst, float((logits - whole[:, position]).abs().max()))
    return Measured(worst)


def spread_after_alignment(seed: int, frozen: bool, steps: int = 300) -> float:
    """Variance of the unit text embeddings after aligning them with an audio embedding, without negatives.

    Each of 32 captions has a sound of its own that is heard under fresh noise in every step, so the embeddings agree
    perfectly only where they are constant.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text, audio = nn.EmbeddingBag(300, 16), nn.Linear(16, 16)
    tokens, sounds = torch.randint(300, (32, 6), generator=generator), torch.randn(32, 16, generator=generator)
    optimizer = torch.optim.Adam([*audio.parameters(), *([] if frozen else text.parameters())], 1e-1)
    for _ in range(steps):
        heard = audio(sounds + torch.randn(32, 16, generator=generator))
        loss = crescendo_loss(heard, text(tokens)) if frozen else cosine_distance(heard, text(tokens))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        unit = nn.functional.normalize(text(tokens), dim=-1)
    return float(unit.var(0).sum())
