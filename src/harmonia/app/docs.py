"""The site: the hand-written pages of ``docs/``, and pages made from cards, jobs, docstrings and results.

``python -m harmonia.app.docs --strict`` builds it into ``site/``, without a network.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from harmonia.app.page import (
    evidence,
    findings_markdown,
    introduction,
    jobs_markdown,
    markdown_table,
    races_markdown,
)
from harmonia.app.reference import media_reference, reference_of
from harmonia.core.card import FIELDS
from harmonia.core.claim import HOLDS
from harmonia.core.errors import InputError, require
from harmonia.core.media import Media
from harmonia.core.registry import Method, methods

SOURCE = Path(__file__).resolve().parents[3] / "docs"


def build(out: Path, strict: bool = True) -> int:
    """Build the site into `out` and return the number of pages.

    Arguments:
        strict: Whether a warning (a dead link, a page nobody links to) is an error.

    Raises:
        InputError: this is not a checkout, or, when strict, the pages have a fault.
    """
    if not (SOURCE / "mkdocs.yml").is_file():
        raise InputError("the pages of the site are not here", SOURCE, "Build the site in a checkout.")
    require("mkdocs", extra="dev")
    # The theme advertises its successor on standard error of every build.
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")
    from mkdocs.commands.build import build as build_site
    from mkdocs.config import load_config
    from mkdocs.exceptions import MkDocsException

    logging.getLogger("mkdocs").addHandler(logging.StreamHandler())
    with tempfile.TemporaryDirectory() as temporary:
        pages = Path(temporary)
        shutil.copytree(SOURCE, pages, dirs_exist_ok=True, ignore=shutil.ignore_patterns("mkdocs.yml"))
        nav = [*_written(), *write_pages(pages)]
        config = load_config(
            str(SOURCE / "mkdocs.yml"), docs_dir=str(pages), site_dir=str(out.resolve()), strict=strict, nav=nav
        )
        try:
            build_site(config)
        except MkDocsException as error:
            raise InputError("the pages have a fault", error, "The warnings above name the page.") from error
        return len(list(pages.rglob("*.md")))


def _written() -> list[dict[str, Any]]:
    return [{"Home": "index.md"}, {"Tutorial": "tutorial.md"}, {"Add a method": "add-a-method.md"}]


def write_pages(folder: Path) -> list[dict[str, Any]]:
    """Write the generated pages into `folder` and return their part of the navigation."""
    known = methods()
    (folder / "methods").mkdir(exist_ok=True)
    for method in known:
        (folder / _path(method)).write_text(method_page(method), encoding="utf-8")
    for name, text in (
        ("methods/index.md", overview(known)),
        ("media.md", media()),
        ("measured.md", measured(known)),
        ("errata.md", errata(known)),
        ("weights.md", weights(known)),
    ):
        (folder / name).write_text(text, encoding="utf-8")
    by_field = [
        {field.capitalize(): [{method.slug: _path(method)} for method in known if method.card.field == field]}
        for field in FIELDS
    ]
    return [
        {"Methods": ["methods/index.md", *(entry for entry in by_field if any(entry.values()))]},
        {"Media": "media.md"},
        {"Measured": "measured.md"},
        {"Errata": "errata.md"},
        {"Weights and licences": "weights.md"},
    ]


def _path(method: Method) -> str:
    return f"methods/{method.slug}.md"


def method_page(method: Method) -> str:
    """What ``harmonia show`` prints, with the method's Python names between use and evidence."""
    words = ", ".join(method.card.search)
    parts = [
        introduction(method),
        *([jobs_markdown(method), reference_of(method)] if method.built else []),
        evidence(method),
        f"*Keywords: {words}.*" if words else "",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def overview(known: tuple[Method, ...]) -> str:
    """All methods by field, with how far each is."""
    counts = Counter(method.status for method in known)
    parts = [
        "# Methods",
        f"{len(known)} papers: {counts['measured']} measured, {counts['built']} built, {counts['planned']} planned. "
        "A *planned* method has a page with what its paper and its release offer, and no code yet; a *built* one runs; "
        "a *measured* one has its paper's claims beside our numbers.",
    ]
    for field in FIELDS:
        rows = [
            [f"[{method.slug}]({method.slug}.md)", method.card.summary, method.status]
            for method in known
            if method.card.field == field
        ]
        if rows:
            parts += [f"## {field.capitalize()}", markdown_table(["method", "what you can do with it", "status"], rows)]
    return "\n\n".join(parts) + "\n"


def media() -> str:
    """What jobs take and give."""
    from harmonia import media as package

    kinds = [getattr(package, name) for name in package.__all__ if issubclass(getattr(package, name), Media)]
    rows = [[f"`{kind.__name__}`", kind.kind, ", ".join(kind.suffixes)] for kind in kinds]
    return "\n\n".join(
        [
            "# Media",
            "What jobs take and give. Files are read by their content, not by their suffix; a file that cannot be "
            "used is refused with what is wrong, what was found and what to do. Files are written whole or not at all.",
            markdown_table(["class", "kind", "written to"], rows),
            media_reference(),
        ]
    )


def measured(known: tuple[Method, ...]) -> str:
    """Every claim that was measured and every race that was run."""
    parts = [
        "# Measured",
        "What each paper reports beside what this library measures, at a scale that a laptop affords. A verdict "
        "follows from the numbers alone. `harmonia verify METHOD` repeats the measurement on your machine.",
    ]
    for method in known:
        results = method.results
        if results is None or not (results.findings or results.races):
            continue
        held = sum(finding.verdict in HOLDS for finding in results.findings)
        stale = " These numbers are older than the code." if method.outdated else ""
        hold = f"{held} of {len(results.findings)} hold.{stale}"
        parts.append(f"## {method.slug}\n\n[{method.card.title}]({_path(method)}): {hold}")
        parts += [
            text.replace("## ", "### ", 1) for text in (findings_markdown(results), races_markdown(results)) if text
        ]
    return "\n\n".join(parts) + "\n"


def errata(known: tuple[Method, ...]) -> str:
    """Defects of official releases, and what ours does instead."""
    total = sum(len(method.card.errata) for method in known)
    parts = [
        "# Errata of official releases",
        f"{total} defects found while reading and running what papers released. Ours is right by default where a "
        "method is built; where released weights or published numbers depend on the defect, a flag reproduces it.",
    ]
    for method in known:
        rows = [[e.defect, e.ours, f"`{e.compat}`" if e.compat else ""] for e in method.card.errata]
        if rows:
            parts += [
                f"## {method.slug}\n\n[{method.card.title}]({_path(method)}), {method.status}.",
                markdown_table(["official release", "ours", "kept behind"], rows),
            ]
    return "\n\n".join(parts) + "\n"


def weights(known: tuple[Method, ...]) -> str:
    """All released weights with every licence that is stated for them."""
    rows = [
        [f"[{method.slug}]({_path(method)})", entry.name, entry.repo or "elsewhere", " / ".join(entry.license)]
        for method in known
        for entry in method.card.weights
    ]
    return "\n\n".join(
        [
            "# Weights and licences",
            "Weights that authors released, with every licence that is stated for them; where several are stated, all "
            "are shown and none is chosen. Nothing here is legal advice. Weights trained by this project are small, "
            "lie in the package, and carry its own licence; the README beside each says how they were made.",
            markdown_table(["method", "weights", "repository", "licences"], rows),
        ]
    )


def main(
    out: Annotated[Path, typer.Option(help="folder to write the site to")] = Path("site"),
    strict: Annotated[bool, typer.Option("--strict", help="treat warnings as errors")] = False,
) -> None:
    """Build the site."""
    print(f"{build(out, strict)} pages in {out}/")


if __name__ == "__main__":
    typer.run(main)
