"""Long recordings, without any network: an oracle gives the true speakers of each piece, in random order."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from harmonia.audio.mossformer2.compat import official_decode
from harmonia.audio.mossformer2.network import MossFormer2, MossFormer2Config
from harmonia.audio.mossformer2.separator import SpeechSeparator
from harmonia.core.claim import Measured, claim
from harmonia.data import demo_talk

RATE = 8000
SECONDS = 60
RECORDINGS = 4


@dataclass
class Truth:
    """A recording with what a perfect network would find in it.

    Attributes:
        speakers: ``[speakers, time]``.
        given: The order in which the oracle gave the speakers, by sample at which the piece began.
    """

    speakers: np.ndarray
    random: np.random.Generator
    given: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def mixture(self) -> np.ndarray:
        return np.asarray(self.speakers.sum(0), dtype=np.float32)

    def find(self, piece: np.ndarray) -> np.ndarray:
        """The speakers of a piece of the mixture, in a random order; silence where the piece was padded."""
        if not piece.any():
            return np.zeros((len(self.speakers), len(piece)), dtype=np.float32)
        loud = int(np.abs(piece).argmax())
        for place in np.flatnonzero(self.mixture == piece[loud]):
            start = int(place) - loud
            stop = min(start + len(piece), len(self.mixture))
            if start >= 0 and np.array_equal(self.mixture[start:stop], piece[: stop - start]):
                order = self.random.permutation(len(self.speakers))
                self.given[start] = order
                found = self.speakers[order, start:stop]
                return np.pad(found, ((0, 0), (0, len(piece) - found.shape[1]))).astype(np.float32)
        raise AssertionError("a piece that is not of the recording")


class Oracle(MossFormer2):
    """A network that knows the truth."""

    def __init__(self, truth: Truth) -> None:
        count = len(truth.speakers)
        super().__init__(
            MossFormer2Config(count, n_filters=2, depth=1, qk_dim=2, fsmn_dim=2, order=1, sample_rate=RATE)
        )
        self.truth = truth

    def forward(self, mixture: Tensor) -> Tensor:
        return torch.from_numpy(np.stack([self.truth.find(each) for each in mixture.cpu().numpy()]))


def conversation(seed: int, seconds: float = SECONDS) -> Truth:
    """A long conversation of the two embedded speakers, each from a random place of theirs, over and over."""
    random = np.random.default_rng([3, seed])
    length = round(seconds * RATE)
    speakers = []
    for speaker in demo_talk().speakers:
        said = np.roll(speaker.resampled(RATE).samples[0], int(random.integers(10**6)))
        # An unlike loop length, so that the two meet at another place every time.
        said = np.pad(said, (0, int(random.integers(RATE // 2, 2 * RATE))))
        speakers.append(np.resize(said, length))
    # Inaudible noise makes every piece of the recording one of a kind.
    quiet = 1e-5 * random.normal(size=(2, length))
    return Truth((np.stack(speakers) + quiet).astype(np.float32), random)


def stitched(truth: Truth, chunk_seconds: float = 8.0) -> np.ndarray:
    """The truth of every piece, put together by our separator."""
    separator = SpeechSeparator(
        Oracle(truth), chunk_seconds=chunk_seconds, level_normalise=False, match="none", device="cpu"
    )
    return separator.predict(truth.mixture, RATE)


def abutted(truth: Truth, rate: int = RATE) -> np.ndarray:
    """The truth of every piece, put together by the official decoder."""
    config = MossFormer2Config(sample_rate=rate)
    return official_decode(lambda pieces: truth.find(pieces[0])[None], config, truth.mixture)


def share_in_order(truth: Truth, found: np.ndarray, starts: list[int], size: int) -> float:
    """Share of pieces whose middle holds the speakers in the order of the first piece."""
    kept, reference = 0, None
    for start in starts:
        middle = slice(start + size * 2 // 5, min(start + size * 3 // 5, found.shape[1]))
        distance = [[np.square(f[middle] - s[middle]).sum() for s in truth.speakers] for f in found]
        order = np.argmin(distance, axis=1).tolist()
        reference = reference or order
        kept += order == reference
    return kept / len(starts)


@claim(
    "The pieces of a long recording are put into one order",
    place="long recordings; ClearVoice issue 122",
    unit="% of pieces in the order of the first",
    better="higher",
    tier="quick",
    gate=99.5,
)
def orders_recovered(seed: int) -> Measured:
    """Four conversations of 60 s; the baseline is the official decoder, which leaves the order to the network."""
    ours, official = [], []
    for number in range(RECORDINGS):
        truth = conversation(1000 * seed + number)
        found = stitched(truth)
        ours.append(share_in_order(truth, found, sorted(truth.given), 8 * RATE))
        truth = conversation(1000 * seed + number)
        found = abutted(truth)
        # At the level of the mixture, as the official code has it: only the order is compared.
        found *= np.linalg.norm(truth.speakers) / np.linalg.norm(found)
        starts = [start for start in sorted(truth.given) if start + 2 * RATE <= found.shape[1]]
        official.append(share_in_order(truth, found, starts, 2 * RATE))
    return Measured(100 * float(np.mean(ours)), 100 * float(np.mean(official)), "an oracle instead of a network")


@claim(
    "What is stitched is what was separated",
    place="long recordings",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def stitched_exactly(seed: int) -> Measured:
    """The oracle's speakers of 60 s, joined, beside the truth in the order of the first piece."""
    truth = conversation(seed)
    found = stitched(truth)
    return Measured(float(np.abs(found - truth.speakers[truth.given[0]]).max()), note="an oracle instead of a network")


@claim(
    "No sample at the end is lost",
    place="long recordings; ClearVoice issue 122",
    unit="silent samples at the end",
    better="zero",
    tier="quick",
)
def no_sample_is_lost(seed: int) -> Measured:
    """Recordings of 3.4, 3.5, 5.0 and 6.5 s of noise and an oracle, at 16 kHz."""
    ours, official = 0, []
    random = np.random.default_rng(seed)
    for seconds in (3.4, 3.5, 5.0, 6.5):
        truth = Truth(random.normal(size=(2, round(seconds * 16000))).astype(np.float32), random)
        ours += _silent_end(stitched(truth, chunk_seconds=2.0))
        found = abutted(truth, rate=16000)
        official.append(f"{_silent_end(found):,} of {seconds} s")
    return Measured(float(ours), note=f"the official decoder loses {', '.join(official)}")


def _silent_end(sounds: np.ndarray) -> int:
    heard = np.flatnonzero(np.abs(sounds).max(0))
    return sounds.shape[1] - 1 - int(heard[-1])
