"""The record of what was measured: ``results/<slug>.json``, written by ``harmonia verify`` and ``harmonia bench``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Callable, Container, Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from harmonia.core.claim import HOLDS, Finding
from harmonia.core.errors import InputError
from harmonia.core.media import whole_file

Entry = TypeVar("Entry")


class RaceResult(msgspec.Struct, frozen=True):
    """Ours beside a peer in one run; `ratio` > 1: ours is faster, `memory_ratio` < 1: ours needs less memory."""

    peer: str
    peer_version: str
    workload: str
    ratio: float
    memory_ratio: float | None
    threads: int
    device: str
    outputs_agree: bool
    note: str = ""


class Results(msgspec.Struct, frozen=True):
    """Everything measured about a method, with where and on what it was measured.

    Attributes:
        commit: The commit the findings were measured at.
        code: Fingerprint of the method's source at that time (`harmonia.core.registry.Method.code`).
    """

    slug: str
    commit: str
    code: str
    machine: str
    versions: dict[str, str]
    findings: list[Finding] = []
    races: list[RaceResult] = []


def results_folder() -> Path:
    """``results/`` of the checkout, or the copy that was installed with the package."""
    root = Path(__file__).resolve().parents[3]
    if (root / "pyproject.toml").is_file():
        return root / "results"
    return Path(__file__).resolve().parents[1] / "_results"


def read_results(slug: str) -> Results | None:
    """The recorded results of a method, or None.

    Raises:
        InputError: the file is not a record of results.
    """
    path = results_folder() / f"{slug}.json"
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Results)
    except msgspec.DecodeError as error:
        raise InputError(f"{path} is not a record of results", error, f"Run `harmonia verify {slug}` again.") from error


def record(
    slug: str,
    code: str,
    *,
    findings: Iterable[Finding] = (),
    races: Iterable[RaceResult] = (),
    claims: Container[str] | None = None,
    workloads: Container[str] | None = None,
) -> Results:
    """Merge new findings and races into a method's record and write it. Same name: the new one replaces the old.

    The record counts as measured on the present code only when none of its findings is left over from older code.

    Arguments:
        claims: Names of all claims that the method makes; findings of claims that are no more are dropped.
        workloads: The same for races.
    """
    old, findings = read_results(slug), list(findings)
    findings_before = [f for f in (old.findings if old else []) if claims is None or f.name in claims]
    races_before = [r for r in (old.races if old else []) if workloads is None or r.workload in workloads]
    kept = {finding.name for finding in findings_before} - {finding.name for finding in findings}
    results = Results(
        slug=slug,
        commit=commit(),
        code=old.code if old and kept else code,
        machine=machine(),
        versions=versions(),
        findings=_merged(findings_before, findings, lambda finding: finding.name),
        races=_merged(races_before, races, lambda race: (race.peer, race.workload, race.device)),
    )
    path = results_folder() / f"{slug}.json"
    with whole_file(path) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
    return results


def _merged(old: Iterable[Entry], new: Iterable[Entry], key: Callable[[Entry], object]) -> list[Entry]:
    merged = {key(entry): entry for entry in old}
    merged.update({key(entry): entry for entry in new})
    return list(merged.values())


def broken_promises(old: Results | None, findings: Iterable[Finding]) -> list[Finding]:
    """Findings that no longer hold although the record says they did."""
    held = {finding.name for finding in (old.findings if old else []) if finding.verdict in HOLDS}
    return [finding for finding in findings if finding.name in held and finding.verdict not in HOLDS]


def commit() -> str:
    """The current commit of the checkout (``+`` when there are uncommitted changes), or ``installed``."""
    root = Path(__file__).resolve().parents[3]
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=root, capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            ["git", "diff", "--quiet", "HEAD", "--", "src"], cwd=root, capture_output=True, check=False
        )
    except (OSError, subprocess.CalledProcessError):
        return "installed"
    return head.stdout.strip() + ("+" if changed.returncode else "")


def machine() -> str:
    """The machine in words: processor, cores, memory, accelerator."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    words = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB"
    import torch

    return f"{words}, {torch.cuda.get_device_name()}" if torch.cuda.is_available() else words


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    names = ("harmonia", "torch", "numpy", "scipy", "scikit-learn")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}
