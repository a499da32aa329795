"""Following the page word by word adds a method that runs, is found and is measured."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from harmonia.core.registry import PACKAGE

PAGE = "add-a-method.md"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, blocks):
    """A copy of the library with the files of the page in it."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(PACKAGE, folder / "src" / "harmonia", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pyproject.toml").touch()
    for block in blocks(PAGE):
        if block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code, encoding="utf-8")
    return folder


def test_commands_of_the_page_print_what_it_shows(checkout, blocks, run_command, check_shown):
    commands = [block for block in blocks(PAGE) if block.language == "sh"]
    assert len(commands) == 3
    for block in commands:
        check_shown(block, run_command(block.code, checkout, checkout / "src"))


def test_its_doctest_and_style_pass(checkout):
    method = checkout / "src" / "harmonia" / "tables" / "jackknife_plus"
    ruff = [sys.executable, "-m", "ruff", "check", "--config", str(PACKAGE.parents[1] / "pyproject.toml"), str(method)]
    assert subprocess.run(ruff, capture_output=True, check=False).returncode == 0
    doctests = [sys.executable, "-m", "doctest", str(method / "intervals.py")]
    environment = {"PYTHONPATH": str(checkout / "src")}
    done = subprocess.run(doctests, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
