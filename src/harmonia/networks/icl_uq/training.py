"""Pretraining on a prior: the Gaussian negative log-likelihood of every target of random prompts (Sec. 2 of the paper).

``loss = mean 1/2 (log v + (y - mu)^2 / v)`` with ``v = max(sigma^2, 0.01)``. Its minimiser over all functions of the
pairs before is the posterior mean and variance: one loss teaches both. The variance's floor, which lets no gradient
through, makes noise below 0.1 impossible to learn.
"""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.networks.icl_uq.network import InContextTransformer
from harmonia.networks.icl_uq.prior import Prior, TaskPrior
from harmonia.networks.icl_uq.references import bayes
from harmonia.parts.gram.allocator import keep_freed_memory
from harmonia.parts.training import Evaluate, Plan, Trained, train

VARIANCE_FLOOR = 0.01


def gaussian_nll(
    mean: Float[Tensor, "*shape"], variance: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """``1/2 (log v + (y - m)^2 / v)`` with ``v = max(variance, 0.01)``, in nats; the constant is left out.

    Below the floor the variance gets no gradient. `torch.nn.GaussianNLLLoss`, which the official code uses, has the
    same value but passes the gradient at the floor on.

    Example:
        >>> one = torch.tensor(1.0)
        >>> gaussian_nll(one, one, torch.tensor(3.0)).item()
        2.0
    """
    v = variance.clamp(min=VARIANCE_FLOOR)
    return 0.5 * (v.log() + (y - mean).square() / v)


def schedule(steps: int, *, learning_rate: float = 2e-3, evaluate_every: int, seed: int) -> Plan:
    """A plan that suits small networks: a short warm-up, a cosine, no weight decay, weights averaged over 100 steps."""
    return Plan(
        steps=steps,
        learning_rate=learning_rate,
        warmup=min(100, 1 + steps // 10),
        weight_decay=0.0,
        ema_decay=0.99,
        evaluate_every=evaluate_every,
        checkpoint_every=evaluate_every,
        seed=seed,
    )


def pretrain(
    model: InContextTransformer,
    prior: Prior,
    plan: Plan,
    *,
    batch: int = 128,
    length: int | None = None,
    positions: slice = slice(None),
    evaluate: Evaluate | None = None,
    folder: Path | None = None,
    device: str = "auto",
) -> Trained[InContextTransformer]:
    """Train a network on fresh prompts of a prior; the data never repeat.

    Arguments:
        model: The network, trained in place.
        prior: Draws the prompts.
        plan: Steps, rates and seed.
        batch: Prompts a step.
        length: Pairs a prompt; those of the network's configuration unless given.
        positions: Targets that count in the loss (experiment 3 trains on some positions only).
        evaluate: What to measure; `held_out` on a `TaskPrior` unless given.
        folder: Where checkpoints go, see `harmonia.parts.training.train`.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        InputError: a prior of another number of inputs, or no position that counts.
    """
    length = model.config.context if length is None else length
    if prior.dim != model.config.dim:
        got = f"{prior.dim} and {model.config.dim}"
        raise InputError("prior and network differ in their number of inputs", got, "Give both the same.")
    if not range(length)[positions]:
        raise InputError("no target counts in the loss", positions, f"Pass a slice of {length} positions.")
    keep_freed_memory()

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        prompts = prior.sample(batch, length, generator)
        return prompts.xs, prompts.ys

    def loss(network: nn.Module, prompts: tuple[Tensor, Tensor]) -> Tensor:
        mean, std = network(*prompts)
        ys = prompts[1]
        return gaussian_nll(mean[:, positions], std.square()[:, positions], ys[:, positions]).mean()

    def scores(network: InContextTransformer) -> dict[str, float]:
        return held_out(network, prior, length) if isinstance(prior, TaskPrior) else {}

    return train(model, draw, loss, plan, folder=folder, evaluate=evaluate or scores, device=device)


@torch.no_grad()
def held_out(model: InContextTransformer, prior: TaskPrior, length: int, tasks: int = 500) -> dict[str, float]:
    """How near to Bayes a network is on prompts that it has not seen (seed 2^31 - 1), over all positions.

    ``excess``: negative log-likelihood above that of the exact posterior; ``mean_gap`` and ``std_gap``: mean distance
    of its means and standard deviations from the exact ones. Of other than linear tasks only ``nll`` is known.
    """
    prompts = prior.sample(tasks, length, torch.Generator().manual_seed(2**31 - 1))
    device = next(model.parameters()).device
    mean, std = (value.cpu() for value in model(prompts.xs.to(device), prompts.ys.to(device)))
    nll = gaussian_nll(mean, std.square(), prompts.ys).mean().item()
    if not (prior.is_linear and prior.pool_size is None):
        return {"nll": nll}
    exact = bayes(prior, prompts.xs, prompts.ys)
    floor = gaussian_nll(exact.mean, exact.std.square(), prompts.ys.double()).mean().item()
    return {
        "excess": nll - floor,
        "mean_gap": (mean - exact.mean).abs().mean().item(),
        "std_gap": (std - exact.std).abs().mean().item(),
    }
