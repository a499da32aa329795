"""What the paper says, measured: identities, special cases, cost, forecasts beside simple rules, classes, anomalies."""

from harmonia.sequences.chimera.claims import cost, exact, forecasts, special_cases, tasks

__all__ = ["cost", "exact", "forecasts", "special_cases", "tasks"]
