"""A melody, with words where it has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from harmonia.media import Score


class TuneNote(NamedTuple):
    """A note of a melody.

    Attributes:
        onset: Quarter notes since the beginning.
        duration: Quarter notes.
        pitch: MIDI pitch.
        syllable: What is sung on it; empty where there are no words, or the syllable before is held.
        syllabic: ``single``, ``begin``, ``middle`` or ``end`` of its word.
        phrase_end: Whether a phrase ends here, where that is written (a fermata).
    """

    onset: float
    duration: float
    pitch: int
    syllable: str = ""
    syllabic: str = "single"
    phrase_end: bool = False


@dataclass(frozen=True)
class Tune:
    """A melody of a collection; `metre` as written (``"4/4"``), empty where there is none.

    Example:
        >>> tune = Tune("Rising", "ours", "4/4", (TuneNote(0.0, 1.0, 60, "la"), TuneNote(1.0, 1.0, 64, "la")))
        >>> tune.words, tune.score(tempo=60.0).seconds
        ('la la', 2.0)
    """

    title: str
    collection: str
    metre: str
    notes: tuple[TuneNote, ...]

    @property
    def words(self) -> str:
        """The words, their syllables joined."""
        text = ""
        for note in self.notes:
            if note.syllable:
                text += note.syllable + ("" if note.syllabic in ("begin", "middle") else " ")
        return text.strip()

    def score(self, tempo: float = 100.0) -> Score:
        """The melody as a score."""
        quarter = 60 / tempo
        played = [(n.onset * quarter, (n.onset + n.duration) * quarter, n.pitch) for n in self.notes]
        return Score.from_notes(played, tempo=tempo)
