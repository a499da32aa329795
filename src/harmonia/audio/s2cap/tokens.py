"""A byte-pair tokenizer for captions (Sennrich et al. 2016), trained in a moment on a few thousand sentences.

Text is put in lower case and split before spaces and punctuation, so that a frequent word with its space becomes one
token. All 256 bytes are tokens, so nothing is unknown and decoding an encoded text gives the (lower-case) text back.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise

from harmonia.core.errors import InputError

PAD, BEGIN, END = 0, 1, 2
_SPECIAL = 3
_PIECE = re.compile(r" ?[^\W_]+| ?[^\w\s]+|\s+|_+")
Pair = tuple[int, int]


class Tokenizer:
    """Words to numbers and back.

    Arguments:
        merges: Pairs of token ids that become one token each, in the order they were learnt.

    Raises:
        InputError: a pair of tokens that do not exist yet.

    Example:
        >>> tokenizer = Tokenizer.train(["a low voice", "a low song"], vocabulary=280)
        >>> tokenizer.decode(tokenizer.encode("A low voice"))
        'a low voice'
    """

    def __init__(self, merges: Sequence[Sequence[int]]) -> None:
        self.merges: tuple[Pair, ...] = tuple((int(a), int(b)) for a, b in merges)
        self._bytes = [b""] * _SPECIAL + [bytes([value]) for value in range(256)]
        for a, b in self.merges:
            if not (_SPECIAL <= a < len(self._bytes) and _SPECIAL <= b < len(self._bytes)):
                raise InputError("a merge joins two earlier tokens", (a, b), "Use the merges of a trained tokenizer.")
            self._bytes.append(self._bytes[a] + self._bytes[b])
        self._rank = {pair: _SPECIAL + 256 + number for number, pair in enumerate(self.merges)}
        self._word = lru_cache(maxsize=65536)(self._merged)

    def __len__(self) -> int:
        return len(self._bytes)

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary: int = 1024) -> Tokenizer:
        """Learn merges: again and again the most frequent pair of neighbours within words becomes a token.

        Arguments:
            texts: Sentences.
            vocabulary: Most tokens, the 259 special ones and bytes included; fewer where no pair occurs twice.

        Raises:
            InputError: a vocabulary below 259, or no text.
        """
        if vocabulary < _SPECIAL + 256:
            raise InputError("the vocabulary holds all bytes", vocabulary, f"Use {_SPECIAL + 256} or more.")
        counts = Counter(piece for text in texts for piece in _PIECE.findall(text.lower()))
        if not counts:
            raise InputError("a tokenizer is trained on text", "no words", "Pass captions.")
        words = [([_SPECIAL + byte for byte in piece.encode()], count) for piece, count in counts.items()]
        merges: list[Pair] = []
        while _SPECIAL + 256 + len(merges) < vocabulary:
            pairs: Counter[Pair] = Counter()
            for ids, count in words:
                for pair in pairwise(ids):
                    pairs[pair] += count
            best = max(pairs, key=lambda pair: (pairs[pair], pair), default=None)
            if best is None or pairs[best] < 2:
                break
            merges.append(best)
            new = _SPECIAL + 255 + len(merges)
            words = [(_joined(ids, best, new), count) for ids, count in words]
        return cls(merges)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without begin and end."""
        return [token for piece in _PIECE.findall(text.lower()) for token in self._word(piece)]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of token ids; special ones are left out, bytes that are no character become a replacement mark."""
        return b"".join(self._bytes[token] for token in tokens).decode(errors="replace")

    def _merged(self, piece: str) -> tuple[int, ...]:
        ids = [_SPECIAL + byte for byte in piece.encode()]
        while len(ids) > 1:
            rank, pair = min((self._rank.get(pair, len(self)), pair) for pair in pairwise(ids))
            if rank == len(self):
                break
            ids = _joined(ids, pair, rank)
        return tuple(ids)


def _joined(ids: list[int], pair: Pair, new: int) -> list[int]:
    """Ids with every occurrence of a pair, from left to right, replaced."""
    joined, position = [], 0
    while position < len(ids):
        if tuple(ids[position : position + 2]) == pair:
            joined.append(new)
            position += 2
        else:
            joined.append(ids[position])
            position += 1
    return joined
