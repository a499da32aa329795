"""Source voices: what can speak a line offline, its licence, and when each phone is spoken.

Speech synthesisers (festival, flite) say when each phone begins; formant speech (espeak-ng) and recorded prompts
(asterisk) don't, so there syllables are found from the loudness of the voiced frames.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from harmonia.core.errors import InputError, MissingDependency, require
from harmonia.data.song import Phone

Split = Literal["train", "test"]

_PROMPTS = Path("/usr/share/asterisk/sounds")
_FESTIVAL_VOICES = Path("/usr/share/festival/voices")
_VOWELS = frozenset(
    ["aa", "ae", "ah", "ao", "aw", "ax", "ay", "eh", "er", "ey", "ih", "iy", "ow", "oy", "uh", "uw", "axr"]
)
_SILENCE = frozenset({"pau", "h#", "brth", "sil"})


@dataclass(frozen=True)
class Voice:
    """A named speaker: `engine:speaker`, with the licence of its voice data and the Debian packages that hold it."""

    name: str
    licence: str
    packages: tuple[str, ...]
    split: Split
    recorded: bool = False

    @property
    def engine(self) -> str:
        return self.name.partition(":")[0]

    @property
    def speaker(self) -> str:
        return self.name.partition(":")[2]


@dataclass(frozen=True)
class Speech:
    """Spoken audio (mono float64) with the phones it holds; `phones` is empty where the engine doesn't tell."""

    samples: np.ndarray
    rate: int
    phones: tuple[Phone, ...]


_CSTR = "CSTR/CMU free voice licence"
_ARCTIC = "CMU ARCTIC free voice licence"
_GPL = "GPL-3.0-or-later (formant synthesis)"
_SHARE = "CC-BY-SA-3.0 (recorded prompts)"

# One speaker is never on both sides: kal and kal16 are one man, and so are both slt voices one woman.
_ALL: tuple[Voice, ...] = (
    Voice("festival:kal_diphone", _CSTR, ("festival", "festvox-kallpc16k"), "train"),
    Voice("festival:ked_diphone", _CSTR, ("festival", "festvox-kdlpc16k"), "train"),
    Voice("flite:awb", _ARCTIC, ("flite",), "train"),
    Voice("flite:kal16", _CSTR, ("flite",), "train"),
    Voice("espeak:en-us+f2", _GPL, ("espeak-ng",), "train"),
    Voice("espeak:en-gb+f4", _GPL, ("espeak-ng",), "train"),
    Voice("espeak:en-us+m3", _GPL, ("espeak-ng",), "train"),
    Voice("asterisk:en_US_f_Allison", _SHARE, ("asterisk-core-sounds-en-g722", "ffmpeg"), "train", recorded=True),
    Voice("asterisk:es_MX_f_Allison", _SHARE, ("asterisk-core-sounds-es-g722", "ffmpeg"), "train", recorded=True),
    Voice("asterisk:ru_RU_f_IvrvoiceRU", _SHARE, ("asterisk-core-sounds-ru-g722", "ffmpeg"), "train", recorded=True),
    Voice("asterisk:it_IT_m_Carlo", _SHARE, ("asterisk-core-sounds-it-g722", "ffmpeg"), "train", recorded=True),
    Voice("festival:cmu_us_slt_arctic_hts", _ARCTIC, ("festival", "festvox-us-slt-hts"), "test"),
    Voice("flite:rms", _ARCTIC, ("flite",), "test"),
    Voice("flite:slt", _ARCTIC, ("flite",), "test"),
    Voice("asterisk:fr_CA_f_June", _SHARE, ("asterisk-core-sounds-fr-g722", "ffmpeg"), "test", recorded=True),
)


def voices(split: Split | None = None) -> dict[str, Voice]:
    """The named source voices of a split (or all), by name.

    Example:
        >>> voices("test")["flite:rms"].licence
        'CMU ARCTIC free voice licence'
        >>> sorted(set(voices("train")) & set(voices("test")))
        []
    """
    return {voice.name: voice for voice in _ALL if split in (None, voice.split)}


def voice_named(name: str) -> Voice:
    """The voice of that name, or an error that lists the names there are."""
    table = voices()
    if name not in table:
        raise InputError("there is no voice of this name", name, f"Use one of {', '.join(table)}.")
    return table[name]


def packages_missing(split: Split) -> list[str]:
    """Debian packages that the voices of a split need and this machine lacks."""
    missing = {package for voice in voices(split).values() if not _installed(voice) for package in voice.packages}
    return sorted(missing)


def _installed(voice: Voice) -> bool:
    if voice.engine == "asterisk":
        return (_PROMPTS / voice.speaker).is_dir() and shutil.which("ffmpeg") is not None
    if voice.engine == "festival" and not any(_FESTIVAL_VOICES.glob(f"*/{voice.speaker}")):
        return False
    return shutil.which({"espeak": "espeak-ng"}.get(voice.engine, voice.engine)) is not None


def program(name: str, packages: tuple[str, ...]) -> str:
    """Path of a program, or an error that names the Debian packages that bring it."""
    path = shutil.which(name)
    if path is None:
        raise _missing(f"this needs the program '{name}'", packages)
    return path


def _missing(what: str, packages: tuple[str, ...]) -> MissingDependency:
    return MissingDependency(what, "a machine without it", f"Run: apt-get install {' '.join(packages)}.")


@lru_cache(maxsize=256)
def speak(name: str, text: str) -> Speech:
    """Let a voice speak a line; for recorded voices `text` is the name of one of `prompts(name)`.

    Raises:
        MissingDependency: a program or voice that is not installed, naming its Debian packages.
        InputError: an unknown voice or prompt, or a line with nothing to say.
    """
    return synthesise(voice_named(name), text)


def synthesise(voice: Voice, text: str) -> Speech:
    """Let any voice of a known engine speak a line, also one that never sings (see `harmonia.data.render.talk`).

    Raises:
        MissingDependency: a program, package or voice that is not installed.
        InputError: a line with nothing to say.
    """
    if not any(character.isalpha() for character in text):
        raise InputError("the line has nothing to say", repr(text), "Pass words.")
    with tempfile.TemporaryDirectory() as folder:
        speech = _ENGINES[voice.engine](voice, text, Path(folder))
    if len(speech.samples) < speech.rate // 10:
        raise InputError(f"{voice.name} says nothing for this line", repr(text), "Use words the voice can pronounce.")
    return speech


@cache
def prompts(name: str) -> tuple[str, ...]:
    """The recorded prompts of a voice that last long enough to be sung as a phrase (1 to 4 seconds)."""
    voice = voice_named(name)
    folder = _PROMPTS / voice.speaker
    if not folder.is_dir():
        raise _missing(f"this needs the recorded prompts of {name}", voice.packages)
    bytes_per_second = 8000  # G.722: 64 kbit/s
    fitting = [p.stem for p in folder.glob("*.g722") if 1.0 <= p.stat().st_size / bytes_per_second <= 4.0]
    return tuple(sorted(fitting))


def _festival(voice: Voice, text: str, folder: Path) -> Speech:
    binary = program("festival", voice.packages)
    plain = "".join(character if character.isalnum() or character in " ',-" else " " for character in text)
    script = folder / "say.scm"
    script.write_text(
        f"""(voice_{voice.speaker})
(set! u (utt.synth (Utterance Text "{plain}")))
(utt.save.wave u "{folder}/said.wav" 'riff)
(set! f (fopen "{folder}/said.phones" "w"))
(mapcar (lambda (s) (format f "%s:%f " (item.name s) (item.feat s "end"))) (utt.relation.items u 'Segment))
(fclose f)
"""
    )
    done = _run([binary, "-b", str(script)])
    if not (folder / "said.phones").is_file():
        if f"voice_{voice.speaker}" in done.stderr:
            raise _missing(f"this needs the festival voice '{voice.speaker}'", voice.packages)
        raise InputError("festival could not speak this line", repr(text), "Use plain words.")
    return _with_phones(folder / "said.wav", (folder / "said.phones").read_text())


def _flite(voice: Voice, text: str, folder: Path) -> Speech:
    binary = program("flite", voice.packages)
    done = _run([binary, "-voice", voice.speaker, "-t", text, "-o", str(folder / "said.wav"), "-psdur"])
    return _with_phones(folder / "said.wav", done.stdout)


def _espeak(voice: Voice, text: str, folder: Path) -> Speech:
    binary = program("espeak-ng", voice.packages)
    _run([binary, "-v", voice.speaker, "-s", "150", "-w", str(folder / "said.wav"), "--", text])
    return _with_phones(folder / "said.wav", "")


def _asterisk(voice: Voice, text: str, folder: Path) -> Speech:
    if text not in prompts(voice.name):
        raise InputError(f"{voice.name} has no such prompt", text, f"Use a name of prompts({voice.name!r}).")
    binary = program("ffmpeg", ("ffmpeg",))
    source = _PROMPTS / voice.speaker / f"{text}.g722"
    _run([binary, "-v", "error", "-y", "-f", "g722", "-i", str(source), str(folder / "said.wav")])
    return _with_phones(folder / "said.wav", "")


def _openjtalk(voice: Voice, text: str, folder: Path) -> Speech:
    package = require("pyopenjtalk", extra="render")
    samples, rate = package.tts(text)
    return Speech(np.asarray(samples, dtype=np.float64) / 32768, int(rate), ())


_ENGINES = {
    "festival": _festival,
    "flite": _flite,
    "espeak": _espeak,
    "asterisk": _asterisk,
    "openjtalk": _openjtalk,
}


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    name = Path(command[0]).name
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    except subprocess.TimeoutExpired:
        raise InputError(f"'{name}' did not finish", "60 s without an end", "Use a shorter line.") from None
    if done.returncode and name != "festival":  # festival fails for a missing voice too: its caller can say which
        raise InputError(f"'{name}' failed", done.stderr.strip()[:200], "Check its installation.")
    return done


def _with_phones(wav: Path, listing: str) -> Speech:
    soundfile = require("soundfile", extra="render")
    samples, rate = soundfile.read(wav, dtype="float64")
    phones, start = [], 0.0
    for item in listing.split():
        symbol, _, end = item.rpartition(":")
        if symbol not in _SILENCE:
            phones.append((start, float(end), symbol))
        start = float(end)
    return Speech(samples, rate, tuple(phones))


def is_vowel(symbol: str) -> bool:
    """Whether a phone of the US phone set is a vowel.

    Example:
        >>> is_vowel("ay"), is_vowel("t")
        (True, False)
    """
    return symbol in _VOWELS
