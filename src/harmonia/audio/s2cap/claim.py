"""The headlines of S2Cap, measured on rendered singing whose attributes are exact, and the identities its parts keep.

The paper's captioner was never released and its tables were not read, so no number of the paper stands here; bounds are
ours and were set before anything was measured.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import polars
import torch
from torch import Tensor, nn

from harmonia.audio.s2cap.attributes import LEXICON, Levels, parse_attributes
from harmonia.audio.s2cap.builder import StyleDatasetBuilder, faults
from harmonia.audio.s2cap.captioner import SingingStyleCaptioner, sentence
from harmonia.audio.s2cap.decoding import beam_search
from harmonia.audio.s2cap.grammar import caption_of
from harmonia.audio.s2cap.losses import cosine_distance, crescendo_loss, demix_loss
from harmonia.audio.s2cap.manifest import Clip, read_manifest
from harmonia.audio.s2cap.measures import RATE, hear
from harmonia.audio.s2cap.models import AttributeModels
from harmonia.audio.s2cap.network import Captioner, LogMelEncoder, SmallConfig, SmallDecoder
from harmonia.audio.s2cap.rendered import MANIFEST, write_rendered
from harmonia.audio.s2cap.scores import VOCAL, attribute_scores
from harmonia.audio.s2cap.tokens import Tokenizer
from harmonia.audio.s2cap.training import (
    Examples,
    Objective,
    Weights,
    prepare,
    train_captioner,
    train_text_encoder,
)
from harmonia.core.claim import Measured, claim
from harmonia.core.errors import MissingDependency
from harmonia.data import demo_truth
from harmonia.data.cache import cache_folder
from harmonia.media import Audio
from harmonia.parts.text_metrics import cider_d
from harmonia.parts.training import Plan

RENDERED = "rendered singing; voices, words and phrasing of the test clips are in no training clip"
TINY = SmallConfig(dim=32, encoder_layers=1, decoder_layers=2, heads=2, vocabulary=300, dropout=0.0)
ARM = SmallConfig(dim=128, encoder_layers=2, decoder_layers=2)
CLIPS, TESTS, STEPS, SEEDS = 3000, 240, 400, 3


# ---------------------------------------------------------------------------------------------- identities, exact


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


# ------------------------------------------------------------------------------- the embedded captioner, measured


@claim(
    "The embedded captioner names the demo song's singer as a woman",
    place="our own weights; the voice sang in no training clip",
    unit="probability",
    better="higher",
    tier="quick",
    gate=0.5,
)
def demo_singer(seed: int) -> Measured:
    """Fails: the network has seen 640 clips for 900 steps, in which voices lay up to 20 dB below their backings."""
    belief = SingingStyleCaptioner.from_pretrained(device="cpu").beliefs([demo_truth().mixture.cut(4.0, 16.0)])[0]
    note = f"voice present: {belief.voice:.2f}; trained for 900 steps, which is too short: see weights/README.md"
    return Measured(belief.attributes["gender"]["female"], baseline=0.5, note=note)


@claim(
    "The embedded attribute models name the demo song's singer as a woman",
    place="our own weights; the voice sang in no training clip, and is given apart",
    unit="probability",
    better="higher",
    tier="quick",
    gate=0.5,
)
def demo_models(seed: int) -> Measured:
    sounds = (demo_truth().sound(name).cut(4.0, 10.0) for name in ("mixture", "vocals"))
    mix, vocals = (sound.mono().resampled(RATE).samples[0] for sound in sounds)
    odds = AttributeModels.from_pretrained().odds(mix, vocals, hear(vocals))
    return Measured(odds["gender"]["female"], baseline=0.5, note=f"voice present: {odds['voice']['present']:.2f}")


@claim(
    "Grounded decoding states fewer wrong attributes than free decoding",
    place="our addition (section 13 of our notes on the paper)",
    unit="share of stated attributes that are wrong",
    better="lower",
    tier="full",
)
def grounding_helps(seed: int) -> Measured | None:
    clips = rendered("test", TESTS)
    if clips is None:
        return None
    scores = []
    for grounded in (True, False):
        captioner = SingingStyleCaptioner.from_pretrained(grounded=grounded, device="cpu")
        captions = [caption.text for caption in captioner.predict([clip.path for clip in clips])]
        scores.append(attribute_scores(captions, [clip.attributes for clip in clips]))
    note = f"omissions {scores[0].omission:.3f} against {scores[1].omission:.3f}; embedded captioner, {RENDERED}"
    return Measured(scores[0].hallucination, baseline=scores[1].hallucination, note=note)


# ---------------------------------------------------------------------------- CRESCENDO and demix supervision, full


class Arm(NamedTuple):
    """Scores of one way of training, one value a seed: F1 of gender, pitch and timbre by SNR, and CIDEr-D."""

    vocal_f1: list[float]
    quiet_f1: list[float]
    loud_f1: list[float]
    cider: list[float]


ARMS = {"base": (0.0, 0.0), "cre": (1.0, 0.0), "dem": (0.0, 1.0), "both": (1.0, 1.0), "vocals": (0.0, 0.0)}


@claim(
    "CRESCENDO and demix supervision raise the F1 of vocal attributes",
    place="abstract",
    unit="F1 gained",
    better="higher",
    tier="full",
    gate=0.03,
)
def additions_help(seed: int) -> Measured | None:
    arms = compare(seed)
    return None if arms is None else Measured(_gain(arms, "both", "base"), note=_told(arms))


@claim(
    "CRESCENDO and demix supervision do not lower CIDEr-D",
    place="abstract",
    unit="CIDEr-D gained",
    better="higher",
    tier="full",
    gate=0.0,
)
def additions_keep_cider(seed: int) -> Measured | None:
    arms = compare(seed)
    if arms is None:
        return None
    gained = float(np.mean(arms["both"].cider) - np.mean(arms["base"].cider))
    return Measured(gained, note="; ".join(f"{name} {np.mean(arm.cider):.2f}" for name, arm in arms.items()))


@claim(
    "Demix supervision helps more where the backing is louder",
    place="what the supervision is for",
    unit="F1 gained at -10 dB beyond that at +10 dB",
    better="higher",
    tier="full",
    gate=0.0,
)
def demix_helps_in_noise(seed: int) -> Measured | None:
    arms = compare(seed)
    if arms is None:
        return None
    noisy = float(np.mean(arms["dem"].loud_f1) - np.mean(arms["base"].loud_f1))
    clean = float(np.mean(arms["dem"].quiet_f1) - np.mean(arms["base"].quiet_f1))
    return Measured(noisy - clean, note=f"gain {noisy:+.3f} at -10 dB, {clean:+.3f} at +10 dB")


@claim(
    "Demix supervision closes the gap between hearing the mixture and hearing the voice alone",
    place="what the supervision is for",
    unit="share of the gap",
    better="higher",
    tier="full",
    gate=0.3,
)
def gap_closed(seed: int) -> Measured | None:
    arms = compare(seed)
    if arms is None:
        return None
    gap = _gain(arms, "vocals", "base")
    share = _gain(arms, "dem", "base") / gap if gap > 0 else float("nan")
    return Measured(share, note=f"gap {gap:+.3f} F1; {_told(arms)}")


# ------------------------------------------------------------------------------------------- the data-set builder


@claim(
    "The builder finds the singer's gender",
    place="data-set pipeline; the separated voice is given",
    unit="accuracy",
    better="higher",
    tier="full",
    gate=0.95,
)
def builder_gender(seed: int) -> Measured | None:
    return _agreement(("gender",))


@claim(
    "The builder's pitch, volume and tempo classes agree with the truth",
    place="Algorithm 1",
    unit="accuracy of the worst of the three",
    better="higher",
    tier="full",
    gate=0.9,
)
def builder_levels(seed: int) -> Measured | None:
    return _agreement(("pitch", "volume", "tempo"))


@claim(
    "Every caption the builder writes is one sentence that states the mandatory attributes and names no artist",
    place="instruction of the caption prompt",
    unit="share at fault",
    better="zero",
    tier="full",
    tolerance=0.0,
)
def builder_captions(seed: int) -> Measured | None:
    frame = built()
    if frame is None:
        return None
    rows = list(frame.iter_rows(named=True))
    wrong = sum(bool(faults(row["caption"], {name: row[name] for name in LEXICON})) for row in rows)
    return Measured(wrong / len(rows), note=f"{len(rows)} clips")


# ------------------------------------------------------------------------------------------------------- beneath


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


def rendered(split: str, count: int, seconds: float = 6.0) -> list[Clip] | None:
    """Rendered clips from the cache; None where this machine lacks the voices."""
    folder = cache_folder("singing-styles") / f"{split}-{count}-{seconds:g}"
    try:
        table = folder / MANIFEST
        return read_manifest(table if table.is_file() else write_rendered(folder, split, count, seconds=seconds))  # type: ignore[arg-type]
    except MissingDependency:
        return None


@cache
def compare(
    seed: int, clips: int = CLIPS, tests: int = TESTS, steps: int = STEPS, seeds: int = SEEDS, config: SmallConfig = ARM
) -> dict[str, Arm] | None:
    """Train every arm from the same start on the same batches, and caption test clips at three levels of backing."""
    train, test = rendered("train", clips), rendered("test", tests)
    if train is None or test is None:
        return None
    tokenizer = Tokenizer.train([caption for clip in train for caption in clip.captions], config.vocabulary)
    encoder = LogMelEncoder(config)
    examples, held_out = (
        prepare(encoder, part, tokenizer.encode, seconds=6.0, max_length=config.max_length) for part in (train, test)
    )
    arms: dict[str, Arm] = {name: Arm([], [], [], []) for name in ARMS}
    for number in range(seeds):
        start = 100 * seed + number
        plan = Plan(steps=max(1, steps // 2), learning_rate=2e-3, warmup=1 + steps // 40, seed=start)
        captions = [words for choices in examples.captions for words in choices]
        text = train_text_encoder(captions, _sized(config, tokenizer, dropout=0.0), plan, device="cpu")
        for name, (crescendo, demix) in ARMS.items():
            model = _train_arm(name, examples, text, config, tokenizer, Weights(crescendo, demix), start, steps)
            _measure_arm(arms[name], model, tokenizer, held_out, test, alone=name == "vocals")
    return arms


def _sized(config: SmallConfig, tokenizer: Tokenizer, dropout: float) -> SmallConfig:
    return SmallConfig(**{**vars(config), "vocabulary": len(tokenizer), "dropout": dropout})


def _train_arm(
    name: str,
    examples: Examples,
    text: nn.Module,
    config: SmallConfig,
    tokenizer: Tokenizer,
    weights: Weights,
    seed: int,
    steps: int,
) -> Captioner:
    sized = _sized(config, tokenizer, config.dropout)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        objective = Objective(Captioner(LogMelEncoder(sized), SmallDecoder(sized)), text, weights)
    heard = examples
    if name == "vocals" and examples.vocals is not None:
        heard = dataclasses.replace(examples, mix=examples.vocals, vocals=None, backing=None)
    plan = Plan(steps=steps, learning_rate=1e-3, warmup=1 + steps // 20, ema_decay=0.99, seed=seed)
    return train_captioner(objective, heard, plan, device="cpu").model.captioner


def _measure_arm(
    arm: Arm, model: Captioner, tokenizer: Tokenizer, examples: Examples, clips: Sequence[Clip], alone: bool
) -> None:
    encoder, voice, backing = model.encoder, examples.vocals, examples.backing
    assert isinstance(encoder, LogMelEncoder)
    assert voice is not None
    assert backing is not None
    truths = [clip.attributes for clip in clips]

    def said(features: Tensor) -> list[str]:
        with torch.no_grad():
            memory = model.memory(features.float())
        return [sentence(tokenizer.decode(tokens or ())) for tokens in beam_search(model.decoder, memory, beam=1)]

    captions = said(voice if alone else examples.mix)
    arm.vocal_f1.append(attribute_scores(captions, truths, VOCAL).micro_f1)
    arm.cider.append(cider_d(captions, [clip.captions for clip in clips]))
    for values, snr in ((arm.quiet_f1, 10.0), (arm.loud_f1, -10.0)):
        # The rendered backing lies 0 dB below the voice on the mean; a gain is a shift of the log-mel features.
        shifted = backing.float() - snr * np.log(10) / 10 / 4.0
        features = voice.float() if alone else encoder.mixed(voice, shifted)
        values.append(attribute_scores(said(features), truths, VOCAL).micro_f1)


def _gain(arms: dict[str, Arm], one: str, other: str) -> float:
    return float(np.mean(arms[one].vocal_f1) - np.mean(arms[other].vocal_f1))


def _told(arms: dict[str, Arm]) -> str:
    scores = ", ".join(f"{name} {np.mean(arm.vocal_f1):.3f} ± {np.std(arm.vocal_f1):.3f}" for name, arm in arms.items())
    return f"F1 of gender, pitch and timbre over {len(arms['base'].vocal_f1)} seeds: {scores}; {RENDERED}"


@cache
def built(count: int = TESTS) -> polars.DataFrame | None:
    """The builder's data set from rendered clips, beside their truth (columns that begin with ``true_``).

    Separation is given, so that the builder is measured; the embedded separator was made for stereo at 44.1 kHz.
    """
    clips = rendered("test", count)
    if clips is None:
        return None
    folder = clips[0].path.parent
    songs = folder / "songs"
    songs.mkdir(exist_ok=True)
    for clip in clips:
        link = songs / clip.path.name
        if not link.exists():
            link.symlink_to(clip.path)
    vocals = {Audio.read(clip.path).samples.tobytes(): clip.vocals_path for clip in clips}

    def separate(mixture: Audio) -> Audio:
        return Audio.read(vocals[mixture.samples.tobytes()] or "")

    frame = StyleDatasetBuilder(separator=separate, shortest=3.0).build(songs, folder / "built")
    truth = polars.DataFrame(
        [{"song": clip.path.name, **{f"true_{k}": v for k, v in clip.attributes.items()}} for clip in clips]
    )
    return frame.join(truth, on="song")


def _agreement(names: Sequence[str]) -> Measured | None:
    frame = built()
    if frame is None:
        return None
    shares = {name: float((frame[name] == frame[f"true_{name}"]).mean()) for name in names}  # type: ignore[arg-type]
    told = ", ".join(f"{name} {share:.3f}" for name, share in shares.items())
    return Measured(min(shares.values()), note=f"{told}; {len(frame)} clips with their voices given; {RENDERED}")
