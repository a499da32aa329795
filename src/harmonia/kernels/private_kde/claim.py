"""The paper's statements, measured: exact parts, privacy, distances beside its structure, kernels, classes.

The paper's own numbers were not at hand. Bounds are those that were set before measuring: they come from a derivation
of the errors and from trials with other code.
"""

from harmonia.kernels.private_kde.claims import classes, distances, privacy, similarities

__all__ = ["classes", "distances", "privacy", "similarities"]
