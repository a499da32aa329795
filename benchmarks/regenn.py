"""ReGENN beside what its release does, as one writes it in torch: windows one after another, the tensor repeated.

The official code is no package; run beside it by hand, outputs agree. neuralforecast's networks know one panel at a
time and no graph that samples share, so that nothing of theirs computes the same.
"""

from harmonia.app.bench import Race

SAMPLES, LENGTH, WINDOW, STRIDE = 188, 120, 7, 14


def panel(variables):
    import torch

    return torch.rand(SAMPLES, LENGTH, variables, generator=torch.Generator().manual_seed(0)).cumsum(1)


def our_graph(variables):
    from harmonia.sequences.regenn import cooccurrence

    values = panel(variables)
    return lambda: cooccurrence(values, block=32).numpy()


def repeated_graph(variables):
    import torch

    values = panel(variables)

    def step():
        total = torch.zeros(variables, variables)
        for part in values.split(32):
            mask = (part > 0).float()
            graph = torch.einsum("dac,cdab->bc", mask, part.repeat(variables, 1, 1, 1))
            alone = (2 * graph.diagonal() - graph.sum(1)).clamp(min=0)
            total += graph - graph.diagonal().diag() + alone.diag()
        return total.numpy()

    return step


def network(variables, feedforward):
    import torch

    from harmonia.sequences.regenn import ReGENN

    torch.manual_seed(0)
    return ReGENN(
        window=WINDOW, stride=STRIDE, n_variables=variables, feedforward=feedforward, attend="variables", dropout=0.0
    )


def epoch(variables, feedforward, batches):
    """One pass over all windows, forwards and backwards."""
    import torch

    model = network(variables, feedforward)
    optimizer = torch.optim.Adam(model.parameters())

    def step():
        for past, future in batches():
            loss = (model(past) - future).abs().mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
            optimizer.step()
            optimizer.zero_grad()

    return step


def our_epoch(variables, feedforward, size=512):
    import torch

    from harmonia.data import Panel
    from harmonia.sequences.regenn.windows import PanelWindows

    values = panel(variables)
    there = torch.ones(values.shape, dtype=torch.bool)
    windows = PanelWindows(Panel(values.double().numpy()), there, WINDOW, STRIDE, 0, LENGTH - STRIDE)
    generator = torch.Generator().manual_seed(0)

    def batches():
        for _ in range(-(-len(windows) // size)):
            batch = windows.draw(size, generator)
            yield batch.past.float(), batch.future.float()

    return epoch(variables, feedforward, batches)


def walked_epoch(variables, feedforward):
    values = panel(variables)

    def batches():
        for part in values.split(32):
            for start in range(LENGTH - STRIDE - WINDOW - STRIDE + 1):
                yield part[:, start : start + WINDOW], part[:, start + WINDOW : start + WINDOW + STRIDE]

    return epoch(variables, feedforward, batches)


def our_prediction(variables):
    return prediction(variables, 64)


def released_prediction(variables):
    return prediction(variables, 2048)


def prediction(variables, feedforward):
    import torch

    model = network(variables, feedforward).eval()
    windows = panel(variables)[:, -WINDOW:]

    def step():
        with torch.no_grad():
            model(windows)

    return step


WALK = "the peer walks through windows one by one, 32 samples a step, as the release does"

RACES = (
    Race(
        "torch",
        "co-occurrence of 188 samples, 120 times, 24 variables",
        our_graph,
        repeated_graph,
        {"variables": 24},
        tolerance=1e-5,
        note="the peer repeats the tensor once a variable, as the release does",
    ),
    Race(
        "torch",
        "training, one pass over 188 samples x 120 times x 3 variables, encoder of 2,048 units",
        our_epoch,
        walked_epoch,
        {"variables": 3, "feedforward": 2048},
        repeats=2,
        note=WALK,
    ),
    Race(
        "torch",
        "training, one pass over 188 samples x 120 times x 3 variables, encoder of 64 units",
        our_epoch,
        walked_epoch,
        {"variables": 3, "feedforward": 64},
        repeats=2,
        note=WALK,
    ),
    Race(
        "torch",
        "forecast of 188 samples of 3 variables, our default size beside the released one",
        our_prediction,
        released_prediction,
        {"variables": 3},
        note="other sizes of the encoder, so that outputs are not compared",
    ),
)
