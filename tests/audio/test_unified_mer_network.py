"""The network: parameters, layout, every path of its input, losses by closed forms, gradients."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from harmonia.audio.unified_mer.claims.identities import public_layout
from harmonia.audio.unified_mer.losses import distillation_loss, tag_loss, tag_weights
from harmonia.audio.unified_mer.network import EmotionConfig, EmotionNetwork, TeacherNetwork, _positions
from harmonia.core.errors import InputError

SMALL = EmotionConfig(music_width=6, tags=("a", "b", "c"), width=16, hidden=8)


def seeded(make, seed: int = 0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def inputs(batch: int = 4, config: EmotionConfig = SMALL, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    roots, qualities = (torch.randint(0, 13, (batch, 100), generator=generator) for _ in range(2))
    music = torch.randn(batch, config.music_width, generator=generator)
    return music, roots, qualities, torch.randint(0, 2, (batch,), generator=generator)


def test_the_layout_is_the_published_one() -> None:
    own = {name: tuple(tensor.shape) for name, tensor in EmotionNetwork(EmotionConfig()).state_dict().items()}
    assert own == public_layout()


def test_the_whole_forward_pass_agrees_with_torch_modules_put_together_by_hand() -> None:
    network = seeded(lambda: EmotionNetwork(SMALL)).eval()
    music, roots, qualities, minor = inputs()
    layer = nn.TransformerEncoderLayer(8, 8, 64, 0.1, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    encoder.load_state_dict(network.chord_transformer.state_dict())
    with torch.no_grad():
        chords = torch.cat([network.chord_root_embedding(roots), network.chord_attr_embedding(qualities)], -1)
        heard = encoder(torch.cat([torch.zeros(4, 1, 8), chords + _positions(100)], 1))[:, 0]
        z = torch.relu(network.input_proj[0](torch.cat([music, heard, minor[:, None].float()], 1)))
        tags, emotion = network(music, roots, qualities, minor)
        assert (tags - network.classification_branch(z)).abs().max() < 1e-6
        assert (emotion - network.regression_branch(z)).abs().max() < 1e-6


def test_positions_are_sines_and_cosines() -> None:
    found = _positions(100).numpy()
    for t in (0, 1, 57, 99):
        for k in range(4):
            assert found[t, 2 * k] == pytest.approx(np.sin(t / 10.0**k), abs=1e-5)
            assert found[t, 2 * k + 1] == pytest.approx(np.cos(t / 10.0**k), abs=1e-5)


def test_every_input_matters_and_the_order_of_chords_too() -> None:
    network = seeded(lambda: EmotionNetwork(SMALL)).eval()
    given = inputs()
    with torch.no_grad():
        reference = network(*given)[1]
        for changed in range(4):
            other = [column.clone() for column in given]
            other[changed] = 1 - other[changed] if changed == 3 else other[changed].roll(1, 1)
            assert (network(*other)[1] - reference).abs().min() > 0


def test_chords_beyond_those_it_listens_to_do_not_matter() -> None:
    config = EmotionConfig(music_width=6, tags=("a",), width=16, hidden=8, chords=10)
    network = seeded(lambda: EmotionNetwork(config)).eval()
    music, roots, qualities, minor = inputs(config=config)
    later = roots.clone()
    later[:, 10:] = 0
    with torch.no_grad():
        assert torch.equal(network(music, roots, qualities, minor)[1], network(music, later, qualities, minor)[1])


def test_standardised_music_enters_with_mean_zero_and_deviation_one() -> None:
    config = EmotionConfig(music_width=6, tags=("a",), width=16, hidden=8, standardize=True)
    network = seeded(lambda: EmotionNetwork(config)).eval()
    plain = EmotionNetwork(EmotionConfig(music_width=6, tags=("a",), width=16, hidden=8)).eval()
    plain.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("music_")})
    network.music_mean += 3.0
    network.music_scale *= 2.0
    music, *harmony = inputs(config=config)
    with torch.no_grad():
        assert torch.equal(network(2 * music + 3, *harmony)[1], plain(music, *harmony)[1])


@pytest.mark.parametrize(
    "make", [lambda: EmotionNetwork(SMALL), lambda: TeacherNetwork(SMALL, 2)], ids=["student", "teacher"]
)
def test_gradients_reach_every_parameter_and_are_right(make) -> None:
    network = seeded(make).double().eval()
    music, roots, qualities, minor = inputs(3)
    music = music.double()
    out = network(music, roots, qualities, minor)
    total = out.sum() if isinstance(out, torch.Tensor) else out[0].sum() + out[1].sum()
    total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    name, parameter = "chord_root_embedding.weight", network.chord_root_embedding.weight
    step = torch.zeros_like(parameter)
    step[3] = 1e-6

    def value(sign: float) -> float:
        moved = copy.deepcopy(network)
        with torch.no_grad():
            dict(moved.named_parameters())[name].add_(sign * step)
            found = moved(music, roots, qualities, minor)
            return float(found.sum() if isinstance(found, torch.Tensor) else found[0].sum() + found[1].sum())

    assert (value(1) - value(-1)) / 2e-6 == pytest.approx(float(parameter.grad[3].sum()), rel=1e-5)


@pytest.mark.parametrize(
    "change", [{"heads": 3}, {"width": 0}, {"tags": ()}, {"chords": 101}, {"chords": 0}], ids=lambda c: next(iter(c))
)
def test_impossible_shapes_are_refused(change) -> None:
    with pytest.raises(InputError):
        EmotionConfig(**change)


def test_configurations_are_read_back_and_unknown_fields_refused() -> None:
    import json

    assert EmotionConfig.of(json.loads(SMALL.to_json())) == SMALL
    with pytest.raises(InputError, match="unknown"):
        EmotionConfig.of({"depth": 3})


# ------------------------------------------------------------------------------------------------------------ losses


def test_tag_weights_have_their_closed_form() -> None:
    labels = (torch.rand(40, 5, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    positive, weight = tag_weights(labels)
    p = labels.mean(0)
    assert torch.allclose(positive, 1 / p)
    assert torch.allclose(weight, 2 / (1 + 1 / p))
    # Where a score is one half, the weighted odds of the posterior q are even: q = p / (1 + p).
    logits = torch.zeros(1, 5, requires_grad=True)
    q = p / (1 + p)
    (tag_loss(logits, q[None], (positive, weight))).backward()
    assert logits.grad.abs().max() < 1e-6


def test_a_tag_without_examples_keeps_the_loss_finite() -> None:
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    positive, _ = tag_weights(labels)
    assert positive.tolist() == [1.0, 4.0]
    assert torch.isfinite(tag_loss(torch.randn(2, 2), labels, tag_weights(labels)))


@pytest.mark.parametrize("shift", [-7.0, 0.1, 100.0])
def test_the_official_distance_does_not_see_a_common_shift(shift: float) -> None:
    teacher, student = torch.randn(2, 16, 2, generator=torch.Generator().manual_seed(1)).double()
    one = distillation_loss(student, teacher, "va", "official")
    assert distillation_loss(student + shift, teacher, "va", "official") == pytest.approx(float(one), abs=1e-12)
    assert distillation_loss(teacher + shift, teacher, "va", "mse_bce") == pytest.approx(shift**2, rel=1e-9)


@pytest.mark.parametrize("kd", ["official", "mse_bce"])
@pytest.mark.parametrize("kind", ["tags", "va"])
def test_distances_are_zero_at_the_teacher_and_above_elsewhere(kind, kd) -> None:
    teacher, other = torch.randn(2, 8, 4 if kind == "tags" else 2, generator=torch.Generator().manual_seed(2)).double()
    assert abs(float(distillation_loss(teacher, teacher, kind, kd))) < 1e-12
    assert float(distillation_loss(other, teacher, kind, kd)) > 1e-3


def test_tags_are_distilled_one_by_one() -> None:
    teacher, student = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(3)).double()
    p, q = teacher.sigmoid().numpy(), student.sigmoid().numpy()
    expected = np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
    assert float(distillation_loss(student, teacher, "tags", "mse_bce")) == pytest.approx(expected, abs=1e-12)
    # A change of one tag changes nothing about the others; under the softmax it does.
    moved = student.clone()
    moved[:, 0] += 1.0
    for kd, coupled in (("mse_bce", False), ("official", True)):
        gradients = []
        for each in (student, moved):
            leaf = each.clone().requires_grad_()
            distillation_loss(leaf, teacher, "tags", kd).backward()
            gradients.append(leaf.grad[:, 1:])
        assert bool((gradients[0] - gradients[1]).abs().max() > 1e-9) is coupled


def test_an_unknown_distance_is_refused() -> None:
    with pytest.raises(InputError, match="distillation"):
        distillation_loss(torch.zeros(1, 2), torch.zeros(1, 2), "va", "hinton")
