"""Captioners around pretrained models: AST or MERT listens, BART speaks (the paper's choice of component kinds).

The models come through transformers (AST, BART) and `harmonia.audio.mert`; their weights are the user's to fetch. The
audio embedding takes the place of BART's text encoding (``encoder_outputs``); that text encoder itself, frozen, is what
CRESCENDO aligns with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from harmonia.audio.s2cap.network import AudioEncoder, Cache, CaptionDecoder
from harmonia.core.errors import WeightsError, require

AST = "MIT/ast-finetuned-audioset-10-10-0.4593"
BART = "facebook/bart-base"


class ASTEncoder(AudioEncoder):
    """The Audio Spectrogram Transformer; its features are Kaldi filterbanks of 10.24 s at 16 kHz.

    Arguments:
        model: A transformers ``ASTModel``; see `from_pretrained`.
        mean, deviation: Of the filterbanks in AudioSet, by which they are normalised to half a deviation.

    Raises:
        MissingDependency: transformers is not installed.
    """

    sample_rate = 16000

    def __init__(self, model: Any, mean: float = -4.2677393, deviation: float = 4.5689974) -> None:
        super().__init__()
        self.model = model
        self.dim = int(self.model.config.hidden_size)
        config = self.model.config
        extractor = require("transformers", extra="song").ASTFeatureExtractor
        self.extractor = extractor(
            num_mel_bins=config.num_mel_bins, max_length=config.max_length, mean=mean, std=deviation
        )

    @classmethod
    def from_pretrained(cls, source: str = AST) -> ASTEncoder:
        """With weights from the hub or a local folder.

        Raises:
            WeightsError: they cannot be found or read.
        """
        return cls(_load(require("transformers", extra="song").ASTModel, source))

    def features(self, audio: Float[Tensor, "batch time"]) -> Float[Tensor, "batch frames mels"]:
        """Normalised filterbanks, cut or filled to the length that the model takes."""
        sounds = [row.cpu().numpy() for row in audio]
        made = self.extractor(sounds, sampling_rate=self.sample_rate, return_tensors="pt")
        return made["input_values"].to(audio.device)

    def forward(self, features: Float[Tensor, "batch frames mels"]) -> Float[Tensor, "batch length dim"]:
        """One vector a patch, after two summary tokens."""
        return self.model(input_values=features).last_hidden_state


class MERTEncoder(AudioEncoder):
    """MERT (`harmonia.audio.mert.MERTModel`); features are the samples themselves, at 24 kHz.

    Arguments:
        model: The network.
        stride: Every so many frames of 1/75 s are averaged into one vector.
    """

    def __init__(self, model: Any, stride: int = 15) -> None:
        super().__init__()
        self.model = model
        self.sample_rate = int(self.model.config.sample_rate)
        self.dim = int(self.model.config.dim)
        self.stride = stride

    @classmethod
    def from_pretrained(cls, source: str | Path) -> MERTEncoder:
        """With weights of any layout that `harmonia.audio.mert.MERTModel.from_pretrained` reads.

        Raises:
            WeightsError: they cannot be found or read.
        """
        from harmonia.audio.mert import MERTModel

        return cls(MERTModel.from_pretrained(str(source)))

    def features(self, audio: Float[Tensor, "batch time"]) -> Float[Tensor, "batch time"]:
        """The samples."""
        return audio

    def forward(self, features: Float[Tensor, "batch time"]) -> Float[Tensor, "batch length dim"]:
        """The last layer, averaged in time."""
        frames = self.model(features, layers=[self.model.config.layers])["hidden"][0]
        kept = max(1, frames.shape[1] // self.stride)
        return nn.functional.adaptive_avg_pool1d(frames.transpose(1, 2), kept).transpose(1, 2)


class BartDecoder(CaptionDecoder):
    """BART's decoder with the audio embedding in place of its text encoding.

    Arguments:
        model: A transformers ``BartForConditionalGeneration``; see `from_pretrained`.
        max_length: Longest caption in tokens.
    """

    def __init__(self, model: Any, max_length: int = 64) -> None:
        super().__init__()
        self.model = model
        config = self.model.config
        self.dim, self.max_length = int(config.d_model), max_length
        self.begin_token, self.end_token = int(config.decoder_start_token_id), int(config.eos_token_id)
        self.pad_token = int(config.pad_token_id)
        self._bridge = require("transformers.modeling_outputs", extra="song").BaseModelOutput

    @classmethod
    def from_pretrained(cls, source: str = BART, max_length: int = 64) -> BartDecoder:
        """With weights from the hub or a local folder.

        Raises:
            WeightsError: they cannot be found or read.
        """
        bart = require("transformers", extra="song").BartForConditionalGeneration
        return cls(_load(bart, source), max_length)

    def forward(
        self, tokens: Int[Tensor, "batch length"], memory: Float[Tensor, "batch frames dim"]
    ) -> Float[Tensor, "batch length vocabulary"]:
        """Logits of the next token after each token."""
        out = self.model(encoder_outputs=self._bridge(memory), decoder_input_ids=tokens, use_cache=False)
        return out.logits

    def begin(self, memory: Float[Tensor, "batch frames dim"]) -> Cache:
        """The memory; keys and values come with the first word."""
        return memory, None

    def advance(self, tokens: Int[Tensor, " batch"], cache: Cache) -> tuple[Float[Tensor, "batch vocabulary"], Cache]:
        """Logits after one more token each."""
        memory, past = cache
        out = self.model(
            encoder_outputs=self._bridge(memory),
            decoder_input_ids=tokens[:, None],
            past_key_values=past,
            use_cache=True,
        )
        return out.logits[:, -1], (memory, out.past_key_values)

    def reorder(self, cache: Cache, rows: Int[Tensor, " chosen"]) -> Cache:
        """The cache of some rows."""
        memory, past = cache
        past.reorder_cache(rows)
        return memory[rows], past


class BartText(nn.Module):
    """BART's own text encoder: the frozen side of CRESCENDO."""

    def __init__(self, decoder: BartDecoder) -> None:
        super().__init__()
        self.encoder: Any = decoder.model.get_encoder()
        self.pad_token = decoder.pad_token

    def forward(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length dim"]:
        """One vector a token."""
        return self.encoder(input_ids=tokens, attention_mask=(tokens != self.pad_token).long()).last_hidden_state


class BartTokenizer:
    """BART's tokenizer as the captioner uses one.

    Raises:
        WeightsError: it cannot be found.
    """

    def __init__(self, source: str = BART) -> None:
        self.tokenizer: Any = _load(require("transformers", extra="song").AutoTokenizer, source)

    def __len__(self) -> int:
        return len(self.tokenizer)

    def encode(self, text: str) -> Sequence[int]:
        """Token ids without begin and end."""
        return self.tokenizer.encode(text, add_special_tokens=False)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of token ids."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))


def _load(kind: Any, source: str) -> Any:
    try:
        return kind.from_pretrained(source)
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise WeightsError(f"{source} cannot be loaded", first, "Connect once, or pass a local folder.") from error
