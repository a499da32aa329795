"""What the paper says, measured: exact references, a network near them where it was trained, and not off its prior."""

from harmonia.networks.icl_uq.claims import embedded, identities, tables, trainings

__all__ = ["embedded", "identities", "tables", "trainings"]
