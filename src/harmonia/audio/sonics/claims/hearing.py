"""What a detector trained here can hear, and what it cannot.

No songs of Suno or Udio and no recordings are at hand. What is called real here are rendered songs
(`harmonia.data.render`), what is called fake the same songs after a codec or vocoder (`resynthesis`). The paper's F1 on
its own data set is not comparable and stays on the card.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from harmonia.audio.sonics.detector import SyntheticSongDetector
from harmonia.audio.sonics.long_range import balanced_accuracy
from harmonia.audio.sonics.resynthesis import LOSSY, SEEN, UNSEEN, resynthesise
from harmonia.audio.sonics.task import SPLICE_S, spliced_song
from harmonia.core.claim import Measured, claim
from harmonia.core.errors import MissingDependency
from harmonia.parts.detection import detection

RENDERED = "rendered songs, not recordings; the fakes are the same songs after a codec or vocoder"


@claim(
    "The embedded weights point at the part of the embedded song that was made again",
    place="abstract: synthetic song detection; localisation is ours",
    unit="balanced share of the time",
    better="higher",
    tier="quick",
    gate=0.8,
)
def embedded_splice(seed: int) -> Measured:
    """Mean of the shares of made-again time that is flagged and of other time that is not; 0.5 flags all or nothing."""
    detector = SyntheticSongDetector.from_pretrained(hop=0.5, device="cpu")
    verdict = detector.explain(spliced_song())
    times = np.arange(0.05, verdict.seconds, 0.1)
    truth = (times > SPLICE_S[0]) & (times < SPLICE_S[1])
    said = np.zeros(len(times), dtype=bool)
    for begin, end in verdict.flagged:
        said |= (times >= begin) & (times < end)
    return Measured(float((said[truth].mean() + (~said[~truth]).mean()) / 2), 0.5, RENDERED)


@claim(
    "A detector tells unseen songs from the same songs after machines it knows",
    place="Sec. 6; here with codecs and vocoders of ours",
    unit="AUC",
    better="higher",
    tier="full",
    gate=0.95,
)
def known_machines(seed: int) -> Measured | None:
    return _auc(SEEN)


@claim(
    "It tells them after a codec with strides it never heard",
    place="cross-generator tests in the literature: expect a drop",
    unit="AUC",
    better="higher",
    tier="full",
)
def unknown_codec(seed: int) -> Measured | None:
    """The baseline is chance; the drop beside the known machines is the finding."""
    return _auc(UNSEEN[:1])


@claim(
    "It tells them after a vocoder of another kind",
    place="cross-generator tests in the literature: expect a drop",
    unit="AUC",
    better="higher",
    tier="full",
)
def unknown_vocoder(seed: int) -> Measured | None:
    """The baseline is chance; the drop beside the known machines is the finding."""
    return _auc(UNSEEN[1:])


@claim(
    "Lossy compression makes no song synthetic",
    place="Sec. 12 of the specification: users' mp3 files",
    unit="share of real songs left alone",
    better="higher",
    tier="full",
    gate=0.9,
)
def compressed_songs(seed: int) -> Measured | None:
    logits = _logits()
    if logits is None:
        return None
    compressed = np.concatenate([logits[kind] for kind in LOSSY])
    return Measured(float((compressed <= 0).mean()), note=f"mp3 and vorbis at 40 to 45 kbit/s; {RENDERED}")


@claim(
    "A window of 64 s hears what one of 5 s cannot",
    place="abstract: long-range context; +0.19 F1 from 5 to 120 s in the results table",
    unit="points of balanced accuracy",
    better="higher",
    tier="full",
    gate=15.0,
)
def long_context(seed: int, steps: int = 600, tests: int = 200) -> Measured:
    """Pieces alike in all short windows (`long_range`); the short network hears every piece as a whole, in windows."""
    long = 100 * balanced_accuracy("long", steps=steps, tests=tests, seed=seed)
    short = 100 * balanced_accuracy("short", steps=steps, tests=tests, seed=seed)
    return Measured(long - short, note=f"{long:.0f} % beside {short:.0f} %; {steps} steps; computed spectrograms")


def _auc(kinds: tuple[str, ...]) -> Measured | None:
    logits = _logits()
    if logits is None:
        return None
    fakes = np.concatenate([logits[kind] for kind in kinds])
    found = detection(np.repeat([0, 1], [len(logits["real"]), len(fakes)]), np.append(logits["real"], fakes), 0.0)
    note = f"{', '.join(kinds)}; sensitivity {found.sensitivity:.2f}, specificity {found.specificity:.2f}; {RENDERED}"
    return Measured(found.auc, 0.5, note)


@cache
def _logits(count: int = 16) -> dict[str, np.ndarray] | None:
    """Logits of rendered test songs and of what machines made of them; None where songs cannot be rendered."""
    from harmonia.data.render import corpus

    detector = SyntheticSongDetector.from_pretrained(device="cpu")
    found: dict[str, list[float]] = {kind: [] for kind in ("real", *SEEN, *UNSEEN, *LOSSY)}
    try:
        for number, song in enumerate(corpus("test", count)):
            for kind, logits in found.items():
                heard = song.mixture if kind == "real" else resynthesise(song.mixture, kind, seed=number)
                logits.append(detector.explain(heard).logit)
    except MissingDependency:
        return None
    return {kind: np.array(logits) for kind, logits in found.items()}
