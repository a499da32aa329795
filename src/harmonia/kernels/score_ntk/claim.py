"""The paper's statements, measured: stop early, the rule works, training is kernel regression, tables of use.

The paper of ICLR 2024 has theorems and no experiments, so there are no numbers of its own to stand beside ours. The
gates were set before measuring.
"""

from harmonia.kernels.score_ntk.claims import regression, samples, tables

__all__ = ["regression", "samples", "tables"]
