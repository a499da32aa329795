"""Streams, metrics, heads, features, losses and memories, each by another route."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.kernel_ridge import KernelRidge
from torch.distributions import Normal, kl_divergence

from harmonia.core.errors import InputError
from harmonia.networks.gkcl import (
    MLP,
    ClassGaussians,
    ConditionalPriorVAE,
    Coreset,
    RandomBackbone,
    SlimResNet,
    VAEConfig,
    VariationalBases,
    continual_metrics,
    permuted_tasks,
    rotated_tasks,
    split_classes,
    supervised_contrastive,
)
from harmonia.networks.gkcl.head import SupportFit, TaskHead, kernel_of
from harmonia.networks.gkcl.memory import row_bytes
from harmonia.networks.gkcl.mixtures import fit_mixture, mixture_divergence
from harmonia.networks.gkcl.privacy import private_sums
from harmonia.networks.gkcl.variational import diagonal_kl
from harmonia.parts.gram import Matern, NormalEquations
from harmonia.parts.privacy import Randomness


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(count: int = 40, width: int = 6, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = seeded()
    y = torch.arange(count) % classes
    return torch.rand(count, width, generator=generator) * 0.5 + y[:, None] / (2 * classes), y


@settings(max_examples=25, deadline=None)
@given(tasks=st.integers(1, 6), seed=st.integers(0, 1000))
def test_metrics_are_their_definitions(tasks, seed):
    matrix = np.random.default_rng(seed).random((tasks, tasks))
    found = continual_metrics(np.where(np.tri(tasks) > 0, matrix, np.nan))
    assert found.average == pytest.approx(matrix[-1].mean())
    drops = [max(matrix[j, i] for j in range(i, tasks)) - matrix[-1, i] for i in range(tasks - 1)]
    assert found.forgetting == pytest.approx(np.mean(drops) if drops else 0)
    moves = [matrix[-1, i] - matrix[i, i] for i in range(tasks - 1)]
    assert found.backward_transfer == pytest.approx(np.mean(moves) if moves else 0)


@pytest.mark.parametrize("bad", [np.ones((2, 3)), np.array([[np.nan]]), np.array([[50.0]])], ids=["shape", "nan", "%"])
def test_what_is_no_matrix_of_accuracies_is_refused(bad):
    with pytest.raises(InputError, match="accurac"):
        continual_metrics(bad)


def test_streams_hold_the_same_rows():
    x, y = np.random.default_rng(0).random((60, 4, 4)), np.arange(60) % 5
    first, second, third = permuted_tasks(x, y, 3)
    np.testing.assert_array_equal(
        second.x.reshape(-1, 16), first.x.reshape(-1, 16)[:, np.random.RandomState(1).permutation(16)]
    )
    np.testing.assert_array_equal(np.sort(third.x_test.reshape(18, -1)), np.sort(first.x_test.reshape(18, -1)))
    np.testing.assert_array_equal(third.y, first.y)
    turned = rotated_tasks(x, y, 2, step=90.0, jitter=0.0)
    np.testing.assert_allclose(turned[1].x, np.rot90(turned[0].x, 1, axes=(-2, -1)), atol=1e-9)
    parts = split_classes(x, y, 2, order=[4, 3, 2, 1, 0])
    assert [task.name for task in parts] == ["4, 3", "2, 1, 0"]
    assert sum(len(task.x) + len(task.x_test) for task in parts) == 60
    with pytest.raises(InputError, match="shape and classes"):
        permuted_tasks(x, y, 2, test=(x, y + 1))
    published = split_classes(x.astype(np.float32), y, 2, test=(x[:10], y[:10]))
    assert (len(published[0].x), len(published[0].x_test)) == (24, 4)
    assert published[0].x.dtype == np.float32
    with pytest.raises(InputError, match="every class once"):
        split_classes(x, y, 2, order=[0, 1])
    with pytest.raises(InputError, match="images"):
        rotated_tasks(x.reshape(60, -1), y, 2)
    with pytest.raises(InputError, match="one row"):
        permuted_tasks(x[:6], [0, 0, 0, 1, 1, 2], 2)


@pytest.mark.parametrize("name", ["linear", "laplace", "poly", "gaussian"])
def test_heads_are_kernel_ridge_regression(name):
    x, y = rows()
    features, targets = x.double(), torch.nn.functional.one_hot(y).double()
    matrix = kernel_of(name)(features)
    theirs = KernelRidge(alpha=0.3, kernel="precomputed").fit(matrix.numpy(), targets.numpy())
    queries = features[:7] + 0.01
    expected = theirs.predict(kernel_of(name)(queries, features).numpy())
    fit = SupportFit.of(kernel_of(name), features, targets, 0.3)
    np.testing.assert_allclose(fit(queries).numpy(), expected, atol=1e-8)


def test_kernels_are_the_official_ones():
    a, b = rows()[0][:5], rows()[0][5:9]
    expected = torch.exp(-0.25 * (a[:, None] - b).abs().sum(2))
    torch.testing.assert_close(kernel_of("laplace")(a, b), expected)
    torch.testing.assert_close(kernel_of("poly")(a, b), (a @ b.T + 1) ** 3)
    assert kernel_of(Matern(nu=1.5)) == Matern(nu=1.5)
    with pytest.raises(InputError, match="no such kernel"):
        kernel_of("rbf")


def test_gradients_flow_through_the_solve():
    head = TaskHead(0.1)
    support = torch.rand(6, 4, generator=seeded(), dtype=torch.float64, requires_grad=True)
    queries = torch.rand(3, 4, generator=seeded(1), dtype=torch.float64, requires_grad=True)
    targets = torch.eye(2, dtype=torch.float64).repeat(3, 1)
    for name in ("linear", "poly"):

        def scores(s, q, penalty, name=name):
            return SupportFit.of(kernel_of(name), s, targets, penalty)(q)

        assert torch.autograd.gradcheck(scores, (support, queries, head.penalty.double()))
    assert float(TaskHead(-0.2).penalty.detach()) == pytest.approx(0.21)


def test_divergences_are_torchs():
    draws = torch.randn(4, 5, generator=seeded(), dtype=torch.float64)
    mean, log_variance, other, other_log_variance = draws
    theirs = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(other, (other_log_variance / 2).exp())).sum()
    torch.testing.assert_close(diagonal_kl(mean, log_variance, other, other_log_variance), theirs)
    # The official formula, term by term.
    v, v0 = log_variance.exp(), other_log_variance.exp()
    official = -2.5 + 0.5 * (v0.log() - v.log()).sum() + 0.5 * ((v + (other - mean) ** 2) / v0).sum()
    torch.testing.assert_close(diagonal_kl(mean, log_variance, other, other_log_variance), official)


def test_variational_features_approach_the_gaussian_kernel():
    bases = VariationalBases(3, 20_000, seeded()).eval()
    for network in (bases.posterior.mean, bases.posterior.log_variance):
        torch.nn.init.zeros_(network[-1].weight)
        torch.nn.init.zeros_(network[-1].bias)  # frequencies N(0, I)
    x = torch.randn(8, 3, generator=seeded(1))
    phi = bases(x)(x)
    exact = torch.exp(-0.5 * torch.cdist(x, x).square())
    assert float((phi @ phi.T - exact).abs().max()) < 4 / math.sqrt(20_000)
    torch.testing.assert_close(bases(x)(x), phi)  # nothing random outside of training


def test_contrastive_loss_is_its_definition():
    z, labels = torch.randn(7, 4, generator=seeded()), torch.tensor([0, 0, 1, 1, 1, 2, 0])
    unit = z / z.norm(dim=1, keepdim=True)
    total, count = 0.0, 0
    for i in range(7):
        positives = [p for p in range(7) if p != i and labels[p] == labels[i]]
        others = sum(math.exp(float(unit[i] @ unit[a]) / 0.5) for a in range(7) if a != i)
        if positives:
            total -= sum(float(unit[i] @ unit[p]) / 0.5 - math.log(others) for p in positives) / len(positives)
            count += 1
    assert float(supervised_contrastive(z, labels, 0.5)) == pytest.approx(total / count, rel=1e-5)
    assert float(supervised_contrastive(z, torch.arange(7))) == 0


def test_backbones_look_at_one_row_at_a_time():
    x = torch.rand(6, 10, generator=seeded())
    net = MLP(10, 8, 5).eval()
    torch.testing.assert_close(net(x)[:2], net(x[:2]))
    batch = MLP(10, 8, 5, normalise="minmax").eval()
    batch.load_state_dict(net.state_dict())
    assert not torch.allclose(batch(x)[:1], batch(x[1:] * 3 + x[:1])[:1])
    assert float(batch(x).detach().min()) == 0
    images = torch.rand(2, 3, 16, 16, generator=seeded())
    ours, theirs = SlimResNet(widths=(4, 4, 8, 8, 8)), SlimResNet(widths=(4, 4, 8, 8, 8), compat="kcl")
    theirs.load_state_dict(ours.state_dict())
    assert not torch.allclose(ours.eval()(images), theirs.eval()(images))
    with torch.no_grad():
        for block in theirs.modules():
            if hasattr(block, "conv2"):
                block.conv2.weight.mul_(100)  # there, but never used
    torch.testing.assert_close(theirs(images).norm(dim=1), torch.ones(2))
    assert SlimResNet.mini_imagenet().features == 512


def test_random_backbones_are_the_gaussian_kernel():
    x = torch.rand(5, 4, generator=seeded())
    phi = RandomBackbone(4, 8000, 0.7, seeded(1))(x)
    exact = torch.exp(-0.5 * (torch.cdist(x, x) / 0.7).square())
    assert float((phi @ phi.T - exact).abs().max()) < 4 / math.sqrt(4000)


def test_coresets_keep_bytes_and_leave_the_rest():
    x, y = rows(40)
    memory = Coreset(3)
    left = memory.learn("a", x, y, seeded())
    assert int((~left).sum()) == 9
    kept = memory.sample("a", 1, seeded())
    assert memory.nbytes == 9 * 6
    torch.testing.assert_close(kept.x, x[~left][torch.cdist(kept.x, x[~left]).argmin(1)], atol=1 / 510 + 1e-6, rtol=0)
    assert Coreset(3).learn("b", x * 9, y, seeded()).sum() == 31
    assert Coreset(99).learn("c", x, y, seeded()).all()  # nothing else is left to learn from
    memory.forget("a")
    assert memory.nbytes == 0


def _skewed() -> torch.Tensor:
    values = torch.randn(200, 1, generator=seeded()).exp()
    values[0] = 1e5
    return values / values.max()


@pytest.mark.parametrize(
    ("x", "size"),
    [
        (torch.randint(0, 256, (60, 12), generator=seeded()) / 255, 1),
        (torch.randint(0, 17, (60, 12), generator=seeded()) / 16, 1),  # the digits
        (torch.randint(0, 2, (60, 12), generator=seeded()) / 255, 1),
        (torch.rand(60, 12, generator=seeded()), 1),
        (torch.rand(60, 12, generator=seeded()) / 1000, 4),
        (_skewed(), 4),
        (torch.cat([torch.rand(200, 3, generator=seeded()), _skewed()], 1), 4),
        (2 * torch.rand(60, 12, generator=seeded()), 4),
    ],
    ids=["bytes", "sixteenths", "two greys", "wide", "narrow", "skewed", "one skewed", "out of range"],
)
def test_coresets_keep_bytes_where_they_lose_nothing(x, size):
    memory, y = Coreset(5), torch.zeros(len(x), dtype=torch.long)
    memory.learn("a", x, y, seeded())
    assert memory.nbytes == 5 * x.shape[1] * size == 5 * row_bytes(x)
    kept = memory.sample("a", 5, seeded()).x
    nearest = (kept[:, None] - x).abs().amax(2).amin(1)
    assert float(nearest.max()) <= (0.002 if size == 1 else 0)


def test_class_gaussians_have_the_moments_of_their_class():
    generator = seeded()
    factors = torch.tensor([[2.0, 0, 0, 0], [0, 1.0, 0, 0]])
    x = 5 + torch.randn(4000, 2, generator=generator) @ factors + 0.1 * torch.randn(4000, 4, generator=generator)
    memory = ClassGaussians(2)
    memory.learn("t", x, torch.zeros(4000, dtype=torch.long), generator)
    made, y = memory.sample("t", 4000, generator)
    assert set(y.tolist()) == {0}
    torch.testing.assert_close(made.mean(0), x.mean(0), atol=0.15, rtol=0)
    signal = torch.diag(torch.tensor([4.0, 1.0, 0.0, 0.0]))
    torch.testing.assert_close(made.T.cov(), signal, atol=0.3, rtol=0)
    assert memory.nbytes == 4 * (4 + 8)
    assert ClassGaussians(9)._fit(x[:3]).factors.shape == (2, 4)


def test_a_generator_learns_the_moments_of_latents():
    """Given the encoder, no other Gaussian prior has a lower divergence from the posteriors of a class."""
    x, y = rows(60)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = ConditionalPriorVAE((6,), VAEConfig(latent=2, hidden=16, embedding=2, steps=3), 0.0)
        vae.learn("t", x, y, seeded())
    with torch.no_grad():
        mean, log_variance = vae.encode(x, torch.zeros_like(y))
        mean, log_variance = mean[y == 1], log_variance[y == 1]
        best_mean, best_log = vae.means[0][1, 0], vae.log_variances[0][1, 0]
        best = diagonal_kl(mean, log_variance, best_mean, best_log).mean()
        for step in torch.randn(20, 2, 2, generator=seeded(2)) * 0.1:
            worse = diagonal_kl(mean, log_variance, best_mean + step[0], best_log + step[1]).mean()
            assert float(worse) > float(best)
        z = vae._draw(torch.zeros(20_000, dtype=torch.long), torch.ones(20_000, dtype=torch.long), seeded())
        torch.testing.assert_close(z.mean(0), best_mean.data, atol=0.05, rtol=0.05)
        expected = mean.T.cov(correction=0) + torch.diag(log_variance.exp().mean(0))
        torch.testing.assert_close(z.T.cov(), expected, atol=0.05, rtol=0.1)


@pytest.mark.parametrize("replay", ["distil", "elbo", "none"])
def test_generators_learn_task_after_task(replay):
    x, y = rows(60)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = VAEConfig(
            latent=4, hidden=32, embedding=4, steps=200, replay=replay, batch_size=20, learning_rate=1e-2
        )
        vae = ConditionalPriorVAE((6,), config)
        generator = seeded()
        assert vae.learn("first", x, y, generator).all()
        old = vae.sample("first", 50, seeded(1))
        vae.learn("second", 1 - x, y, generator)
    new = vae.sample("first", 50, seeded(1))
    moved = float((new.x - old.x).abs().mean())
    assert (moved > 0.06) == (replay == "none")
    if replay == "distil":
        assert moved < 0.05
    means = torch.stack([(1 - x)[y == k].mean(0) for k in range(3)])
    made = vae.sample("second", 50, seeded(1))
    assert float((torch.stack([made.x[made.y == k].mean(0) for k in range(3)]) - means).abs().max()) < 0.12
    assert (vae.nearest_prior("second", 1 - x) == y).double().mean() > 0.8
    assert vae.nbytes < 4 * sum(p.numel() for p in vae.parameters())
    with pytest.raises(InputError, match="taken out"):
        vae.forget("first")


def test_a_component_is_inferred_exactly():
    draw = torch.randn(5, 6, 3, generator=seeded(), dtype=torch.float64)
    mean, log_variance = draw[0], draw[1]
    means, log_variances = draw[2:4], draw[3:5]
    weights = torch.tensor([[0.3, 0.7]], dtype=torch.float64).expand(6, 2)
    found = mixture_divergence(mean, log_variance, weights, means.transpose(0, 1), log_variances.transpose(0, 1))
    each = torch.stack([diagonal_kl(mean, log_variance, means[j], log_variances[j]) for j in range(2)], 1)
    shares = torch.linspace(0.0001, 0.9999, 9999, dtype=torch.float64)[:, None]
    pair = torch.stack([shares, 1 - shares], 2)
    joint = (pair * (each + pair.log() - weights.log())).sum(2)  # of any posterior over components
    torch.testing.assert_close(found, joint.min(0).values, atol=1e-4, rtol=1e-4)
    assert (joint >= found - 1e-9).all()
    one = (means[:1].transpose(0, 1), log_variances[:1].transpose(0, 1))
    alone = mixture_divergence(mean, log_variance, torch.ones_like(weights[:, :1]), *one)
    torch.testing.assert_close(alone, each[:, 0])


def test_mixtures_of_latents_are_found():
    centres = torch.tensor([[3.0, 0.0], [-3.0, 1.0]])
    labels = (torch.rand(3000, generator=seeded()) < 0.25).long()
    spread = torch.tensor([[1.0, 0.6], [0.0, 0.5]])
    mean = centres[labels] + torch.randn(3000, 2, generator=seeded(1)) @ spread
    variance = torch.full((3000, 2), 0.2)
    found = fit_mixture(mean, variance, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.ones(2, 2))
    torch.testing.assert_close(found.weights, torch.tensor([0.75, 0.25]), atol=0.03, rtol=0)
    torch.testing.assert_close(found.means, centres, atol=0.15, rtol=0)
    covariances = found.factors @ found.factors.mT
    torch.testing.assert_close(covariances[0], spread.T @ spread + 0.2 * torch.eye(2), atol=0.12, rtol=0)
    alone = fit_mixture(mean, variance, torch.zeros(1, 2), torch.ones(1, 2))
    torch.testing.assert_close(alone.means[0], mean.mean(0))
    torch.testing.assert_close(alone.factors[0] @ alone.factors[0].T, mean.T.cov(correction=0) + 0.2 * torch.eye(2))


def test_a_class_of_two_kinds_needs_two_components():
    kinds = torch.rand(200, 1, generator=seeded()).round()
    x = (0.1 + 0.8 * kinds + 0.02 * torch.randn(200, 4, generator=seeded(1))).clamp(0, 1)
    between = {}
    for components in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            sizes = {"latent": 2, "hidden": 16, "embedding": 2, "components": components}
            vae = ConditionalPriorVAE((4,), VAEConfig(**sizes, steps=300, learning_rate=1e-2), 0.0)
            vae.learn("t", x, torch.zeros(200, dtype=torch.long), seeded())
        made = vae.sample("t", 400, seeded(2)).x.mean(1)
        between[components] = float(((made > 0.3) & (made < 0.7)).double().mean())
        assert (vae.nearest_prior("t", x) == 0).all()
    assert between[2] < 0.5 * between[1]


def test_learnt_priors_are_what_is_drawn_from():
    """Where past tasks are learnt again their priors move on, and so does what is made up of them."""
    x, y = rows(30)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = VAEConfig(latent=2, hidden=8, embedding=2, steps=20, replay="elbo", prior="diagonal")
        vae = ConditionalPriorVAE((6,), config)
        vae.learn("first", x, y, seeded())
        before = vae.log_variances[0].detach().clone()
        vae.learn("second", 1 - x, y, seeded())
    assert not torch.allclose(before, vae.log_variances[0])
    z = vae._draw(torch.zeros(20_000, dtype=torch.long), torch.ones(20_000, dtype=torch.long), seeded()).detach()
    torch.testing.assert_close(z.std(0), (vae.log_variances[0][1, 0].detach() / 2).exp(), atol=0, rtol=0.03)
    torch.testing.assert_close(z.mean(0), vae.means[0][1, 0].detach(), atol=0.04, rtol=0)


def test_generators_of_images_and_of_any_numbers():
    images, y = torch.rand(8, 1, 8, 8, generator=seeded()), torch.arange(8) % 2
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = ConditionalPriorVAE((1, 8, 8), VAEConfig(latent=2, hidden=4, steps=1, layers="conv"))
        vae.learn("t", images, y, seeded())
        assert vae.sample("t", 3, seeded()).x.shape == (6, 1, 8, 8)
        free = ConditionalPriorVAE((64,), VAEConfig(latent=2, hidden=4, steps=1, output="linear", embedding=0))
        free.learn("t", 100 * images.flatten(1), y, seeded())
        with pytest.raises(InputError, match="0 to 1"):
            vae.learn("u", 2 * images, y, seeded())
        with pytest.raises(InputError, match="images"):
            ConditionalPriorVAE((1, 7, 7), VAEConfig(layers="conv"))
        with pytest.raises(InputError, match="positive"):
            VAEConfig(latent=0)
        config = VAEConfig()
        object.__setattr__(config, "output", "foo")  # the tests' type checker is not what a user has
        with pytest.raises(InputError, match="no such choice"):
            config.__post_init__()


def test_private_sums_hide_a_row():
    """A row changes the noised numbers by the declared lengths at most; the noise has the calibrated size."""
    generator = seeded()
    x = torch.nn.functional.normalize(torch.randn(50, 6, generator=generator, dtype=torch.float64))
    y = torch.nn.functional.one_hot(torch.arange(50) % 3).double()
    whole, without = NormalEquations.of(x, y), NormalEquations.of(x[1:], y[1:])
    assert float((whole.gram - without.gram).square().sum()) <= 1 + 1e-9  # the Frobenius norm of f f^T
    assert float((whole.cross - without.cross).square().sum()) <= 1 + 1e-9
    draws = [private_sums(whole, 2.0, 1e-5, Randomness(seed)) for seed in range(300)]
    noise = torch.stack([noisy.gram - whole.gram for noisy, _ in draws])
    sigma = float(noise.diagonal(dim1=1, dim2=2).std())
    torch.testing.assert_close(noise, noise.mT)
    assert float(noise[:, 0, 1:].std()) == pytest.approx(sigma / math.sqrt(2), rel=0.1)
    cross = float(torch.stack([noisy.cross - whole.cross for noisy, _ in draws]).std())
    # Both releases together: a Gaussian mechanism of ratio sqrt(1/sigma^2 + 1/cross^2 + ...) is (2, 1e-5) private.
    ratio = math.sqrt(1 / sigma**2 + 1 / cross**2)

    def delta(eps):
        gaussian = torch.distributions.Normal(0.0, 1.0)
        first, second = (float(gaussian.cdf(torch.tensor(s * ratio / 2 - eps / ratio).double())) for s in (1, -1))
        return first - math.exp(eps) * second

    assert delta(2.0) < 1.1e-5
    assert delta(1.6) > 1e-5  # and little of the budget is left over
    noisy, penalty = draws[0]
    assert penalty == pytest.approx(sigma * math.sqrt(12), rel=0.1)
    torch.testing.assert_close(noisy.sum, noisy.cross.sum(1))
    counts = torch.stack([noisy.energy for noisy, _ in draws]).mean(0)
    assert float((counts - whole.energy).abs().max()) < 10
    with pytest.raises(InputError, match="budget"):
        private_sums(whole, 1e-6, 1e-5, Randomness(0))
