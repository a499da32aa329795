"""Captioners around pretrained models beside transformers itself, with the same random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from harmonia.audio.mert import MERTConfig, MERTModel
from harmonia.audio.s2cap import ASTEncoder, BartDecoder, BartText, MERTEncoder, SingingStyleCaptioner, Tokenizer
from harmonia.audio.s2cap.decoding import beam_search
from harmonia.audio.s2cap.losses import caption_loss
from harmonia.audio.s2cap.manifest import Clip
from harmonia.audio.s2cap.network import CaptionDecoder
from harmonia.audio.s2cap.objective import Objective, Weights
from harmonia.core.errors import WeightsError
from harmonia.media import Audio

transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def bart(vocabulary: int = 300, seed: int = 0, max_length: int = 24) -> BartDecoder:
    torch.manual_seed(seed)
    config = transformers.BartConfig(
        vocab_size=vocabulary,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=128,
        init_std=0.3,
        dropout=0.0,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        forced_eos_token_id=None,
    )
    return BartDecoder(transformers.BartForConditionalGeneration(config).eval(), max_length)


def ast() -> ASTEncoder:
    torch.manual_seed(0)
    config = transformers.ASTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_length=128,
        num_mel_bins=32,
    )
    return ASTEncoder(transformers.ASTModel(config).eval())


def test_logits_are_those_of_bart_with_encoder_outputs() -> None:
    decoder, memory = bart(), noise(3, 7, 32)
    tokens = torch.randint(3, 300, (3, 9), generator=torch.Generator().manual_seed(0))
    outputs = transformers.modeling_outputs.BaseModelOutput(memory)
    with torch.no_grad():
        expected = decoder.model(encoder_outputs=outputs, decoder_input_ids=tokens).logits
        assert (decoder(tokens, memory) - expected).abs().max() <= 1e-5
        cache = decoder.begin(memory)
        for position in range(9):
            logits, cache = decoder.advance(tokens[:, position], cache)
            assert (logits - expected[:, position]).abs().max() <= 1e-4
        rows = torch.tensor([2, 0, 0])
        more, _ = decoder.advance(tokens[rows, 0], decoder.reorder(cache, rows))
        longer = torch.cat([tokens[rows], tokens[rows, :1]], dim=1)
        assert (more - decoder(longer, memory[rows])[:, -1]).abs().max() <= 1e-4


@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("seed", range(3))
def test_beam_search_is_that_of_transformers(beam: int, seed: int) -> None:
    decoder, memory = bart(seed=seed), noise(4, 7, 32, seed=seed)
    theirs = decoder.model.generate(
        encoder_outputs=transformers.modeling_outputs.BaseModelOutput(memory),
        num_beams=beam,
        max_new_tokens=24,
        no_repeat_ngram_size=3,
        do_sample=False,
        length_penalty=1.0,
        early_stopping=False,
        suppress_tokens=[0],
    )
    ours = beam_search(decoder, memory, beam=beam, no_repeat=3)
    for row, tokens in zip(theirs.tolist(), ours, strict=True):
        expected = row[1:]
        whole = expected[: expected.index(2)] if 2 in expected else [token for token in expected if token != 0]
        if beam == 1:
            assert tokens == whole
        else:
            assert tokens is not None
            assert likelihood(decoder, memory, ours.index(tokens), tokens) >= (
                likelihood(decoder, memory, ours.index(tokens), whole) - 1e-4
            )


def likelihood(decoder: CaptionDecoder, memory: Tensor, clip: int, tokens: list[int]) -> float:
    """Mean log-probability, the end mark included where the caption ends before its limit."""
    words = [1, *tokens, *([2] if len(tokens) < decoder.max_length else [])]
    with torch.no_grad():
        logits = decoder(torch.tensor([words[:-1]]), memory[clip : clip + 1])
        logits[..., 0] = -torch.inf
        log_p = logits.log_softmax(-1)[0]
    return float(log_p[torch.arange(len(words) - 1), torch.tensor(words[1:])].mean())


def test_the_text_side_is_barts_encoder() -> None:
    decoder = bart()
    tokens = torch.tensor([[5, 6, 7, 0], [5, 6, 7, 8]])
    with torch.no_grad():
        expected = decoder.model.model.encoder(tokens, attention_mask=(tokens != 0).long()).last_hidden_state
        assert (BartText(decoder)(tokens) - expected).abs().max() <= 1e-6


def test_ast_hears_what_transformers_hears() -> None:
    encoder, sound = ast(), 0.1 * noise(2, 16000)
    features = encoder.features(sound)
    expected = encoder.extractor([row.numpy() for row in sound], sampling_rate=16000, return_tensors="pt")
    assert torch.equal(features, expected["input_values"])
    with torch.no_grad():
        hidden = encoder.model(features).last_hidden_state
        assert (encoder(features) - hidden).abs().max() <= 1e-6
    assert encoder.dim == 32


def test_mert_frames_are_averaged() -> None:
    torch.manual_seed(0)
    encoder = MERTEncoder(MERTModel(MERTConfig.tiny()).eval(), stride=37)
    with torch.no_grad():
        memory = encoder(encoder.features(0.1 * noise(1, encoder.sample_rate)))
        hidden = encoder.model(0.1 * noise(1, encoder.sample_rate))["hidden"][-1]
    assert memory.shape == (1, 2, encoder.dim)
    assert (memory.mean(1) - hidden.mean(1)).abs().max() < 0.02


@pytest.mark.parametrize("listener", ["ast", "mert"])
def test_a_captioner_of_pretrained_parts_learns_and_predicts(tmp_path: Path, listener: str) -> None:
    clips = []
    for number in range(2):
        for suffix in ("", "_v"):
            Audio(np.random.default_rng(number).normal(size=24000) / 10, 24000).write(
                tmp_path / f"{number}{suffix}.wav"
            )
        paths = (tmp_path / f"{number}.wav", tmp_path / f"{number}_v.wav")
        clips.append(Clip(paths[0], 0.0, None, ("A woman sings softly.",), {"gender": "female"}, paths[1]))
    tokenizer = Tokenizer.train(["A woman sings softly."], 280)
    torch.manual_seed(0)
    encoder = ast() if listener == "ast" else MERTEncoder(MERTModel(MERTConfig.tiny()))
    captioner = SingingStyleCaptioner(
        encoder,
        bart(len(tokenizer), max_length=40),
        tokenizer=tokenizer,
        seconds=1.0,
        steps=2,
        batch=2,
        device="cpu",
        grounded=False,
        confidence=0.0,
    )
    captions = captioner.fit(clips).predict([clip.path for clip in clips])
    assert all(caption.text for caption in captions)
    with pytest.raises(ValueError, match="from-scratch"):
        captioner.checkpoint({})


def test_crescendo_leaves_bart_s_text_encoder_as_it_is() -> None:
    decoder = bart()
    from harmonia.audio.s2cap import Captioner

    encoder = ast()
    objective = Objective(Captioner(encoder, decoder), BartText(decoder), Weights())
    frozen = {name for name, p in objective.named_parameters() if not p.requires_grad}
    assert any("encoder.layers" in name for name in frozen)
    assert not any(".decoder.layers" in name for name in frozen)


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be loaded"):
        BartDecoder.from_pretrained(str(tmp_path / "nothing"))
    with pytest.raises(WeightsError, match="cannot be loaded"):
        ASTEncoder.from_pretrained(str(tmp_path / "nothing"))


def test_smoothed_cross_entropy_is_that_of_torch() -> None:
    logits, targets = noise(2, 4, 9), torch.tensor([[1, 2, 3, 0], [4, 5, 0, 0]])
    expected = torch.nn.CrossEntropyLoss(ignore_index=0, label_smoothing=0.1)(logits.flatten(0, 1), targets.flatten())
    assert torch.allclose(caption_loss(logits, targets, 0), expected)
