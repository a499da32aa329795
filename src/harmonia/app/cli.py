"""The command line."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harmonia.core.errors import HarmoniaError

if TYPE_CHECKING:
    from harmonia.core.registry import Method

app = typer.Typer(
    help="Published research methods that run: on your data, with each paper's claim measured.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
Slugs = Annotated[list[str] | None, typer.Argument(help="methods; all built ones when left out", metavar="METHOD...")]
Seed = Annotated[int, typer.Option(help="random seed")]


@app.command("list")
def list_methods(
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    field: Annotated[str | None, typer.Option(help="only this field (kernels, audio, ...)")] = None,
    status: Annotated[str | None, typer.Option(help="only planned, built or measured methods")] = None,
) -> None:
    """List all methods and how far each is."""
    from harmonia.core.registry import methods

    chosen = [m for m in methods() if field in (None, m.card.field) and status in (None, m.status)]
    _print_methods(chosen, as_json)


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(help="what you want to do, for example: separate vocals")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Find methods by what they do."""
    from harmonia.core.registry import search as find_by_words

    _print_methods(find_by_words(" ".join(words)), as_json)


def _print_methods(chosen: list[Method], as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "slug": method.slug,
                "title": method.card.title,
                "arxiv": method.card.arxiv,
                "field": method.card.field,
                "status": method.status,
                "outdated": method.outdated,
                "summary": method.card.summary,
            }
            for method in chosen
        ]
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    from rich.table import Table

    from harmonia.app.console import out

    styles = {"planned": "dim", "built": "yellow", "measured": "green"}
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("method", "field", "status", "what it does"):
        table.add_column(column, no_wrap=column != "what it does")
    for method in chosen:
        status = method.status + (" (outdated)" if method.outdated else "")
        style = styles[method.status]
        table.add_row(f"[bold]{method.slug}[/]", method.card.field, f"[{style}]{status}[/]", method.card.summary)
    out.print(table if chosen else "No method fits.")


@app.command()
def show(slug: Annotated[str, typer.Argument(help="a method", metavar="METHOD")]) -> None:
    """Show a method: what it does, its paper's claims beside ours, weights, licences, errata."""
    from rich.markdown import Markdown

    from harmonia.app.console import out
    from harmonia.app.page import page_of
    from harmonia.core.registry import find

    out.print(Markdown(page_of(find(slug))))


@app.command(context_settings=_PASS_ON)
def run(ctx: typer.Context, slug: Annotated[str, typer.Argument(metavar="METHOD")]) -> None:
    """Run a method on your files, or on its embedded example.

    harmonia run METHOD [JOB] [INPUT...] [--options]; harmonia run METHOD --help shows its options.
    """
    if slug in ("--help", "-h"):
        print(f"Usage: harmonia run METHOD [JOB] [INPUT...] [--options]\n\n{run.__doc__}")
        return
    from harmonia.app.command import run_method

    run_method(slug, ctx.args, f"harmonia run {slug}")


@app.command(context_settings=_PASS_ON)
def train(ctx: typer.Context, slug: Annotated[str, typer.Argument(metavar="METHOD")]) -> None:
    """Train a method on your data: its job 'train'."""
    if slug in ("--help", "-h"):
        print(f"Usage: harmonia train METHOD [INPUT...] [--options]\n\n{train.__doc__}")
        return
    from harmonia.app.command import run_method

    run_method(slug, ["train", *ctx.args], f"harmonia train {slug}")


@app.command()
def verify(
    slugs: Slugs = None,
    tier: Annotated[str, typer.Option(help="budget: quick (seconds), full (minutes on two cores) or gpu")] = "quick",
    seed: Seed = 0,
    keep: Annotated[bool, typer.Option("--record/--no-record", help="write results/<method>.json")] = True,
) -> None:
    """Measure the claims of papers and show them beside the paper's numbers.

    Exits with 1 when something that used to hold no longer does.
    """
    from harmonia.app.verify import verify as verify_methods

    if not verify_methods(slugs or [], tier, seed, keep):  # type: ignore[arg-type]
        raise typer.Exit(1)


@app.command()
def bench(
    slugs: Slugs = None,
    repeats: Annotated[int, typer.Option(help="timed repeats of each side", min=1)] = 5,
    only: Annotated[str, typer.Option(help="only races whose peer or workload contains this")] = "",
    keep: Annotated[bool, typer.Option("--record/--no-record", help="write results/<method>.json")] = True,
) -> None:
    """Race methods against the software a user would otherwise pick."""
    from harmonia.app.bench import bench as bench_methods

    bench_methods(slugs or [], repeats, only, keep)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="folder to write to")] = Path("demo"),
) -> None:
    """A tour on embedded data: a song taken apart, a kernel that learns, a map of the world."""
    from harmonia.app.demo import tour

    tour(out)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port to listen on", min=0, max=65535)] = 7860,
) -> None:
    """Open the web page over all methods."""
    from harmonia.app.web import serve as serve_page

    serve_page(host, port)


@app.command()
def report(
    out: Annotated[Path, typer.Option(help="HTML file to write")] = Path("report.html"),
    readme: Annotated[bool, typer.Option("--readme", help="also renew the table in README.md")] = False,
) -> None:
    """Write one page over all results: claim, paper, ours, verdict, ratio to the peer."""
    from harmonia.app.report import write_readme_table, write_report

    print(write_report(out))
    if readme:
        print(write_readme_table())


def main() -> None:
    """Entry point: errors of ours are printed as what, got, mend, with exit code 2."""
    # Read by OpenMP when torch is imported. Threads that spin for long while they wait make small steps up to six times
    # slower where another program is busy; threads that sleep at once make them twice as slow everywhere.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    debug = "--debug" in sys.argv or bool(os.environ.get("HARMONIA_DEBUG"))
    sys.argv = [word for word in sys.argv if word != "--debug"]
    try:
        app()
    except HarmoniaError as error:
        if debug:
            raise
        from harmonia.app.console import print_error

        print_error(error)
        sys.exit(2)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
