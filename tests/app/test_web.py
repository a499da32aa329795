"""The web page, seen through a real browser."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from harmonia.app import web
from harmonia.core.registry import methods

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def url():
    pytest.importorskip("gradio", reason="needs gradio (extra `web`)")
    with web.page() as blocks:
        blocks.launch(server_name="127.0.0.1", prevent_thread_lock=True, **web.launch_options())
        yield blocks.local_url.rstrip("/")
        blocks.close()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra `dev`)")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def tab(browser):
    page = browser.new_page(viewport={"width": 1200, "height": 1400})
    page.set_default_timeout(60_000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    outside = [u for u in asked if not u.startswith(("http://127.0.0.1", "data:", "blob:"))]
    page.close()
    assert not outside, "the page must not ask anyone else"


def picture(tab, name: str) -> None:
    """Keep a screenshot where WEB_SCREENSHOTS says, for people to look at."""
    if folder := os.environ.get("WEB_SCREENSHOTS"):
        tab.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.debian
def test_catalogue_search_and_filters(url, browser, tab):
    tab.goto(url)
    tab.wait_for_selector(".cards a")
    assert tab.locator(".cards a").count() == len(methods())
    picture(tab, "catalogue")
    tab.get_by_label("What do you want to do?").fill("separate vocals")
    tab.wait_for_function("document.querySelectorAll('.cards a').length < 30")
    assert tab.locator(".cards a b").first.inner_text() == "mel-roformer"


@pytest.mark.debian
def test_a_planned_method_says_so(url, tab):
    planned = next(method for method in methods() if not method.built)
    tab.goto(f"{url}/{planned.slug}")
    tab.get_by_text("Planned: there is no code yet.").wait_for()
    assert tab.get_by_role("button", name="Run").count() == 0


@pytest.mark.debian
def test_takes_the_embedded_song_apart(url, tab):
    tab.goto(f"{url}/mel-roformer")
    tab.get_by_role("button", name="Run").first.click()
    tab.get_by_text("Done in").wait_for(timeout=240_000)
    players = tab.locator("audio, [data-testid*='waveform'], [data-testid*='audio']")
    assert players.count() >= 2
    tab.wait_for_timeout(1500)
    picture(tab, "mel-roformer")


@pytest.mark.debian
def test_a_bad_upload_shows_the_sentence(url, tab, tmp_path):
    bad = tmp_path / "table.csv"
    bad.write_text("a,b\n1\n")
    tab.goto(f"{url}/ntk")
    tab.locator("input[type=file]").first.set_input_files(bad)
    tab.wait_for_timeout(1500)
    tab.get_by_role("button", name="Run").first.click()
    tab.locator(".toast-body.error, .toast-wrap .error").first.wait_for()
    picture(tab, "error")


def test_visits_are_apart_and_end(tmp_path):
    visits = web.Visits(tmp_path)
    one, two = visits.folder("one"), visits.folder("two")
    assert one.parent != two.parent
    stop = visits.started("one")
    visits.stop("one")
    assert stop.is_set()
    visits.end("one")
    assert not one.exists()
    assert two.exists()
    visits.end("never seen")


def test_everything_goes_when_the_page_closes():
    pytest.importorskip("gradio", reason="needs gradio (extra `web`)")
    with web.page():
        folder = Path(os.environ["GRADIO_TEMP_DIR"]).parent
        assert folder.exists()
    assert not folder.exists()


def test_numbers_that_may_be_left_out_start_empty():
    pytest.importorskip("gradio")
    from harmonia.core.registry import find
    from harmonia.core.task import find_job, jobs_in

    job = find_job(jobs_in(find("effective-theory").module("task")), "analyze")
    controls = {parameter.name: web._control(parameter) for parameter in job.parameters}
    assert type(controls["width"]).__name__ == "Number"
    assert controls["weight_variance"].value in (None, "")
    assert type(controls["weight_variance"]).__name__ == "Textbox"


def test_tables_are_shown_as_rows_and_what_is_missing_is_hidden(tmp_path):
    pytest.importorskip("gradio")
    import polars

    from harmonia.core.registry import find
    from harmonia.core.task import find_job, jobs_in
    from harmonia.media import Table

    job = find_job(jobs_in(find("mossformer2").module("task")), "separate")
    outputs = {output.name: output for output in job.outputs}
    rows = Table(polars.DataFrame({"start_s": polars.Series([0.1] * 300, dtype=polars.Float32)}))
    _, shown = web._shown(outputs["turns"], rows, tmp_path)
    assert shown.shape == (web.ROWS_SHOWN, 1)
    assert shown["start_s"][0] == 0.1  # not 0.10000000149
    column, *nothing = web._shown(outputs["speaker3"], None, tmp_path)
    assert not column.visible
    assert nothing == [None, None]
    assert [web._kind(output) for output in web._in_order(job.outputs)] == ["audio"] * 3 + ["figure", "table"]
