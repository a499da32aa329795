"""What the paper says, measured: identities, what initialisation is worth, S4 beside S4D, pictures as sequences."""

from harmonia.sequences.s4d.claims import exact, initializations, pictures, small_tasks

__all__ = ["exact", "initializations", "pictures", "small_tasks"]
