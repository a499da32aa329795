"""Convolutional layers against dense features, and the classifier of images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits

from harmonia.core.errors import InputError
from harmonia.kernels.dkm import (
    ConvDeepKernelMachine,
    ConvDeepKernelMachineConfig,
    ConvGramMixup,
    GramMixup,
    GramTriple,
    ImagePatches,
    ImageWhitening,
    MeanPool,
    NystromPool,
    WholeImageMixup,
    load_official,
    random_patches,
)
from harmonia.kernels.dkm.image_classifier import ConvDeepKernelMachineClassifier
from harmonia.kernels.dkm.images import augmented
from harmonia.kernels.dkm.official import official_names

SMALL = {"image_shape": (1, 8, 8), "outputs": 3, "widths": (6, 6), "blocks": 1}


def normal(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def spatial(points=5, rows=2, size=4, features=3):
    """Features of inducing points (P, f) and of positions (n, h, w, f), and their triple."""
    z, x = normal(points, features), normal(rows, size, size, features, seed=1)
    return z, x, GramTriple(z @ z.T, x @ z.T, x.square().sum(-1))


def test_patches_are_inner_products_of_neighbourhoods():
    entry = ImagePatches(normal(4, 2, 3, 3))
    x = normal(3, 2, 5, 5, seed=1)
    ti, t = entry.points(x)
    patches = F.unfold(x, 3, padding=1).reshape(3, 2, 9, 5, 5)
    rows = entry.patches.detach().reshape(4, 2, 9)
    torch.testing.assert_close(ti.detach(), torch.einsum("ncphw,icp->nhwi", patches, rows) / 18)
    inside = F.unfold(torch.ones_like(x), 3, padding=1).reshape(3, 2, 9, 5, 5).sum((1, 2))
    torch.testing.assert_close(t, patches.square().sum((1, 2)) / inside)
    torch.testing.assert_close(entry.inducing().detach(), rows.flatten(1) @ rows.flatten(1).T / 18)
    with pytest.raises(InputError, match="middle"):
        ImagePatches(normal(4, 2, 2, 2))


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_mixes_features(stride):
    """K_ti is the inner product of convolved features with inducing features spread over the window."""
    z, x, triple = spatial()
    layer = ConvGramMixup(5, 4, 3, stride, generator=torch.Generator().manual_seed(0))
    found = layer(triple)
    weights = layer.weights.detach() / math.sqrt(5)
    spread = torch.einsum("oiab,if->oabf", weights, z)  # inducing points live on windows
    torch.testing.assert_close(found.ii.detach(), torch.einsum("oabf,pabf->op", spread, spread) / 9)
    windows = F.unfold(x.permute(0, 3, 1, 2), 3, padding=1, stride=stride)
    side = 4 // stride
    windows = windows.reshape(2, 3, 3, 3, side, side)
    expected = torch.einsum("nfabhw,oabf->nhwo", windows, spread) / 9
    torch.testing.assert_close(found.ti.detach(), expected)
    assert found.t.shape == (2, side, side)
    torch.testing.assert_close(found.t[:, 0, 0], triple.t[:, :2, :2].mean((1, 2)))


def test_pools():
    z, x, triple = spatial(points=5, features=3)
    mean = MeanPool()(triple)
    torch.testing.assert_close(mean.ti, x.mean((1, 2)) @ z.T)
    torch.testing.assert_close(mean.t, triple.t.mean((1, 2)))
    # Inducing points span the features: global average pooling is exact.
    exact = NystromPool()(GramTriple(triple.ii + 1e-10 * torch.eye(5, dtype=torch.float64), triple.ti, triple.t))
    torch.testing.assert_close(exact.t, x.mean((1, 2)).square().sum(1), rtol=1e-6, atol=1e-6)
    # They span nothing: positions are independent.
    none = NystromPool()(GramTriple(torch.eye(5, dtype=torch.float64), torch.zeros_like(triple.ti), triple.t))
    torch.testing.assert_close(none.t, triple.t.mean((1, 2)) / 16)
    flat = GramMixup(5, 2, generator=torch.Generator().manual_seed(0))
    mixed = flat(mean)
    spread = flat.weights.detach() @ z / math.sqrt(5)
    torch.testing.assert_close(mixed.ti.detach(), x.mean((1, 2)) @ spread.T)
    torch.testing.assert_close(mixed.ii.detach(), spread @ spread.T)
    whole = WholeImageMixup(5, 2, (4, 4), generator=torch.Generator().manual_seed(0))
    found = whole(triple)
    everywhere = torch.einsum("opi,if->opf", whole.weights.detach(), z) / math.sqrt(5)
    torch.testing.assert_close(found.ti.detach(), torch.einsum("npf,opf->no", x.flatten(1, 2), everywhere) / 16)
    torch.testing.assert_close(found.ii.detach(), torch.einsum("opf,qpf->oq", everywhere, everywhere) / 16)


def test_whitening_and_patches():
    images = normal(400, 1, 4, 4) @ normal(4, 4, seed=2)
    whitening = ImageWhitening(images, share=0.0)
    white = ((images - images.mean()) / images.std()).flatten(1) @ whitening.matrix
    torch.testing.assert_close(white.T @ white, torch.eye(16, dtype=torch.float64))
    found = whitening(images)
    torch.testing.assert_close(found, ((white - white.mean()) / white.std()).reshape(images.shape))
    numbered = torch.arange(2 * 25.0).reshape(2, 1, 5, 5)
    patches = random_patches(numbered, torch.tensor([0, 1]), 50, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(patches[:, 0, 1, 1] - patches[:, 0, 0, 0], torch.full((50,), 6.0))
    assert len(patches[:, 0, 0, 0].unique()) > 12
    with pytest.raises(InputError, match="smaller"):
        random_patches(numbered[..., :2], torch.tensor([0, 1]), 5)
    generator = torch.Generator().manual_seed(0)
    moved = augmented(numbered.repeat(50, 1, 1, 1) + 1, 1, True, generator)
    whole = (moved == numbered.repeat(50, 1, 1, 1) + 1).all(3).all(2).all(1).float().mean()
    assert 0 < whole < 0.2  # one shift of nine, half of them mirrored
    torch.testing.assert_close(augmented(numbered, 0, False, generator), numbered)


@pytest.mark.parametrize(("scale", "millions"), [(1, 0.310), (2, 1.238)])
def test_the_network_has_the_published_size(scale, millions):
    machine = ConvDeepKernelMachine(ConvDeepKernelMachineConfig(scale=scale))
    assert sum(p.numel() for p in machine.parameters()) / 1e6 == pytest.approx(millions, abs=5e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"top": "gap-mixup", "t_norm": "location", "t_scale": "location"},
        {"top": "bfc", "kernel": "normalized-gaussian", "wishart": 0.25, "objective": "taylor"},
        {"top": "bfc-mixup", "i_norm": "local", "t_norm": "image", "kernel_after_top": False},
        {"dof": math.inf, "weight_noise": 0.1},
    ],
    ids=lambda o: next(iter(o.values())) if isinstance(o, dict) else o,
)
def test_networks(options):
    config = ConvDeepKernelMachineConfig(**SMALL, **options)
    machine = ConvDeepKernelMachine(config, generator=torch.Generator().manual_seed(0)).train()
    x = normal(4, 1, 8, 8)
    found = machine(x)
    (found.mean.sum() + found.variance.sum() + machine.divergence()).backward()
    unused = {"stack.layers.9.t_logscale"}
    for name, parameter in machine.named_parameters():
        assert not parameter.requires_grad or parameter.grad is not None or name in unused, name
    machine.eval()
    torch.testing.assert_close(machine(x).mean[:1], machine(x[:1]).mean)
    state = {name: value.detach().clone() for name, value in official_names(machine)}
    state["0.X"] = state["0.X"].permute(0, 2, 3, 1)
    load_official(machine, {**state, "6.0.weights.lw": torch.full((2,), math.log(0.5))})


def test_training_lowers_the_loss_and_resumes(tmp_path):
    """That it learns digits takes hundreds of steps: see the claim."""
    images, labels = load_digits(n_class=2, return_X_y=True)
    images = images.reshape(-1, 8, 8)
    options = {"epochs": 3, "batch_size": 90, "lr": 0.02, "device": "cpu", "folder": tmp_path}
    config = ConvDeepKernelMachineConfig(widths=(8, 8), blocks=1, relative=True)
    model = ConvDeepKernelMachineClassifier(config, **options).fit(images, labels)
    assert model.history_[-1] < model.history_[0]
    assert len(model.gram_matrices_) == 3
    np.testing.assert_allclose(model.predict_proba(images)[:1], model.predict_proba(images[:1]), rtol=1e-8)
    again = ConvDeepKernelMachineClassifier(config, **options).fit(images, labels)  # resumes at its end
    np.testing.assert_array_equal(again.predict(images), model.predict(images))


@pytest.fixture(scope="module")
def pictures():
    images = np.random.default_rng(0).uniform(size=(20, 8, 8))
    return np.where(np.arange(8) < 4, 0.0, images), np.arange(20) % 2


def fitted(pictures, random_state=0, whiten=True, labels=None, **options):
    config = ConvDeepKernelMachineConfig(widths=(6, 6), blocks=1, **options)
    model = ConvDeepKernelMachineClassifier(
        config, epochs=1, batch_size=10, device="cpu", whiten=whiten, random_state=random_state
    )
    return model.fit(pictures[0], pictures[1] if labels is None else labels).predict_proba(pictures[0])


@pytest.mark.parametrize("options", [{"wishart": 0.25, "objective": "taylor"}, {"weight_noise": 0.1}], ids=str)
def test_the_noise_of_training_follows_the_seed(pictures, options):
    before = torch.get_rng_state()
    first, again, other = (fitted(pictures, seed, **options) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-6
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_of_all_kinds(pictures):
    states = [fitted(pictures, np.random.RandomState(seed)) for seed in (0, 0)]
    np.testing.assert_array_equal(*states)
    assert np.isfinite(fitted(pictures, None)).all()


@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_labels_in_a_column(pictures):
    np.testing.assert_array_equal(fitted(pictures, labels=pictures[1][:, None]), fitted(pictures))


def test_black_patches_have_a_kernel(pictures):
    """They have the length 0, at which the normalised Gaussian kernel has no angle."""
    assert np.isfinite(fitted(pictures, whiten=False, kernel="normalized-gaussian", top="bfc")).all()


def test_bad_images():
    images, labels = np.zeros((6, 8, 8)), np.arange(6) % 2
    model = ConvDeepKernelMachineClassifier(ConvDeepKernelMachineConfig(**SMALL), epochs=1)
    for bad, told in (
        (np.zeros((6, 8)), "an array"),
        (np.full((6, 8, 8), np.nan), "finite"),
        (np.zeros((0, 8, 8)), "an array"),
    ):
        with pytest.raises(InputError, match=told):
            model.fit(bad, labels)
    with pytest.raises(InputError, match="two labels"):
        model.fit(images, np.zeros(6))
    with pytest.raises(InputError, match="precision"):
        ConvDeepKernelMachineClassifier(dtype="float16").fit(images, labels)
    for options, told in (
        ({"epochs": 1.5}, "'epochs'"),
        ({"epochs": None}, "'epochs'"),
        ({"batch_size": 2.5}, "'batch_size'"),
        ({"margin": -1}, "'margin'"),
        ({"lr": 0.0}, "'lr' is a number > 0"),
        ({}, "one value everywhere"),
    ):
        with pytest.raises(InputError, match=told):
            ConvDeepKernelMachineClassifier(**options).fit(images, labels)
    for bad in (np.where(labels == 0, np.nan, 1.0), labels + 0.5, np.stack([labels, labels], 1)):
        with pytest.raises(ValueError):
            model.fit(images, bad)
    for options in ({"top": "max"}, {"scale": 0}, {"widths": (4,)}):
        with pytest.raises(InputError):
            ConvDeepKernelMachineConfig(**options)
