"""The theory beside what a user of torch would do: simulate networks, and differentiate them one by one."""

from harmonia.app.bench import Race


def theory(width, depth, activation):
    """The critical initialisation of the activation, then all layers."""
    import numpy as np

    from harmonia.networks import recursion

    def step():
        table = recursion(activation, depth, width)
        return np.array([table["K"][-1], table["V"][-1] / 100])

    return step


def simulation(width, depth, activation, nets=10_000, chunk=250):
    """The same from 10,000 random networks, as batched matrix products, at the critical initialisation it is told."""
    import numpy as np
    import torch
    from torch.nn import functional as F

    from harmonia.networks import analyze

    report, function = analyze(activation), getattr(F, activation)
    C_b, C_W, K1 = report.C_b, report.C_W, report.start

    def step():
        generator = torch.Generator().manual_seed(0)
        square, pairs = 0.0, 0.0
        with torch.no_grad():
            for _ in range(nets // chunk):
                z = K1**0.5 * torch.randn(chunk, width, 1, generator=generator)
                for _ in range(depth - 1):
                    weights = (C_W / width) ** 0.5 * torch.randn(chunk, width, width, generator=generator)
                    biases = C_b**0.5 * torch.randn(chunk, width, 1, generator=generator)
                    z = weights @ function(z) + biases
                total = z.double().square().sum((1, 2))
                square += float(total.sum()) / width
                pairs += float((total**2 - z.double().pow(4).sum((1, 2))).sum()) / (width * (width - 1))
        K = square / nets
        return np.array([K, width * (pairs / nets - K**2) / 100])

    return step


def sampled(width, depth, nets):
    import numpy as np

    from harmonia.networks import sample_ensemble

    def step():
        found = sample_ensemble("tanh", depth, width, nets, observables=("K", "Theta", "B"))
        return np.array([found.mean[name][-1] for name in ("K", "Theta", "B")])

    return step


def differentiated(width, depth, nets):
    """Tangent kernels of the same networks by torch.func, all networks at once."""
    import numpy as np
    import torch
    from torch.func import jacrev, vmap

    def outputs(parameters, x):
        for number, (weight, bias) in enumerate(parameters):
            x = weight @ (x.tanh() if number else x) + bias
        return x

    jacobian = vmap(jacrev(outputs), in_dims=(0, None))

    def step():
        generator = torch.Generator().manual_seed(0)
        kernel, tangent, mixed = [], [], []
        for _ in range(nets // 50):
            parameters = [
                (torch.randn(50, width, width, generator=generator) / width**0.5, torch.zeros(50, width))
                for _ in range(depth)
            ]
            x = torch.ones(width)
            by = jacobian(parameters, x)
            weights = [(w.flatten(2), b) for w, b in by]
            H = sum(w @ w.mT / width + b @ b.mT for w, b in weights)
            diagonal = H.diagonal(dim1=1, dim2=2)
            z = vmap(outputs, in_dims=(0, None))(parameters, x)
            kernel.append(z.square().mean())
            tangent.append(diagonal.mean())
            mixed.append((H.square().sum() - diagonal.square().sum()) / (50 * (width - 1)))
        return np.array([float(torch.stack(each).mean()) for each in (kernel, tangent, mixed)])

    return step


RACES = (
    *(
        Race(
            "torch",
            f"K and V in layer {depth} of {activation} networks of width 128, beside 10,000 networks by torch",
            theory,
            simulation,
            {"width": 128, "depth": depth, "activation": activation},
            tolerance=0.1,
            threads=1,
            repeats=3,
            note="outputs agree to the simulation's own error and to 1/width; ours finds the initialisation too",
        )
        for depth, activation in ((4, "gelu"), (4, "tanh"))
    ),
    Race(
        "torch",
        "tangent kernels of 1,000 tanh networks of width and depth 32 and 4, beside torch.func Jacobians",
        sampled,
        differentiated,
        {"width": 32, "depth": 4, "nets": 1000},
        tolerance=0.1,
        repeats=3,
        note="random networks on both sides: outputs agree to sampling error",
    ),
)
