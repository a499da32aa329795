"""Streams of permuted digits beside avalanche's replay on the whole network.

avalanche-lib runs in an environment of its own, with a torch of its own, for it needs torchvision. Its replay keeps as
many rows as our generator has bytes, 64 to a row; its generative replay trains the autoencoder of its plugin. The
methods differ, so outputs are not compared; each side says its average accuracy on standard error. The last race is
the regression inside of every training step beside the official code's way, an inverse.
"""

import numpy as np

from harmonia.app.bench import Race

AVALANCHE = ("avalanche-lib==0.6.0",)
EPOCHS, BATCH = 15, 32


def digits(tasks):
    """Permuted digits, in numpy alone, so that a peer's environment needs nothing of ours."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    parts = train_test_split(x / 16, y, test_size=0.3, stratify=y, random_state=0)
    orders = [np.arange(64), *(np.random.RandomState(t).permutation(64) for t in range(1, tasks))]
    return [(parts[0][:, order], parts[2], parts[1][:, order], parts[3]) for order in orders]


def our_generator(tasks):
    return ours(tasks, "generator")


def our_gaussians(tasks):
    return ours(tasks, "gaussians")


def our_sums(tasks):
    return ours(tasks, "statistics")


def ours(tasks, memory):
    from harmonia.networks.gkcl import KernelContinualClassifier

    stream = digits(tasks)

    def step():
        model = KernelContinualClassifier(memory=memory, random_state=0)
        for t, (x, y, _, _) in enumerate(stream):
            model.partial_fit(x, y, task_id=t)
        scores = [np.mean(model.predict(x, task_id=t) == y) for t, (_, _, x, y) in enumerate(stream)]
        print_score(f"ours, {memory}", float(np.mean(scores)))

    return step


def print_score(name, accuracy):
    """To the error stream: the workers' output is a protocol."""
    import sys

    print(f"{name}: average accuracy {accuracy:.3f}", file=sys.stderr)


def avalanche_network():
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(64, 256),
        torch.nn.ReLU(),
        torch.nn.Linear(256, 128),
        torch.nn.ReLU(),
        torch.nn.Linear(128, 10),
    )


def avalanche_replay(tasks):
    return avalanche(tasks, generative=False, rows=228_224 // 64)


def avalanche_generative(tasks):
    return avalanche(tasks, generative=True)


def avalanche(tasks, generative, rows=0):
    import torch
    from avalanche.benchmarks import tensors_benchmark
    from avalanche.models.generator import MlpVAE, VAE_loss
    from avalanche.training.plugins import GenerativeReplayPlugin, ReplayPlugin
    from avalanche.training.supervised import GenerativeReplay, Naive, VAETraining

    stream = digits(tasks)
    common = {"train_mb_size": BATCH, "train_epochs": EPOCHS}

    def tensors(x, y):
        return torch.from_numpy(x).float().reshape(-1, 1, 8, 8), torch.from_numpy(y).long()

    def learner(network):
        solver = {"optimizer": torch.optim.Adam(network.parameters(), 1e-3), "criterion": torch.nn.CrossEntropyLoss()}
        if not generative:
            return Naive(model=network, **solver, **common, plugins=[ReplayPlugin(mem_size=rows)], evaluator=None)
        vae = MlpVAE((1, 8, 8), nhid=16)
        trainer = VAETraining(
            model=vae,
            optimizer=torch.optim.Adam(vae.parameters(), 1e-3),
            criterion=VAE_loss,
            **common,
            plugins=[GenerativeReplayPlugin()],
            evaluator=None,
        )
        return GenerativeReplay(model=network, **solver, **common, generator_strategy=trainer, evaluator=None)

    def step():
        benchmark = tensors_benchmark(
            train_tensors=[tensors(x, y) for x, y, _, _ in stream],
            test_tensors=[tensors(x, y) for _, _, x, y in stream],
            task_labels=[0] * tasks,
        )
        network = avalanche_network()
        strategy = learner(network)
        for experience in benchmark.train_stream:
            strategy.train(experience)
        with torch.no_grad():
            judged = [tensors(x, y) for _, _, x, y in stream]
            scores = [float((network(x).argmax(1) == y).double().mean()) for x, y in judged]
        print_score("avalanche, generative replay" if generative else "avalanche, replay", float(np.mean(scores)))

    return step


def our_solve(rows, classes):
    import torch

    from harmonia.parts.gram import kernel_ridge

    kernel, targets = matrices(rows, classes)

    def step():
        solved = kernel_ridge(kernel, targets, 0.11)
        return symmetric(solved, torch.autograd.grad(solved.square().sum(), kernel)[0])

    return step


def inverse(rows, classes):
    """The official code's way: an explicit inverse inside the graph."""
    import torch

    kernel, targets = matrices(rows, classes)

    def step():
        solved = torch.inverse(kernel + 0.11 * torch.eye(len(kernel), dtype=kernel.dtype)) @ targets
        slope = torch.autograd.grad(solved.square().sum(), kernel)[0]
        return symmetric(solved, slope)

    return step


def symmetric(solved, slope):
    # A factor reads one triangle of the matrix and an inverse both: the same derivative, spread otherwise.
    return np.concatenate([solved.detach().numpy(), (slope + slope.T).numpy()], 1)


def matrices(rows, classes):
    import torch

    generator = torch.Generator().manual_seed(0)
    features = torch.randn(rows, 160, generator=generator, dtype=torch.float64)
    kernel = (features @ features.T / 160).requires_grad_()
    return kernel, torch.eye(classes, dtype=torch.float64)[torch.arange(rows) % classes]


RACES = (
    *(
        Race(
            "avalanche-lib",
            f"learn 8 permutations of digits: {workload}",
            ours,
            theirs,
            {"tasks": 8},
            threads=1,
            requirements=AVALANCHE,
            repeats=1,
        )
        for workload, ours, theirs in (
            ("our generator, its generative replay", our_generator, avalanche_generative),
            ("our generator, its replay of rows of the same bytes", our_generator, avalanche_replay),
            ("our Gaussians in closed form, its generative replay", our_gaussians, avalanche_generative),
            ("our sums, its replay of rows", our_sums, avalanche_replay),
        )
    ),
    Race(
        "torch",
        "regression on 400 rows of support and its gradient, beside the official code's inverse",
        our_solve,
        inverse,
        {"rows": 400, "classes": 10},
        tolerance=1e-9,
        threads=1,
    ),
)
