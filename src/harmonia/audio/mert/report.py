"""Pictures of what a model hears in a song, of songs among each other, and of a pre-training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harmonia.media import Figure
from harmonia.media.figure import PALETTE, new_figure

LABELS = {
    "loss": "training loss",
    "held_out_ce": "cross-entropy of held-out codes (nats)",
    "held_out_accuracy": "accuracy of held-out codes",
    "held_out_cqt": "constant-Q error (mean square)",
}


def run(history: Sequence[Mapping[str, float | int]]) -> Figure:
    """Loss and held-out scores over the steps of a pre-training run."""
    names = [name for name in LABELS if history and name in history[-1]]
    figure, axes = new_figure(1, max(1, len(names)), width=3.6 * max(2, len(names)), height=3.2)
    for number, (axis, name) in enumerate(zip(axes, names, strict=False)):
        axis.plot([r["step"] for r in history], [r[name] for r in history], "o-", color=PALETTE[number], markersize=3)
        axis.set_xlabel("step")
        axis.set_title(LABELS[name], fontsize=9.5)
    return Figure(figure)
