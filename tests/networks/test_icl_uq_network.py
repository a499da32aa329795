"""The network: what it may see, tokens, positions, pretraining and resuming, weights in every published layout."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from harmonia.core.errors import InputError, WeightsError
from harmonia.core.weights import write_safetensors
from harmonia.networks.icl_uq import (
    FlippedPrior,
    InContextConfig,
    InContextTransformer,
    TaskPrior,
    flip_scores,
    load_checkpoint,
    pretrain,
    shift_suite,
)
from harmonia.networks.icl_uq.checkpoint import checkpoint, prior_of
from harmonia.networks.icl_uq.shifts import BAYES, INFORMED, NETWORK
from harmonia.parts.training import Plan

PRIOR = TaskPrior(dim=2)
TINY = InContextConfig(dim=2, context=8, d_model=16, n_layers=2, n_heads=2)


def network(**options):
    model = InContextTransformer(replace(TINY, **options)).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


def drawn(tasks=3, length=8, seed=0, prior=PRIOR):
    return prior.sample(tasks, length, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("tokens", ["split", "joint"])
@pytest.mark.parametrize("positions", ["none", "learned", "floating"])
def test_a_prediction_does_not_see_its_target_or_what_follows(tokens, positions):
    model, prompts = network(tokens=tokens, positions=positions), drawn()
    before = model(prompts.xs, prompts.ys)
    xs, ys = prompts.xs.clone(), prompts.ys.clone()
    ys[:, 4:] += 50.0
    xs[:, 5:] += 50.0
    after = model(xs, ys)
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a[:, :5], b[:, :5])
        assert not torch.allclose(a[:, 5:], b[:, 5:])


@pytest.mark.parametrize("tokens", ["split", "joint"])
@pytest.mark.parametrize("positions", ["none", "learned"])
def test_questions_share_a_context(tokens, positions):
    model, prompts = network(tokens=tokens, positions=positions), drawn(length=6)
    whole = model(prompts.xs, prompts.ys)
    for pairs in (0, 1, 5):
        asked = model.ask(prompts.xs[:, :pairs], prompts.ys[:, :pairs], prompts.xs[:, [pairs, 0]])
        torch.testing.assert_close(asked.mean[:, 0], whole.mean[:, pairs], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(asked.std[:, 0], whole.std[:, pairs], atol=1e-5, rtol=1e-5)


def test_reading_on_is_reading_at_once():
    model, prompts = network(), drawn()
    memory = model.read(prompts.xs[:, 3:], prompts.ys[:, 3:], model.read(prompts.xs[:, :3], prompts.ys[:, :3]))
    once = model.read(prompts.xs, prompts.ys)
    query = drawn(seed=5).xs[:, :4]
    torch.testing.assert_close(model.answer(query, memory).mean, model.answer(query, once).mean, atol=1e-5, rtol=1e-5)


def test_split_tokens_are_those_of_the_paper():
    model, prompts = network(), drawn(length=3)
    tokens = torch.zeros(3, 6, 2)
    for t in range(3):
        tokens[:, 2 * t] = prompts.xs[:, t]
        tokens[:, 2 * t + 1, 0] = prompts.ys[:, t]
    out = model.read_out(model.backbone(model.read_in(tokens))[0])[:, ::2]
    found = model(prompts.xs, prompts.ys)
    torch.testing.assert_close(found.mean, out[..., 0])
    torch.testing.assert_close(found.std, torch.log1p(out[..., 1].exp()) + 1e-4)


def test_deviations_stay_positive_where_softplus_vanishes():
    model, prompts = network(), drawn()
    model.read_out.bias.data[1] = -300.0
    assert (model(prompts.xs, prompts.ys).std >= 1e-4).all()


def test_floating_positions_start_anywhere_in_training_only():
    model, prompts = network(positions="floating"), drawn()
    assert torch.equal(model(prompts.xs, prompts.ys).mean, model(prompts.xs, prompts.ys).mean)
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        means = [model(prompts.xs, prompts.ys).mean for _ in range(3)]
    assert not torch.equal(means[0], means[1]) or not torch.equal(means[0], means[2])


def test_the_seed_makes_the_network():
    first, again, other = (InContextTransformer(TINY, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["read_in.weight"], other["read_in.weight"])


@pytest.mark.parametrize(
    ("xs", "ys", "message"),
    [
        (torch.zeros(1, 4, 3), torch.zeros(1, 4), "do not fit"),
        (torch.full((1, 4, 2), torch.nan), torch.zeros(1, 4), "not finite"),
        (torch.zeros(1, 4, 2), torch.full((1, 4), torch.inf), "not finite"),
    ],
)
def test_bad_prompts_are_refused(xs, ys, message):
    with pytest.raises(InputError, match=message):
        network()(xs, ys)


def test_prompts_are_read_in_the_precision_of_the_weights():
    prompts = drawn()
    found = network().double()(prompts.xs, prompts.ys)
    assert found.mean.dtype == torch.float64
    torch.testing.assert_close(found.mean.float(), network()(prompts.xs.double(), prompts.ys).mean)


def test_longer_prompts_need_no_table_of_positions():
    prompts = drawn(length=20)
    assert network()(prompts.xs, prompts.ys).mean.shape == (3, 20)
    with pytest.raises(InputError, match="longer than the table"):
        network(positions="learned")(prompts.xs, prompts.ys)


@pytest.mark.parametrize("field", ["tokens", "positions"])
def test_words_that_no_network_knows_are_refused(field, untyped):
    with pytest.raises(InputError, match=f"no such {field}"):
        InContextConfig(**{field: "whole"})


def test_configurations():
    assert InContextConfig.of({"dim": 3}).dim == 3
    with pytest.raises(InputError, match="does not know"):
        InContextConfig.of({"width": 3})
    with pytest.raises(InputError, match="counted from 1"):
        InContextConfig(dim=0)
    assert InContextTransformer(InContextConfig()).read_in.weight.shape == (256, 8)
    assert sum(p.numel() for p in InContextTransformer(InContextConfig()).parameters()) == pytest.approx(
        9.5e6, rel=0.01
    )


# ---------------------------------------------------------------------------------------------------- training


def test_pretraining_learns_and_resumes_exactly(tmp_path):
    prior = TaskPrior(dim=1, b=1.0)
    config = InContextConfig(dim=1, context=6, d_model=16, n_layers=2, n_heads=2, tokens="joint")
    plan = Plan(steps=30, learning_rate=3e-3, warmup=5, weight_decay=0.0, ema_decay=0.9, checkpoint_every=10)
    whole = pretrain(InContextTransformer(config), prior, plan, batch=32, device="cpu")
    calls = []

    def stop(model):
        calls.append(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(
            InContextTransformer(config),
            prior,
            replace(plan, evaluate_every=0),
            batch=32,
            evaluate=stop,
            folder=tmp_path,
            device="cpu",
        )
    resumed = pretrain(InContextTransformer(config), prior, plan, batch=32, folder=tmp_path, device="cpu")
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)
    start = pretrain(InContextTransformer(config), prior, replace(plan, steps=1), batch=32, device="cpu")
    assert whole.history[-1]["excess"] < start.history[-1]["excess"]


def test_loss_at_some_positions_is_that_of_short_prompts():
    """Targets beyond the chosen ones cannot be seen by them, so the gradient is the same."""
    losses = []
    for length, positions in ((8, slice(0, 4)), (4, slice(None))):
        model, prompts = network(), drawn(length=8)
        mean, std = model(prompts.xs[:, :length], prompts.ys[:, :length])
        error = (mean - prompts.ys[:, :length]).square() / std
        error[:, positions].mean().backward()
        losses.append(model.read_in.weight.grad)
    torch.testing.assert_close(losses[0], losses[1], atol=1e-5, rtol=1e-4)


def test_pretraining_refuses_what_does_not_fit():
    plan = Plan(steps=1)
    with pytest.raises(InputError, match="number of inputs"):
        pretrain(network(), TaskPrior(dim=3), plan)
    with pytest.raises(InputError, match="no target counts"):
        pretrain(network(), PRIOR, plan, positions=slice(50, 60))


# ---------------------------------------------------------------------------------------------------- experiments


def test_shift_suite_has_every_curve():
    table = shift_suite(network(), PRIOR, tasks=20)
    home = table.filter(experiment="in distribution", method=BAYES)
    assert home["pairs"].to_list() == list(range(8))
    assert home["mean_gap"].max() == 0
    huge = table.filter(experiment="noise", condition="huge")
    assert set(huge["method"]) == {NETWORK, BAYES, INFORMED, "ridge", "least squares"}
    assert set(table.filter(experiment="covariates")["condition"]) == {"large", "decreasing", "shrinking", "rotated"}
    assert table.filter(experiment="length")["pairs"].max() == 15
    assert table.filter(method=NETWORK).null_count().sum_horizontal().item() == 0
    with pytest.raises(InputError, match="linear tasks only"):
        shift_suite(network(), TaskPrior(dim=2, family="tree"))


def test_flip_scores_of_a_network_that_states_one_deviation():
    """A network that says 0.4 whatever it sees is right for noise in (.3, .5) only."""
    model = network(dim=2)
    model.read_out.weight.data.zero_()
    model.read_out.bias.data = torch.tensor([0.0, float(torch.tensor(0.4).expm1().log())])
    tasks = FlippedPrior(2).sample(4000, 5, torch.Generator().manual_seed(0))
    expected = ((tasks.sigmas >= 0.3) & (tasks.sigmas < 0.5)).float().mean().item()
    straight = flip_scores(model, pairs=4, swapped=False, tasks=4000)
    swapped = flip_scores(model, pairs=4, swapped=True, tasks=4000)
    assert straight["accuracy"] == straight["prior_share"] == pytest.approx(expected, abs=1e-6)
    assert swapped["accuracy"] == pytest.approx(0.25, abs=0.03)
    assert swapped["prior_share"] == pytest.approx(0.25, abs=0.03)
    assert swapped["accuracy"] != swapped["prior_share"]


# ---------------------------------------------------------------------------------------------------- weights


def official(config, generator=None):
    """Tensors under the names of the official releases, matrices of the backbone turned, extras of old releases."""
    model = InContextTransformer(config, seed=3)
    state = {}
    for key, value in model.state_dict().items():
        turned = key.startswith("backbone.h.") and value.ndim == 2
        state["_" + key] = (value.T if turned else value).clone()
    state["_backbone.wte.weight"] = torch.zeros(7, config.d_model)
    for i in range(config.n_layers):
        state[f"_backbone.h.{i}.attn.bias"] = torch.ones(1, 1, 4, 4, dtype=torch.bool)
        state[f"_backbone.h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    return model, state


@pytest.mark.parametrize("n_out", [1, 2])
@pytest.mark.parametrize("positions", ["none", "learned"])
def test_official_layouts_load(tmp_path, n_out, positions):
    config = InContextConfig(3, 101 if positions == "none" else 6, 64, 2, 2, positions, n_out=n_out)
    model, state = official(config)
    path = tmp_path / "model.pt"
    torch.save({"model_state_dict": state, "train_step": 5}, path)
    loaded, prior = load_checkpoint(path)
    assert prior is None
    assert loaded.config == config
    prompts = drawn(prior=TaskPrior(dim=3), length=5)
    ours, theirs = loaded(prompts.xs, prompts.ys), model.eval()(prompts.xs, prompts.ys)
    torch.testing.assert_close(ours.mean, theirs.mean)
    assert (ours.std is None) == (n_out == 1)


def test_an_unused_table_of_positions_is_left_out(tmp_path):
    """The official code may keep GPT-2's table and suppress it in the call; nothing in the file says so."""
    model, state = official(InContextConfig(3, 6, 64, 2, 2))
    state["_backbone.wpe.weight"] = torch.ones(12, 64)
    path = tmp_path / "model.pt"
    torch.save(state, path)
    assert load_checkpoint(path).model.config.positions == "learned"
    loaded = load_checkpoint(path, positions="none").model
    assert loaded.config == model.config
    prompts = drawn(prior=TaskPrior(dim=3), length=5)
    torch.testing.assert_close(loaded(prompts.xs, prompts.ys).mean, model.eval()(prompts.xs, prompts.ys).mean)
    _, bare = official(InContextConfig(3, 6, 64, 2, 2))
    torch.save(bare, path)
    with pytest.raises(WeightsError, match="wpe"):
        load_checkpoint(path, positions="learned")


def test_weights_go_to_disk_and_back(tmp_path):
    model = network(tokens="joint")
    prior = TaskPrior(dim=2, covariates=((1.0, 0.5), (0.5, 1.0)))
    kept = checkpoint(model, prior, {"seed": 0})
    path = write_safetensors(tmp_path / "w.safetensors", kept.tensors, kept.metadata)
    again = load_checkpoint(path)
    assert again.prior == prior
    assert again.model.config == model.config
    prompts = drawn()
    torch.testing.assert_close(
        again.model(prompts.xs, prompts.ys).mean, model(prompts.xs, prompts.ys).mean, atol=0.02, rtol=0.02
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("read_out.bias"), "lack 'read_out.bias'"),
        (lambda s: s.update({"more": torch.zeros(1)}), "which the network lacks"),
        (lambda s: s.update({"read_in.weight": torch.zeros(16, 5)}), "another shape"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, change, message):
    kept = checkpoint(network(), PRIOR, {})
    tensors = dict(kept.tensors)
    change(tensors)
    path = write_safetensors(tmp_path / "w.safetensors", tensors, kept.metadata)
    with pytest.raises(WeightsError, match=message):
        load_checkpoint(path)


def test_files_that_are_no_weights_are_refused(tmp_path):
    other = write_safetensors(tmp_path / "o.safetensors", {"a": torch.zeros(1)})
    with pytest.raises(WeightsError, match="not the weights"):
        load_checkpoint(other)
    (tmp_path / "broken.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(WeightsError, match="not a file of weights"):
        load_checkpoint(tmp_path / "broken.safetensors")
    with pytest.raises(WeightsError, match="no such embedded"):
        load_checkpoint("embedded:none")
    bad = write_safetensors(tmp_path / "b.safetensors", {"a": torch.zeros(1)}, {"config": "{"})
    with pytest.raises(WeightsError, match="metadata"):
        load_checkpoint(bad)


def test_a_prior_survives_json():
    prior = TaskPrior(dim=2, family={"linear": 0.5, "tree": 0.5}, a=3.0, drop_inputs=True)
    from dataclasses import asdict

    assert prior_of(json.loads(json.dumps(asdict(prior)))) == prior


def test_without_the_floor_deviations_are_the_official_softplus():
    model, prompts = network(sigma_floor=0.0), drawn()
    model.read_out.bias.data[1] = -300.0
    assert (model(prompts.xs, prompts.ys).std == 0).all()
