"""The paper's two-layer network, trained by gradient descent on noisy pairs, to be held against its kernel."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.kernels.score_ntk.forms import PaperForm
from harmonia.kernels.score_ntk.oracles import score_of
from harmonia.kernels.score_ntk.process import NoisyPairs, Process


class TwoLayerScoreNet(nn.Module):
    """``f^i(z) = m^-1/2 sum_r a_r^i relu(w_r . z)`` of ``z = (x, t - T_0)``: W is trained, the signs a are frozen.

    Neurons come in pairs of equal w and opposite a, so that f = 0 at the start. Its tangent kernel nears
    `TwoLayerKernel` as m grows.

    Arguments:
        m: Neurons, an even number.
        d: Dimension of the data.
        t_range: First and last time.
        bias: Append a constant 1 to z; the paper does not.
        seed: Seed of the initial weights and signs.

    Raises:
        InputError: an odd or too small number of neurons.

    Example:
        >>> from harmonia.kernels.score_ntk.oracles import three_gaussians
        >>> from harmonia.kernels.score_ntk.process import draw_pairs
        >>> generator, truth = torch.Generator().manual_seed(0), three_gaussians()
        >>> pairs = draw_pairs(truth.process, truth.sample(100, generator), 1, (0.05, 3.0), "uniform", generator)
        >>> net = TwoLayerScoreNet(512, 2)
        >>> steps = net.fit(pairs, tau=10.0)
        >>> bool((net.denoise(pairs.t, pairs.x) - pairs.x0).square().mean() < pairs.x0.square().mean())
        True
    """

    signs: Tensor

    def __init__(
        self, m: int, d: int, t_range: tuple[float, float] = PaperForm.clock_range, bias: bool = False, seed: int = 0
    ) -> None:
        super().__init__()
        if m < 2 or m % 2:
            raise InputError("neurons come in pairs", m, "Pass an even number of them.")
        generator = torch.Generator().manual_seed(seed)
        self.form, self.t_range, self.process = PaperForm(t_range[0], bias), t_range, Process()
        half = torch.randn(m // 2, d + 1 + bias, generator=generator)
        signs = 2.0 * torch.randint(0, 2, (m // 2, d), generator=generator) - 1
        self.weight = nn.Parameter(torch.cat([half, half]))
        self.register_buffer("signs", torch.cat([signs, -signs]))

    def forward(self, z: Float[Tensor, "n features"]) -> Float[Tensor, "n d"]:
        """Outputs for inputs z."""
        return torch.relu(z.to(self.weight) @ self.weight.T) @ self.signs / math.sqrt(len(self.weight))

    def denoise(self, t: Float[Tensor, " n"], x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The learnt ``E[X_0 | X_t = x]``."""
        return self.form.denoised(t, x, self(self.form.features(t, x)))

    def score(self, t: Float[Tensor, " n"], x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The learnt score ``grad log p_t(x)``."""
        return score_of(self.denoise(t, x), self.process, t, x)

    def sharpness(self, z: Float[Tensor, "n features"]) -> float:
        """Largest eigenvalue of the tangent kernel over the inputs: steps above two over it diverge."""
        with torch.no_grad():
            return float(torch.linalg.eigvalsh(self.gram(z).double())[-1])

    def gram(self, z: Float[Tensor, "n features"]) -> Float[Tensor, "nd nd"]:
        """The network's own tangent kernel, point by point and in each the outputs: ``(n d, n d)``.

        ``K[(p,i),(q,k)] = z_p . z_q / m sum_r a_r^i a_r^k [w_r . z_p > 0] [w_r . z_q > 0]``.
        """
        z = z.to(self.weight)
        active = ((z @ self.weight.T) > 0).to(z)
        inner = z @ z.T / len(self.weight)
        outputs = range(self.signs.shape[1])
        blocks = [
            [inner * ((active * (self.signs[:, i] * self.signs[:, k])) @ active.T) for k in outputs] for i in outputs
        ]
        stacked = torch.stack([torch.stack(row) for row in blocks])
        return stacked.permute(2, 0, 3, 1).reshape(2 * (len(z) * len(outputs),))

    @torch.no_grad()
    def fit(self, pairs: NoisyPairs, tau: float, step: float | None = None) -> int:
        """Full-batch gradient descent on ``|f - X_0|^2 / 2``, summed over the N pairs.

        Arguments:
            pairs: Noisy copies of data points.
            tau: Training time: steps times step size times N.
            step: Step size; a tenth of the largest stable one unless given, near to gradient flow.

        Returns:
            Steps taken.

        Raises:
            InputError: a time that is not positive and finite, or a step above two over the kernel's largest
                eigenvalue, at which training diverges.
        """
        if not 0 < tau < math.inf:
            raise InputError("the training time must be positive and finite", tau, "Pass e.g. 100.0.")
        z = self.form.features(pairs.t, pairs.x).to(self.weight)
        targets = self.form.labels(pairs.t, pairs.x, pairs.x0).to(self.weight)
        largest = 2 / self.sharpness(z)
        if step is not None and not 0 < step < largest:
            raise InputError("gradient descent diverges at this step", step, f"Pass one below {largest:.3g}.")
        count = max(1, math.ceil(tau / (len(z) * (largest / 10 if step is None else step))))
        rate = tau / (count * len(z))
        for _ in track(range(count), "Training the network"):
            before = z @ self.weight.T
            residual = torch.relu(before) @ self.signs / math.sqrt(len(self.weight)) - targets
            slope = ((residual @ self.signs.T) * (before > 0)).T @ z / math.sqrt(len(self.weight))
            self.weight.sub_(slope, alpha=rate)
        return count
