from __future__ import annotations

import types
from pathlib import Path
from typing import Annotated, Literal, TypedDict

import pytest

from harmonia.core.errors import InputError
from harmonia.core.media import Media
from harmonia.core.progress import watched
from harmonia.core.task import Field, Job, find_job, jobs_in


class Note(Media):
    kind = "note"
    suffixes = (".txt", ".md")

    def __init__(self, text):
        self.text = text

    @classmethod
    def read(cls, path):
        if not Path(path).is_file():
            raise InputError("there is no such note", path, "Check the path.")
        return cls(Path(path).read_text())

    def _write(self, path):
        path.write_text(self.text)

    def show(self):
        raise NotImplementedError


class Joined(TypedDict):
    text: Annotated[Note, Field("all notes in one")]
    length: float


def join(
    first: Annotated[Note, Field("a note", example=lambda: Note("embedded"))],
    others: Annotated[list[Note] | None, Field("more notes")] = None,
    *,
    times: Annotated[int, Field("how often", unit="repeats", ge=1, le=9)] = 1,
    share: Annotated[float | None, Field("how much to keep", unit="fraction", gt=0, lt=1)] = None,
    case: Annotated[Literal["upper", "lower"], Field("letters")] = "lower",
    loud: Annotated[bool, Field("add an exclamation mark")] = False,
) -> Joined:
    """Join notes.

    In the order given.
    """
    text = (first.text + "".join(note.text for note in others or [])) * times
    text = getattr(text, case)()[: int(len(text) * (share or 1))] + "!" * loud
    return {"text": Note(text), "length": float(len(text))}


@pytest.fixture
def job():
    return Job.of(join)


@pytest.fixture
def note(tmp_path):
    (tmp_path / "a.txt").write_text("abc")
    return tmp_path / "a.txt"


def test_everything_is_read_from_the_signature(job):
    assert (job.name, job.summary, job.description) == ("join", "Join notes.", "In the order given.")
    assert [p.name for p in job.inputs] == ["first", "others"]
    assert [p.name for p in job.options] == ["times", "share", "case", "loud"]
    others, times, share, case = (
        next(p for p in job.parameters if p.name == n) for n in ("others", "times", "share", "case")
    )
    assert (others.type, others.many, others.optional) == (Note, True, True)
    assert times.field.text == "how often [repeats; >= 1 and <= 9]"
    assert (share.type, share.optional) == (float, True)
    assert case.choices == ("upper", "lower")
    assert [(o.name, o.type, o.field.help) for o in job.outputs] == [
        ("text", Note, "all notes in one"),
        ("length", float, ""),
    ]


def test_paths_and_words_become_media_and_numbers(job, note):
    outputs = job.run({"first": str(note), "others": [note, Note("de")], "times": "2", "case": "upper", "loud": "yes"})
    assert outputs["text"].text == "ABCABCDE" * 2 + "!"
    assert outputs["length"] == 17.0


def test_a_field_may_say_how_files_are_read(note):
    def echo(first: Annotated[Note, Field("", read=lambda path: Note(f"read {Path(path).name}"))]) -> Joined:
        """Echo."""
        return {"text": first, "length": 0.0}

    given = Job.of(echo)
    assert given.run({"first": str(note)})["text"].text == "read a.txt"
    assert given.run({"first": Note("as it is")})["text"].text == "as it is"


def test_a_missing_input_takes_the_embedded_example_and_says_so(job):
    messages = []
    watcher = types.SimpleNamespace(step=lambda *_: None, say=messages.append)
    with watched(watcher):
        assert job.run({})["text"].text == "embedded"
    assert messages == ["No first given: using the embedded example."]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"times": "two"}, "'times' is a whole number"),
        ({"times": 0}, "'times' is out of range"),
        ({"times": "1.5"}, "'times' is a whole number"),
        ({"share": "nan"}, "'share' is out of range"),
        ({"share": 1}, "'share' is out of range"),
        ({"case": "title"}, "Use one of: upper, lower"),
        ({"loud": "perhaps"}, "'loud' is yes or no"),
        ({"colour": 1}, "no parameter 'colour'"),
        ({"first": "none.txt"}, "there is no such note"),
    ],
)
def test_bad_arguments(job, given, says):
    with pytest.raises(InputError, match=says):
        job.run(given)


def test_a_required_input(note):
    def shorten(text: Annotated[Note, Field("what to shorten")], *, folder: Path | None = None) -> Joined:
        """Shorten."""
        return {"text": text, "length": 0.0}

    with pytest.raises(InputError, match="'text' is missing"):
        Job.of(shorten).run({})
    with pytest.raises(InputError, match="'folder' does not exist"):
        Job.of(shorten).run({"text": note, "folder": note / "none"})


def test_outputs_are_saved_under_their_names(job, note, tmp_path):
    paths = job.save(job.run({"first": note}), tmp_path / "out", "song")
    assert paths == [tmp_path / "out" / "song_text.txt"]
    assert paths[0].read_text() == "abc"


def test_outputs_must_be_the_declared_ones():
    def wrong(first: Note) -> Joined:
        """Wrong."""
        return {"text": first}  # type: ignore[typeddict-item]

    with pytest.raises(TypeError, match="length"):
        Job.of(wrong).run({"first": Note("")})


def test_an_author_hears_what_is_missing():
    def bare(first: Note) -> Joined: ...

    def undeclared(first: Note) -> dict:
        """Text."""

    def strange(first: complex) -> Joined:
        """Text."""

    for function, says in ((bare, "docstring"), (undeclared, "TypedDict"), (strange, "complex")):
        with pytest.raises(TypeError, match=says):
            Job.of(function)


def test_jobs_of_a_module():
    module = types.SimpleNamespace(JOBS=(join,))
    jobs = jobs_in(module)
    assert find_job(jobs, None).name == find_job(jobs, "join").name == "join"
    with pytest.raises(InputError, match="Jobs: join"):
        find_job(jobs, "split")
