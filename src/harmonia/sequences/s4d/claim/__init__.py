"""What the paper says, measured: identities of the method, what initialisation is worth, and S4 beside S4D."""

from harmonia.sequences.s4d.claim import exact, initializations, small_tasks

__all__ = ["exact", "initializations", "small_tasks"]
