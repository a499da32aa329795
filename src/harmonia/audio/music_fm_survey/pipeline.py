"""Typed pipelines of the library's methods, without a planner.

A pipeline is a list of steps such as ``["mel-roformer:vocals", "s2cap"]``: each step is a method (``slug`` or
``slug.job``), and what follows the colon names the output that goes on. The next step takes what fits its type. All
types are checked before anything runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmonia.audio.music_fm_survey.tools import Schema, export_schema, kind_of
from harmonia.core.errors import InputError
from harmonia.core.media import Media
from harmonia.core.progress import say
from harmonia.core.registry import find
from harmonia.core.task import Job, find_job, jobs_in
from harmonia.media import Audio, Score, Table, Text

Chooser = Callable[[str, list[Schema]], Sequence[str]]
_READABLE: tuple[type[Media], ...] = (Audio, Score, Table, Text)


@dataclass(frozen=True)
class Step:
    """A step of a pipeline: a job, the output that goes on (None: the first that fits), and options.

    Example:
        >>> Step.read("mel-roformer.separate:vocals").take
        'vocals'
    """

    slug: str
    job: Job
    take: str | None = None

    @classmethod
    def read(cls, text: str) -> Step:
        """Read ``slug[.job][:output]``.

        Raises:
            InputError: no such method, job or output.
        """
        name, _, take = text.partition(":")
        slug, _, job_name = name.partition(".")
        job = find_job(jobs_in(find(slug).module("task")), job_name or None)
        outputs = [output.name for output in job.outputs if output.is_media]
        if take and take not in outputs:
            raise InputError(f"'{name}' has no output '{take}'", ", ".join(outputs), "Use one of these.")
        return cls(slug, job, take or None)

    @property
    def label(self) -> str:
        """Method and job."""
        return f"{self.slug}.{self.job.name}"

    @property
    def gives(self) -> dict[str, type]:
        """Media that go on to the next steps, by name."""
        return {o.name: o.type for o in self.job.outputs if o.is_media and self.take in (None, o.name)}


def check(steps: Sequence[str], start: type[Media]) -> list[Step]:
    """Read a pipeline and check that every step finds what it needs among what came before.

    Arguments:
        steps: As in the module's description.
        start: Type of what the pipeline begins with.

    Raises:
        InputError: no steps, an unknown one, or one whose inputs nothing before it gives.

    Example:
        >>> [step.label for step in check(["mel-roformer:vocals", "mel-roformer.transcribe"], Audio)]
        ['mel-roformer.separate', 'mel-roformer.transcribe']
    """
    if not steps:
        raise InputError("a pipeline has steps", "none", "Name methods, such as mel-roformer.")
    read = [Step.read(text) for text in steps]
    there: list[type] = [start]
    for step in read:
        for parameter in step.job.inputs:
            needed = parameter.is_media and parameter.default is inspect.Parameter.empty
            if needed and not any(issubclass(each, parameter.type) for each in there):
                have = ", ".join(sorted({kind_of(each) for each in there}))
                mend = "Put a step before it that gives one."
                raise InputError(f"'{step.label}' needs {kind_of(parameter.type)}", f"only {have}", mend)
        there += step.gives.values()
    return read


def run(steps: Sequence[str], start: Media | str | Path, **options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Run a pipeline; gives the outputs of every step by its name.

    Each media input takes the latest output of its type, or what the pipeline began with.

    Arguments:
        steps: As in the module's description.
        start: A medium, or a file.
        options: Options of a step by its slug, with underscores: ``mel_roformer={"overlap": 0.5}``.

    Raises:
        InputError: as `check`, or a file that is no medium.
    """
    first = start if isinstance(start, Media) else _read(Path(start))
    pipeline = check(steps, type(first))
    there: list[Media] = [first]
    results: dict[str, dict[str, Any]] = {}
    for step in pipeline:
        given = dict(options.get(step.slug.replace("-", "_"), {}))
        for parameter in step.job.inputs:
            fitting = [each for each in there if isinstance(each, parameter.type)]
            if parameter.is_media and fitting and parameter.name not in given:
                given[parameter.name] = fitting[-1:] if parameter.many else fitting[-1]
        say(f"Running {step.label}.")
        results[step.label] = step.job.run(given)
        there += [results[step.label][name] for name in step.gives]
    return results


def plan(request: str, chooser: Chooser, start: type[Media] = Audio) -> list[Step]:
    """Let a callable (a language model, a rule) choose the steps for a request; they are checked before they count.

    Arguments:
        request: What somebody wants.
        chooser: From the request and the tools' descriptions to steps.
        start: Type of what the pipeline begins with.
    """
    return check(list(chooser(request, export_schema())), start)


def _read(path: Path) -> Media:
    errors = []
    for kind in _READABLE:
        try:
            return kind.read(path)
        except InputError as error:
            errors.append(str(error))
    raise InputError("the file is no medium that a pipeline begins with", errors[0], "Pass audio, a score or a table.")
