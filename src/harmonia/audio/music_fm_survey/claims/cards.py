"""That the checks of a card find what was planted, and nothing else."""

from __future__ import annotations

from itertools import product

import numpy as np

from harmonia.audio.music_fm_survey.licences import LICENCES, Terms, terms
from harmonia.audio.music_fm_survey.overlap import Melody, grams
from harmonia.audio.music_fm_survey.transparency import Source, TransparencyCard
from harmonia.core.claim import Measured, claim
from harmonia.core.errors import MissingDependency
from harmonia.data import folk_tunes


@claim(
    "A card's checks find everything that was planted, and nothing else",
    place="abstract: ethics, transparency",
    unit="problems missed or raised falsely",
    better="zero",
    tier="quick",
    tolerance=0.0,
)
def planted(seed: int) -> Measured | None:
    """Three test melodies, transposed and slowed, in training, and a non-commercial source in a commercial card."""
    try:
        train, test = _tunes(150, seed)
    except MissingDependency:
        return None
    moved = {f"planted {name}": _moved(test[name], 3 + i, 1.7) for i, name in enumerate(list(test)[:3])}
    free, bound = Source(name="tunes", licence="CC0-1.0"), Source(name="songs", licence="CC-BY-NC-4.0")
    clean = TransparencyCard(name="clean", commercial=True, licence="CC-BY-4.0", sources=[free])
    dirty = TransparencyCard(name="dirty", commercial=True, licence="CC-BY-NC-4.0", sources=[free, bound])
    false = [f for f in clean.check(train, test) if f.check != "fields"]
    found = [f for f in dirty.check(train | moved, test) if f.check != "fields"]
    pairs = {tuple(f.parts) for f in found if f.check == "overlap"}
    wanted = {(f"planted {name}", name) for name in list(test)[:3]}
    licence = sum(f.check == "licence" and "songs" in f.parts for f in found)
    wrong = len(false) + len(wanted ^ pairs) + abs(1 - licence)
    note = f"{len(train)} training and {len(test)} test tunes, each tune once"
    return Measured(float(wrong), note=note)


@claim(
    "N-grams of intervals do not change under transposition and tempo",
    place="definition",
    unit="differing n-grams",
    better="zero",
    tier="quick",
    tolerance=0.0,
)
def transposition(seed: int) -> Measured:
    rng = np.random.default_rng(seed)
    differing = 0
    for _ in range(50):
        onsets = np.cumsum(rng.choice([0.25, 0.5, 1.0], 40))
        tune = [(on, on + 0.2, pitch) for on, pitch in zip(onsets.tolist(), rng.integers(48, 84, 40).tolist())]
        differing += sum(a != b for a, b in zip(grams(tune), grams(_moved(tune, int(rng.integers(-9, 9)), 1.5))))
    return Measured(float(differing))


@claim(
    "Combining licences is associative, commutative and idempotent",
    place="definition of a lattice",
    unit="broken laws",
    better="zero",
    tier="quick",
    tolerance=0.0,
)
def lattice(seed: int) -> Measured:
    each = [terms(name) for name in sorted(LICENCES)]
    broken = sum((x & x != x) + (x & Terms() != x) for x in each)
    broken += sum(x & y != y & x for x, y in product(each, each))
    broken += sum((x & y) & z != x & (y & z) for x, y, z in product(each[::3], each[::3], each[::3]))
    return Measured(float(broken), note=f"{len(each)} licences")


def _tunes(count: int, seed: int) -> tuple[dict[str, Melody], dict[str, Melody]]:
    """Folk tunes for training and test, of different n-grams: collections hold the same tune more than once."""
    seen: set[tuple[int, ...]] = set()
    chosen: dict[str, Melody] = {}
    tunes = folk_tunes("aird")
    for number in np.random.default_rng(seed).permutation(len(tunes)):
        melody = [(n.onset, n.onset + n.duration, n.pitch) for n in tunes[number].notes]
        found = set(grams(melody))
        if len(found) >= 20 and not found & seen:
            seen |= found
            chosen[f"{number} {tunes[number].title}"] = melody
        if len(chosen) == count:
            break
    names = list(chosen)
    cut = len(names) * 4 // 5
    return {name: chosen[name] for name in names[:cut]}, {name: chosen[name] for name in names[cut:]}


def _moved(melody: Melody, semitones: int, slower: float) -> Melody:
    return [(slower * on, slower * off, pitch + semitones) for on, off, pitch in melody]
