"""Builds a captioner to be trained from the names of its parts: audio encoder, text decoder, frozen text encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from harmonia.audio.s2cap.examples import Examples
from harmonia.audio.s2cap.network import AudioEncoder, CaptionDecoder, Captioner
from harmonia.audio.s2cap.small import LogMelEncoder, SmallConfig, SmallDecoder
from harmonia.audio.s2cap.tokens import Tokenizer
from harmonia.audio.s2cap.training import train_text_encoder
from harmonia.core.errors import InputError
from harmonia.parts.training import Plan

SMALLEST = SmallConfig(dim=128, encoder_layers=2, decoder_layers=3)
"""Sizes of the embedded captioner."""


@runtime_checkable
class Words(Protocol):
    """Text to token ids and back."""

    def __len__(self) -> int: ...

    def encode(self, text: str) -> Sequence[int]: ...

    def decode(self, tokens: Sequence[int]) -> str: ...


def assemble(
    encoder: str | AudioEncoder,
    decoder: str | CaptionDecoder,
    tokenizer: Any,
    config: SmallConfig,
    captions: Sequence[str],
    seed: int,
) -> tuple[Captioner, Words]:
    """A captioner to be trained, and its tokenizer; arguments as of `SingingStyleCaptioner`.

    Arguments:
        encoder: ``logmel``, ``ast``, ``mert``, or an encoder.
        decoder: ``small``, ``bart``, or a decoder.
        tokenizer: Of a decoder of one's own.
        config: Sizes of the from-scratch parts.
        captions: What a tokenizer from scratch learns from.
        seed: Of fresh weights.

    Raises:
        InputError: an unknown name, or a decoder of one's own without a tokenizer.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if decoder == "small":
            tokenizer = Tokenizer.train(captions, config.vocabulary)
            config = dataclasses.replace(config, vocabulary=len(tokenizer))
        network = Captioner(_audio_encoder(encoder, config), _caption_decoder(decoder, config))
        if decoder == "bart" and tokenizer is None:
            from harmonia.audio.s2cap.pretrained import BartTokenizer

            tokenizer = BartTokenizer()
    if tokenizer is None:
        raise InputError("a decoder of one's own needs its tokenizer", "none", "Pass tokenizer=.")
    return network, tokenizer


def frozen_text_encoder(
    network: Captioner, vocabulary: int, examples: Examples, config: SmallConfig, steps: int, seed: int, device: str
) -> torch.nn.Module:
    """The frozen side of CRESCENDO: BART's text encoder, or a small one trained as a caption autoencoder.

    Arguments:
        network: The captioner.
        vocabulary: Number of tokens.
        examples: Whose captions the small one learns from.
        config: Sizes of the small one; its width is the decoder's.
        steps: Of the captioner's training; the small one takes half of them, at most 300.
        seed: Of its weights and batches.
        device: Where it is trained.
    """
    from harmonia.audio.s2cap.pretrained import BartDecoder, BartText

    if isinstance(network.decoder, BartDecoder):
        return BartText(network.decoder)
    config = dataclasses.replace(config, vocabulary=vocabulary, dim=network.decoder.dim, dropout=0.0)
    steps = max(1, min(300, steps // 2))
    captions = [words for one in examples.captions for words in one]
    plan = Plan(steps=steps, learning_rate=2e-3, warmup=1 + steps // 20, ema_decay=0.98, seed=seed)
    return train_text_encoder(captions, config, plan, device=device)


def _audio_encoder(encoder: str | AudioEncoder, config: SmallConfig) -> AudioEncoder:
    if isinstance(encoder, AudioEncoder):
        return encoder
    if encoder == "logmel":
        return LogMelEncoder(config)
    from harmonia.audio.s2cap.pretrained import ASTEncoder, MERTEncoder

    if encoder == "ast":
        return ASTEncoder.from_pretrained()
    if encoder == "mert":
        return MERTEncoder.from_pretrained("hub:m-a-p/MERT-v1-95M")
    raise InputError("there is no such encoder", encoder, "Use logmel, ast or mert.")


def _caption_decoder(decoder: str | CaptionDecoder, config: SmallConfig) -> CaptionDecoder:
    if isinstance(decoder, CaptionDecoder):
        return decoder
    if decoder == "small":
        return SmallDecoder(config)
    if decoder != "bart":
        raise InputError("there is no such decoder", decoder, "Use small or bart.")
    from harmonia.audio.s2cap.pretrained import BartDecoder

    return BartDecoder.from_pretrained()
