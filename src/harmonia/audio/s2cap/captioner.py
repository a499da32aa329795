"""The estimator a user holds: captioned clips to learn from, songs in, captions with attributes out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from harmonia.audio.s2cap.attributes import LEXICON, MANDATORY
from harmonia.audio.s2cap.decoding import Grounding, beam_search
from harmonia.audio.s2cap.grammar import plain_caption
from harmonia.audio.s2cap.manifest import Clip, read_manifest
from harmonia.audio.s2cap.network import (
    PRESENCE,
    AudioEncoder,
    CaptionDecoder,
    Captioner,
    LogMelEncoder,
    SmallConfig,
    SmallDecoder,
)
from harmonia.audio.s2cap.scores import caption_metrics
from harmonia.audio.s2cap.tokens import Tokenizer
from harmonia.audio.s2cap.training import Examples, Objective, Weights, prepare, train_captioner, train_text_encoder
from harmonia.core.errors import InputError, WeightsError
from harmonia.core.progress import say
from harmonia.core.weights import Checkpoint, load_strictly, locate, read_metadata, read_state_dict
from harmonia.media import Audio
from harmonia.parts.training import Plan, Trained

EMBEDDED = Path(__file__).parent / "weights" / "captioner.safetensors"
NOBODY = "No lead vocal found."
WINDOW = 6.0
"""Seconds that the encoder hears at once; longer clips are several windows whose embeddings stand side by side."""

SMALLEST = SmallConfig(dim=128, encoder_layers=2, decoder_layers=3)
"""Sizes of the embedded captioner."""

Sound: TypeAlias = str | Path | Audio


@runtime_checkable
class Words(Protocol):
    """Text to token ids and back."""

    def __len__(self) -> int: ...

    def encode(self, text: str) -> Sequence[int]: ...

    def decode(self, tokens: Sequence[int]) -> str: ...


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


@dataclass(frozen=True)
class Belief:
    """What the attribute head makes of a clip, and the embedding it judged from.

    Attributes:
        memory: The audio embedding, ``[frames, dim]``.
        attributes: For each attribute the probability of each value, in the lexicon's order.
        voice: Probability that somebody sings.
    """

    memory: Tensor
    attributes: dict[str, dict[str, float]]
    voice: float

    def best(self) -> tuple[dict[str, str], dict[str, float]]:
        """The likeliest value of each attribute and its probability."""
        values = {name: max(odds, key=lambda value: odds[value]) for name, odds in self.attributes.items()}
        return values, {name: self.attributes[name][value] for name, value in values.items()}


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
        network, self.tokenizer_ = self._fresh(captions)
        examples = prepare(
            network.encoder,
            clips,
            self.tokenizer_.encode,
            seconds=self.seconds,
            max_length=network.decoder.max_length,
        )
        text = self._text_encoder(network, examples)
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
                found |= zip(part, self._heard(np.stack([signals[row] for row in part])), strict=True)
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
        tokenizer = self.tokenizer_
        if not isinstance(self.network_.encoder, LogMelEncoder) or not isinstance(tokenizer, Tokenizer):
            kind = f"{self.encoder} and {self.decoder}"
            raise InputError("only the from-scratch captioner is kept in one file", kind, "Use torch.save on network_.")
        state = {name: value.detach().cpu() for name, value in self.network_.state_dict().items()}
        tensors = {name: value.half() if value.ndim > 1 else value for name, value in state.items()}
        config = dataclasses.asdict(self.network_.encoder.config)
        texts = {"config": config, "merges": tokenizer.merges, "made": dict(made)}
        return Checkpoint(tensors, {name: json.dumps(value) for name, value in texts.items()})

    @torch.inference_mode()
    def _heard(self, signals: Float[ndarray, "batch time"]) -> list[Belief]:
        """Beliefs about signals of equal length: embeddings of windows side by side, the head's mean over them."""
        network = self.network_.eval()
        sound = torch.from_numpy(signals).to(next(network.parameters()).device)
        windows = torch.stack(_windows(sound, round(self.seconds * network.encoder.sample_rate)))
        count, batch = windows.shape[:2]
        memory = network.memory(network.encoder.features(windows.flatten(0, 1)))
        logits = network.head(memory.mean(1))
        odds = {name: value.softmax(-1).unflatten(0, (count, batch)).mean(0) for name, value in logits.items()}
        joined = memory.unflatten(0, (count, batch)).transpose(0, 1).flatten(1, 2)
        beliefs = []
        for row in range(batch):
            told = {name: dict(zip(LEXICON[name], odds[name][row].tolist(), strict=True)) for name in LEXICON}
            voice = float(odds[PRESENCE][row, 1]) if bool(sound[row].any()) else 0.0
            beliefs.append(Belief(joined[row], told, voice))
        return beliefs

    def _fresh(self, captions: Sequence[str]) -> tuple[Captioner, Words]:
        """A captioner to be trained, and its tokenizer."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            tokenizer: Words | None = self.tokenizer
            config = self.config or SMALLEST
            if self.decoder == "small":
                tokenizer = Tokenizer.train(captions, config.vocabulary)
                config = dataclasses.replace(config, vocabulary=len(tokenizer))
            network = Captioner(self._audio_encoder(config), self._caption_decoder(config))
            if self.decoder == "bart" and tokenizer is None:
                from harmonia.audio.s2cap.pretrained import BartTokenizer

                tokenizer = BartTokenizer()
        if tokenizer is None:
            raise InputError("a decoder of one's own needs its tokenizer", "none", "Pass tokenizer=.")
        return network, tokenizer

    def _audio_encoder(self, config: SmallConfig) -> AudioEncoder:
        if isinstance(self.encoder, AudioEncoder):
            return self.encoder
        if self.encoder == "logmel":
            return LogMelEncoder(config)
        from harmonia.audio.s2cap.pretrained import ASTEncoder, MERTEncoder

        if self.encoder == "ast":
            return ASTEncoder.from_pretrained()
        if self.encoder == "mert":
            return MERTEncoder.from_pretrained("hub:m-a-p/MERT-v1-95M")
        raise InputError("there is no such encoder", self.encoder, "Use logmel, ast or mert.")

    def _caption_decoder(self, config: SmallConfig) -> CaptionDecoder:
        if isinstance(self.decoder, CaptionDecoder):
            return self.decoder
        if self.decoder == "small":
            return SmallDecoder(config)
        if self.decoder != "bart":
            raise InputError("there is no such decoder", self.decoder, "Use small or bart.")
        from harmonia.audio.s2cap.pretrained import BartDecoder

        return BartDecoder.from_pretrained()

    def _text_encoder(self, network: Captioner, examples: Examples) -> torch.nn.Module:
        """The frozen side of CRESCENDO: BART's text encoder, or a small one trained as a caption autoencoder."""
        from harmonia.audio.s2cap.pretrained import BartDecoder, BartText

        if isinstance(network.decoder, BartDecoder):
            return BartText(network.decoder)
        config = dataclasses.replace(
            self.config or SMALLEST, vocabulary=len(self.tokenizer_), dim=network.decoder.dim, dropout=0.0
        )
        steps = max(1, min(300, self.steps // 2))
        say("First a text encoder, as a caption autoencoder; then it is frozen.")
        captions = [words for one in examples.captions for words in one]
        plan = Plan(steps=steps, learning_rate=2e-3, warmup=1 + steps // 20, ema_decay=0.98, seed=self.random_state)
        return train_text_encoder(captions, config, plan, device=self.device)


def load_captioner(path: Path) -> tuple[Captioner, Tokenizer]:
    """A from-scratch captioner and its tokenizer from a file made by `SingingStyleCaptioner.checkpoint`.

    Raises:
        WeightsError: another kind of file, or keys that are missing, unexpected or of another shape.
    """
    state = read_state_dict(path)
    metadata = read_metadata(path) if path.suffix == ".safetensors" else {}
    if not {"config", "merges"} <= set(metadata):
        raise WeightsError("these are no captioner's weights", path.name, "Pass a file made by the job train.")
    config = SmallConfig(**json.loads(metadata["config"]))
    network = Captioner(LogMelEncoder(config), SmallDecoder(config))
    load_strictly(network, {name: value.float() for name, value in state.items()})
    return network.eval(), Tokenizer(json.loads(metadata["merges"]))


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


def _windows(sound: Float[Tensor, "batch time"], size: int) -> list[Tensor]:
    """Windows that cover the sound, the last one ending with it; a short sound is continued by silence."""
    time = sound.shape[1]
    if time <= size:
        return [torch.nn.functional.pad(sound, (0, size - time))]
    count = -(-time // size)
    starts = [round(number * (time - size) / (count - 1)) for number in range(count)]
    return [sound[:, start : start + size] for start in starts]


def _device(name: str) -> str:
    return "cuda" if name in ("auto", "cuda") and torch.cuda.is_available() else "cpu"
