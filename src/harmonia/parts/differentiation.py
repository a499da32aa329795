"""Forward-mode derivatives of any torch network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.backends import mha
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def forward_differentiable() -> Iterator[None]:
    """Keep attention to kernels that have forward-mode derivatives and batching rules, and to its own modules.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> layer = nn.TransformerEncoderLayer(8, 2, batch_first=True, dropout=0.0).eval()
        >>> x = torch.ones(1, 3, 8)
        >>> with forward_differentiable():
        ...     torch.func.jvp(layer, (x,), (x,))[1].shape
        torch.Size([1, 3, 8])
    """
    fast = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mha.set_fastpath_enabled(fast)
