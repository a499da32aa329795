"""The paper's claims, measured: exact parts, densities, forecasts, decisions."""

from harmonia.sequences.harmony.claims import decisions, density, exact, forecasts

__all__ = ["decisions", "density", "exact", "forecasts"]
