"""Pictures of in-context regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harmonia.media import Figure
from harmonia.media.figure import MUTED, PALETTE, new_figure


def training_figure(history: Sequence[Mapping[str, float | int]]) -> Figure:
    """Held-out loss over a run."""
    known = "excess" in history[-1]
    title = "Loss above the exact Bayesian answer, on unseen tasks" if known else "Loss on unseen tasks"
    figure, [axes] = new_figure(title=title)
    steps = [record["step"] for record in history]
    axes.plot(steps, [record["excess" if known else "nll"] for record in history], "o-", ms=3, color=PALETTE[0])
    if known:
        axes.axhline(0, color=MUTED, lw=1)
        axes.set_ylim(bottom=-0.01)
    axes.set_xlabel("optimizer steps")
    axes.set_ylabel("excess (nats per target)" if known else "negative log-likelihood (nats per target)")
    return Figure(figure)
