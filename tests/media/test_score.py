from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.media import Note, Score, notation

symusic = pytest.importorskip("symusic")

XML = """<?xml version="1.0"?>{doctype}
<score-partwise version="3.1"><part-list><score-part id="P1"><part-name>Flute</part-name></score-part></part-list>
<part id="P1"><measure number="1"><attributes><divisions>1</divisions><time><beats>4</beats><beat-type>4</beat-type>
</time></attributes><direction><sound tempo="60"/></direction>
<note><pitch><step>C</step><octave>4</octave></pitch><duration>1</duration></note>
<note><pitch><step>E</step><octave>4</octave></pitch><duration>3</duration></note>
</measure></part></score-partwise>"""


def zipped(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/").replace("_xml", ".xml"), text)
    return buffer.getvalue()


def put(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


notes_in_seconds = st.lists(
    st.tuples(st.floats(0, 600), st.floats(0.01, 10), st.integers(0, 127), st.integers(1, 127), st.integers(0, 3)).map(
        lambda n: (n[0], n[0] + n[1], *n[2:])
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=40, deadline=None)
@given(notes=notes_in_seconds, tempo=st.floats(20, 300))
def test_notes_come_back_within_a_tick(notes: list[tuple[float, ...]], tempo: float) -> None:
    score = Score.from_notes(notes, tempo=tempo)
    tick = 60 / tempo / 960
    back = sorted(score.notes(), key=lambda n: n[::-1])
    expected = sorted((Note(*n) for n in notes), key=lambda n: n[::-1])
    assert len(back) == len(expected)
    for ours, theirs in zip(back, expected, strict=True):
        assert ours[2:] == theirs[2:]
        assert ours.onset == pytest.approx(theirs.onset, abs=tick)
        assert ours.offset == pytest.approx(theirs.offset, abs=1.5 * tick)
    assert score.seconds == max(note.offset for note in back)


def test_midi_gives_back_exactly_what_was_written(tmp_path: Path) -> None:
    score = Score.from_notes([(0, 1, 60), (0.5, 2, 64, 100, 1), (70.25, 71, 0, 1)], tempo=90)
    assert Score.read(score.write(tmp_path / "a.mid")).notes() == score.notes()


def test_seconds_follow_tempo_changes() -> None:
    score = symusic.Score(480)
    score.tempos.append(symusic.Tempo(0, 60.0))
    score.tempos.append(symusic.Tempo(960, 120.0))
    track = symusic.Track("", 0, False)
    track.notes.append(symusic.Note(480, 960, 60, 90))
    score.tracks.append(track)
    assert Score(score).notes() == [Note(1.0, 2.5, 60, 90, 0)]


def test_a_score_without_tempo_runs_at_120() -> None:
    score = symusic.Score(480)
    track = symusic.Track("", 0, False)
    track.notes.append(symusic.Note(960, 480, 60, 90))
    score.tracks.append(track)
    assert Score(score).notes() == [Note(1.0, 1.5, 60, 90, 0)]


def test_a_transcription_of_silence_is_a_score_without_notes(tmp_path: Path) -> None:
    silence = Score.from_notes([])
    assert silence.notes() == []
    assert silence.seconds == 0
    assert silence.show().axes
    with pytest.raises(InputError, match="no notes"):
        Score.read(silence.write(tmp_path / "a.mid"))


def test_musicxml_plain_and_packed(tmp_path: Path) -> None:
    pytest.importorskip("music21")
    expected = [(0.0, 1.0, 60), (1.0, 4.0, 64)]
    packed = zipped(**{"META-INF__container_xml": "<container/>", "score_xml": XML.format(doctype="")})
    for name, data in (("a.musicxml", XML.format(doctype="").encode()), ("a.mxl", packed), ("a.txt", packed)):
        score = Score.read(put(tmp_path, name, data))
        assert [note[:3] for note in score.notes()] == expected
        assert score.score.tracks[0].name == "Flute"


def letters(score: Score) -> str:
    return "".join("CCDDEFFGGAAB"[note.pitch % 12] for note in score.notes())


@pytest.mark.parametrize(
    ("tune", "played"),
    [
        ("|:C D:|", "CDCD"),
        ("C D:|E F:|G2:|A2|", "CDCDEFEFGGA"),
        ("|:C D::E F:|", "CDCDEFEF"),
        ("|:C D|1 E2:|2 F2|:G2|A2:|", "CDECDFGAGA"),
        ('"G7"C "Am"D|', "CD"),
    ],
)
def test_abc_plays_repeats_and_keeps_chord_symbols_silent(tmp_path: Path, tune: str, played: str) -> None:
    score = Score.read(put(tmp_path, "a.abc", f"X:1\nM:2/4\nL:1/4\nQ:1/4=60\nK:C\n{tune}\n\nX:2\nK:C\nA B|\n"))
    assert letters(score) == played
    assert score.notes()[1].onset == 1.0


def test_abc_keeps_time_exactly(tmp_path: Path) -> None:
    score = Score.read(put(tmp_path, "a.abc", "X:1\nM:4/4\nL:1/4\nQ:1/4=120\nK:C\n[CEG]2 z D|E>F G2|\n"))
    assert [note[:3] for note in score.notes()] == [
        (0, 1, 60), (0, 1, 64), (0, 1, 67), (1.5, 2, 62), (2, 2.75, 64), (2.75, 3, 65), (3, 4, 67)
    ]  # fmt: skip


def test_abc_does_not_read_other_files(tmp_path: Path) -> None:
    other = put(tmp_path, "other.abh", "E F|\n")
    text = f"X:1\nL:1/4\nK:C\nC D|\n%%abc-include {other}\nI:abc-include {other}\nG A|\n"
    assert letters(Score.read(put(tmp_path, "a.abc", text))) == "CDGA"


def measure(notes: str, left: str = "", right: str = "", ending: int = 0) -> str:
    """One measure; `left` and `right` may be a repeat, `ending` the number of the bracket over it."""
    start = f'<ending number="{ending}" type="start"/>' if ending else ""
    stop = f'<ending number="{ending}" type="stop"/>' if ending else ""
    forward = '<repeat direction="forward"/>' if left else ""
    backward = '<repeat direction="backward"/>' if right else ""
    body = "".join(
        f"<note><pitch><step>{note}</step><octave>4</octave></pitch><duration>1</duration></note>" for note in notes
    )
    head = f'<barline location="left">{start}{forward}</barline>' if start or forward else ""
    tail = f'<barline location="right">{stop}{backward}</barline>' if stop or backward else ""
    return head + body + tail


@pytest.mark.parametrize(
    ("measures", "played"),
    [
        ([measure("C", right=":|"), measure("D", right=":|"), measure("E")], "CCDDE"),
        ([measure("C", left="|:"), measure("D", right=":|"), measure("E"), measure("F", right=":|")], "CDCDEFEF"),
        (
            [
                measure("C"),
                measure("D", right=":|", ending=1),
                measure("E", ending=2),
                measure("F"),
                measure("G", right=":|"),
            ],
            "CDCEFGFG",
        ),
    ],
)
def test_musicxml_plays_repeats_as_they_are_written(tmp_path: Path, measures: list[str], played: str) -> None:
    pytest.importorskip("music21")
    head, tail = XML.format(doctype="").split('<measure number="1">')[0], "</part></score-partwise>"
    attributes = (
        "<attributes><divisions>1</divisions><time><beats>1</beats><beat-type>4</beat-type></time></attributes>"
    )
    body = "".join(
        f'<measure number="{n}">{attributes * (n == 1)}{text}</measure>' for n, text in enumerate(measures, 1)
    )
    assert letters(Score.read(put(tmp_path, "a.musicxml", head + body + tail))) == played


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import time; time.sleep(60)", "no end of it after"),
        ("import os; os.abort()", "crashed"),
        ("1/0", "ZeroDivision"),
    ],
)
def test_programs_that_hang_crash_or_fail_are_errors_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, said: str
) -> None:
    monkeypatch.setattr(notation, "_TIME_LIMIT_S", 1.0)
    with pytest.raises(InputError, match=said):
        notation._output([sys.executable, "-c", program], "", put(tmp_path, "a.abc", "X:1\n"))


def test_writing_musicxml(tmp_path: Path) -> None:
    pytest.importorskip("music21")
    score = Score.from_notes([(0, 0.5, 60), (0.5, 1, 64), (1, 2, 67)])
    again = Score.read(score.write(tmp_path / "a.musicxml"))
    assert [note[:3] for note in again.notes()] == [note[:3] for note in score.notes()]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.mid", b"", "empty"),
        ("a.mid", b"MThd", "ends early"),
        ("a.mid", b"MThd\0\0\0\6\0\1\0\1\0\0MTrk\0\0\0\4\0\xff\x2f\0", "ticks per quarter"),
        ("a.mid", b"MThd\0\0\0\6\0\1\0\1\xe7\x28MTrk\0\0\0\4\0\xff\x2f\0", "SMPTE"),
        ("a.mid", b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\xff\xff\0\xff\x2f\0", "ends early"),
        ("a.mid", b"MThd\0\0\0\6\0\1\0\2\1\xe0MTrk\0\0\0\4\0\xff\x2f\0", "ends early"),
        ("a.mid", b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\5\0\x3c\x3c\xff\x2f", "data without an event"),
        ("a.mid", b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\4\0\x90\x90\x90", "above 127"),
        ("a.mid", b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\3\0\x90\x10", "ends early"),
        ("a.mid", b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\7\0\xff\x51\3\0\0\0", "tempo of zero"),
        ("a.mid", b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\5\xff\xff\xff\xff\xff", "no number"),
        ("a.mid", b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\7\xff\xff\xff\x7f\xff\x2f\0", "hours of music"),
        ("a.mid", b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\4\0\xff\x2f\0", "no notes"),
        ("a.mid", b"RIFF\0\0\0\0RMIDdata\xff\0\0\0junk", "ends early"),
        ("a.abc", "Dear Sir,\n", "no score"),
        ("a.xml", "<html/>", "no score"),
        ("a.mxl", zipped(readme="hello"), "holds no score"),
        ("a.mid", b"\x89PNG\r\n\x1a\n", "png data"),
    ],
)
def test_damaged_and_foreign_files_are_refused(tmp_path: Path, name: str, data: bytes | str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Score.read(put(tmp_path, name, data))


def track(*events: int) -> bytes:
    """A MIDI file with these bytes between a first note on and the end of its only track."""
    body = bytes([0, 0x90, 60, 80, *events, 0, 0xFF, 0x2F, 0])
    return b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk" + len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    "data",
    [
        track(96, 60, 0),
        track(96, 0xFF, 1, 1, 65, 0, 60, 0),
        track(96, 60, 0, 0, 0xFF, 0x59, 2, 0xF7, 0),
        track(96, 60, 0, 0, 0xFF, 0x58, 4, 0, 2, 24, 8),
        track(96, 60, 0) + b"\0\0\0",
        track(96, 60, 0).replace(b"MTrk", b"XFIH\0\0\0\2abMTrk"),
        b"RIFF\0\0\0\0RMIDdata" + len(track(96, 60, 0)).to_bytes(4, "little") + track(96, 60, 0),
    ],
    ids=["plain", "running status over meta", "key of nine flats", "metre of nothing", "rest", "alien chunk", "riff"],
)
def test_sloppy_but_clear_midi_is_read(tmp_path: Path, data: bytes) -> None:
    score = Score.read(put(tmp_path, "a.mid", data))
    assert [note[:4] for note in score.notes()] == [(0, 0.1, 60, 80)]
    assert not score.score.key_signatures
    assert not score.score.time_signatures


def test_every_prefix_of_a_midi_file_is_refused(tmp_path: Path) -> None:
    data = Score.from_notes([(0, 1, 60), (1, 2, 61)]).score.dumps_midi()
    for length in range(1, len(data)):
        with pytest.raises(InputError):
            Score.read(put(tmp_path, "a.mid", data[:length]))


def test_archives_and_entities_that_grow_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("music21")
    bomb = zipped(score_xml=XML.format(doctype="") + " " * 40_000_000)
    assert len(bomb) < 100_000
    with pytest.raises(InputError, match="too large"):
        Score.read(put(tmp_path, "bomb.mxl", bomb))
    laughs = XML.format(doctype='<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>')
    with pytest.raises(InputError, match="entities"):
        Score.read(put(tmp_path, "laughs.xml", laughs))


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ((0, 1), "no note"),
        ((0, float("nan"), 60), "no note"),
        ((1, 1, 60), "times"),
        ((-1, 1, 60), "times"),
        ((0, 1, 128), "pitch"),
        ((0, 1, 60.5), "pitch"),
        ((0, 1, 60, 0), "velocity"),
        ((0, 1, 60, 80, -1), "track"),
    ],
)
def test_impossible_notes_are_named(note: tuple[float, ...], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        Score.from_notes([(0, 1, 60), note])
    assert "note 1" in str(caught.value)


def test_impossible_tempo_program_and_score() -> None:
    with pytest.raises(InputError, match="tempo"):
        Score.from_notes([], tempo=0)
    with pytest.raises(InputError, match="program"):
        Score.from_notes([], program=128)
    with pytest.raises(InputError, match="symusic"):
        Score([1, 2])  # type: ignore[arg-type]


def test_show_draws_every_note_in_the_colour_of_its_track() -> None:
    score = Score.from_notes([(0, 1, 60), (1, 2, 61), (0, 2, 40, 80, 1)])
    score.score.tracks[1].name = "bass"
    axes = score.show().axes[0]
    assert [len(collection.get_paths()) for collection in axes.collections] == [2, 1]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["piano", "bass"]
