from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

import harmonia as harmonia_package
from harmonia.app import cli

HARMONIA = Path(sys.executable).with_name("harmonia")


def harmonia(*words: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([HARMONIA, *words], capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize("words", [("--help",), ("list",)])
def test_instant(words):
    """Well under half a second of processor time, and no torch: the machine may be busy, so wall time is not judged."""
    import resource

    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert harmonia(*words).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert statistics.median(times) < 0.5


def test_a_broken_card_is_named_on_stderr_and_the_rest_is_listed(tmp_path):
    package = Path(harmonia_package.__file__).parent
    (tmp_path / "catalogue").mkdir()
    (tmp_path / "catalogue" / "ntk.toml").write_bytes((package / "kernels" / "ntk" / "card.toml").read_bytes())
    (tmp_path / "catalogue" / "wolf.toml").write_text("slug = ")
    code = (
        "import sys; from pathlib import Path; from harmonia.core import registry;"
        f"registry.PACKAGE = Path({str(tmp_path)!r});"
        "from harmonia.app.cli import main; sys.argv = ['harmonia', *sys.argv[1:]]; main()"
    )

    def run(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)

    listed = run("list")
    assert listed.returncode == 0
    assert "ntk" in listed.stdout
    assert "wolf" not in listed.stdout
    assert "wolf.toml cannot be read" in listed.stderr
    assert "Traceback" not in listed.stderr
    asked = run("show", "wolf")
    assert asked.returncode == 2
    assert "wolf.toml cannot be read" in " ".join(asked.stderr.split())


def test_listing_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['harmonia', 'list'];"
        "from harmonia.app.cli import app; app(standalone_mode=False);"
        "heavy = {'torch', 'numpy', 'scipy', 'sklearn', 'matplotlib', 'polars'} & set(sys.modules);"
        "print('HEAVY', sorted(heavy))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "HEAVY []" in result.stdout, result.stderr


def test_list_json_has_every_method_and_its_derived_status():
    rows = json.loads(harmonia("list", "--json").stdout)
    assert len(rows) == 49
    assert len({row["slug"] for row in rows}) == 49
    for row in rows:
        assert {"slug", "title", "arxiv", "field", "status", "outdated"} <= set(row)
        assert row["status"] in ("planned", "built", "measured")


def test_search():
    rows = json.loads(harmonia("search", "separate", "vocals", "--json").stdout)
    assert rows[0]["slug"] == "mel-roformer"
    assert "No method fits" in harmonia("search", "zzzz").stdout


def test_a_planned_method_answers_in_one_sentence():
    planned = next(row["slug"] for row in json.loads(harmonia("list", "--json").stdout) if row["status"] == "planned")
    result = harmonia("run", planned, "file.wav")
    assert result.returncode == 2
    assert f"'{planned}' is planned and not built yet" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in harmonia("run", planned, "--debug").stderr
    assert "Planned: there is no code yet" in " ".join(harmonia("show", planned).stdout.split())


def test_unknown_methods_and_bad_input():
    result = harmonia("run", "mel-rofomer")
    assert (result.returncode, "Did you mean mel-roformer" in result.stderr) == (2, True)
    result = harmonia("run", "ntk", "/no/such/table.csv")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert harmonia("verify", "--tier", "nightly").returncode == 2


def test_help_of_a_method_shows_its_options():
    text = harmonia("run", "mel-roformer", "--help").stdout
    assert "--overlap" in text
    assert "fraction" in text


@pytest.mark.parametrize(("chosen", "found"), [(None, "1000"), ("ACTIVE", None)])
def test_waiting_threads_soon_sleep_unless_told_otherwise(monkeypatch, chosen, found):
    for name, value in (("OMP_WAIT_POLICY", chosen), ("GOMP_SPINCOUNT", None)):
        monkeypatch.setenv(name, value or "")
        if value is None:
            monkeypatch.delenv(name)
    monkeypatch.setattr(cli, "app", lambda: None)
    cli.main()
    assert os.environ.get("GOMP_SPINCOUNT") == found


def test_package_import_is_instant():
    start = time.process_time()
    subprocess.run([sys.executable, "-c", "import harmonia, sys; assert 'torch' not in sys.modules"], check=True)
    assert time.process_time() - start < 0.5
