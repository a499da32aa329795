from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Annotated, TypedDict

import pytest
from typer.testing import CliRunner

from harmonia.app.command import command_of
from harmonia.core.card import Card
from harmonia.core.errors import InputError
from harmonia.core.registry import Method
from harmonia.core.task import Field, Job
from harmonia.media import Text

CARD = Card(
    slug="shout",
    title="On shouting",
    arxiv="2001.00001",
    year=2020,
    field="audio",
    summary="Shout",
    gives="Louder text.",
    inputs=["text"],
    outputs=["text"],
)


class Shouted(TypedDict):
    louder: Annotated[Text, Field("the same, louder")]
    length: float
    echo: str | None


def shout(
    text: Annotated[Text, Field("what to shout", example=lambda: Text("hello"))],
    reply: Annotated[Text | None, Field("what comes back")] = None,
    *,
    times: Annotated[int, Field("exclamation marks", ge=0)] = 1,
    upper: Annotated[bool, Field("capital letters")] = True,
) -> Shouted:
    """Shout a text.

    As loud as you like. In a file:

        words = "a"
        marks = 2
    """
    words = text.text + (reply.text if reply else "")
    words = (words.upper() if upper else words) + "!" * times
    return {"louder": Text(words), "length": float(len(words)), "echo": None}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = command_of(Method(CARD, None), Job.of(shout), others=["whisper"])
    return lambda *words: CliRunner().invoke(command, list(words), catch_exceptions=True)


def test_runs_on_the_example(run):
    result = run()
    assert result.exit_code == 0, result.output
    assert Path("shout_louder.txt").read_text() == "HELLO!"


def test_runs_on_files_with_options(run):
    Path("a.txt").write_text("abc")
    Path("b.txt").write_text("def")
    result = run("a.txt", "b.txt", "--times", "3", "--no-upper", "--out", "made")
    assert result.exit_code == 0, result.output
    assert Path("made/a_louder.txt").read_text() == "abcdef!!!"


def test_help_comes_from_signature_and_docstring(run):
    text = run("--help").output
    for words in ("Shout a text.", "As loud as you like.", "what to shout", "--times", "exclamation marks [>= 0]"):
        assert words in " ".join(text.split())
    assert '\n      words = "a"\n      marks = 2\n' in text
    assert "[default: 1]" in text
    assert "Other jobs of shout: whisper." in text
    assert "[TEXT] [REPLY]..." in text
    assert "what to shout [text] (left out: the embedded example)" in " ".join(text.split())
    assert "REPLY...  what comes back [text]" in text
    assert "<" not in text


def test_values_that_are_none_are_not_printed(run):
    assert "length" in run("--times", "2").output
    assert "echo" not in run().output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("none.txt",), "none.txt"),
        (("--times", "many"), "'times' is a whole number"),
        (("--times", "-1"), "'times' is out of range"),
        (("a", "b", "c"), "Add --each"),
        (("--each",), "--each needs files"),
    ],
)
def test_bad_arguments_leave_nothing(run, words, says):
    result = run(*words)
    assert isinstance(result.exception, InputError)
    assert says in str(result.exception)
    assert list(Path().iterdir()) == []


BULK = """
    import sys, time
    from typing import TypedDict
    from harmonia.app import command
    from harmonia.core.registry import Method
    from harmonia.core.task import Job
    from harmonia.media import Text
    sys.path.insert(0, {tests!r})
    from test_command import CARD

    class Out(TypedDict):
        louder: Text

    def shout(text: Text, *, times: int = 1) -> Out:
        "Shout."
        time.sleep({pause})
        return {{"louder": Text(text.text.upper() + "!" * times)}}

    method, job = Method(CARD, None), Job.of(shout)
    command.find = lambda slug: method
    command.jobs_in = lambda module: (job,)
    Method.module = lambda self, name: None
    command.command_of(method, job)(args=sys.argv[1:])
"""


def bulk(folder: Path, *words: str, pause: float = 0.0) -> subprocess.Popen:
    script = textwrap.dedent(BULK).format(tests=str(Path(__file__).parent), pause=pause)
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, "-c", script, *words],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_killed_bulk_run_continues_where_it_stopped(tmp_path):
    files = [f"{i}.txt" for i in range(12)]
    for name in files:
        (tmp_path / name).write_text(name)
    process = bulk(tmp_path, "--each", *files, "--out", "made", pause=0.15)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "made").glob("*_louder.txt"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "made").glob("*_louder.txt")}
    ledger = (tmp_path / "made" / ".shout-shout.finished").read_text().splitlines()
    assert 3 <= len(ledger) < 12

    process = bulk(tmp_path, "--each", *files, "--out", "made")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert f"{len(ledger)} of 12 files were finished by an earlier run" in errors
    for name in files:
        assert (tmp_path / "made" / f"{Path(name).stem}_louder.txt").read_text() == f"{name.upper()}!"
    finished = {str(tmp_path / "made" / f"{Path(json.loads(line)[0]).stem}_louder.txt") for line in ledger}
    for path, written in done.items():
        if str(path) in finished:
            assert path.stat().st_mtime_ns == written
    assert not list((tmp_path / "made").glob(".*louder*"))


def test_one_bad_file_does_not_stop_the_others(tmp_path):
    (tmp_path / "good.txt").write_text("good")
    process = bulk(tmp_path, "--each", "none.txt", "good.txt", "--out", "made")
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "1 of 2 files failed" in errors
    assert (tmp_path / "made" / "good_louder.txt").read_text() == "GOOD!"


def test_other_options_are_another_run(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    for times, expected in (("1", "A!"), ("2", "A!!")):
        process = bulk(tmp_path, "--each", "a.txt", "--times", times)
        process.communicate(timeout=60)
        assert (tmp_path / "a_louder.txt").read_text() == expected


def test_two_files_of_one_name_are_refused(run):
    for folder in ("x", "y"):
        Path(folder).mkdir()
        Path(folder, "a.txt").write_text("a")
    result = run("--each", "x/a.txt", "y/a.txt")
    assert "same outputs" in str(result.exception)
