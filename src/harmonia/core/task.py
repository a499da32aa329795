"""Jobs: plain typed functions that take a user's media and give media back.

A method's ``task.py`` lists its jobs in ``JOBS``; the first is the default. Everything else (command line, ``--help``,
web form, docs page) is derived from the signature and docstring of the function, by this module's `Job`::

    class Separated(TypedDict):
        vocals: Annotated[Audio, Field("the singing voice")]
        report: Figure

    def separate(
        song: Annotated[Audio, Field("the mixture", example=demo_song)],
        *,
        overlap: Annotated[float, Field("overlap of neighbouring chunks", unit="fraction", ge=0, lt=1)] = 0.25,
    ) -> Separated:
        '''Take a song apart.'''

    JOBS = (separate,)

Positional parameters are inputs, keyword-only parameters are options. An input with an ``example`` may be left out:
the job then runs on that embedded default.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin

from harmonia.core.errors import InputError
from harmonia.core.media import Media
from harmonia.core.progress import say

_SCALARS = (bool, int, float, str, Path)


@dataclass(frozen=True)
class Field:
    """What a user should know about a parameter or an output.

    Arguments:
        help: One phrase, lower case, without a full stop.
        unit: Unit of a number ("s", "Hz", "dB", "fraction").
        example: Returns the embedded default of an input; called only when the user gives none.
        read: Reads an input from a file, where not its medium does.
        ge, gt, le, lt: Bounds of a number.
    """

    help: str
    unit: str = ""
    example: Callable[[], Any] | None = None
    read: Callable[[str | Path], Any] | None = None
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    @property
    def text(self) -> str:
        """Help with unit and range, as shown to the user."""
        bounds = [
            f"{sign} {bound:g}"
            for sign, bound in ((">=", self.ge), (">", self.gt), ("<=", self.le), ("<", self.lt))
            if bound is not None
        ]
        notes = "; ".join(filter(None, [self.unit, " and ".join(bounds)]))
        return f"{self.help} [{notes}]" if notes else self.help


@dataclass(frozen=True)
class Parameter:
    """One parameter of a job.

    Attributes:
        type: The medium or scalar type of one value.
        choices: The allowed values of a ``Literal``.
        many: Whether it takes a list of values.
        optional: Whether None is allowed.
        is_input: Whether it is positional (an input) rather than an option.
    """

    name: str
    type: type
    field: Field
    default: Any
    choices: tuple[Any, ...]
    many: bool
    optional: bool
    is_input: bool

    @property
    def is_media(self) -> bool:
        return issubclass(self.type, Media)

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty and self.field.example is None

    def parse(self, value: Any) -> Any:
        """Turn what a user gave (a path, a word) into the value the job takes, and check its range.

        Raises:
            InputError: a word that is no such number or choice, or a value out of range.
        """
        if value is None and self.optional:
            return None
        if self.many:
            values = value if isinstance(value, (list, tuple)) else [value]
            return [self._parse_one(entry) for entry in values]
        return self._parse_one(value)

    def _parse_one(self, value: Any) -> Any:
        if self.is_media:
            read = self.field.read or self.type.read  # type: ignore[attr-defined]
            return value if isinstance(value, self.type) else read(value)
        if self.choices:
            for choice in self.choices:
                if str(value) == str(choice):
                    return choice
            allowed = ", ".join(map(str, self.choices))
            raise InputError(f"'{self.name}' has no such choice", f"'{value}'", f"Use one of: {allowed}.")
        if self.type is bool:
            return _boolean(self.name, value)
        if self.type in (int, float):
            return self._number(value)
        if self.type is Path:
            path = Path(value).expanduser()
            if not path.exists():
                raise InputError(f"'{self.name}' does not exist", path, "Check the path.")
            return path
        return str(value)

    def _number(self, value: Any) -> int | float:
        try:
            number = self.type(value)
        except (TypeError, ValueError, OverflowError):
            kind = "a whole number" if self.type is int else "a number"
            raise InputError(f"'{self.name}' is {kind}", f"'{value}'", f"Expected: {self.field.text}.") from None
        field = self.field
        inside = (
            number == number
            and (field.ge is None or number >= field.ge)
            and (field.gt is None or number > field.gt)
            and (field.le is None or number <= field.le)
            and (field.lt is None or number < field.lt)
        )
        if not inside:
            raise InputError(f"'{self.name}' is out of range", value, f"Expected: {field.text}.")
        return number


@dataclass(frozen=True)
class Output:
    """One declared output of a job."""

    name: str
    type: type
    field: Field

    @property
    def is_media(self) -> bool:
        return issubclass(self.type, Media)


@dataclass(frozen=True)
class Job:
    """A typed function, read once, offered everywhere."""

    function: Callable[..., Mapping[str, Any]]
    name: str
    summary: str
    description: str
    parameters: tuple[Parameter, ...]
    outputs: tuple[Output, ...]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Job:
        """Read a job from its signature and docstring.

        Raises:
            TypeError: the function is not a job (an annotation is missing or of no known type); for its author.
        """
        hints = typing.get_type_hints(function, include_extras=True)
        doc = inspect.getdoc(function) or ""
        if not doc:
            raise TypeError(f"job {function.__name__} needs a docstring: its first line is the help")
        summary, _, description = doc.partition("\n")
        parameters = tuple(_parameter(p, hints) for p in inspect.signature(function).parameters.values())
        declared = hints.get("return")
        if not typing.is_typeddict(declared):
            raise TypeError(f"job {function.__name__} must declare its outputs as a TypedDict")
        outputs = tuple(
            Output(name, *_plain(hint)[:2])
            for name, hint in typing.get_type_hints(declared, include_extras=True).items()
        )
        return cls(
            function, function.__name__.replace("_", "-"), summary.strip(), description.strip(), parameters, outputs
        )

    @property
    def inputs(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.parameters if p.is_input)

    @property
    def options(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.parameters if not p.is_input)

    def run(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Run on what a user gave: paths or media for media, words or values for the rest.

        Missing inputs take their embedded example; missing options their default.

        Raises:
            InputError: an unknown, missing or unusable argument.
        """
        known = {p.name for p in self.parameters}
        for name in given:
            if name not in known:
                raise InputError(
                    f"'{self.name}' has no parameter '{name}'", name, f"It takes: {', '.join(sorted(known))}."
                )
        arguments: dict[str, Any] = {}
        for parameter in self.parameters:
            value = given.get(parameter.name)
            if value is not None and not (parameter.many and len(value) == 0):
                arguments[parameter.name] = parameter.parse(value)
            elif parameter.field.example is not None:
                say(f"No {parameter.name} given: using the embedded example.")
                arguments[parameter.name] = parameter.field.example()
            elif parameter.required:
                raise InputError(f"'{parameter.name}' is missing", "nothing", f"Give {parameter.field.text}.")
        positional = [arguments.pop(p.name) for p in self.inputs if p.name in arguments]
        outputs = dict(self.function(*positional, **arguments))
        undeclared = set(outputs) ^ {output.name for output in self.outputs}
        if undeclared:
            raise TypeError(f"job {self.name} does not return what it declares: {sorted(undeclared)}")
        return outputs

    def save(self, outputs: Mapping[str, Any], folder: Path, stem: str) -> list[Path]:
        """Write the media among `outputs` to ``<folder>/<stem>_<name><suffix>``."""
        return [
            value.write(folder / f"{stem}_{name}{value.suffixes[0]}")
            for name, value in outputs.items()
            if isinstance(value, Media)
        ]


def jobs_in(module: ModuleType) -> tuple[Job, ...]:
    """The jobs of a method's ``task`` module; the first is the default."""
    return tuple(Job.of(function) for function in module.JOBS)


def find_job(jobs: Sequence[Job], name: str | None) -> Job:
    """The job of that name, or the default one."""
    for job in jobs:
        if name is None or job.name == name:
            return job
    raise InputError("there is no such job", f"'{name}'", f"Jobs: {', '.join(job.name for job in jobs)}.")


def _boolean(name: str, value: Any) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if isinstance(value, bool):
        return value
    if str(value).lower() not in words:
        raise InputError(f"'{name}' is yes or no", f"'{value}'", "Use true or false.")
    return words[str(value).lower()]


def _parameter(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Parameter:
    if parameter.name not in hints:
        raise TypeError(f"parameter '{parameter.name}' of a job needs an annotation")
    type_, field, choices, many, optional = _plain(hints[parameter.name])
    return Parameter(
        name=parameter.name,
        type=type_,
        field=field,
        default=parameter.default,
        choices=choices,
        many=many,
        optional=optional,
        is_input=parameter.kind is not inspect.Parameter.KEYWORD_ONLY,
    )


def _plain(hint: Any) -> tuple[type, Field, tuple[Any, ...], bool, bool]:
    """Strip ``Annotated``, ``| None``, ``list[...]`` and ``Literal`` from an annotation."""
    field, many, optional = Field(""), False, False
    choices: tuple[Any, ...] = ()
    while True:
        origin = get_origin(hint)
        if origin is typing.Annotated:
            field = next((extra for extra in hint.__metadata__ if isinstance(extra, Field)), field)
            hint = get_args(hint)[0]
        elif origin in (typing.Union, types.UnionType):
            members = [member for member in get_args(hint) if member is not type(None)]
            if len(members) != 1:
                raise TypeError(f"a job's parameter has one type (and None), not {hint}")
            optional, hint = True, members[0]
        elif origin is list:
            many, hint = True, get_args(hint)[0]
        elif origin is Literal:
            choices = get_args(hint)
            hint = type(choices[0])
        else:
            break
    if not (isinstance(hint, type) and (issubclass(hint, Media) or hint in _SCALARS)):
        raise TypeError(f"a job takes and gives media, numbers, words, paths and choices, not {hint}")
    return hint, field, choices, many, optional
