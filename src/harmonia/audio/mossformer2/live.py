"""Separates while people talk: a causal network over a recording that comes piece by piece.

Every layer of a causal network looks back only: its filters a few frames, its attention to the unfinished group and a
summary of all groups before, its norms to sums over all frames. That is all that is kept between pieces, and it does
not grow. What comes out is what the network makes of the whole recording at once, however the pieces are cut.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from harmonia.audio.mossformer2.network import MossFormer2
from harmonia.audio.mossformer2.norms import Carried
from harmonia.core.errors import InputError


class LiveSeparation:
    """One recording, or several of equal length, separated as they come; the outputs lag by at most a frame.

    Nothing can be brought to one level or matched to the mixture afterwards, as `SpeechSeparator` does: the outputs are
    those of the network.

    Arguments:
        model: A causal network without `compat`.

    Raises:
        InputError: a network that looks ahead; in `step`, pieces of another shape or after `finish`.

    Example:
        >>> from harmonia.audio.mossformer2 import MossFormer2Config
        >>> config = MossFormer2Config(n_filters=16, depth=1, qk_dim=8, fsmn_dim=8, order=3, causal=True)
        >>> model, talk = MossFormer2(config).eval(), torch.randn(1, 8000)
        >>> live = LiveSeparation(model)
        >>> heard = [live.step(piece) for piece in talk.split(500, dim=1)]
        >>> whole = torch.cat([*heard, live.finish()], dim=-1)
        >>> bool((whole - model(talk)).abs().max() < 1e-5)
        True
    """

    def __init__(self, model: MossFormer2) -> None:
        if not model.config.causal or model.config.compat is not None:
            got = f"causal={model.config.causal}, compat={model.config.compat!r}"
            raise InputError("this network looks ahead", got, "Train one with causal=True and without compat.")
        self.model = model.eval()
        self._carried: Carried = {}
        self._frames, self._given = 0, 0
        self._samples: Tensor | None = None
        self._late: Tensor | None = None
        self._finished = False

    @torch.inference_mode()
    def step(self, samples: Float[Tensor, "batch time"]) -> Float[Tensor, "batch speakers fewer"]:
        """The speakers of all samples so far that are settled and were not given before."""
        if self._finished:
            raise InputError("the recording is finished", "another piece", "Begin a new LiveSeparation.")
        if samples.ndim != 2 or (self._samples is not None and len(samples) != len(self._samples)):
            raise InputError("pieces have shape (batch, time), all the same batch", tuple(samples.shape), "Keep it.")
        if not bool(torch.isfinite(samples).all()):
            raise InputError("samples are not finite", "NaN or infinity", "Mend or drop them.")
        self._given += samples.shape[1]
        samples = samples.to(self.model.encoder)
        self._samples = samples if self._samples is None else torch.cat([self._samples, samples], dim=1)
        return self._separated()

    @torch.inference_mode()
    def finish(self) -> Float[Tensor, "batch speakers rest"]:
        """What is left when the recording has ended: as many samples came out as went in."""
        if self._samples is None or not self._given:
            raise InputError("there was no sound", "no pieces", "Call step first.")
        kernel = self.model.config.kernel
        given = self._given
        settled = self.step(self._samples.new_zeros(len(self._samples), max(0, kernel - given)))
        self._finished = True
        assert self._late is not None
        rest = torch.cat([settled, self._late], dim=-1)
        wanted = given - (self._frames * (kernel // 2) - settled.shape[-1])
        return F.pad(rest, (0, max(0, wanted - rest.shape[-1])))[..., :wanted]

    def _separated(self) -> Tensor:
        """Make frames of the samples at hand, and keep those that the next frame needs."""
        model, samples = self.model, self._samples
        assert samples is not None
        kernel, hop = model.config.kernel, model.config.kernel // 2
        if samples.shape[1] < kernel:
            return samples.new_zeros(len(samples), model.config.n_speakers, 0)
        frames = samples.unfold(1, kernel, hop)
        self._samples = samples[:, frames.shape[1] * hop :]
        decoded = model.decoded(frames, self._carried, self._frames)
        self._frames += frames.shape[1]
        early, late = decoded[..., :hop], decoded[..., hop:]
        before = early.new_zeros(*early.shape[:2], 1, hop) if self._late is None else self._late[:, :, None]
        self._late = late[:, :, -1]
        return (early + torch.cat([before, late[:, :, :-1]], dim=2)).flatten(2)
