"""``harmonia run <method>``: a command made from a job's signature."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from typer.core import TyperCommand

from harmonia.app.console import err, out, print_error, progress_bars, values_table
from harmonia.core.errors import HarmoniaError, InputError
from harmonia.core.media import Media
from harmonia.core.registry import Method, find
from harmonia.core.scale import Engine, Ledger, map_blocks
from harmonia.core.task import Job, Parameter, find_job, jobs_in


def run_method(slug: str, arguments: Sequence[str], prog: str) -> None:
    """Run a method's job on command-line arguments: ``[job] inputs... [--options]``."""
    method = find(slug)
    jobs = jobs_in(method.module("task"))
    names = {job.name for job in jobs}
    named = bool(arguments) and arguments[0] in names
    job = find_job(jobs, arguments[0] if named else None)
    command = command_of(method, job, others=[] if named else [other.name for other in jobs[1:]])
    command(args=list(arguments[1:] if named else arguments), prog_name=f"{prog} {job.name}" if named else prog)


def command_of(method: Method, job: Job, others: Sequence[str] = ()) -> typer.Typer:
    """A Typer application with the one command that `job` is."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

    def command(out: str, each: bool, engine: str, workers: int | None, **given: Any) -> None:
        folder = Path(out)
        if each:
            _run_each(method, job, given, folder, engine, workers)
        else:
            _run_once(method, job, given, folder)

    last = next((parameter for parameter in reversed(job.inputs) if parameter.is_media), None)
    parameters = [_typer_parameter(parameter, takes_rest=parameter is last) for parameter in job.parameters]
    parameters += [
        _option("out", str, ".", "folder that the outputs are written to", "folder"),
        _option("each", bool, False, "run once for every file given; continues where an earlier run stopped"),
        _option("engine", str, "serial", "where --each runs", "|".join(get_args(Engine))),
        _option("workers", int | None, None, "how many files at once with --each [default: one a core]", "int"),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    notes = [job.summary, _blocks_kept(job.description)]
    if others:
        notes.append(f"Other jobs of {method.slug}: {', '.join(others)}.")
    app.command(help="\n\n".join(filter(None, notes)), cls=_Command)(command)
    return app


def _blocks_kept(text: str) -> str:
    """Mark indented paragraphs, so that the help shows their lines as they are."""
    return re.sub(r"(^|\n\n)(?= {4})", "\\1\b\n", text)


class _Command(TyperCommand):
    """A command whose help names its inputs as the user knows them, not by the Python type of their words."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        parameters = self.get_params(ctx)
        arguments: Any = [p for p in parameters if p.param_type_name == "argument"]
        inputs = [(f"{p.metavar}{'...' * (p.nargs != 1)}", p.help) for p in arguments]
        options = [record for p in parameters if p not in arguments and (record := p.get_help_record(ctx))]
        for title, records in (("Arguments", inputs), ("Options", options)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _option(name: str, type_: Any, default: Any, text: str, metavar: str | None = None) -> inspect.Parameter:
    flag = f"--{name.replace('_', '-')}"
    annotation = Annotated[type_, typer.Option(flag, help=text, metavar=metavar)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _typer_parameter(parameter: Parameter, takes_rest: bool) -> inspect.Parameter:
    """Inputs become arguments, options become flags; every word is parsed by `Parameter.parse`, in one place.

    Arguments:
        takes_rest: Whether it takes all words that are left: with --each any number of files may be given.
    """
    text = parameter.field.text
    if parameter.is_input:
        metavar = parameter.name.upper()
        text = f"{text} [{_kind(parameter)}]"
        if parameter.field.example is not None:
            text = f"{text} (left out: the embedded example)"
        type_: Any = list[str] | None if takes_rest else str | None
        annotation: Any = Annotated[type_, typer.Argument(help=text, metavar=metavar, show_default=False)]
        return inspect.Parameter(parameter.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
    flag = parameter.name.replace("_", "-")
    if parameter.type is bool and not parameter.optional:
        annotation = Annotated[bool, typer.Option(f"--{flag}/--no-{flag}", help=text)]
        return inspect.Parameter(
            parameter.name, inspect.Parameter.KEYWORD_ONLY, default=parameter.default, annotation=annotation
        )
    if parameter.default not in (None, inspect.Parameter.empty):
        text = f"{text} [default: {parameter.default}]"
    metavar = "|".join(map(str, parameter.choices)) or _kind(parameter)
    type_ = list[str] | None if parameter.many else str | None
    annotation = Annotated[type_, typer.Option(f"--{flag}", help=text, metavar=metavar, show_default=False)]
    return inspect.Parameter(parameter.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _kind(parameter: Parameter) -> str:
    """What one value is, in a word: a medium, path, str, int or float."""
    return parameter.type.kind if parameter.is_media else parameter.type.__name__.lower()  # type: ignore[attr-defined]


def _spread(job: Job, given: Mapping[str, Any]) -> dict[str, Any]:
    """Share the words given for media out to the job's inputs, in order."""
    values = dict(given)
    media = [p for p in job.inputs if p.is_media]
    words = [word for p in media for word in _listed(values.pop(p.name, None))]
    for parameter in media:
        if parameter.many:
            values[parameter.name], words = words, []
        elif words:
            values[parameter.name], *words = words
    if words:
        raise InputError(
            f"'{job.name}' takes {len(media)} input{'s' * (len(media) != 1)}",
            f"also {', '.join(words)}",
            "Add --each to run once for every file.",
        )
    return values


def _listed(words: str | list[str] | None) -> list[str]:
    return [words] if isinstance(words, str) else words or []


def _stem(job: Job, given: Mapping[str, Any], slug: str) -> str:
    """Outputs are named after the first input file."""
    for parameter in job.inputs:
        value = given.get(parameter.name)
        if parameter.is_media and value:
            return Path(value[0] if isinstance(value, list) else value).stem
    return slug


def _run_once(method: Method, job: Job, given: Mapping[str, Any], folder: Path) -> None:
    values = _spread(job, given)
    with progress_bars():
        outputs = job.run(values)
        written = job.save(outputs, folder, _stem(job, values, method.slug))
    for path in written:
        out.print(str(path), markup=False)
    scalars = {n: value for n, value in outputs.items() if value is not None and not isinstance(value, Media)}
    if scalars:
        out.print(values_table(scalars))


def _run_each(
    method: Method, job: Job, given: Mapping[str, Any], folder: Path, engine: str, workers: int | None
) -> None:
    media = [p for p in job.inputs if p.is_media]
    if not media or media[0].many:
        raise InputError("--each needs a job that takes one file", job.name, "Leave out --each.")
    files = [word for p in media for word in _listed(given.get(p.name))]
    if not files:
        raise InputError("--each needs files", "none", "Name the files to run on.")
    options = {p.name: given[p.name] for p in job.parameters if p not in media and given.get(p.name) is not None}
    ledger = Ledger(folder / f".{method.slug}-{job.name}.finished")

    def name(file: str) -> str:
        return json.dumps([str(Path(file).resolve()), options], sort_keys=True)

    stems = [Path(file).stem for file in files]
    if len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise InputError("two files would write the same outputs", twice, "Rename one, or use another --out folder.")
    todo = [file for file in files if name(file) not in ledger]
    if len(todo) < len(files):
        err.print(f"{len(files) - len(todo)} of {len(files)} files were finished by an earlier run.", style="dim")
    blocks = [(method.slug, job.name, media[0].name, file, options, str(folder)) for file in todo]
    failed = 0
    with progress_bars():
        results = map_blocks(_run_file, blocks, engine=engine, workers=workers, label="Files")  # type: ignore[arg-type]
        for file, result in zip(todo, results):
            if isinstance(result, HarmoniaError):
                failed += 1
                err.print(f"{file}:", markup=False)
                print_error(result)
            else:
                ledger.add(name(file))
                for path in result:
                    out.print(path, markup=False)
    if failed:
        raise InputError(f"{failed} of {len(files)} files failed", "the errors above", "Mend them and run again.")


def _run_file(block: tuple[str, str, str, str, dict[str, Any], str]) -> list[str] | HarmoniaError:
    """One file of a bulk run; at module level so that it can be sent to another process or machine."""
    slug, job_name, parameter, file, options, folder = block
    job = find_job(jobs_in(find(slug).module("task")), job_name)
    try:
        outputs = job.run({parameter: file, **options})
        return [str(path) for path in job.save(outputs, Path(folder), Path(file).stem)]
    except HarmoniaError as error:
        return error
