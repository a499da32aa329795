"""The paper's statements, measured: identities, lines, planes, and other ways to solve the same problem."""

from __future__ import annotations

from harmonia.kernels.gp_hm.claims import identities, lines, planes, rivals

__all__ = ["identities", "lines", "planes", "rivals"]
