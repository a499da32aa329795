"""The methods of this library as tools of an agent: every job, described by JSON schema from its own signature."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harmonia.core.media import Media
from harmonia.core.registry import find, methods
from harmonia.core.task import Job, Parameter, jobs_in

Schema = dict[str, Any]
_JSON = {bool: "boolean", int: "integer", float: "number", str: "string", Path: "string"}


def export_schema(slugs: Sequence[str] | None = None) -> list[Schema]:
    """Every job of the built methods (or of those named) as a tool: name, description, JSON schema of its arguments,
    and what it gives.

    Example:
        >>> [tool["name"] for tool in export_schema(["mel-roformer"])]
        ['mel-roformer.separate', 'mel-roformer.transcribe', 'mel-roformer.train']
    """
    chosen = [find(slug) for slug in slugs] if slugs is not None else [each for each in methods() if each.built]
    return [_tool(method.slug, job) for method in chosen for job in jobs_in(method.module("task"))]


def _tool(slug: str, job: Job) -> Schema:
    return {
        "name": f"{slug}.{job.name}",
        "description": " ".join(filter(None, [job.summary, job.description])),
        "input_schema": {
            "type": "object",
            "properties": {parameter.name: _property(parameter) for parameter in job.parameters},
            "required": [parameter.name for parameter in job.parameters if parameter.required],
            "additionalProperties": False,
        },
        "gives": {output.name: kind_of(output.type) for output in job.outputs},
    }


def _property(parameter: Parameter) -> Schema:
    field = parameter.field
    schema: Schema = {"type": "string" if parameter.is_media else _JSON[parameter.type], "description": field.text}
    if parameter.is_media:
        schema |= {"format": "path", "media": kind_of(parameter.type)}
    if parameter.choices:
        schema["enum"] = list(parameter.choices)
    names = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
    schema |= {names[key]: bound for key in names if (bound := getattr(field, key)) is not None}
    if not parameter.required and isinstance(parameter.default, (bool, int, float, str)):
        schema["default"] = parameter.default
    return {"type": "array", "items": schema} if parameter.many else schema


def kind_of(type_: type) -> str:
    """The word for a medium, or the name of another type."""
    return type_.kind if issubclass(type_, Media) else type_.__name__
