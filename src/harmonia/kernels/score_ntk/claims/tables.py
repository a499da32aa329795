"""Synthetic tables: what a forest that never saw a real row is worth on real ones, beside ctgan."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import NamedTuple

import polars
import torch

from harmonia.core.claim import Measured, claim
from harmonia.data.tables import breast_cancer, credit_default, wine
from harmonia.kernels.score_ntk.codec import TableCodec
from harmonia.kernels.score_ntk.quality import usefulness
from harmonia.kernels.score_ntk.synthesizer import TabularSynthesizer
from harmonia.media import Table


class _Worth(NamedTuple):
    """Score on held-out rows of a forest that is trained on synthetic and on real rows; seconds to fit and sample."""

    synthetic: float
    real: float
    seconds: float


def _split(table: Table, seed: int) -> tuple[polars.DataFrame, polars.DataFrame]:
    frame = table.frame.sample(fraction=1.0, shuffle=True, seed=seed)
    train = min(5000, int(0.7 * len(frame)))
    return frame[:train], frame[train:]


def _worth(table: Table, target: str, seed: int) -> _Worth:
    train, test = _split(table, seed)
    start = time.perf_counter()
    model = TabularSynthesizer(random_state=seed).fit(train)
    rows = model.sample(len(train), random_state=seed)
    seconds = time.perf_counter() - start
    synthetic, real = (usefulness(each, test, target, model.codec_, seed) for each in (rows, train))
    return _Worth(synthetic, real, seconds)


@claim(
    "A forest trained on synthetic wines classifies real ones as well as one trained on real wines",
    place="beyond the paper",
    unit="AUC lost",
    better="lower",
    tier="quick",
    gate=0.02,
)
def wines_are_useful(seed: int) -> Measured:
    one = _worth(wine(), "class", seed)
    note = f"AUC {one.synthetic:.3f}, trained on real rows {one.real:.3f}; 124 rows to learn from"
    return Measured(one.real - one.synthetic, note=note)


@claim(
    "A forest trained on synthetic tumours classifies real ones as well as one trained on real tumours",
    place="beyond the paper",
    unit="AUC lost",
    better="lower",
    tier="full",
    gate=0.02,
)
def tumours_are_useful(seed: int) -> Measured:
    one = _worth(breast_cancer(), "diagnosis", seed)
    note = f"AUC {one.synthetic:.3f}, trained on real rows {one.real:.3f}; 398 rows, 31 columns"
    return Measured(one.real - one.synthetic, note=note)


@lru_cache
def _clients(seed: int) -> tuple[_Worth, _Worth] | None:
    """Ours and ctgan at its default of 300 epochs on 5000 clients; None where it or the data are not installed."""
    try:
        import ctgan
        import pandas

        train, test = _split(credit_default(), seed)
    except ImportError:
        return None
    start = time.perf_counter()
    with torch.random.fork_rng():
        model = ctgan.CTGAN(enable_gpu=False)
        model.set_random_state(seed)
        model.fit(pandas.DataFrame(train.to_dict(as_series=False)), discrete_columns=["default", "student"])
        rows = polars.DataFrame(model.sample(len(train)).to_dict("list")).select(train.columns)
    seconds = time.perf_counter() - start
    synthetic, real = (usefulness(each, test, "default", TableCodec.of(train), seed) for each in (rows, train))
    return _worth(credit_default(), "default", seed), _Worth(synthetic, real, seconds)


@claim(
    "A forest trained on synthetic clients finds real defaults as well as one trained on real clients",
    place="v4 (credit default)",
    unit="AUC lost",
    better="lower",
    tier="full",
    gate=0.02,
)
def clients_are_useful(seed: int) -> Measured | None:
    if (found := _clients(seed)) is None:
        return None
    ours, theirs = found
    note = f"AUC {ours.synthetic:.3f}, trained on real rows {ours.real:.3f}; 5000 rows of ISLP's Default; ctgan beside"
    return Measured(ours.real - ours.synthetic, baseline=theirs.real - theirs.synthetic, note=note)


@claim(
    "Synthetic clients are at least as useful as those of ctgan",
    place="beyond the paper",
    unit="AUC",
    better="higher",
    tier="full",
)
def clients_beat_ctgan(seed: int) -> Measured | None:
    if (found := _clients(seed)) is None:
        return None
    ours, theirs = found
    return Measured(ours.synthetic, baseline=theirs.synthetic, note="ctgan 0.12, 300 epochs, beside")


@claim(
    "They take less than a tenth of ctgan's time",
    place="beyond the paper",
    unit="share of its seconds to fit and sample",
    better="lower",
    tier="full",
    gate=0.1,
)
def clients_are_fast(seed: int) -> Measured | None:
    if (found := _clients(seed)) is None:
        return None
    ours, theirs = found
    return Measured(ours.seconds / theirs.seconds, note=f"{ours.seconds:.1f} s beside {theirs.seconds:.1f} s")
