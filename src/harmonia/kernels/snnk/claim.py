"""The paper's statements, measured: exact laws, bundled tables, adapters."""

from harmonia.kernels.snnk.claims import adapters, laws, tables

__all__ = ["adapters", "laws", "tables"]
