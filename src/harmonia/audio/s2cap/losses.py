r"""What the captioner is trained with: words, CRESCENDO alignment, demix supervision.

    L = CE(caption | Z(x)) + l_c L_cre + l_d L_dem

The paper gives the idea of the two additions and no formula; these are our choice and say so. CRESCENDO pulls the audio
embedding towards the embedding of the paired caption and uses no negatives. That works only because the text side is
frozen and gets no gradient: trained along, it collapses to a constant (`tests/audio/test_s2cap_losses.py` keeps that).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from harmonia.core.errors import InputError


def cosine_distance(a: Float[Tensor, "batch dim"], b: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """``mean(1 - cos(a, b))``: 0 for the same direction, 2 for opposite ones.

    Example:
        >>> a = torch.tensor([[1.0, 2.0]])
        >>> round(cosine_distance(a, 3 * a).item(), 6), round(cosine_distance(a, -a).item(), 6)
        (0.0, 2.0)
    """
    return (1 - F.cosine_similarity(a, b, dim=-1, eps=1e-12)).mean()


def crescendo_loss(z: Float[Tensor, "batch dim"], t: Float[Tensor, "batch dim"]) -> Float[Tensor, ""]:
    """``mean(1 - cos(z, sg(t)))``: the pooled audio embedding (after the predictor) towards the caption's.

    Arguments:
        z: Pooled audio embeddings.
        t: Pooled embeddings of the paired captions; no gradient flows into them.
    """
    return cosine_distance(z, t.detach())


def crescendo_tokens_loss(
    z: Float[Tensor, "batch frames dim"], t: Float[Tensor, "batch length dim"], kept: Bool[Tensor, "batch length"]
) -> Float[Tensor, ""]:
    """The finer alignment: each word with the frame that is nearest, ``1 - mean_w max_n cos(z_n, sg(t_w))``.

    Arguments:
        z: Audio embeddings.
        t: Embeddings of the words of the paired captions.
        kept: Which of them are words and not padding.
    """
    similarity = F.normalize(t.detach(), dim=-1) @ F.normalize(z, dim=-1).transpose(1, 2)
    nearest = similarity.amax(2)
    return 1 - (nearest * kept).sum() / kept.sum().clamp(min=1)


def demix_loss(
    z_mix: Float[Tensor, "batch frames dim"], z_vocals: Float[Tensor, "batch frames dim"]
) -> Float[Tensor, ""]:
    """``mean(1 - cos(mean z(x), sg(mean z(x_v))))``: the mixture's embedding towards that of its demixed voice.

    Arguments:
        z_mix: Embeddings of the mixture.
        z_vocals: Embeddings of the voice alone, by the same encoder; no gradient flows into them.
    """
    return cosine_distance(z_mix.mean(1), z_vocals.mean(1).detach())


def caption_loss(
    logits: Float[Tensor, "batch length vocabulary"],
    targets: Int[Tensor, "batch length"],
    pad: int,
    smoothing: float = 0.1,
) -> Float[Tensor, ""]:
    """Cross-entropy of the words, smoothed: ``(1 - s) (-log p_y) + s mean_k(-log p_k)``; padding is left out.

    Raises:
        InputError: nothing but padding.
    """
    if not bool((targets != pad).any()):
        raise InputError("the captions are empty", "only padding", "Pass captions with words.")
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=pad, label_smoothing=smoothing)


def attribute_loss(logits: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> Float[Tensor, ""]:
    """Mean cross-entropy over the attributes; a label of -1 is not known and does not count."""
    terms = [
        F.cross_entropy(logits[name], label, ignore_index=-1)
        for name, label in labels.items()
        if bool((label >= 0).any())
    ]
    if not terms:
        return next(iter(logits.values())).sum() * 0.0
    return torch.stack(terms).mean()
