"""Balancing beside Google's entropy balancing, and a fitted recommender beside cornac's.

The first solves the same convex problem: weights nearest to equal ones under which kernels at anchors have their means
over all pairs. The second factorises the same ratings with as many factors; what is compared are the ranks that both
give to held-out pairs, through their AUC, for the models differ.
"""

import numpy as np

from harmonia.app.bench import Race


def problem(users, anchors):
    """Kernel features of observed pairs and their means over all pairs, the same on both sides."""
    from harmonia.tables.kernel_balancing import PairKernel, semi_synthetic
    from harmonia.tables.kernel_balancing.anchors import random_anchors

    truth = semi_synthetic(0, users, users)
    pairs = PairKernel.of("gaussian", 1.0, truth.user_features, truth.item_features)
    chosen = random_anchors(pairs, anchors, np.random.default_rng(0))
    return pairs.features(truth.users, truth.items, chosen), pairs.mean(chosen)


def ours(users, anchors):
    from harmonia.tables.kernel_balancing import balance_moments

    features, target = problem(users, anchors)
    return lambda: balance_moments(features, target, tol=0.0).weights / len(features)


def theirs(users, anchors):
    import empirical_calibration

    features, target = problem(users, anchors)

    def step():
        weights, success = empirical_calibration.calibrate(
            covariates=features,
            target_covariates=target[None],
            objective=empirical_calibration.Objective.ENTROPY,
            autoscale=True,
        )
        assert success
        return weights

    return step


def ratings(users):
    """Pairs that were rated, whether they were liked, and pairs to be ranked."""
    from harmonia.tables.kernel_balancing import semi_synthetic

    truth = semi_synthetic(0, users, users, activity=-1.5)
    liked = (truth.liking > 0).astype(np.float64)
    test = ~truth.observed & (np.random.default_rng(0).random(liked.shape) < 0.05)
    return np.argwhere(truth.observed), liked[truth.observed], np.argwhere(test), liked[test]


def our_recommender(users):
    from harmonia.parts.ranking import auc
    from harmonia.tables.kernel_balancing import DebiasedMF

    x, y, test, liked = ratings(users)

    def step():
        model = DebiasedMF("ips", weight_decay=3e-4).fit(x, y)
        return np.array([auc(liked, model.predict(test))])

    return step


def cornac_recommender(users):
    from cornac.data import Dataset
    from cornac.models import MF

    from harmonia.parts.ranking import auc

    x, y, test, liked = ratings(users)
    data = Dataset.build([(int(u), int(i), float(r)) for (u, i), r in zip(x, y)])

    def step():
        model = MF(k=4, max_iter=100, learning_rate=0.01, lambda_reg=0.02, seed=0).fit(data)  # a seed: one thread
        # Raw scores: cornac's own ranking clips nothing either.
        by_user = {u: model.score(data.uid_map[u]) for u in np.unique(test[:, 0])}
        scores = np.array([by_user[u][data.iid_map[i]] for u, i in test], dtype=np.float64)
        return np.array([auc(liked, scores)])

    return step


SOLVER = tuple(
    Race(
        "empirical-calibration",
        f"entropy balancing of {anchors} kernel functions, {ratings} of {users} x {users} pairs observed",
        ours,
        theirs,
        {"users": users, "anchors": anchors},
        tolerance=1e-3,
        repeats=3,
    )
    for users, anchors, ratings in ((200, 20, "3,541"), (200, 100, "3,541"), (600, 100, "34,447"))
)

RACES = (
    *SOLVER,
    Race(
        "cornac",
        "balancing 200 functions and fitting 4 factors, beside cornac's MF without weights, 300 x 300 pairs: AUC",
        our_recommender,
        cornac_recommender,
        {"users": 300},
        tolerance=0.03,
        repeats=3,
        scores=True,
        note="another model: theirs has no weights to find, so that this tells what debiasing costs",
    ),
)
