"""The supervised contrastive loss (Khosla et al. 2020, eq. 2)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F


def supervised_contrastive(
    z: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], temperature: float = 0.1
) -> Float[Tensor, ""]:
    """Mean over rows i that have positives P(i), rows of the same label, of

        -1/|P(i)| sum_(p in P(i)) log( exp(z_i.z_p / t) / sum_(a != i) exp(z_i.z_a / t) ),

    with every z scaled to length 1; 0 where no row has a positive.

    Example:
        >>> z, labels = torch.eye(3), torch.tensor([0, 0, 1])
        >>> round(float(supervised_contrastive(z, labels)), 4)   # two others, equally near
        0.6931
    """
    z = F.normalize(z)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    logits = (z @ z.T / temperature).masked_fill(itself, -torch.inf)
    log_share = logits - logits.logsumexp(1, keepdim=True)
    positive = (labels[:, None] == labels) & ~itself
    count = positive.sum(1)
    if not count.any():
        return z.sum() * 0
    each = -log_share.masked_fill(~positive, 0).sum(1)[count > 0] / count[count > 0]
    return each.mean()
