"""The from-scratch captioner: shapes, causality, cached decoding, the level of a sound."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harmonia.audio.s2cap.attributes import LEXICON
from harmonia.audio.s2cap.network import PRESENCE, AttributeHead, Captioner
from harmonia.audio.s2cap.small import LogMelEncoder, SmallConfig, SmallDecoder, TextEncoder
from harmonia.audio.s2cap.transformer import Attention, masked_mean, positions
from harmonia.core.errors import InputError

CONFIG = SmallConfig(dim=32, encoder_layers=1, decoder_layers=2, heads=4, vocabulary=300, dropout=0.0, max_length=20)


def made(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind(CONFIG).eval()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_attention_is_its_definition() -> None:
    torch.manual_seed(0)
    attention = Attention(8, 2)
    x, memory = noise(1, 3, 8), noise(1, 5, 8, seed=2)
    q, (k, v) = attention.query(x), (attention.key(memory), attention.value(memory))
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        weights = (q[0][:, part] @ k[0][:, part].T / 2.0).softmax(-1)
        heads.append(weights @ v[0][:, part])
    expected = attention.out(torch.cat(heads, dim=1))
    assert torch.allclose(attention(x, attention.keys(memory))[0], expected, atol=1e-6)


def test_words_do_not_see_what_follows() -> None:
    decoder = made(SmallDecoder)
    tokens, memory = torch.randint(3, 300, (1, 10), generator=torch.Generator().manual_seed(0)), noise(1, 4, 32)
    other = tokens.clone()
    other[0, 6:] = 7
    with torch.no_grad():
        change = (decoder(tokens, memory) - decoder(other, memory)).abs().amax(2)[0]
    assert change[:6].max() == 0
    assert change[6:].min() > 0


def test_a_reordered_cache_is_that_of_the_chosen_rows() -> None:
    decoder = made(SmallDecoder)
    memory = noise(3, 4, 32)
    tokens = torch.tensor([[1, 9, 8], [1, 7, 6], [1, 5, 4]])
    with torch.no_grad():
        cache = decoder.begin(memory)
        for position in range(2):
            _, cache = decoder.advance(tokens[:, position], cache)
        rows = torch.tensor([2, 0, 0])
        logits, _ = decoder.advance(tokens[rows, 2], decoder.reorder(cache, rows))
        assert torch.allclose(logits, decoder(tokens, memory)[rows, 2], atol=1e-5)


def test_too_long_a_caption_is_refused() -> None:
    decoder = made(SmallDecoder)
    with pytest.raises(InputError, match="too long"):
        decoder(torch.ones(1, 22, dtype=torch.long), noise(1, 4, 32))


def test_padding_is_not_seen_by_the_text_encoder() -> None:
    text = made(TextEncoder)
    tokens = torch.tensor([[5, 6, 7]])
    padded = torch.tensor([[5, 6, 7, 0, 0]])
    with torch.no_grad():
        short, long = text(tokens), text(padded)
    assert torch.allclose(short, long[:, :3], atol=1e-6)
    assert torch.allclose(masked_mean(long, padded != 0), short.mean(1), atol=1e-6)


def test_features_keep_the_level() -> None:
    encoder = made(LogMelEncoder)
    sound = 0.1 * noise(1, 16000)
    louder = encoder.features(2 * sound) - encoder.features(sound)
    assert torch.allclose(louder, torch.full_like(louder, np.log(4) / 4), atol=1e-3)


def test_mixed_features_are_those_of_the_sum_where_sounds_do_not_overlap() -> None:
    encoder = made(LogMelEncoder)
    time = torch.arange(16000) / 16000
    low, high = 0.1 * torch.sin(2 * np.pi * 300 * time), 0.1 * torch.sin(2 * np.pi * 3000 * time)
    features = [encoder.features(sound[None]) for sound in (low, high, low + high)]
    inner = slice(4, -4)
    heard = (features[2] > features[2].min() + 1)[..., inner]
    assert (encoder.mixed(*features[:2]) - features[2])[..., inner][heard].abs().max() < 0.05
    silence = encoder.features(torch.zeros(1, 16000))
    assert torch.allclose(encoder.mixed(features[0], silence), features[0], atol=1e-4)


@pytest.mark.parametrize("seconds", [0.1, 1.0, 6.0])
def test_one_vector_every_160_ms(seconds: float) -> None:
    encoder = made(LogMelEncoder)
    frames = encoder(encoder.features(noise(2, round(seconds * 16000)))).shape
    assert frames == (2, -(-(round(seconds * 50) + 1) // 8), 32)


def test_the_captioner_projects_where_widths_differ_and_names_every_attribute() -> None:
    torch.manual_seed(0)
    wide = SmallConfig(dim=64, encoder_layers=1, decoder_layers=1, heads=4)
    captioner = Captioner(LogMelEncoder(CONFIG), SmallDecoder(wide))
    memory = captioner.memory(captioner.encoder.features(noise(2, 16000)))
    assert memory.shape[2] == 64
    logits = captioner.head(memory)
    assert {name: value.shape[1] for name, value in logits.items()} == {
        **{name: len(choices) for name, choices in LEXICON.items()},
        PRESENCE: 2,
    }
    assert isinstance(Captioner(LogMelEncoder(CONFIG), SmallDecoder(CONFIG)).projection, nn.Identity)


def test_positions_are_sines_beside_cosines() -> None:
    table = positions(5, 8).double()
    angles = np.outer(np.arange(5), 10000.0 ** (-np.arange(0, 8, 2) / 8))
    assert np.allclose(table, np.concatenate([np.sin(angles), np.cos(angles)], axis=1), atol=1e-6)


@pytest.mark.parametrize("change", [{"dim": 30}, {"encoder_layers": 0}, {"max_length": 0}], ids=str)
def test_impossible_sizes_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(InputError):
        SmallConfig(**change)


def test_the_head_judges_by_mean_and_spread_over_time() -> None:
    torch.manual_seed(0)
    head = AttributeHead(32)
    memory = noise(2, 9, 32)
    with torch.no_grad():
        shuffled, shifted = (
            head(memory[:, torch.randperm(9, generator=torch.Generator().manual_seed(0))]),
            head(2 * memory),
        )
        for name, logits in head(memory).items():
            assert torch.allclose(logits, shuffled[name], atol=1e-5)
            assert not torch.allclose(logits, shifted[name], atol=1e-3)
    still = torch.ones(1, 5, 32, requires_grad=True)
    sum(logits.sum() for logits in head(still).values()).backward()
    assert still.grad is not None
    assert still.grad.isfinite().all()


def test_the_level_is_heard_although_the_layers_are_normalised() -> None:
    encoder = made(LogMelEncoder)
    features = noise(1, encoder.config.num_mels, 64)
    with torch.no_grad():
        assert (encoder(features) - encoder(features + 1)).abs().max() > 0.01
