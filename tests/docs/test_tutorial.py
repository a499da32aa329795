"""Every snippet of the home page and the tutorial runs, in order, and prints what the page shows."""

from __future__ import annotations

import contextlib
import io

import pytest

LANGUAGES = {"python", "sh", "console"}


@pytest.mark.parametrize("page", ["index.md", "tutorial.md"])
def test_snippets_print_what_the_page_shows(page, blocks, run_command, check_shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "tutorial"}
    for block in blocks(page):
        assert block.language in LANGUAGES
        printed = io.StringIO()
        if block.language == "python":
            with contextlib.redirect_stdout(printed):
                exec(compile(block.code, f"docs/{page}", "exec"), names)
        elif block.language == "sh":
            for line in block.code.splitlines():
                printed.write(run_command(line.partition("#")[0], tmp_path))
        check_shown(block, printed.getvalue())
