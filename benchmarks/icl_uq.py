"""Exact Bayes for all prefixes beside refitting scikit-learn; pretraining beside the official stack on a processor."""

from harmonia.app.bench import Race


def _tasks(batch, length, dim):
    import numpy as np

    random = np.random.default_rng(0)
    xs = random.standard_normal((batch, length, dim))
    ys = (xs @ random.standard_normal((batch, dim, 1)))[..., 0] + random.standard_normal((batch, length))
    return xs, ys


def our_prefixes(batch, length, dim):
    from harmonia.networks.icl_uq import NIGRegression

    xs, ys = _tasks(batch, length, dim)
    model = NIGRegression(a0=20.0, b0=20.0)

    def step():
        model.predict_all_prefixes(xs, ys)

    return step


def refitted_prefixes(batch, length, dim):
    from sklearn.linear_model import BayesianRidge

    xs, ys = _tasks(batch, length, dim)

    def step():
        for x, y in zip(xs, ys):
            for t in range(2, length):
                BayesianRidge(fit_intercept=False).fit(x[:t], y[:t]).predict(x[t : t + 1], return_std=True)

    return step


def our_updates(batch, length, dim):
    from harmonia.networks.icl_uq import NIGRegression

    xs, ys = _tasks(batch, length, dim)
    model = NIGRegression(mu0=0.0, a0=20.0, b0=20.0)
    return lambda: model.predict_all_prefixes(xs, ys)[0]


def one_by_one_updates(batch, length, dim):
    """The official recursion in NumPy: one problem after another, an inverse a pair."""
    import numpy as np

    xs, ys = _tasks(batch, length, dim)

    def step():
        means = np.zeros((batch, length))
        for i, (x, y) in enumerate(zip(xs, ys)):
            precision, pull = np.eye(dim), np.zeros(dim)
            for t in range(length):
                means[i, t] = x[t] @ np.linalg.inv(precision) @ pull
                precision, pull = precision + np.outer(x[t], x[t]), pull + y[t] * x[t]
        return means

    return step


def _optimize(model, predict, batch, length, dim):
    import torch

    from harmonia.networks.icl_uq import TaskPrior, gaussian_nll

    generator = torch.Generator().manual_seed(0)
    prior = TaskPrior(dim=dim)
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)

    def step():
        prompts = prior.sample(batch, length, generator)
        mean, std = predict(prompts.xs, prompts.ys)
        gaussian_nll(mean, std.square(), prompts.ys).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def our_training(batch, length, dim):
    from harmonia.networks.icl_uq import InContextConfig, InContextTransformer
    from harmonia.parts.gram.allocator import keep_freed_memory

    keep_freed_memory()
    model = InContextTransformer(InContextConfig(dim, length, 64, 3, 2))
    return _optimize(model, model, batch, length, dim)


def their_training(batch, length, dim):
    import torch
    from torch.nn import functional as F
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(
        n_positions=2 * length,
        n_embd=64,
        n_layer=3,
        n_head=2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        use_cache=False,
        attn_implementation="eager",
    )
    model = torch.nn.ModuleDict(
        {"into": torch.nn.Linear(dim, 64), "backbone": GPT2Model(config), "out": torch.nn.Linear(64, 2)}
    )
    model["backbone"].wpe.weight.data.zero_()

    def predict(xs, ys):
        tokens = torch.stack([xs, F.pad(ys[..., None], (0, dim - 1))], 2).flatten(1, 2)
        out = model["out"](model["backbone"](inputs_embeds=model["into"](tokens)).last_hidden_state)[:, ::2]
        return out[..., 0], F.softplus(out[..., 1])

    return _optimize(model, predict, batch, length, dim)


RACES = (
    Race(
        "scikit-learn",
        "predictions of 1,000 problems at every one of 100 prefixes, 8 inputs",
        our_prefixes,
        refitted_prefixes,
        {"batch": 1000, "length": 100, "dim": 8},
        repeats=1,
        note="exact normal-inverse-gamma against BayesianRidge refitted, which learns two scales: another model",
    ),
    Race(
        "numpy",
        "posterior means of 200 problems at every one of 100 prefixes, 8 inputs",
        our_updates,
        one_by_one_updates,
        {"batch": 200, "length": 100, "dim": 8},
        tolerance=1e-8,
        note="the official recursion, written anew: one inverse a pair",
    ),
    Race(
        "transformers",
        "one optimizer step: 64 prompts of 41 pairs, width 64, three layers",
        our_training,
        their_training,
        {"batch": 64, "length": 41, "dim": 8},
        note="GPT2Model with eager attention, as the official code has it",
    ),
)
