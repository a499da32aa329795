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
covariances, and not only their diagonals, are kept and sampled from.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.networks.gkcl.contrastive import supervised_contrastive
from harmonia.networks.gkcl.memory import Support, SupportMemory, check_unit_range
from harmonia.networks.gkcl.variational import diagonal_kl

Replay = Literal["distil", "elbo", "none"]
Prior = Literal["full", "diagonal"]

LOG_VARIANCES = (-6.0, 4.0)
"""Where log variances of priors and posteriors may lie, so that no prior collapses onto a point."""


_LEAST_NOISE = 1e-4
"""Of a pixel's variance where that is what fits best."""


@dataclass(frozen=True)
class VAEConfig:
    """A `ConditionalPriorVAE`.

    Attributes:
        latent: Numbers a latent.
        hidden: Units of each of the two hidden layers of encoder and decoder; channels of convolutions.
        embedding: Numbers that tell decoder and encoder which task it is; 0: only the prior does.
        layers: ``mlp``, or ``conv`` for images whose sides are multiples of 4.
        output: ``sigmoid`` for values from 0 to 1, ``linear`` for any.
        replay: How past tasks are kept, see the module; ``none`` lets them go.
        prior: ``full``: covariances of the aggregate posterior; ``diagonal``: the learnt prior of the evidence bound.
        noise: Variance of a pixel in p(x | z). None: the mean squared error of each batch, where the bound is largest
            (Rybkin et al. 2021). A fixed one that is larger than this error weighs the divergence too high: latents are
            not used, samples are all alike.
        shrink: Standard deviations are multiplied by it when sampling.
        steps: Of training on a task, however many rows it has.
        batch_size: Rows a step.
        replay_per_task: Latents a past task and step, at most `replay_cap` batches in all.
        replay_cap: See above.
        learning_rate: Of Adam.
        temperature: Of the contrastive loss.
    """

    latent: int = 16
    hidden: int = 128
    embedding: int = 16
    layers: Literal["mlp", "conv"] = "mlp"
    output: Literal["sigmoid", "linear"] = "sigmoid"
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
        sizes = (self.latent, self.hidden, self.steps, self.batch_size, self.replay_per_task)
        rates = (self.learning_rate, self.shrink, self.replay_cap, 1.0 if self.noise is None else self.noise)
        if min(sizes) < 1 or self.embedding < 0 or min(rates) <= 0:
            raise InputError("sizes and rates of a generator are positive", self, "Change the configuration.")
        for value, choices in ((self.replay, Replay), (self.prior, Prior)):
            if value not in get_args(choices):
                raise InputError("a generator has no such choice", repr(value), f"Use {', '.join(get_args(choices))}.")

    def build(self, shape: tuple[int, ...], contrastive: float) -> ConditionalPriorVAE:
        """The generator for rows of a shape, with random weights from the default generator."""
        return ConditionalPriorVAE(shape, self, contrastive)


class ConditionalPriorVAE(nn.Module, SupportMemory):
    """A variational autoencoder that learns task after task and makes up rows of any of them (arXiv:2112.13410).

    Arguments:
        shape: Of a row: (d,) or (channels, height, width).
        config: Sizes and training.
        contrastive: Weight of the supervised contrastive loss.

    Attributes:
        means, log_variances: One table (classes, latent) a task.
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
        self.encoder, self.decoder = _networks(self.shape, self.config)
        self.means, self.log_variances, self.embeddings, self.factors = (nn.ParameterList() for _ in range(4))

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
        prior_mean, prior_log_variance = (self._table(table, tasks, labels) for table in self._tables())
        divergence = diagonal_kl(mean, log_variance, prior_mean, prior_log_variance.clamp(*LOG_VARIANCES))
        return (squares.sum(1) / (2 * noise) + divergence).mean(), mean, noise

    def learn(self, task: Hashable, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Train on a task while keeping the past ones; random numbers also come from torch's default generator."""
        if self.config.output == "sigmoid":
            check_unit_range(x)
        old = copy.deepcopy(self).eval().requires_grad_(False) if self.tasks else None
        self._add(task, int(y.max()) + 1, generator)
        new = len(self.tasks) - 1
        kept = [p for i, p in self._owned() if i < new] if self.config.replay == "distil" else []
        kept_ids = {id(p) for p in (*kept, *self.factors)}
        learnt = [p for p in self.parameters() if id(p) not in kept_ids]
        optimizer = torch.optim.Adam(learnt, self.config.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, self.config.steps, self.config.learning_rate / 20
        )
        self.train()
        for _ in range(self.config.steps):
            rows = torch.randperm(len(y), generator=generator)[: self.config.batch_size]
            loss = self._loss(x[rows], y[rows], new, old, generator)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        self.eval()
        self._set_prior(x, y, new)
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
        mean, _ = self.encode(x, torch.full((len(x),), index))
        return torch.cdist(mean, self.means[index]).argmin(1)

    def forget(self, task: Hashable) -> None:
        raise InputError(
            "tasks cannot be taken out of a network", task, "Use memory='coreset', 'gaussians' or 'statistics'."
        )

    @property
    def nbytes(self) -> int:
        """Four bytes a parameter, of the encoder too; of covariances their lower triangles."""
        half = (self.config.latent + 1) / 2 / self.config.latent
        factors = sum(round(p.numel() * half) for p in self.factors)
        others = sum(p.numel() for p in self.parameters()) - sum(p.numel() for p in self.factors)
        return 4 * (others + factors)

    def _loss(
        self, x: Tensor, y: Tensor, new: int, old: ConditionalPriorVAE | None, generator: torch.Generator
    ) -> Tensor:
        tasks, labels = torch.full_like(y, new), y
        past = classes = y[:0]
        if old is not None and self.config.replay != "none":
            past, classes = self._past(new, generator)
            z = old._draw(past, classes, generator)
            truth = old.decode(z, past)
            if self.config.replay == "elbo":
                x, tasks, labels = torch.cat([x, truth]), torch.cat([tasks, past]), torch.cat([y, classes])
        loss, mean, noise = self.bound(x, tasks, labels)
        if self.config.replay == "distil" and len(past):
            squares = (self.decode(z, past) - truth).flatten(1).square().sum(1)
            loss = loss + new * squares.mean() / (2 * noise)  # each past task weighs as much as the new one
        if self.contrastive:
            most = max(len(table) for table in self.means)
            loss = loss + self.contrastive * supervised_contrastive(
                mean, tasks * most + labels, self.config.temperature
            )
        return loss

    def _past(self, new: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Tasks and classes to replay: the same number of each task, or random tasks where that were too many."""
        most = round(self.config.replay_cap * self.config.batch_size)
        count = min(most, new * self.config.replay_per_task)
        tasks = torch.randint(new, (count,), generator=generator)
        sizes = torch.tensor([len(table) for table in self.means])[tasks]
        return tasks, (torch.rand(count, generator=generator) * sizes).long()

    def _draw(self, tasks: Tensor, classes: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(len(tasks), self.config.latent, generator=generator)
        factors = self._table(list(self.factors), tasks, classes)
        return self._table(list(self.means), tasks, classes) + self.config.shrink * torch.einsum(
            "nij,nj->ni", factors, noise
        )

    @torch.no_grad()
    def _set_prior(self, x: Tensor, y: Tensor, index: int) -> None:
        mean, log_variance = self.encode(x, torch.full_like(y, index))
        factors = []
        for label in range(len(self.means[index])):
            if self.config.prior == "diagonal":
                factors.append(torch.diag((self.log_variances[index][label].clamp(*LOG_VARIANCES) / 2).exp()))
                continue
            own, spread = mean[y == label], log_variance[y == label].exp().mean(0)
            centre = own.mean(0)
            covariance = (own - centre).T @ (own - centre) / len(own) + torch.diag(spread)
            self.means[index][label] = centre
            self.log_variances[index][label] = covariance.diagonal().log()
            factors.append(torch.linalg.cholesky(covariance))
        self.factors[index].copy_(torch.stack(factors))

    def _add(self, task: Hashable, classes: int, generator: torch.Generator) -> None:
        latent = self.config.latent
        self.tasks.append(task)
        self.means.append(nn.Parameter(torch.randn(classes, latent, generator=generator)))
        self.log_variances.append(nn.Parameter(torch.zeros(classes, latent)))
        self.embeddings.append(nn.Parameter(torch.randn(self.config.embedding, generator=generator)))
        self.factors.append(nn.Parameter(torch.eye(latent).repeat(classes, 1, 1), requires_grad=False))

    def _owned(self) -> list[tuple[int, nn.Parameter]]:
        """Parameters that belong to one task, with its number."""
        lists = (self.means, self.log_variances, self.embeddings)
        return [(i, parameter) for each in lists for i, parameter in enumerate(each)]

    def _tables(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        return list(self.means), list(self.log_variances)

    def _embedded(self, tasks: Tensor) -> Tensor:
        return torch.stack(list(self.embeddings))[tasks]

    @staticmethod
    def _table(tables: Sequence[Tensor], tasks: Tensor, classes: Tensor) -> Tensor:
        """Entries of tables of different lengths."""
        starts = torch.tensor([0, *(len(table) for table in tables[:-1])]).cumsum(0)
        return torch.cat(list(tables))[starts[tasks] + classes]


class _Encoder(nn.Module):
    """Rows and a task's embedding to means and log variances."""

    def __init__(self, body: nn.Module, width: int, config: VAEConfig) -> None:
        super().__init__()
        self.body = body
        self.read = nn.Sequential(
            nn.Linear(width + config.embedding, config.hidden), nn.ReLU(), nn.Linear(config.hidden, 2 * config.latent)
        )

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        return self.read(torch.cat([self.body(x), embedding], 1))


def _networks(shape: tuple[int, ...], config: VAEConfig) -> tuple[_Encoder, nn.Module]:
    hidden, code = config.hidden, config.latent + config.embedding
    if config.layers == "mlp":
        size = math.prod(shape)
        # The task enters beside the pixels: in a permuted task even the first layer has to know of it.
        encoder = _Encoder(nn.Flatten(), size, config)
        decoder = nn.Sequential(
            nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, size)
        )
        return encoder, decoder
    if len(shape) != 3 or shape[1] % 4 or shape[2] % 4:
        raise InputError("a convolutional generator takes images", shape, "Pass (channels, 4 m, 4 n), or layers='mlp'.")
    channels, height, width = shape
    body = nn.Sequential(
        nn.Conv2d(channels, hidden // 2, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(hidden // 2, hidden, 4, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
    )
    grid = (hidden, height // 4, width // 4)
    decoder = nn.Sequential(
        nn.Linear(code, math.prod(grid)),
        nn.ReLU(),
        nn.Unflatten(1, grid),
        nn.ConvTranspose2d(hidden, hidden // 2, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(hidden // 2, channels, 4, 2, 1),
    )
    return _Encoder(body, math.prod(grid), config), decoder
