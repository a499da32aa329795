"""Notes: a symusic score, read from MIDI, MusicXML or ABC.

MIDI goes to symusic after `harmonia.media.midi` has walked it; MusicXML (plain or ``.mxl``) and ABC become MIDI first,
in `harmonia.media.notation`, with repeats played out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
from jaxtyping import Float64, Int

from harmonia.core.errors import InputError, require
from harmonia.core.media import Media
from harmonia.core.progress import say
from harmonia.media.files import MIB, content, existing, unreadable

if TYPE_CHECKING:
    import symusic
    from matplotlib.figure import Figure as MatplotlibFigure

FILE_LIMIT = 16 * MIB
TICKS_PER_QUARTER = 960

_FAMILIES = (
    "piano", "chromatic percussion", "organ", "guitar", "bass", "strings", "ensemble", "brass",
    "reed", "pipe", "synth lead", "synth pad", "synth effects", "ethnic", "percussive", "sound effects",
)  # fmt: skip


class Note(NamedTuple):
    """One note; times in seconds, pitch as a MIDI number, velocity 1 to 127, track counted from 0."""

    onset: float
    offset: float
    pitch: int
    velocity: int = 80
    track: int = 0


@dataclass(frozen=True, eq=False)
class Score(Media):
    """Notes in tracks, with tempi, metres and keys.

    Arguments:
        score: The symusic score; any time unit, kept in ticks.

    Example:
        >>> score = Score.from_notes([(0.0, 0.5, 60), (0.5, 1.0, 64)])
        >>> score.notes()[1]
        Note(onset=0.5, offset=1.0, pitch=64, velocity=80, track=0)
        >>> score.seconds
        1.0
    """

    kind: ClassVar[str] = "score"
    suffixes: ClassVar[tuple[str, ...]] = (".mid", ".midi", ".musicxml")

    score: symusic.types.Score

    def __post_init__(self) -> None:
        require("symusic", extra="music")
        if not hasattr(self.score, "tracks"):
            got = type(self.score).__name__
            raise InputError("a score wraps a symusic score", got, "Use Score.from_notes or Score.read.")
        object.__setattr__(self, "score", self.score.to("tick"))

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read MIDI, MusicXML or ABC, told apart by content.

        Raises:
            InputError: missing, empty, damaged, above `FILE_LIMIT`, without a note, or no score.
        """
        path = existing(path, cls.kind, FILE_LIMIT)
        form = content(path)
        if form in ("midi", "riff midi"):
            score = cls(_from_midi(path.read_bytes(), path))
        elif form in ("zip", "text"):
            from harmonia.media.notation import midi_of

            score = cls(_from_midi(midi_of(path, form, FILE_LIMIT), path))
        else:
            raise InputError("the file is no score", f"{form} data in {path.name}", "Pass MIDI, MusicXML or ABC.")
        if not score.score.note_num():
            raise InputError("the score holds no notes", path.name, "Pass a score with at least one note.")
        return score

    @classmethod
    def from_notes(cls, notes: Iterable[Sequence[float]], *, tempo: float = 120.0, program: int = 0) -> Self:
        """A score of notes at seconds.

        Arguments:
            notes: ``(onset_s, offset_s, pitch)``, optionally followed by velocity and track, as `notes` gives them.
                None at all makes an empty score.
            tempo: Quarter notes a minute, by which the seconds are written as beats.
            program: General-MIDI instrument, 0 to 127.

        Raises:
            InputError: a note that ends before it begins, or a value outside MIDI's range; it names the note.
        """
        symusic = require("symusic", extra="music")
        if not 4 <= tempo <= 1000:
            raise InputError("a tempo is 4 to 1000 quarters a minute", tempo, "Pass such a tempo.")
        if not 0 <= program <= 127:
            raise InputError("a General-MIDI program is 0 to 127", program, "Pass such a program.")
        per_quarter_us = round(60e6 / tempo)
        ticks_per_second = TICKS_PER_QUARTER * 1e6 / per_quarter_us
        score = symusic.Score(TICKS_PER_QUARTER)
        score.tempos.append(symusic.Tempo(0, mspq=per_quarter_us))
        checked = [_checked_note(index, note) for index, note in enumerate(notes)]
        for _ in range(1 + max((note.track for note in checked), default=0)):
            score.tracks.append(symusic.Track("", program, False))
        for note in sorted(checked):
            onset, offset = (round(t * ticks_per_second) for t in (note.onset, note.offset))
            score.tracks[note.track].notes.append(
                symusic.Note(onset, max(1, offset - onset), note.pitch, note.velocity)
            )
        return cls(score)

    def notes(self) -> list[Note]:
        """All notes in order of onset, in seconds."""
        found = []
        for index, track in enumerate(self.score.tracks):
            array = track.notes.numpy()
            onsets = self._seconds_at(array["time"])
            offsets = self._seconds_at(array["time"] + array["duration"])
            columns = (onsets, offsets, array["pitch"], array["velocity"])
            for onset, offset, pitch, velocity in zip(*(column.tolist() for column in columns)):
                found.append(Note(onset, offset, pitch, velocity, index))
        return sorted(found)

    @property
    def seconds(self) -> float:
        """End of the last note."""
        return max((note.offset for note in self.notes()), default=0.0)

    def _seconds_at(self, ticks: Int[np.ndarray, " times"]) -> Float64[np.ndarray, " times"]:
        """Ticks through the tempo map; symusic's own conversion has only the seven digits of float32."""
        changes = sorted((tempo.time, tempo.mspq) for tempo in self.score.tempos)
        if not changes or changes[0][0] > 0:
            changes.insert(0, (0, 500_000))
        at, per_quarter_us = np.array(changes, dtype=np.float64).T
        tick_s = per_quarter_us / (1e6 * self.score.ticks_per_quarter)
        starts = np.concatenate([[0.0], np.cumsum(np.diff(at) * tick_s[:-1])])
        segment = np.searchsorted(at, ticks, side="right") - 1
        return starts[segment] + (ticks - at[segment]) * tick_s[segment]

    def _write(self, path: Path) -> None:
        data = self.score.dumps_midi()
        if path.suffix.lower() == ".musicxml":
            from harmonia.media.notation import musicxml_of

            data = musicxml_of(data)
        path.write_bytes(data)

    def show(self) -> MatplotlibFigure:
        """Piano roll: a colour for each track, stronger for louder notes; drums as dots."""
        from matplotlib.collections import PolyCollection
        from matplotlib.colors import to_rgba

        from harmonia.media.figure import INK, MUTED, PALETTE, legend, new_figure, time_axis

        notes = self.notes()
        figure, [axes] = new_figure(width=9, height=4.2)
        for index, track in enumerate(self.score.tracks):
            own = [note for note in notes if note.track == index]
            if not own:
                continue
            colour = MUTED if track.is_drum else PALETTE[index % len(PALETTE)]
            shades = [to_rgba(colour, 0.35 + 0.65 * note.velocity / 127) for note in own]
            label = track.name.strip() or ("drums" if track.is_drum else _FAMILIES[track.program // 8])
            if track.is_drum:
                axes.scatter([n.onset for n in own], [n.pitch for n in own], s=9, c=shades, linewidths=0)
            else:
                boxes = [_box(note) for note in own]
                axes.add_collection(PolyCollection(boxes, facecolors=shades, edgecolors="white", linewidths=0.3))
            axes.plot([], [], color=colour, linewidth=5, label=label[:28])
        pitches = [note.pitch for note in notes] or [60]
        low, high = min(pitches) - 2, max(pitches) + 3
        axes.set_ylim(low, max(high, low + 14))
        octaves = [p for p in range(0, 128, 12) if low <= p <= axes.get_ylim()[1]]
        axes.set_yticks([p + 0.5 for p in octaves], [f"C{p // 12 - 1}" for p in octaves])
        axes.set_ylabel("pitch")
        time_axis(axes, max((note.offset for note in notes), default=1.0))
        if len(self.score.tracks) > 1 and notes:
            legend(axes, loc="upper left", bbox_to_anchor=(1.0, 1.02))
        text = f"{len(notes):,} notes" if notes else "no notes"
        axes.text(1.0, 1.02, text, transform=axes.transAxes, ha="right", fontsize=9, color=INK)
        return figure


def _checked_note(index: int, values: Sequence[float]) -> Note:
    if not 3 <= len(values) <= 5 or not all(np.isfinite(values)):
        mend = "Pass (onset_s, offset_s, pitch[, velocity[, track]]) with finite numbers."
        raise InputError(f"note {index} is no note", tuple(values), mend)
    onset, offset = float(values[0]), float(values[1])
    pitch, velocity, track = (float(v) for v in (*values[2:], *(80, 0)[len(values) - 3 :]))
    if not 0 <= onset < offset <= 24 * 3600:
        mend = "Onsets start at 0 and lie before their offsets, within a day."
        raise InputError(f"note {index} has impossible times", f"{onset} s to {offset} s", mend)
    for name, value, low, high in (("pitch", pitch, 0, 127), ("velocity", velocity, 1, 127), ("track", track, 0, 255)):
        if value != int(value) or not low <= value <= high:
            mend = f"Pass a whole number of {low} to {high}."
            raise InputError(f"note {index} has an impossible {name}", f"{value:g}", mend)
    return Note(onset, offset, int(pitch), int(velocity), int(track))


def _from_midi(data: bytes, path: Path) -> Any:
    from harmonia.media.midi import check

    symusic = require("symusic", extra="music")
    if data[:4] == b"RIFF":
        data = data[20 : 20 + int.from_bytes(data[16:20], "little")]
    check(data, path)
    try:
        score = symusic.Score.from_midi(data)
    except Exception as error:  # whatever the native parser raises is about these bytes
        raise unreadable("MIDI", path, error, "Export it again.") from None
    keys = [key for key in score.key_signatures if abs(key.key) <= 7 and key.tonality <= 1]
    metres = [metre for metre in score.time_signatures if metre.numerator and 1 <= metre.denominator <= 64]
    if len(keys) + len(metres) < len(score.key_signatures) + len(score.time_signatures):
        say(f"Left out key or time signatures of {path.name} that do not exist.")
        score.key_signatures, score.time_signatures = keys, metres
    return score


def _box(note: Note) -> list[tuple[float, float]]:
    low, high = note.pitch + 0.08, note.pitch + 0.92
    return [(note.onset, low), (note.onset, high), (note.offset, high), (note.offset, low)]
