from __future__ import annotations

import re

import pytest

from harmonia.app import report
from harmonia.app.document import document, table
from harmonia.core.errors import InputError
from harmonia.core.registry import methods


def test_the_report_names_every_method(tmp_path):
    text = report.write_report(tmp_path / "report.html").read_text()
    for method in methods():
        assert f">{method.slug}</a>" in text
    assert not re.search(r'(src|href)="(?!https://arxiv|data:|#)', text), "the report must be self-contained"


def test_every_finding_of_the_record_is_on_the_page(tmp_path):
    text = report.write_report(tmp_path / "report.html").read_text()
    for method in methods():
        for finding in method.results.findings if method.results and method.status == "measured" else []:
            assert finding.verdict in text


def test_the_readme_table_is_the_one_made_from_the_results(tmp_path):
    """`harmonia report --readme` renews it."""
    assert f"{report.BEGIN}\n{report.readme_table()}\n{report.END}" in report.README.read_text()


def test_a_readme_without_a_place_is_refused(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# x")
    with pytest.raises(InputError, match="no place for the table"):
        report.write_readme_table(path)
    path.write_text(f"a\n{report.BEGIN}\nstale rows\n{report.END}\nb\n")
    report.write_readme_table(path)
    text = path.read_text()
    assert text.startswith("a\n")
    assert text.endswith("\nb\n")
    assert "stale" not in text


def test_only_html(tmp_path):
    with pytest.raises(InputError, match="HTML"):
        report.write_report(tmp_path / "report.pdf")


def test_document_and_table():
    page = document("A <b>", [table(["x", "y"], [["1", "2"]], numeric=[1])])
    assert "<title>A &lt;b&gt;</title>" in page
    assert "<tr><td>1</td><td class=n>2</td></tr>" in page
