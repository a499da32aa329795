"""The site: every method has a page, nothing is fetched from elsewhere, a fault stops the build."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest

from harmonia.app import docs
from harmonia.core.errors import InputError
from harmonia.core.registry import methods

pytest.importorskip("material")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make docs` builds it; in another process, where importing is not slowed by the checks of shapes."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "harmonia.app.docs", "--strict", "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_method_has_a_page(site):
    for method in methods():
        page = (site / "methods" / f"{method.slug}.html").read_text(encoding="utf-8")
        assert method.card.arxiv in page
        assert ("Planned: there is no code yet." in page) != method.built


def test_built_methods_show_their_jobs_and_names(site):
    for method in methods():
        if method.built:
            page = (site / "methods" / f"{method.slug}.html").read_text(encoding="utf-8")
            assert f"harmonia run {method.slug}" in re.sub(r"<[^>]+>", "", page)
            assert "In Python" in page


def test_nothing_is_fetched_from_elsewhere(site):
    fetched = re.compile(r"<(?:script|img|link|iframe|source)\b[^>]*(?:src|href)=[\"']?(?:https?:)?//", re.IGNORECASE)
    for page in site.rglob("*.html"):
        assert not fetched.search(page.read_text(encoding="utf-8")), page


def test_errata_and_weights_of_all_cards_are_listed(site):
    errata = (site / "errata.html").read_text(encoding="utf-8")
    weights = (site / "weights.html").read_text(encoding="utf-8")
    for method in methods():
        assert (f'id="{method.slug}"' in errata) == bool(method.card.errata)
        assert all(entry.repo in weights for entry in method.card.weights)


def test_a_dead_link_stops_the_build(tmp_path, monkeypatch):
    source = tmp_path / "docs"
    shutil.copytree(docs.SOURCE, source)
    (source / "index.md").write_text("# Home\n\n[nowhere](nowhere.md)\n", encoding="utf-8")
    monkeypatch.setattr(docs, "SOURCE", source)
    monkeypatch.setattr(docs, "methods", tuple)
    with pytest.raises(InputError, match="fault"):
        docs.build(tmp_path / "site", strict=True)


def test_an_installed_library_has_no_site(tmp_path, monkeypatch):
    monkeypatch.setattr(docs, "SOURCE", tmp_path)
    with pytest.raises(InputError, match="checkout"):
        docs.build(tmp_path / "site")
