"""Many small networks of one shape trained side by side, each on data and a weight of its own: a grid in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from harmonia.core.progress import track
from harmonia.kernels.self_distillation.networks import distillation_loss


class ManyNetworks:
    """Classifiers of one shape and different parameters, stacked.

    Arguments:
        make_model: Gives a network; without buffers (no batch normalisation) and without dropout.
        seeds: One per network, for its fresh weights.

    Example:
        >>> many = ManyNetworks(lambda: nn.Linear(2, 3), seeds=[0, 1])
        >>> many.probabilities(torch.zeros(2, 5, 2)).shape
        torch.Size([2, 5, 3])
    """

    def __init__(self, make_model: Callable[[], nn.Module], seeds: Sequence[int]) -> None:
        models = []
        with torch.random.fork_rng(devices=[]):
            for seed in seeds:
                torch.manual_seed(seed)
                models.append(make_model())
        self.shape = models[0]
        parameters, _ = stack_module_state(models)
        self.parameters = {name: p.detach() for name, p in parameters.items()}

    @torch.no_grad()
    def probabilities(self, x: Float[Tensor, "networks n *features"]) -> Float[Tensor, "networks n k"]:
        """Of the classes, by each network for its own inputs."""
        outputs: Tensor = vmap(lambda p, rows: functional_call(self.shape, p, (rows,)))(self.parameters, x)
        return outputs.softmax(-1)

    def train(
        self,
        x: Float[Tensor, "networks n *features"],
        y: Integer[Tensor, "networks n"],
        soft_targets: Float[Tensor, "networks n k"],
        alphas: Float[Tensor, " networks"],
        *,
        epochs: int,
        batch_size: int = 16,
        learning_rate: float = 1e-3,
        norm_penalty: float = 1e-4,
        generator: torch.Generator | None = None,
    ) -> ManyNetworks:
        """Train all by Adam on `distillation_loss`, plus the sum of the norms of the parameters, as the official code.

        Arguments:
            x: Inputs of each network.
            y: Classes of each.
            soft_targets: Probabilities by the teacher of each.
            alphas: Weight of the truth of each.
            epochs: Passes over the data.
            batch_size: Rows of a step of one network.
            learning_rate: Of Adam.
            norm_penalty: Factor of the sum of ``|p|_2`` over parameter tensors (norms, not their squares).
            generator: Order of the rows, the same for all.
        """

        def loss(p: dict[str, Tensor], rows: Tensor, labels: Tensor, soft: Tensor, alpha: Tensor) -> Tensor:
            norms = torch.stack([value.norm() for value in p.values()]).sum()
            outputs = functional_call(self.shape, p, (rows,))
            return distillation_loss(outputs, labels, soft, alpha) + norm_penalty * norms

        gradient = vmap(grad(loss))
        # Adam works elementwise, so that one optimizer of the stack is one for each network.
        optimizer = torch.optim.Adam(list(self.parameters.values()), learning_rate)
        for _ in track(range(epochs), f"Training {len(alphas)} networks"):
            for rows in torch.randperm(x.shape[1], generator=generator).split(batch_size):
                found = gradient(self.parameters, x[:, rows], y[:, rows], soft_targets[:, rows], alphas)
                for name, value in self.parameters.items():
                    value.grad = found[name]
                optimizer.step()
        return self
