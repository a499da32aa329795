"""The generative memory: a variational autoencoder with a Gaussian prior for every class of every task.

    p(x, z | s, k) = p(x | z, s) N(z; m_k, diag s_k^2),    q(z | x, s) = N(mu(x, s), diag sigma^2(x, s))

A new task is learnt by its evidence bound, with a supervised contrastive loss on the latent means, while the decoder is
kept on past tasks by a frozen copy of itself. There are two ways to do the latter:

    elbo     the copy makes up rows, and these are learnt like real ones: the paper's generative replay. A row passes
             encoder and decoder once more with every task, and a little of it is lost each time.
    distil   the copy says what each latent of a past task decodes to, and the decoder is held to that:
             |p(z, s) - p_old(z, s)|^2. No encoder is in between, and the priors of past tasks stay as they are.

After a task its priors can be set in closed form: given the encoder, the bound is largest where ``N(m_k, S_k)`` has the
moments of the aggregate posterior, ``m_k = mean mu``, ``S_k = cov mu + mean sigma^2``. With ``prior="full"`` these
covariances, and not only their diagonals, are kept and sampled from. Classes of several kinds have a mixture for a
prior (``components``), see `mixtures`.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.core.weights import load_strictly
from harmonia.networks.gkcl.contrastive import supervised_contrastive
from harmonia.networks.gkcl.memory import Support, SupportMemory, check_unit_range
from harmonia.networks.gkcl.mixtures import fit_mixture, mixture_divergence
from harmonia.networks.gkcl.vae_networks import Layers, make_networks

Output = Literal["sigmoid", "linear"]
Replay = Literal["distil", "elbo", "none"]
Prior = Literal["full", "diagonal"]

LOG_VARIANCES = (-6.0, 4.0)
"""Where log variances of priors and posteriors may lie, so that no prior collapses onto a point."""

_LEAST_NOISE = 1e-4
"""Of a pixel's variance where that is what fits best."""

_AHEAD = 16
"""Steps for which past tasks are made up at once."""


@dataclass(frozen=True)
class VAEConfig:
    """A `ConditionalPriorVAE`.

    Attributes:
        latent: Numbers a latent.
        hidden: Units of each of the two hidden layers of encoder and decoder; channels of convolutions.
        embedding: Numbers that tell decoder and encoder which task it is; 0: only the prior does.
        components: Gaussians in the prior of a class.
        layers: ``mlp``, or ``conv`` for images.
        output: ``sigmoid`` for values from 0 to 1, ``linear`` for any.
        replay: How past tasks are kept, see the module; ``none`` lets them go.
        prior: ``full``: covariances of the aggregate posterior; ``diagonal``: the learnt prior of the evidence bound.
        noise: Variance of a pixel in p(x | z). None: the mean squared error of each batch, where the bound is largest
            (Rybkin et al. 2021). A fixed one that is larger than this error weighs the divergence too high: latents are
            not used, samples are all alike.
        shrink: Standard deviations are multiplied by it when sampling.
        steps: Of training on a task, however many rows it has.
        batch_size: Rows a step.
        replay_per_task: Latents a past task and step, at most `replay_cap` batches in all; of tasks at random.
        replay_cap: See above.
        learning_rate: Of Adam.
        temperature: Of the contrastive loss.
    """

    latent: int = 16
    hidden: int = 128
    embedding: int = 16
    components: int = 1
    layers: Layers = "mlp"
    output: Output = "sigmoid"
    replay: Replay = "distil"
    prior: Prior = "full"
    noise: float | None = None
    shrink: float = 1.0
    steps: int = 1000
    batch_size: int = 64
    replay_per_task: int = 32
    replay_cap: float = 2.0
    learning_rate: float = 2e-3
    temperature: float = 0.1

    def __post_init__(self) -> None:
        sizes = (self.latent, self.hidden, self.components, self.steps, self.batch_size, self.replay_per_task)
        rates = (self.learning_rate, self.shrink, self.replay_cap, 1.0 if self.noise is None else self.noise)
        if min(sizes) < 1 or self.embedding < 0 or min(rates) <= 0:
            raise InputError("sizes and rates of a generator are positive", self, "Change the configuration.")
        chosen = ((self.output, Output), (self.replay, Replay), (self.prior, Prior), (self.layers, Layers))
        for value, choices in chosen:
            if value not in get_args(choices):
                raise InputError("a generator has no such choice", repr(value), f"Use {', '.join(get_args(choices))}.")

    def build(self, shape: tuple[int, ...], contrastive: float) -> ConditionalPriorVAE:
        """The generator for rows of a shape, with random weights from the default generator."""
        return ConditionalPriorVAE(shape, self, contrastive)


class _Replay(NamedTuple):
    """Latents of past tasks and what a frozen generator makes of them."""

    z: Tensor
    tasks: Tensor
    classes: Tensor
    x: Tensor


class ConditionalPriorVAE(nn.Module, SupportMemory):
    """A variational autoencoder that learns task after task and makes up rows of any of them (arXiv:2112.13410).

    Arguments:
        shape: Of a row: (d,) or (channels, height, width).
        config: Sizes and training.
        contrastive: Weight of the supervised contrastive loss.

    Attributes:
        weights: One table (classes, components) a task.
        means, log_variances: One table (classes, components, latent) a task.
        factors: Cholesky factors of the covariances that are sampled from.
        embeddings: One vector a task.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> vae = ConditionalPriorVAE((8,), VAEConfig(latent=2, hidden=16, steps=2))
        >>> x, y = torch.rand(20, 8, generator=generator), torch.arange(20) % 2
        >>> _ = vae.learn("first", x, y, generator)
        >>> vae.sample("first", 3, generator).x.shape
        torch.Size([6, 8])
    """

    def __init__(self, shape: Sequence[int], config: VAEConfig | None = None, contrastive: float = 0.1) -> None:
        super().__init__()
        self.shape, self.config, self.contrastive = tuple(shape), config or VAEConfig(), contrastive
        self.tasks: list[Hashable] = []
        sizes = (self.config.hidden, self.config.latent, self.config.embedding)
        self.encoder, self.decoder = make_networks(self.shape, self.config.layers, *sizes)
        self.weights, self.means, self.log_variances, self.factors = (nn.ParameterList() for _ in range(4))
        self.embeddings = nn.ParameterList()

    @property
    def device(self) -> torch.device:
        """Where its weights are; rows come to it from anywhere, and are made up there."""
        return next(self.parameters()).device

    def encode(
        self, x: Float[Tensor, "n *shape"], tasks: Int64[Tensor, " n"]
    ) -> tuple[Float[Tensor, "n latent"], Float[Tensor, "n latent"]]:
        """Mean and log variance of q(z | x), of rows of tasks by their number."""
        mean, log_variance = self.encoder(x, self._embedded(tasks)).chunk(2, 1)
        return mean, log_variance.clamp(*LOG_VARIANCES)

    def decode(self, z: Float[Tensor, "n latent"], tasks: Int64[Tensor, " n"]) -> Float[Tensor, "n *shape"]:
        """Mean of p(x | z)."""
        out = self.decoder(torch.cat([z, self._embedded(tasks)], 1)).reshape(-1, *self.shape)
        return out.sigmoid() if self.config.output == "sigmoid" else out

    def bound(
        self, x: Float[Tensor, "n *shape"], tasks: Int64[Tensor, " n"], labels: Int64[Tensor, " n"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "n latent"], float]:
        """Negative evidence bound of rows, up to a constant, averaged; their latent means; the noise's variance."""
        mean, log_variance = self.encode(x, tasks)
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        squares = (self.decode(z, tasks) - x).flatten(1).square()
        noise = max(float(squares.detach().mean()), _LEAST_NOISE) if self.config.noise is None else self.config.noise
        rows = self._rows(tasks, labels)
        weights, means, spreads = (torch.cat(list(t))[rows] for t in (self.weights, self.means, self.log_variances))
        divergence = mixture_divergence(mean, log_variance, weights, means, spreads.clamp(*LOG_VARIANCES))
        return (squares.sum(1) / (2 * noise) + divergence).mean(), mean, noise

    def learn(self, task: Hashable, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Train on a task while keeping the past ones; random numbers also come from torch's default generator."""
        if self.config.output == "sigmoid":
            check_unit_range(x)
        replays: Iterable[_Replay | None] = repeat(None)
        x, y = x.to(self.device), y.to(self.device)
        if self.tasks and self.config.replay != "none":
            replays = copy.deepcopy(self).eval().requires_grad_(False)._replays(generator)
        self._add(task, int(y.max()) + 1, generator)
        optimizer = torch.optim.Adam(self._learnt(), self.config.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, self.config.steps, self.config.learning_rate / 20
        )
        self.train()
        for replay, _ in zip(replays, range(self.config.steps)):
            rows = torch.randint(len(y), (min(len(y), self.config.batch_size),), generator=generator)
            loss = self._loss(x[rows], y[rows], replay)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        self.eval()
        self._set_prior(x, y)
        return torch.ones(len(y), dtype=torch.bool)

    @torch.no_grad()
    def sample(self, task: Hashable, per_class: int, generator: torch.Generator) -> Support:
        index = self.tasks.index(task)
        classes = torch.arange(len(self.means[index])).repeat_interleave(per_class)
        z = self._draw(torch.full_like(classes, index), classes, generator)
        return Support(self.decode(z, torch.full_like(classes, index)), classes)

    @torch.no_grad()
    def nearest_prior(self, task: Hashable, x: Float[Tensor, "n *shape"]) -> Int64[Tensor, " n"]:
        """The class whose prior mean is nearest to each row's latent mean: how much the generator itself remembers."""
        index = self.tasks.index(task)
        mean, _ = self.encode(x.to(self.device), torch.full((len(x),), index))
        return torch.cdist(mean, self.means[index].flatten(0, 1)).argmin(1) // self.config.components

    def forget(self, task: Hashable) -> None:
        raise InputError(
            "tasks cannot be taken out of a network", task, "Use memory='coreset', 'gaussians' or 'statistics'."
        )

    @property
    def nbytes(self) -> int:
        """Four bytes a parameter, of the encoder too; lower triangles of covariances, weights but for the last one."""
        latent, classes = self.config.latent, sum(len(table) for table in self.means)
        components = classes * self.config.components
        return 4 * (sum(p.numel() for p in self.parameters()) - components * (latent**2 - latent) // 2 - classes)

    def tensors(self) -> dict[str, Tensor]:
        return self.state_dict()

    def restore(self, tasks: Sequence[Hashable], tensors: Mapping[str, Tensor]) -> None:
        for i, task in enumerate(tasks):
            self._add(task, len(tensors[f"means.{i}"]), torch.Generator())
        load_strictly(self, tensors)
        self.eval()

    def _loss(self, x: Tensor, y: Tensor, replay: _Replay | None) -> Tensor:
        new = len(self.tasks) - 1
        tasks, labels = torch.full_like(y, new), y
        if replay is not None and self.config.replay == "elbo":
            pairs = ((x, replay.x), (tasks, replay.tasks), (labels, replay.classes))
            x, tasks, labels = (torch.cat(pair) for pair in pairs)
        loss, mean, noise = self.bound(x, tasks, labels)
        if replay is not None and self.config.replay == "distil":
            squares = (self.decode(replay.z, replay.tasks) - replay.x).flatten(1).square().sum(1)
            loss = loss + new * squares.mean() / (2 * noise)  # each past task weighs as much as the new one
        if self.contrastive:
            most = max(len(table) for table in self.means)
            loss = loss + self.contrastive * supervised_contrastive(
                mean, tasks * most + labels, self.config.temperature
            )
        return loss

    def _replays(self, generator: torch.Generator) -> Iterator[_Replay]:
        """What is replayed in every step, made up for many steps at once: of each task the same number on average."""
        most = round(self.config.replay_cap * self.config.batch_size)
        count = min(most, len(self.tasks) * self.config.replay_per_task)
        sizes = torch.tensor([len(table) for table in self.means])
        while True:
            tasks = torch.randint(len(sizes), (_AHEAD * count,), generator=generator)
            classes = (torch.rand(len(tasks), generator=generator) * sizes[tasks]).long()
            z = self._draw(tasks, classes, generator)
            parts = (z, tasks.to(z.device), classes.to(z.device), self.decode(z, tasks))
            yield from map(_Replay._make, zip(*(part.split(count) for part in parts)))

    def _draw(self, tasks: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
        rows = self._rows(tasks, classes)
        component = torch.multinomial(torch.cat(list(self.weights))[rows].cpu(), 1, generator=generator)[:, 0]
        means, factors = (torch.cat(list(table))[rows, component] for table in (self.means, self.factors))
        noise = torch.randn(len(tasks), self.config.latent, generator=generator).to(means)
        return means + self.config.shrink * torch.einsum("nij,nj->ni", factors, noise)

    @torch.no_grad()
    def _set_prior(self, x: Tensor, y: Tensor) -> None:
        """Of the newest task, from its rows; diagonal ones of all tasks, as they have been learnt."""
        if self.config.prior == "diagonal":
            for learnt, root in zip(self.log_variances, self.factors):
                root.copy_(torch.diag_embed((learnt.clamp(*LOG_VARIANCES) / 2).exp()))
            return
        weights, means, spreads, factors = (t[-1] for t in (self.weights, self.means, self.log_variances, self.factors))
        mean, log_variance = self.encode(x, torch.full_like(y, len(self.means) - 1))
        for label in range(len(means)):
            own = y == label
            start = (means[label], spreads[label].clamp(*LOG_VARIANCES).exp())
            found = fit_mixture(mean[own], log_variance[own].exp(), *start)
            weights[label], means[label], factors[label] = found
            spreads[label] = found.factors.square().sum(2).log()

    def _add(self, task: Hashable, classes: int, generator: torch.Generator) -> None:
        sizes, device = (classes, self.config.components, self.config.latent), self.device
        self.tasks.append(task)
        self.weights.append(nn.Parameter(torch.full(sizes[:2], 1 / sizes[1]), requires_grad=False))
        self.means.append(nn.Parameter(torch.randn(sizes, generator=generator)))
        self.log_variances.append(nn.Parameter(torch.zeros(sizes)))
        self.factors.append(nn.Parameter(torch.eye(sizes[2]).repeat(*sizes[:2], 1, 1), requires_grad=False))
        self.embeddings.append(nn.Parameter(torch.randn(self.config.embedding, generator=generator)))
        self.to(device)

    def _learnt(self) -> list[nn.Parameter]:
        """What the newest task trains: where outputs are distilled, past tasks keep their priors and embeddings."""
        tables = (self.means, self.log_variances, self.embeddings)
        first = -1 if self.config.replay == "distil" else 0
        own = [parameter for table in tables for parameter in list(table)[first:]]
        return [*self.encoder.parameters(), *self.decoder.parameters(), *own]

    def _embedded(self, tasks: Tensor) -> Tensor:
        return torch.stack(list(self.embeddings))[tasks]

    def _rows(self, tasks: Tensor, classes: Tensor) -> Tensor:
        """Where classes of tasks are in the tables of all tasks, one after another."""
        starts = torch.tensor([0, *(len(table) for table in list(self.means)[:-1])], device=tasks.device).cumsum(0)
        return starts[tasks] + classes


class EncoderFeatures(nn.Module):
    """Latent means of rows of one task, of length 1: what the generator has learnt, as features for a kernel.

    Arguments:
        vae: The generator.
        task: Number of the task.
    """

    def __init__(self, vae: ConditionalPriorVAE, task: int) -> None:
        super().__init__()
        self.vae, self.task = vae, task

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "n *shape"]) -> Float[Tensor, "n latent"]:
        return F.normalize(self.vae.encode(x, torch.full((len(x),), self.task))[0])
