"""People who talk: short recordings of many single speakers, to be mixed for training speech separators.

The voices that sing (`harmonia.data.render.speakers`) also talk here, joined by formant voices and by Mei of Open
JTalk, which only talk. Sentences are composed from word lists written for this library; recorded voices speak their
prompts. Test voices and test words are in no training recording.

Everything is rendered or a studio prompt, and says so: it trains small networks offline and tests them on voices they
have not heard; it is no evidence of how a separator does on a meeting.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np

from harmonia.core.errors import InputError, MissingDependency
from harmonia.core.media import whole_file
from harmonia.core.progress import track
from harmonia.data.render.speakers import Split, Voice, packages_missing, prompts, synthesise, voices
from harmonia.media import Audio

RATE = 16000

_FORMANT = "GPL-3.0-or-later (formant synthesis)"
_MEI = "CC-BY-3.0 (voice Mei of the MMDAgent project team)"

_TALKERS: tuple[Voice, ...] = (
    *(
        Voice(f"espeak:{accent}", _FORMANT, ("espeak-ng",), "train")
        for accent in ("en-us+m1", "en-gb+m4", "en-us+f1", "en-gb-x-rp+f3", "en-us+m7", "en-gb-scotland+f5")
    ),
    Voice("openjtalk:mei", _MEI, (), "train"),
    Voice("espeak:en-gb-x-gbclan+m5", _FORMANT, ("espeak-ng",), "test"),
    Voice("espeak:en-029+anika", _FORMANT, ("espeak-ng",), "test"),
)

# One person may have several voices; a mixture of two of them is no mixture of two people.
_PEOPLE = {
    "festival:kal_diphone": "kal",
    "flite:kal16": "kal",
    "asterisk:en_US_f_Allison": "Allison",
    "asterisk:es_MX_f_Allison": "Allison",
    "festival:cmu_us_slt_arctic_hts": "slt",
    "flite:slt": "slt",
}

# Determiner and adjective, noun, verb, object, place: two word lists that share no content word.
_WORDS: dict[Split, tuple[tuple[str, ...], ...]] = {
    "train": (
        ("an old", "the quiet", "our young", "the hungry", "my careful", "a lonely", "the clever", "her tall"),
        ("farmer", "teacher", "sailor", "doctor", "child", "painter", "soldier", "neighbour", "lawyer", "tailor"),
        ("carried", "noticed", "repaired", "followed", "bought", "forgot", "painted", "counted", "borrowed", "hid"),
        (
            "seven baskets",
            "the wooden boat",
            "some bread",
            "a blue lantern",
            "his letters",
            "every window",
            "five maps",
        ),
        ("near the harbour", "before breakfast", "in the narrow street", "under the bridge", "after the long winter"),
    ),
    "test": (
        ("the brave", "a sleepy", "this famous", "the gentle", "one nervous", "their strange", "the cheerful"),
        ("dentist", "pilot", "gardener", "waiter", "princess", "uncle", "juggler", "captain", "scholar"),
        ("discovered", "watched", "folded", "threw", "described", "opened", "measured", "stole", "polished"),
        ("the copper kettle", "twelve pages", "a heavy suitcase", "all those oranges", "the violin", "nine candles"),
        ("beside the fountain", "during the thunder", "at the railway museum", "without any reason", "on Thursday"),
    ),
}

_JAPANESE = (
    ("きょうは", "あしたは", "きのうは", "まいあさ", "ことしは"),
    ("ともだちと", "こうえんで", "えきのまえで", "ちいさなまちで", "かぞくと"),
    ("あたらしいほんを", "おいしいパンを", "ふるいうたを", "ながいてがみを", "あかいくるまを"),
    ("よみました。", "みつけました。", "さがしています。", "えらびました。", "もってきました。"),
)


@cache
def talkers(split: Split) -> dict[str, Voice]:
    """Who talks in a split, by name: the singing voices of that split and those that only talk.

    Example:
        >>> sorted(set(talkers("train")) & set(talkers("test")))
        []
    """
    return {voice.name: voice for voice in (*voices(split).values(), *_TALKERS) if voice.split == split}


def person(voice: Voice) -> str:
    """Whose voice it is.

    Example:
        >>> person(talkers("test")["flite:slt"]) == person(talkers("test")["festival:cmu_us_slt_arctic_hts"])
        True
    """
    return _PEOPLE.get(voice.name, voice.speaker)


def sentences(voice: Voice, seed: int = 0) -> Iterator[str]:
    """Endless sentences (names of prompts for a recorded voice), the same for the same voice and seed.

    Example:
        >>> next(sentences(talkers("test")["flite:rms"]))
        'the brave dentist watched the copper kettle on Thursday.'
    """
    generator = np.random.default_rng([seed, *voice.name.encode()])
    if voice.recorded:
        while True:
            yield from generator.permutation(prompts(voice.name)).tolist()
    words = _JAPANESE if voice.engine == "openjtalk" else _WORDS[voice.split]
    while True:
        chosen = [part[int(generator.integers(len(part)))] for part in words]
        yield "".join(chosen) if voice.engine == "openjtalk" else f"{' '.join(chosen)}."


def spoken(voice: Voice, sentence: str, rate: int = RATE) -> Audio:
    """A spoken sentence: mono, without the silence at its ends, at a level of -26 dB RMS."""
    speech = synthesise(voice, sentence)
    audio = Audio(speech.samples, speech.rate).mono().resampled(rate)
    samples = _without_ends(audio.samples[0], rate)
    level = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    return Audio(samples * np.float32(10 ** (-26 / 20) / max(level, 1e-6)), rate)


def write_talk(folder: str | Path, split: Split, count: int = 40, *, seed: int = 0, rate: int = RATE) -> list[Path]:
    """Write `count` sentences of every voice to ``folder/<split>/<person>/<voice>-<number>.flac``.

    Files already there are kept, so an interrupted run goes on where it stopped. With them goes ``LICENCES.txt``.

    Raises:
        InputError: an unknown split or a count below 1.
        MissingDependency: voices that are not installed; names their packages.
    """
    if split not in ("train", "test") or count < 1:
        raise InputError("there is no such corpus", f"{count} sentences of split '{split}'", "Use train or test.")
    _check_installed(split)
    base, written = Path(folder) / split, []
    for voice in track(tuple(talkers(split).values()), f"Rendering {split} talkers"):
        for number, sentence in enumerate(islice(sentences(voice, seed), count)):
            path = base / person(voice) / f"{voice.engine}-{voice.speaker}-{number:03d}.flac"
            if not path.is_file():
                spoken(voice, sentence, rate).write(path)
            written.append(path)
    with whole_file(base / "LICENCES.txt") as temporary:
        temporary.write_text("".join(f"{v.name}: {v.licence}\n" for v in talkers(split).values()))
    return written


def _check_installed(split: Split) -> None:
    if missing := packages_missing(split):
        mend = f"Run: apt-get install {' '.join(missing)}."
        raise MissingDependency(f"the voices of the {split} talkers are not all installed", ", ".join(missing), mend)
    if split == "train" and find_spec("pyopenjtalk") is None:
        mend = "Run: pip install pyopenjtalk-plus."
        raise MissingDependency("the voice Mei speaks through Open JTalk", "no package 'pyopenjtalk'", mend)


def _without_ends(samples: np.ndarray, rate: int, floor_db: float = -40.0) -> np.ndarray:
    """The part between the first and the last 10 ms that are louder than `floor_db` below the loudest."""
    size = rate // 100
    level = np.square(samples[: len(samples) // size * size]).reshape(-1, size).mean(1)
    heard = np.flatnonzero(level > level.max() * 10 ** (floor_db / 10))
    return samples[heard[0] * size : (heard[-1] + 1) * size]
