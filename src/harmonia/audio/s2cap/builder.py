"""A captioned singing data set from a folder of songs: clips of one singer, attributes, captions, with checks.

The steps are those of S2Cap's own pipeline with local parts in the place of its cloud ones: our separator for
HT-Demucs, clustering of timbres for diarisation, measured pitch, level and tempo, attribute models for Qwen2-Audio,
and a grammar (or any callable) for GPT-4o. Pitch is parted by the 0.33 and 0.66 quantiles of each gender, volume by
those of all clips, as the paper does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars

from harmonia.audio.s2cap.analysis import Described, Heard, Separate, clips_of, default_separator, describe, listen
from harmonia.audio.s2cap.attributes import LEXICON, MANDATORY, Levels, parse_attributes
from harmonia.audio.s2cap.captioner import NOBODY
from harmonia.audio.s2cap.grammar import caption_of
from harmonia.audio.s2cap.measures import RATE, RENDERED, Reference
from harmonia.audio.s2cap.models import AttributeModels
from harmonia.audio.s2cap.speakers import Stretch
from harmonia.core.errors import HarmoniaError, InputError
from harmonia.core.media import whole_file
from harmonia.core.progress import say, track
from harmonia.media import Audio, Table
from harmonia.parts.sound_stream import SoundSource

SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".aiff")
TABLE = "captions.csv"
FEWEST = 12
"""Clips of a gender (or in all) below which the reference's levels stand in for quantiles."""

CaptionFn = Callable[[Mapping[str, str]], str]
AttributeModel = Callable[[Audio, Audio], str]
"""Mixture and voice of a clip to a value of an attribute."""


@dataclass(frozen=True)
class SongFacts:
    """What metadata says of a song.

    Attributes:
        artist: Never to be named in a caption.
        genre: In place of the model's guess, where it is one of the lexicon's.
        birth_year: Of the singer; those born before `StyleDatasetBuilder.born_after` are left out, as in the paper.
        duration: Seconds; a file that differs by more than 1 % is left out, as in the paper.
    """

    artist: str = ""
    genre: str = ""
    birth_year: int | None = None
    duration: float | None = None


@dataclass
class StyleDatasetBuilder:
    """Builds a data set of clips, attributes and captions from a folder of songs.

    Arguments:
        separator: Mixture to voice; None for the embedded mel-roformer.
        models: Name what cannot be measured; None for the embedded ones.
        attribute_models: For any attribute a callable ``(mixture, voice) -> value`` that takes their place.
        caption_fn: ``template`` for the grammar, or any callable from attributes to a sentence, a language model say.
        phrasing: Patterns of the grammar.
        shortest, longest: Length of clips in seconds.
        born_after: Singers born before that year are left out, where metadata tells.
        without: ``gender`` and ``age`` may be left out.
        reference: Levels for sets that are too small to have quantiles.
        seed: Of the grammar's choices.

    Example:
        >>> builder = StyleDatasetBuilder(caption_fn=lambda attributes: "Someone sings.")
        >>> builder.shortest, builder.longest
        (5.0, 30.0)
    """

    separator: Separate | None = None
    models: AttributeModels | None = None
    attribute_models: Mapping[str, AttributeModel] = field(default_factory=dict)
    caption_fn: Literal["template"] | CaptionFn = "template"
    phrasing: Literal["train", "test"] = "train"
    shortest: float = 5.0
    longest: float = 30.0
    born_after: int = 1970
    without: Sequence[str] = ()
    reference: Reference = RENDERED
    seed: int = 0

    def build(self, folder: str | Path, out: str | Path, metadata: str | Path | None = None) -> polars.DataFrame:
        """Write ``clips/`` and ``captions.csv`` into `out`; songs that cannot be used are named and left out.

        Arguments:
            folder: Songs: wav, flac, ogg, mp3, m4a, aiff, in any depth.
            out: Where the data set goes; the table comes last, so where it is, the set is whole.
            metadata: A csv with the column ``file`` and any of artist, genre, birth_year, duration.

        Returns:
            One row a clip: id, caption, begin, end, song, path, vocals_path, the attributes and the numbers beneath.

        Raises:
            InputError: a folder without songs, metadata without names, or no clip in which somebody sings.
        """
        folder, out = Path(folder), Path(out)
        songs = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUNDS)
        if not songs:
            raise InputError("the folder holds no songs", folder, f"Put {', '.join(SOUNDS)} files there.")
        for name in self.attribute_models:
            if name not in LEXICON:
                raise InputError("there is no such attribute", name, f"Use one of {', '.join(LEXICON)}.")
        facts = read_facts(metadata) if metadata is not None else {}
        separate = self.separator or default_separator()
        rows: list[dict[str, Any]] = []
        for song in track(songs, "Building"):
            try:
                rows += self._song(song, song.relative_to(folder), out, facts, separate)
            except HarmoniaError as error:
                say(f"{song.name} is left out: {error}")
        if not rows:
            raise InputError("nobody sings in these songs", f"{len(songs)} songs", "Pass songs with vocals.")
        rows = self._named(rows)
        artists = [fact.artist for fact in facts.values() if fact.artist]
        for number, row in enumerate(rows):
            row["caption"] = self._caption(row, artists, np.random.default_rng([self.seed, number]))
        frame = polars.DataFrame(rows).select(*_columns(rows))
        with whole_file(out / TABLE) as temporary:
            frame.write_csv(temporary)
        return frame

    def _song(
        self,
        path: Path,
        name: Path,
        out: Path,
        facts: Mapping[str, SongFacts],
        separate: Separate,
    ) -> list[dict[str, Any]]:
        """Clips of one song, on disk, with what is known of each before the whole set's quantiles are."""
        told = facts.get(path.name) or facts.get(path.stem) or SongFacts()
        song = SoundSource.read(path)
        if told.birth_year is not None and told.birth_year < self.born_after:
            raise InputError("the singer was born too early", told.birth_year, f"Lower born_after={self.born_after}.")
        if told.duration is not None and abs(song.seconds / told.duration - 1) > 0.01:
            got = f"{song.seconds:.1f} s instead of {told.duration:.1f} s"
            raise InputError("the file is another recording than its metadata", got, "Mend the metadata.")
        heard = listen(song, separate)
        clips = clips_of(heard, self.shortest, self.longest)
        known = {"genre": told.genre} if told.genre in LEXICON["genre"] else {}
        rows = []
        for number, clip in enumerate(self._described(heard, clips, known)):
            if clip.text == NOBODY:
                continue
            key = f"{'-'.join(name.with_suffix('').parts)}_{number:02d}"
            mix, vocals = out / "clips" / f"{key}.flac", out / "clips" / f"{key}_vocals.flac"
            voice = Audio(heard.between(clip.stretch, heard.vocals), RATE)
            heard.piece(clip.stretch).write(mix)
            voice.write(vocals)
            row = _row(key, path.name, clip, mix.relative_to(out), vocals.relative_to(out))
            for attribute, model in self.attribute_models.items():
                row[attribute] = str(model(heard.piece(clip.stretch), voice))
            rows.append(row)
        return rows

    def _described(self, heard: Heard, clips: Sequence[Stretch], known: Mapping[str, str]) -> list[Described]:
        return describe(
            heard, clips, models=self.models, reference=self.reference, known=known, without=tuple(self.without)
        )

    def _named(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Pitch and volume by the quantiles of the set (Algorithm 1), where it is large enough."""
        levels = dict(self.reference.pitch)
        for gender in levels:
            f0 = np.array([row["f0_hz"] for row in rows if row.get("gender") == gender])
            if len(f0) >= FEWEST:
                levels[gender] = Levels.of(f0)
            elif len(f0):
                say(f"{len(f0)} clips of the gender {gender}: pitch levels are those of {self.reference.population}.")
        volume = np.array([row["volume_db"] for row in rows])
        loudness = Levels.of(volume) if len(rows) >= FEWEST else self.reference.volume
        for row in rows:
            if "pitch" not in self.attribute_models:
                row["pitch"] = levels[row.get("gender") or "female"].name(row["f0_hz"])
            if "volume" not in self.attribute_models:
                row["volume"] = loudness.name(row["volume_db"])
        return rows

    def _caption(self, row: Mapping[str, Any], artists: Sequence[str], rng: np.random.Generator) -> str:
        """A caption that passes `faults`; the grammar's where a callable's does not."""
        attributes = {name: row[name] for name in LEXICON if row.get(name)}
        if self.caption_fn != "template":
            text = self.caption_fn(attributes)
            wrong = faults(text, attributes, artists, self.without)
            if not wrong:
                return text
            say(f"The caption of {row['id']} is replaced by the grammar's: {', '.join(wrong)}.")
        return caption_of(attributes, rng, phrasing=self.phrasing, without=self.without)


def faults(
    text: str, attributes: Mapping[str, str], artists: Sequence[str] = (), without: Sequence[str] = ()
) -> list[str]:
    """What is wrong with a caption: not one sentence, a mandatory attribute unsaid or untrue, an artist's name.

    Example:
        >>> faults("A man sings. Loudly.", {"gender": "female"})
        ['not one sentence', 'gender is untrue', 'pitch is unsaid', ...]
    """
    found = []
    if not text.strip() or len(re.findall(r"[.!?](?:\s|$)", text.strip())) != 1:
        found.append("not one sentence")
    stated = parse_attributes(text)
    for name in MANDATORY:
        if name in stated and name in attributes and stated[name] != attributes[name]:
            found.append(f"{name} is untrue")
        elif name not in stated and name not in without:
            found.append(f"{name} is unsaid")
    named = [artist for artist in artists if artist and re.search(rf"\b{re.escape(artist)}\b", text, re.IGNORECASE)]
    return found + [f"names {artist}" for artist in named]


def read_facts(metadata: str | Path) -> dict[str, SongFacts]:
    """Facts by file name, from a csv.

    Raises:
        InputError: no column ``file``.
    """
    frame = Table.read(metadata).frame
    if "file" not in frame.columns:
        raise InputError("metadata names its songs", ", ".join(frame.columns), "Add a column 'file'.")
    facts = {}
    for row in frame.iter_rows(named=True):
        year, duration = row.get("birth_year"), row.get("duration")
        facts[str(row["file"])] = SongFacts(
            str(row.get("artist") or ""),
            str(row.get("genre") or "").lower(),
            None if year is None else int(year),
            None if duration is None else float(duration),
        )
    return facts


def _row(key: str, song: str, clip: Described, mix: Path, vocals: Path) -> dict[str, Any]:
    bpm = None if clip.bpm is None else round(clip.bpm, 1)
    numbers = {"f0_hz": round(clip.f0, 1), "volume_db": round(clip.volume_db, 1), "bpm": bpm}
    place = {"begin": 0.0, "end": round(clip.stretch.end - clip.stretch.begin, 3), "song": song}
    where = {"song_begin": round(clip.stretch.begin, 3), "path": str(mix), "vocals_path": str(vocals)}
    return {"id": key, **place, **where, **clip.attributes, **numbers}


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    first = ["id", "caption", "begin", "end", "song", "song_begin", "path", "vocals_path"]
    return first + [name for name in names if name not in first]
