"""The layer curve of a tagging task: closed-form probes, cross-validated, beside MARBLE's grid of networks.

The scores are areas under the ROC curve on the held-out fifth.
"""

import numpy as np

from harmonia.app.bench import Race

LAYERS, WIDTH, LABELS = 13, 768, 50
EPOCHS = 100
RATES = (1e-2, 5e-3, 1e-3, 5e-4, 1e-4)


def data(clips, seed=0):
    """Features of 13 layers in which the middle one knows most of 50 labels, the rest less the farther they lie."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((clips, WIDTH), dtype=np.float32)
    shares = 0.9 - 0.12 * np.abs(np.arange(LAYERS) - 6)
    features = np.empty((clips, LAYERS, WIDTH), dtype=np.float32)
    for layer, share in enumerate(shares):
        noise = rng.standard_normal((clips, WIDTH), dtype=np.float32)
        features[:, layer] = share * hidden + np.sqrt(1 - share**2) * noise
    logits = hidden @ rng.standard_normal((WIDTH, LABELS), dtype=np.float32) / np.sqrt(WIDTH)
    labels = (logits + 0.7 * rng.standard_normal((clips, LABELS), dtype=np.float32) > 1.3).astype(np.int64)
    test = np.arange(clips) % 5 == 0
    return features, labels, test


def ours(clips):
    """The whole curve with 95 % intervals; gives the ROC area of the chosen layer."""
    from harmonia.parts.probing import probe_layers

    features, labels, test = data(clips)
    return lambda: np.array([probe_layers(features, labels, goal="multilabel", test=test).score.score])


def marble(clips, rates, epochs, layers):
    """MARBLE's protocol (MLP of 512 units, Adam, grid of rates, early stop) in plain torch, one layer after another.

    Its repository needs Lightning and a GPU; the network and the training are its configuration's.
    """
    import torch
    from sklearn.metrics import roc_auc_score
    from torch import nn

    features, labels, test = data(clips)
    rows = np.flatnonzero(~test)
    valid, train = torch.from_numpy(rows[::5].copy()), torch.from_numpy(np.setdiff1d(rows, rows[::5]))
    y, held = torch.from_numpy(labels.astype(np.float32)), torch.from_numpy(np.flatnonzero(test))

    def fitted(x, rate):
        torch.manual_seed(1234)
        net = nn.Sequential(nn.Linear(WIDTH, 512), nn.ReLU(), nn.Dropout(0.2), nn.Linear(512, LABELS))
        adam = torch.optim.Adam(net.parameters(), lr=rate)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(adam, "max", factor=0.5, patience=3)
        best, best_scores, waited = -1.0, None, 0
        for _ in range(epochs):
            net.train()
            for batch in train[torch.randperm(len(train))].split(64):
                adam.zero_grad()
                nn.functional.binary_cross_entropy_with_logits(net(x[batch]), y[batch]).backward()
                adam.step()
            net.eval()
            with torch.no_grad():
                score = roc_auc_score(y[valid].numpy(), net(x[valid]).numpy(), average="macro")
                scores = net(x[held]).numpy()
            plateau.step(score)
            waited += 1
            if score > best:
                best, best_scores, waited = score, scores, 0
            if waited >= 20:
                break
        return best, best_scores

    def run():
        curve = []
        for layer in layers:
            x = torch.from_numpy(np.ascontiguousarray(features[:, layer]))
            curve.append(max((fitted(x, rate) for rate in rates), key=lambda found: found[0]))
        scores = max(curve, key=lambda found: found[0])[1]
        return np.array([roc_auc_score(labels[test], scores, average="macro")])

    return run


def one_layer_grid(clips):
    """The whole grid on the best layer only: a thirteenth of MARBLE's work."""
    return marble(clips, RATES, EPOCHS, (6,))


RACES = [
    Race(
        "MARBLE's protocol in torch",
        "curve of 13 layers x 768 with 95 % intervals, 10,000 clips, 50 labels; theirs one layer only",
        ours,
        one_layer_grid,
        {"clips": 10_000},
        tolerance=0.006,
        threads=2,
        repeats=1,
        scores=True,
        note="theirs is the grid of five learning rates x 100 epochs on the best layer, without intervals: the whole "
        "curve takes thirteen times as long, so the ratio for equal work is thirteen times this one",
    ),
    Race(
        "MARBLE's protocol in torch",
        "curve of 13 layers x 768, 2,000 clips, 50 labels; theirs one layer only",
        ours,
        one_layer_grid,
        {"clips": 2_000},
        tolerance=0.02,
        threads=2,
        repeats=1,
        scores=True,
        note="as above, at the size of GTZAN; one fifth of the clips is the test set",
    ),
]
