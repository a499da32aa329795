"""``harmonia verify``: measure papers' claims and record them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harmonia.app.console import err, findings_table, out, progress_bars
from harmonia.core.claim import TIERS, Finding, Tier, claims_in
from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.core.registry import Method, find, methods
from harmonia.core.results import broken_promises, record


def verify(slugs: Sequence[str], tier: Tier, seed: int, keep: bool) -> bool:
    """Measure the claims of the given methods (all built ones when none is named) up to a tier.

    Arguments:
        keep: Whether to write the findings to ``results/``.

    Returns:
        Whether everything that used to hold still holds and no identity is broken.
    """
    chosen = [find(slug) for slug in slugs] or [method for method in methods() if method.built]
    if tier not in TIERS:
        raise InputError("there is no such tier", f"'{tier}'", f"Use one of: {', '.join(TIERS)}.")
    sound = True
    for method in chosen:
        before, findings = method.results, []
        claims = {claim.name for claim in claims_in(method.module("claim"))}
        for finding in measure(method, tier, seed):
            findings.append(finding)
            if keep:  # at once: what was measured survives whatever stops the rest
                record(method.slug, method.code, findings=findings, claims=claims)
        out.print(findings_table(f"{method.slug}: {method.card.title}", findings))
        lost = broken_promises(before, findings)
        for finding in lost:
            err.print(f"[red]No longer holds:[/] {finding.name}")
        sound &= not lost and all(finding.verdict != "broken" for finding in findings)
    return sound


def measure(method: Method, tier: Tier, seed: int) -> Iterator[Finding]:
    """Findings of all claims that `tier` affords, as they are made."""
    claims = [claim for claim in claims_in(method.module("claim")) if TIERS.index(claim.tier) <= TIERS.index(tier)]
    with progress_bars():
        for index, claim in enumerate(claims, start=1):
            say(f"[{index}/{len(claims)}] {claim.name}")
            yield claim.check(seed)
