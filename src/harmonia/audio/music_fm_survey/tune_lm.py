"""A small language model of melodies at several sizes, for a scaling law of music that can be measured here.

A note is one token: its interval from the note before (-12 to 12 semitones) together with the ratio of their
durations (factors of two from 1/8 to 8), so that keys and tempi do not matter. The network is a causal transformer of
two layers; its size is its width. Each run keeps the best held-out loss, in nats per note.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars
import torch
from jaxtyping import Float, Int64
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.data.tune import Tune

INTERVALS, RATIOS = 25, 7
BEGIN = INTERVALS * RATIOS
VOCABULARY = BEGIN + 1
CONTEXT = 48
WIDTHS = (4, 8, 16, 32, 64)
SHARES = (1 / 64, 1 / 16, 1 / 4, 1.0)


def tokens(tune: Tune) -> list[int]:
    """A tune as tokens, the first of which says that a tune begins.

    Example:
        >>> from harmonia.data.tune import TuneNote
        >>> tokens(Tune("up", "ours", "4/4", (TuneNote(0, 1, 60), TuneNote(1, 2, 64), TuneNote(3, 1, 62))))
        [175, 116, 72]
    """
    notes = [note for note in tune.notes if note.duration > 0]
    found = [BEGIN]
    for before, note in pairwise(notes):
        step = int(np.clip(note.pitch - before.pitch, -12, 12)) + 12
        ratio = int(np.clip(round(math.log2(note.duration / before.duration)), -3, 3)) + 3
        found.append(step * RATIOS + ratio)
    return found


class TuneModel(nn.Module):
    """A causal transformer over tokens of notes.

    Arguments:
        width: Of a token.
        layers: Number of layers.

    Example:
        >>> TuneModel(16)(torch.zeros(2, 10, dtype=torch.long)).shape
        torch.Size([2, 10, 176])
    """

    def __init__(self, width: int, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.place = nn.Parameter(0.02 * torch.randn(CONTEXT, width))
        heads = max(1, width // 16)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, VOCABULARY)

    def forward(self, notes: Int64[Tensor, "batch time"]) -> Float[Tensor, "batch time vocabulary"]:
        """Logits of the next token."""
        x = self.embed(notes) + self.place[: notes.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(notes.shape[1])
        return self.output(self.norm(self.layers(x, mask=mask, is_causal=True)))

    @property
    def size(self) -> int:
        """Parameters, all of them: at this scale the embeddings are no small part."""
        return sum(parameter.numel() for parameter in self.parameters())


@dataclass(frozen=True)
class Budget:
    """How long a run may take.

    Attributes:
        epochs: Passes over the data, at most; small data are seen more often, until the held-out loss rises.
        steps: Optimizer steps, at most.
        batch: Windows of 48 notes a step.
        rate: Peak learning rate of a network of width 32; it falls with the root of the width.
    """

    epochs: int = 40
    steps: int = 600
    batch: int = 32
    rate: float = 8e-3


def corpus(
    tunes: Sequence[Tune], held_out: int, seed: int = 0
) -> tuple[Int64[ndarray, " train"], Int64[ndarray, " test"]]:
    """All tunes in random order as one stream of tokens for training, and `held_out` tunes as another.

    Raises:
        InputError: fewer tunes than are to be held out.
    """
    if len(tunes) <= held_out:
        raise InputError("there are fewer tunes than are held out", f"{len(tunes)} and {held_out}", "Hold out fewer.")
    order = np.random.default_rng(seed).permutation(len(tunes))
    streams = [[token for i in rows for token in tokens(tunes[i])] for rows in (order[held_out:], order[:held_out])]
    return np.array(streams[0]), np.array(streams[1])


def train_run(
    width: int, train: Int64[ndarray, " train"], test: Int64[ndarray, " test"], budget: Budget, seed: int
) -> tuple[int, float]:
    """Train one network; gives its number of parameters and its best held-out loss."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TuneModel(width)
        windows, held = _windows(train), _windows(test)
        per_epoch = max(1, len(windows) // budget.batch)
        steps = max(20, min(budget.steps, budget.epochs * per_epoch))
        rate = budget.rate * math.sqrt(32 / width)
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05, betas=(0.9, 0.98))
        warm = max(1, steps // 20)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda i: min((i + 1) / warm, 0.5 + 0.5 * math.cos(math.pi * min(1.0, i / steps)))
        )
        best = math.inf
        for step in range(steps):
            rows = windows[torch.randint(len(windows), (budget.batch,))]
            optimizer.zero_grad()
            _loss(model, rows).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if (step + 1) % max(1, steps // 12) == 0:
                best = min(best, held_out_loss(model, held))
    return model.size, best


@torch.no_grad()
def held_out_loss(model: TuneModel, windows: Int64[Tensor, "windows time"]) -> float:
    """Mean loss in nats per note."""
    total = sum(float(_loss(model, rows)) * len(rows) for rows in windows.split(256))
    return total / len(windows)


def scaling_runs(
    tunes: Sequence[Tune],
    *,
    widths: Sequence[int] = WIDTHS,
    shares: Sequence[float] = SHARES,
    held_out: int = 150,
    budget: Budget | None = None,
    seed: int = 0,
) -> polars.DataFrame:
    """Runs at every size and amount of data: columns params, notes, loss, smallest first.

    Arguments:
        tunes: Melodies.
        widths: Of the networks.
        shares: Of the training notes.
        held_out: Tunes that no run is trained on.
        budget: Of each run.
        seed: Of the split and the runs.
    """
    train, test = corpus(tunes, held_out, seed)
    rows = []
    for share, width in track([(s, w) for s in sorted(shares) for w in sorted(widths)], "Training"):
        part = train[: max(CONTEXT + 1, round(share * len(train)))]
        params, loss = train_run(width, part, test, budget or Budget(), seed)
        say(f"{params:,} parameters, {len(part):,} notes: {loss:.4f} nats")
        rows.append({"params": params, "notes": len(part), "loss": loss})
    return polars.DataFrame(rows)


def _windows(stream: ndarray) -> Int64[Tensor, "windows time"]:
    """Overlapping windows of `CONTEXT` inputs and their targets, half a window apart."""
    whole = torch.from_numpy(np.asarray(stream, dtype=np.int64))
    if len(whole) <= CONTEXT:
        raise InputError("there are too few notes to learn from", len(whole), f"Pass more than {CONTEXT}.")
    return whole.unfold(0, CONTEXT + 1, CONTEXT // 2)


def _loss(model: TuneModel, rows: Tensor) -> Tensor:
    return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
