"""Kernel balancing measured: identities of its solver, estimates where the truth is known, and Coat."""

from harmonia.tables.kernel_balancing.claims import coat, estimation, identities

__all__ = ["coat", "estimation", "identities"]
