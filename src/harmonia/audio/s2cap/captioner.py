"""The estimator a user holds: captioned clips to learn from, songs in, captions with attributes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from harmonia.audio.s2cap.assembly import SMALLEST, assemble, frozen_text_encoder
from harmonia.audio.s2cap.attributes import MANDATORY
from harmonia.audio.s2cap.checkpoint import EMBEDDED, load_captioner, save_captioner
from harmonia.audio.s2cap.decoding import Grounding, beam_search
from harmonia.audio.s2cap.examples import prepare
from harmonia.audio.s2cap.grammar import plain_caption
from harmonia.audio.s2cap.hearing import Belief, hear
from harmonia.audio.s2cap.manifest import Clip, read_manifest
from harmonia.audio.s2cap.network import AudioEncoder, CaptionDecoder, Captioner
from harmonia.audio.s2cap.objective import Objective, Weights
from harmonia.audio.s2cap.scores import caption_metrics
from harmonia.audio.s2cap.small import LogMelEncoder, SmallConfig
from harmonia.audio.s2cap.tokens import Tokenizer
from harmonia.audio.s2cap.training import train_captioner
from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.core.weights import Checkpoint, locate
from harmonia.media import Audio
from harmonia.parts.training import Plan, Trained

NOBODY = "No lead vocal found."
WINDOW = 6.0
"""Seconds that the encoder hears at once; longer clips are several windows whose embeddings stand side by side."""

Sound: TypeAlias = str | Path | Audio


@dataclass(frozen=True)
class Caption:
    """A sentence about a clip.

    Attributes:
        text: The sentence, or that no lead vocal was found.
        attributes: The likeliest value of each attribute; empty without a voice.
        scores: Probability of each of these values.
        voice: Probability that somebody sings.
    """

    text: str
    attributes: dict[str, str]
    scores: dict[str, float]
    voice: float


class SingingStyleCaptioner(BaseEstimator):
    """Describes a singing voice in a sentence (arXiv 2409.09866).

    An audio encoder, a text decoder, and two regularisers in training: CRESCENDO alignment with the caption, demix
    supervision by the separated voice. The paper's captioner was never released: sizes and weights are our choice.

    Arguments:
        encoder: ``logmel`` (from scratch), ``ast`` or ``mert`` (pretrained), or an `AudioEncoder`.
        decoder: ``small`` (from scratch), ``bart`` (pretrained), or a `CaptionDecoder`.
        crescendo: Weight of the alignment.
        demix: Weight of the demix supervision; it needs ``vocals_path`` in the manifest.
        attributes: Weight of the attribute head.
        grounded: Let captions state only what the attribute head supports.
        confidence: Probability from which the head supports a value.
        beam: Hypotheses of the beam search.
        without: ``gender`` and ``age`` may be left out of captions and attributes.
        config: Sizes of the from-scratch profile; None for the embedded captioner's.
        tokenizer: For a `decoder` of one's own: what turns text into its tokens.
        seconds: Length of a training clip; 10 for pretrained encoders.
        steps, batch, learning_rate: Of `fit`.
        device: ``auto``, ``cpu`` or ``cuda``.
        random_state: Seed of `fit`.

    Example:
        >>> captioner = SingingStyleCaptioner.from_pretrained()
        >>> captioner.predict([Audio(np.zeros(16000), 16000)])[0].text
        'No lead vocal found.'
    """

    def __init__(
        self,
        encoder: Literal["logmel", "ast", "mert"] | AudioEncoder = "logmel",
        decoder: Literal["small", "bart"] | CaptionDecoder = "small",
        *,
        crescendo: float = 1.0,
        demix: float = 1.0,
        attributes: float = 1.0,
        grounded: bool = True,
        confidence: float = 0.5,
        beam: int = 4,
        without: Sequence[str] = (),
        config: SmallConfig | None = None,
        tokenizer: Any = None,
        seconds: float = WINDOW,
        steps: int = 1000,
        batch: int = 32,
        learning_rate: float = 1e-3,
        device: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.encoder = encoder
        self.decoder = decoder
        self.crescendo = crescendo
        self.demix = demix
        self.attributes = attributes
        self.grounded = grounded
        self.confidence = confidence
        self.beam = beam
        self.without = without
        self.config = config
        self.tokenizer = tokenizer
        self.seconds = seconds
        self.steps = steps
        self.batch = batch
        self.learning_rate = learning_rate
        self.device = device
        self.random_state = random_state

    @classmethod
    def from_pretrained(cls, weights: str = "embedded", **parameters: Any) -> SingingStyleCaptioner:
        """A captioner of the from-scratch profile that is ready to predict.

        Raises:
            WeightsError: weights that cannot be found, read, or loaded strictly.
        """
        captioner = cls(**parameters)
        captioner.network_, captioner.tokenizer_ = load_captioner(locate(weights, embedded=EMBEDDED))
        captioner.network_.to(_device(captioner.device))
        return captioner

    def fit(
        self,
        manifest: str | Path | Sequence[Clip],
        y: None = None,
        *,
        held_out: Sequence[Clip] = (),
        folder: Path | None = None,
        evaluate_every: int = 0,
    ) -> SingingStyleCaptioner:
        """Learn from captioned clips.

        Arguments:
            manifest: A csv (see `harmonia.audio.s2cap.manifest`), or its clips.
            y: Not used; captions are in the manifest.
            held_out: Clips to measure on.
            folder: Where checkpoints go; an unfinished run in it is resumed.
            evaluate_every: Steps between two measurements; 0 measures once at the end.

        Raises:
            InputError: no clips, or captions that are too long.
        """
        self.trained_ = self.train(manifest, held_out, folder, evaluate_every)
        return self

    def train(
        self, manifest: str | Path | Sequence[Clip], held_out: Sequence[Clip], folder: Path | None, evaluate_every: int
    ) -> Trained[Objective]:
        """`fit`, giving back the run with its history."""
        clips = read_manifest(manifest) if isinstance(manifest, (str, Path)) else list(manifest)
        if not clips:
            raise InputError("there is nothing to learn from", "0 clips", "Pass captioned clips.")
        captions = [caption for clip in clips for caption in clip.captions]
        config = self.config or SMALLEST
        network, self.tokenizer_ = assemble(
            self.encoder, self.decoder, self.tokenizer, config, captions, self.random_state
        )
        examples = prepare(
            network.encoder,
            clips,
            self.tokenizer_.encode,
            seconds=self.seconds,
            max_length=network.decoder.max_length,
        )
        say("First the text encoder of the alignment, which is then frozen.")
        text = frozen_text_encoder(
            network, len(self.tokenizer_), examples, config, self.steps, self.random_state, self.device
        )
        weights = Weights(self.crescendo, self.demix, self.attributes)
        pretrained = not isinstance(network.encoder, LogMelEncoder)
        plan = Plan(
            steps=self.steps,
            learning_rate=self.learning_rate,
            warmup=1 + self.steps // 20,
            ema_decay=0.995,
            evaluate_every=evaluate_every,
            checkpoint_every=max(1, min(100, self.steps)),
            seed=self.random_state,
        )

        def evaluate(model: Captioner) -> dict[str, float]:
            self.network_ = model
            return self.measure(held_out) if held_out else {}

        trained = train_captioner(
            Objective(network, text, weights),
            examples,
            plan,
            batch=self.batch,
            encoder_rate=0.1 if pretrained else 1.0,
            evaluate=evaluate,
            folder=folder,
            device=self.device,
        )
        self.network_ = trained.model.captioner.eval()
        return trained

    def predict(self, sounds: Sequence[Sound]) -> list[Caption]:
        """A caption of each clip.

        Arguments:
            sounds: Files or `Audio`, any rate, mono or stereo, best up to 30 s long.

        Raises:
            InputError: no sounds, or one that cannot be read.
            NotFittedError: neither fitted nor made by `from_pretrained`.
        """
        beliefs = self.beliefs(sounds)
        texts = self.captions(beliefs)
        captions = []
        for belief, text in zip(beliefs, texts, strict=True):
            values, scores = belief.best() if text != NOBODY else ({}, {})
            kept = {name: value for name, value in values.items() if name not in self.without}
            captions.append(Caption(text, kept, {name: scores[name] for name in kept}, belief.voice))
        return captions

    def beliefs(self, sounds: Sequence[Sound]) -> list[Belief]:
        """What the attribute head makes of each clip; clips of equal length go through the network together."""
        check_is_fitted(self, "network_")
        if not sounds:
            raise InputError("there is nothing to describe", "0 sounds", "Pass files or Audio.")
        encoder = self.network_.encoder
        signals = [_mono(sound, encoder.sample_rate) for sound in sounds]
        found: dict[int, Belief] = {}
        lengths = sorted({len(signal) for signal in signals})
        for length in lengths:
            rows = [number for number, signal in enumerate(signals) if len(signal) == length]
            for start in range(0, len(rows), 16):
                part = rows[start : start + 16]
                found |= zip(
                    part, hear(self.network_, np.stack([signals[row] for row in part]), self.seconds), strict=True
                )
        return [found[number] for number in range(len(signals))]

    def captions(self, beliefs: Sequence[Belief], measured: Sequence[Mapping[str, str]] | None = None) -> list[str]:
        """A sentence for each belief, all in one beam search.

        Arguments:
            beliefs: From `beliefs`.
            measured: Attributes known otherwise (pitch by an F0 tracker, say), by clip: captions state them so.
        """
        known = measured if measured is not None else [{}] * len(beliefs)
        said = [NOBODY] * len(beliefs)
        sung = [number for number, belief in enumerate(beliefs) if belief.voice >= 0.5]
        grounds = {number: self.grounding(beliefs[number], known[number]) for number in sung}
        for length in sorted({len(beliefs[number].memory) for number in sung}):
            rows = [number for number in sung if len(beliefs[number].memory) == length]
            found = beam_search(
                self.network_.decoder,
                torch.stack([beliefs[row].memory for row in rows]),
                beam=self.beam,
                groundings=[grounds[row] for row in rows] if self.grounded else None,
                decode=self.tokenizer_.decode,
            )
            for row, tokens in zip(rows, found, strict=True):
                text = "" if tokens is None else sentence(self.tokenizer_.decode(tokens))
                said[row] = text or plain_caption(
                    {name: values[0] for name, values in grounds[row].supported.items() if values}
                )
        return said

    def grounding(self, belief: Belief, measured: Mapping[str, str]) -> Grounding:
        """What a caption may state: values that are measured, or that the head gives at least `confidence`."""
        values, scores = belief.best()
        supported = {name: [value] if scores[name] >= self.confidence else [] for name, value in values.items()}
        supported |= {name: [value] for name, value in measured.items()}
        supported |= {name: [] for name in self.without}
        return Grounding(supported, [name for name in MANDATORY if supported[name]])

    def score(self, manifest: str | Path | Sequence[Clip], y: None = None) -> float:
        """F1 of the attributes that captions state of the clips of a manifest; see `measure` for all scores."""
        clips = read_manifest(manifest) if isinstance(manifest, (str, Path)) else list(manifest)
        return self.measure(clips)["attribute_f1"]

    def measure(self, clips: Sequence[Clip]) -> dict[str, float]:
        """All scores of the captions of clips; see `harmonia.audio.s2cap.scores.caption_metrics`."""
        sounds = [Audio.read(clip.path).cut(clip.begin, clip.end) for clip in clips]
        captions = [caption.text for caption in self.predict(sounds)]
        return caption_metrics(captions, [clip.captions for clip in clips], [clip.attributes for clip in clips])

    def checkpoint(self, made: Mapping[str, Any]) -> Checkpoint:
        """The from-scratch captioner as a file: half precision, configuration, tokenizer, and how it was made.

        Raises:
            InputError: a captioner around pretrained models, which keep their own format.
        """
        check_is_fitted(self, "network_")
        if not isinstance(self.network_.encoder, LogMelEncoder) or not isinstance(self.tokenizer_, Tokenizer):
            kind = f"{self.encoder} and {self.decoder}"
            raise InputError("only the from-scratch captioner is kept in one file", kind, "Use torch.save on network_.")
        return save_captioner(self.network_, self.tokenizer_, made)


def sentence(text: str) -> str:
    """A decoded caption as a sentence: a capital at the start, a full stop at the end.

    Example:
        >>> sentence(" a man sings")
        'A man sings.'
    """
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _mono(sound: Sound, rate: int) -> Float[ndarray, " time"]:
    audio = sound if isinstance(sound, Audio) else Audio.read(sound)
    return np.ascontiguousarray(audio.mono().resampled(rate).samples[0])


def _device(name: str) -> str:
    return "cuda" if name in ("auto", "cuda") and torch.cuda.is_available() else "cpu"
