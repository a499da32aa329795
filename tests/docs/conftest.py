"""Hand-written pages as programs: what they show is what happens."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
SAME = doctest.OutputChecker().check_output


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `shown` is the output that the next block promises."""

    language: str
    title: str
    code: str
    shown: str | None


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page of ``docs/``; a ``text`` block belongs to the one before it."""
    found = FENCE.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    shown = [code if language == "text" else None for language, _, code in [*found[1:], ("", "", "")]]
    return [
        Block(language, title, code, output)
        for (language, title, code), output in zip(found, shown)
        if language != "text"
    ]


@pytest.fixture(scope="session")
def blocks():
    return blocks_of


@pytest.fixture(scope="session")
def check_shown():
    """Compare real output with what the page shows: spaces are free, ``...`` stands for anything."""

    def check(block: Block, output: str) -> None:
        if block.shown is None:
            return
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        assert SAME(block.shown, output, flags), f"{block.code}\nshows\n{block.shown}\nbut prints\n{output}"

    return check


@pytest.fixture(scope="session")
def run_command():
    """Run a command line of a page in a folder; the library may come from another place than the installed one."""

    def run(line: str, folder: Path, source: Path | None = None) -> str:
        words = line.split()
        assert words[0] == "harmonia", line
        environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1"}
        if source is not None:
            environment["PYTHONPATH"] = str(source)
        command = [sys.executable, "-m", "harmonia.app.cli", *words[1:]]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
