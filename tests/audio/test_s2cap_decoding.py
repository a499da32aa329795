"""Beam search against exhaustive search, repetition, grounding, sampling."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from harmonia.audio.s2cap.attributes import stated
from harmonia.audio.s2cap.decoding import Grounding, beam_search, repeated, sample
from harmonia.audio.s2cap.network import Cache, CaptionDecoder
from harmonia.audio.s2cap.small import SmallConfig, SmallDecoder
from harmonia.core.errors import InputError

WORDS = ["", "", "", "a", " man", " woman", " sings", " slow", " fast", " low-pitched"]
END = 2


class Chain(CaptionDecoder):
    """A decoder whose next word depends on the last one only: a table of log-probabilities for each clip."""

    dim, begin_token, end_token, pad_token = 1, 1, END, 0

    def __init__(self, table: Tensor, max_length: int) -> None:
        super().__init__()
        self.table, self.max_length = table, max_length

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        return self.table[memory[:, 0, 0].long()[:, None], tokens]

    def begin(self, memory: Tensor) -> Cache:
        return memory[:, 0, 0].long()

    def advance(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        return self.table[cache, tokens], cache

    def reorder(self, cache: Cache, rows: Tensor) -> Cache:
        return cache[rows]


def chain(seed: int, clips: int = 2, size: int = 10, max_length: int = 4) -> tuple[Chain, Tensor]:
    table = 2 * torch.randn(clips, size, size, generator=torch.Generator().manual_seed(seed))
    return Chain(table, max_length), torch.arange(clips, dtype=torch.float32)[:, None, None]


def decode(tokens) -> str:
    return "".join(WORDS[token] for token in tokens)


def best(decoder: Chain, clip: int, allowed=lambda tokens: True) -> tuple[float, tuple[int, ...]]:
    """The best ended caption of all, by trying every one."""
    table = decoder.table[clip].log_softmax(-1)
    found = []
    words = [token for token in range(1, table.shape[0]) if token != END]
    for length in range(decoder.max_length):
        for tokens in itertools.product(words, repeat=length):
            if not allowed(tokens):
                continue
            path = [1, *tokens, END]
            score = sum(float(table[a, b]) for a, b in itertools.pairwise(path)) / (length + 1)
            found.append((score, tokens))
    return max(found)


@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_the_best_caption(seed: int) -> None:
    decoder, memory = chain(seed, size=6)
    found = beam_search(decoder, memory, beam=150, no_repeat=0)
    for clip, tokens in enumerate(found):
        assert tuple(tokens or ()) == best(decoder, clip)[1]


def test_a_beam_of_one_is_greedy() -> None:
    torch.manual_seed(0)
    config = SmallConfig(dim=32, encoder_layers=1, decoder_layers=1, heads=2, vocabulary=40, dropout=0.0, max_length=12)
    decoder = SmallDecoder(config).eval()
    memory = torch.randn(3, 5, 32)
    found = beam_search(decoder, memory, beam=1, no_repeat=0)
    for clip in range(3):
        tokens = [1]
        with torch.no_grad():
            while len(tokens) <= 12:
                logits = decoder(torch.tensor([tokens]), memory[clip : clip + 1])[0, -1]
                logits[0] = -torch.inf
                tokens.append(int(logits.argmax()))
                if tokens[-1] == END:
                    break
        assert found[clip] == [token for token in tokens[1:] if token != END]


def test_clips_do_not_disturb_each_other() -> None:
    decoder, memory = chain(3, clips=5)
    together = beam_search(decoder, memory, beam=3)
    assert together == [beam_search(decoder, memory[i : i + 1], beam=3)[0] for i in range(5)]


def test_nothing_is_said_twice() -> None:
    decoder, memory = chain(0, max_length=12)
    decoder.table[:, :, END] -= 20
    for tokens in beam_search(decoder, memory, beam=2, no_repeat=2):
        pairs = list(itertools.pairwise(tokens or ()))
        assert len(pairs) == len(set(pairs))
    assert repeated([1, 2, 1], 2) == {2}
    assert repeated([1, 2], 0) == set()


@pytest.mark.parametrize("seed", range(3))
def test_a_grounded_caption_is_the_best_that_may_be_said(seed: int) -> None:
    decoder, memory = chain(seed)
    grounding = Grounding({"gender": ["female"], "tempo": ["fast", "slow"], "pitch": []}, ["gender", "tempo"])
    found = beam_search(decoder, memory, beam=600, no_repeat=0, groundings=[grounding] * 2, decode=decode)
    for clip, tokens in enumerate(found):
        assert tokens is not None
        text = decode(tokens)
        assert grounding.allows(text)
        assert grounding.complete(text)
        assert not [value for name, value in stated(text) if name == "pitch" or value == "male"]
        may = best(decoder, clip, lambda words: grounding.allows(decode(words)) and grounding.complete(decode(words)))
        assert tuple(tokens) == may[1]


def test_where_nothing_may_be_said_there_is_no_caption() -> None:
    decoder, memory = chain(0, clips=1)
    impossible = Grounding({}, ["mood"])
    assert beam_search(decoder, memory, beam=3, groundings=[impossible], decode=decode) == [None]


def test_sampling_is_reproducible_and_a_small_nucleus_is_greedy() -> None:
    decoder, memory = chain(1, clips=4, max_length=8)
    draws = [sample(decoder, memory, generator=torch.Generator().manual_seed(s), top_p=0.9) for s in (0, 0, 1)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
    greedy = sample(decoder, memory, generator=torch.Generator().manual_seed(0), top_p=1e-6)
    for clip, tokens in enumerate(greedy):
        last, expected = 1, []
        for _ in range(8):
            last = int(decoder.table[clip, last].argmax())
            if last == END:
                break
            expected.append(last)
        assert tokens == expected


def test_samples_follow_the_distribution() -> None:
    decoder, _ = chain(2, clips=1, size=5, max_length=1)
    many = sample(decoder, torch.zeros(4000, 1, 1), generator=torch.Generator().manual_seed(0), top_p=1.0)
    share = sum(tokens == [3] for tokens in many) / 4000
    assert share == pytest.approx(float(decoder.table[0, 1].softmax(-1)[3]), abs=0.03)


def test_bad_settings_are_refused() -> None:
    decoder, memory = chain(0)
    with pytest.raises(InputError):
        beam_search(decoder, memory, beam=0)
    with pytest.raises(InputError):
        beam_search(decoder, memory, groundings=[Grounding()] * 2)
    with pytest.raises(InputError):
        sample(decoder, memory, generator=torch.Generator(), top_p=0.0)
