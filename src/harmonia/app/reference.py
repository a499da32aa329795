"""A method's public Python names as Markdown, from their signatures and docstrings."""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from harmonia.core.registry import Method

WIDTH = 88
_HEADING = re.compile(r"(Arguments|Attributes|Raises|Returns|Yields|References|Example|Examples):{1,2}")
_ENTRIES = {"Arguments", "Attributes", "Raises"}
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def reference_of(method: Method) -> str:
    """Every public name of a built method, with its signature and docstring."""
    field = f"harmonia.{method.card.field}"
    package = f"{field}.{method.card.module}"
    entries = list(_public_names(importlib.import_module(package)))
    offered = set(importlib.import_module(field).__all__)
    imports = [
        _import(source, names)
        for source, names in (
            (field, [name for name, _ in entries if name in offered]),
            (package, [name for name, _ in entries if name not in offered]),
        )
        if names
    ]
    return _section(imports, entries)


def media_reference() -> str:
    """Every medium: what it is, its files, its names."""
    module = importlib.import_module("harmonia.media")
    entries = [(name, getattr(module, name)) for name in module.__all__]
    return _section([_import("harmonia.media", module.__all__)], entries)


def _section(imports: list[str], entries: list[tuple[str, Any]]) -> str:
    if not entries:
        return ""
    code = "```python\n" + "\n".join(imports) + "\n```"
    return "\n\n".join(["## In Python", code, *(_name_markdown(name, value) for name, value in entries)])


def _import(source: str, names: Sequence[str]) -> str:
    line = f"from {source} import {', '.join(names)}"
    return line if len(line) <= WIDTH else f"from {source} import (\n" + "".join(f"    {n},\n" for n in names) + ")"


def _public_names(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Classes and functions a method's ``__init__`` lists, in its order."""
    for name in getattr(module, "__all__", vars(module)):
        value = getattr(module, name)
        ours = str(getattr(value, "__module__", "")).startswith("harmonia.")
        if not name.startswith("_") and ours and (inspect.isclass(value) or inspect.isfunction(value)):
            yield name, value


def _name_markdown(name: str, value: Any) -> str:
    parts = [_entry("###", name, name, value)]
    if inspect.isclass(value):
        parts += [_entry("####", f"{name}.{own}", own, member) for own, member in _own_methods(value)]
    return "\n\n".join(parts)


def _entry(level: str, title: str, name: str, value: Any) -> str:
    call = f"```python\n{signature(name, value)}\n```"
    return f"{level} {title}\n\n{call}\n\n{docstring_markdown(inspect.getdoc(value) or '')}".strip()


def _own_methods(class_: type) -> Iterator[tuple[str, Any]]:
    """Documented public methods that are written here, not inherited from a library or made by one."""
    for name, member in inspect.getmembers(class_, inspect.isroutine):
        ours = str(getattr(member, "__module__", "")).startswith("harmonia.")
        if not name.startswith("_") and ours and getattr(member, "__doc__", None):
            yield name, member


def signature(name: str, value: Any) -> str:
    """A call as one would write it, a parameter a line when it is long.

    Example:
        >>> def area(width: float, height: float = 1.0) -> float: ...
        >>> signature("area", area)
        'area(width: float, height: float = 1.0) -> float'
    """
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return f"{name}(...)"
    parameters = [p for p in found.parameters.values() if p.name not in ("self", "cls")]
    words = [_parameter(p) for p in parameters]
    first_keyword = next((i for i, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY), None)
    if first_keyword is not None and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        words.insert(first_keyword, "*")
    silent = inspect.isclass(value) or found.return_annotation is found.empty
    returns = "" if silent else f" -> {_annotation(found.return_annotation)}"
    line = f"{name}({', '.join(words)}){returns}"
    return line if len(line) <= WIDTH else f"{name}(\n" + "".join(f"    {word},\n" for word in words) + f"){returns}"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = "*" * (1 + (parameter.kind is parameter.VAR_KEYWORD)) if parameter.kind in _VARIADIC else ""
    typed = parameter.annotation is not parameter.empty
    text = f"{stars}{parameter.name}" + (f": {_annotation(parameter.annotation)}" if typed else "")
    if parameter.default is parameter.empty:
        return text
    default = getattr(parameter.default, "__name__", None) or repr(parameter.default)
    return f"{text} = {default}" if typed else f"{text}={default}"


def _annotation(annotation: Any) -> str:
    if isinstance(annotation, str):
        return annotation
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def docstring_markdown(text: str) -> str:
    """A docstring of ours as Markdown: argument lists become lists, examples become code.

    Example:
        >>> print(docstring_markdown("Add numbers.\\n\\nArguments:\\n    a: the first\\n        of two"))
        Add numbers.
        <BLANKLINE>
        **Arguments**
        <BLANKLINE>
        - `a`: the first of two
    """
    parts: list[str] = []
    lines = text.splitlines()
    while lines:
        line = lines.pop(0)
        heading = _HEADING.fullmatch(line)
        if heading is None:
            parts.append(line)
            continue
        block: list[str] = []
        while lines and (not lines[0].strip() or lines[0].startswith(" ")):
            block.append(lines.pop(0))
        parts += ["", f"**{heading[1]}**", "", _block(heading[1], textwrap.dedent("\n".join(block)).strip("\n")), ""]
    prose = re.sub(r"::$", ":", "\n".join(parts), flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", prose).strip()


def _block(heading: str, text: str) -> str:
    if heading.startswith("Example"):
        return f"```python\n{text}\n```"
    if heading not in _ENTRIES:
        return text
    entries: list[str] = []
    for line in text.splitlines():
        head = re.match(r"([\w`*][\w`*., ]*): +(.+)", line)
        if head:
            entries.append(f"- `{head[1]}`: {head[2]}")
        elif entries and line.startswith(" "):
            entries[-1] += " " + line.strip()
        elif line.strip():
            entries.append(f"- {line}")
    return "\n".join(entries)
