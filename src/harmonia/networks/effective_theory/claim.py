"""The book's statements, measured: criticality, finite-width tensors, signals through fifty layers, depth over width.

The gates were set before measuring.
"""

from harmonia.networks.effective_theory.claims import theory, training

__all__ = ["theory", "training"]
