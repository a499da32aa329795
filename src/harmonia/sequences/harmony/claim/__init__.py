"""The paper's claims, measured: exact parts, densities, forecasts, decisions."""

from harmonia.sequences.harmony.claim import decisions, density, exact, forecasts

__all__ = ["decisions", "density", "exact", "forecasts"]
