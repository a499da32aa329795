"""From audio embeddings to sentences: beam search and nucleus sampling over cached decoders, grounded if asked.

A *grounded* search lets no word pass that states an attribute value which is not supported, and does not end before the
required attributes are stated. What a caption says is then never more than what the attribute head stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.audio.s2cap.attributes import stated
from harmonia.audio.s2cap.grammar import misleading_words
from harmonia.audio.s2cap.network import CaptionDecoder
from harmonia.core.errors import InputError

Decode = Callable[[Sequence[int]], str]
_WIDE = 24
"""Continuations of a hypothesis that a grounded search looks at."""

_TAIL = 6
"""Words at the end of a text in which a new phrase can lie."""


@dataclass(frozen=True)
class Grounding:
    """What a caption may and must state.

    Attributes:
        supported: Allowed values by attribute; an empty list forbids the attribute, attributes not listed are free.
        required: Attributes that must be stated before the caption ends.
    """

    supported: Mapping[str, Sequence[str]] = field(default_factory=dict)
    required: Sequence[str] = ()

    def allows(self, text: str) -> bool:
        """Whether everything stated so far is supported.

        Example:
            >>> Grounding({"gender": ["female"]}).allows("A woman sings"), Grounding({"tempo": []}).allows("slow")
            (True, False)
        """
        return all(name not in self.supported or value in self.supported[name] for name, value in stated(text))

    def complete(self, text: str) -> bool:
        """Whether all that is required has been stated."""
        return set(self.required) <= {name for name, _ in stated(text)}


@dataclass(frozen=True)
class _Hypothesis:
    """A caption so far; its text is kept by grounded searches only."""

    tokens: list[int]
    score: float
    text: str = ""


@torch.inference_mode()
def beam_search(
    decoder: CaptionDecoder,
    memory: Float[Tensor, "batch frames dim"],
    *,
    beam: int = 4,
    max_length: int | None = None,
    no_repeat: int = 3,
    groundings: Sequence[Grounding] | None = None,
    decode: Decode | None = None,
) -> list[list[int] | None]:
    """The best captions, all clips and hypotheses in one batch, log-probabilities divided by the length.

    Arguments:
        decoder: The decoder.
        memory: What it attends to.
        beam: Hypotheses kept for each clip.
        max_length: Most tokens; the decoder's own limit when None.
        no_repeat: No group of so many tokens occurs twice; 0 allows it.
        groundings: What each caption may and must state; needs `decode`.
        decode: Token ids to text; that of a list is that of its parts, one after another, spaces included.

    Returns:
        For each clip the tokens without begin and end; None where a grounded search found no caption that may be said.

    Raises:
        InputError: no hypotheses, or groundings without a way to read them.
    """
    if beam < 1 or (groundings is not None and (decode is None or len(groundings) != len(memory))):
        raise InputError("a grounded beam search reads what it says", f"beam {beam}", "Pass decode and a beam of 1 up.")
    longest = min(max_length or decoder.max_length, decoder.max_length)
    avoided: list[Tensor | None] = [None] * len(memory)
    clips = len(memory)
    cache = decoder.begin(memory.repeat_interleave(beam, dim=0))
    running = [[_Hypothesis([], 0.0)] for _ in range(clips)]
    ended: list[list[_Hypothesis]] = [[] for _ in range(clips)]
    last = torch.full((clips * beam,), decoder.begin_token, dtype=torch.long, device=memory.device)
    for length in range(1, longest + 1):
        logits, cache = decoder.advance(last, cache)
        log_p = logits.float().log_softmax(-1).view(clips, beam, -1)
        log_p[..., decoder.pad_token] = -torch.inf
        if groundings is not None and decode is not None and length == 1:
            pieces = [decode([token]) for token in range(log_p.shape[2])]
            avoided = [_avoided(grounding, pieces).to(log_p.device) for grounding in groundings]
        rows = torch.arange(clips * beam, device=memory.device)
        for clip in range(clips):
            if _settled(running[clip], ended[clip], beam, length):
                running[clip] = []
            if not running[clip]:
                continue
            grounding = groundings[clip] if groundings is not None else None
            odds = log_p[clip]
            if (wrong := avoided[clip]) is not None:
                odds = odds.masked_fill(wrong, -torch.inf)
            grown = _grow(running[clip], odds, decoder, beam, no_repeat, grounding, decode)
            finished = [(old, h) for old, h in grown if h.tokens[-1] == decoder.end_token]
            ended[clip] += [replace(h, tokens=h.tokens[:-1], score=h.score / length) for _, h in finished]
            going = [(old, h) for old, h in grown if h.tokens[-1] != decoder.end_token][:beam]
            running[clip] = [h for _, h in going]
            for slot, (old, hypothesis) in enumerate(going):
                rows[clip * beam + slot] = clip * beam + old
                last[clip * beam + slot] = hypothesis.tokens[-1]
        if not any(running):
            break
        if not torch.equal(rows, torch.arange(clips * beam, device=rows.device)):
            cache = decoder.reorder(cache, rows)
    chosen: list[list[int] | None] = []
    for clip in range(clips):
        whole = ended[clip]
        if groundings is None and not whole:
            whole = [replace(h, score=h.score / max(1, len(h.tokens))) for h in running[clip]]
        chosen.append(max(whole, key=lambda h: h.score).tokens if whole else None)
    return chosen


def _settled(running: list[_Hypothesis], ended: list[_Hypothesis], beam: int, length: int) -> bool:
    """Whether none of the running hypotheses can still beat the ended ones."""
    if len(ended) < beam or not running:
        return False
    worst = sorted(h.score for h in ended)[-beam]
    return max(h.score for h in running) / length <= worst


def _grow(
    running: list[_Hypothesis],
    log_p: Tensor,
    decoder: CaptionDecoder,
    beam: int,
    no_repeat: int,
    grounding: Grounding | None,
    decode: Decode | None,
) -> list[tuple[int, _Hypothesis]]:
    """The best continuations, with the slot each comes from: as many as leave `beam` unfinished ones."""
    scores = log_p[: len(running)] + torch.tensor([[h.score] for h in running], device=log_p.device)
    for slot, hypothesis in enumerate(running):
        for token in repeated(hypothesis.tokens, no_repeat):
            scores[slot, token] = -torch.inf
    wanted = 2 * beam if grounding is None else beam * _WIDE
    values, places = scores.flatten().topk(min(wanted, scores.numel()))
    grown: list[tuple[int, _Hypothesis]] = []
    unfinished = 0
    for value, place in zip(values.tolist(), places.tolist(), strict=True):
        slot, token = divmod(place, scores.shape[1])
        if value == float("-inf") or unfinished == beam:
            break
        old = running[slot]
        new = replace(old, tokens=[*old.tokens, token], score=value)
        if grounding is not None and decode is not None:
            if token == decoder.end_token:
                if not grounding.complete(old.text):
                    continue
            else:
                text = old.text + decode([token])
                tail = " ".join(text.split(" ")[-_TAIL:])
                if not grounding.allows(tail):
                    continue
                new = replace(new, text=text)
        grown.append((slot, new))
        unfinished += token != decoder.end_token
    return grown


def _avoided(grounding: Grounding, pieces: Sequence[str]) -> Tensor:
    """Tokens that begin a word which could only lead to something unsupported."""
    wrong = misleading_words(grounding.supported)
    return torch.tensor([piece.strip().lower() in wrong for piece in pieces])


def repeated(tokens: Sequence[int], size: int) -> set[int]:
    """Tokens that would complete a group of `size` tokens that occurred before.

    Example:
        >>> repeated([5, 6, 7, 5, 6], 3)
        {7}
    """
    if size < 1 or len(tokens) < size:
        return set()
    tail = tuple(tokens[len(tokens) - size + 1 :])
    starts = range(len(tokens) - size + 1)
    return {tokens[i + size - 1] for i in starts if tuple(tokens[i : i + size - 1]) == tail}


@torch.inference_mode()
def sample(
    decoder: CaptionDecoder,
    memory: Float[Tensor, "batch frames dim"],
    *,
    generator: torch.Generator,
    top_p: float = 0.9,
    temperature: float = 1.0,
    max_length: int | None = None,
) -> list[list[int]]:
    """Captions by nucleus sampling: from the fewest tokens that hold `top_p` of the probability.

    Arguments:
        decoder: The decoder.
        memory: What it attends to.
        generator: Where randomness comes from; on the memory's device.
        top_p: Probability kept, above 0.
        temperature: Below 1 is more certain.
        max_length: Most tokens; the decoder's own limit when None.

    Raises:
        InputError: a probability outside (0, 1], or a temperature that is not positive.
    """
    if not (0 < top_p <= 1 and temperature > 0):
        got = f"top_p {top_p}, temperature {temperature}"
        raise InputError("sampling needs 0 < top_p <= 1 and a positive temperature", got, "Change them.")
    cache = decoder.begin(memory)
    last = torch.full((len(memory),), decoder.begin_token, dtype=torch.long, device=memory.device)
    captions: list[list[int]] = [[] for _ in range(len(memory))]
    open_ = torch.ones(len(memory), dtype=torch.bool, device=memory.device)
    for _ in range(min(max_length or decoder.max_length, decoder.max_length)):
        logits, cache = decoder.advance(last, cache)
        probability, order = (logits.float() / temperature).softmax(-1).sort(descending=True)
        outside = probability.cumsum(-1) - probability >= top_p
        drawn = torch.multinomial(probability.masked_fill(outside, 0.0), 1, generator=generator)
        last = order.gather(1, drawn)[:, 0]
        open_ &= last != decoder.end_token
        if not bool(open_.any()):
            break
        for number in open_.nonzero()[:, 0].tolist():
            captions[number].append(int(last[number]))
    return captions
