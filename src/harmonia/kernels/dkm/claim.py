"""The papers' statements, measured: identities, finite width, tables, images."""

from harmonia.kernels.dkm.claims import exact, images, tables, width

__all__ = ["exact", "images", "tables", "width"]
