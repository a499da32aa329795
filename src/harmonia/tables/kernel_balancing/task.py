"""Jobs: train a recommender on ratings that people chose to give; test estimates where the truth is known."""

from __future__ import annotations

import warnings
from typing import Annotated, Literal, NamedTuple, TypedDict

import numpy as np
import polars
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.core.task import Field
from harmonia.media import Figure, Table
from harmonia.parts.ranking import auc, ranking_scores
from harmonia.tables.kernel_balancing import figures
from harmonia.tables.kernel_balancing.anchors import Anchors
from harmonia.tables.kernel_balancing.balancer import KernelBalancer
from harmonia.tables.kernel_balancing.comparison import ESTIMATORS, relative_error
from harmonia.tables.kernel_balancing.debiased import DebiasedMF
from harmonia.tables.kernel_balancing.rating_table import Described, RatingTable, described
from harmonia.tables.kernel_balancing.semi_synthetic import demo_ratings, semi_synthetic

_FEWEST = 20


class Recommended(TypedDict):
    recommendations: Annotated[Table, Field("for every user the items with the highest expected ratings")]
    weights: Annotated[Table, Field("every rating with its weight and the prediction")]
    balance: Annotated[Figure, Field("love plot of smooth functions, and maps of imbalance before and after")]
    ratings: Annotated[Figure, Field("ratings as they came, weighted, and at random; the weights")]
    quality: Annotated[Figure | None, Field("models judged on ratings at random, where there are some")]
    mean_as_rated: Annotated[float, Field("mean of the ratings people chose to give")]
    mean_of_all: Annotated[float, Field("estimated mean of the ratings of all pairs")]
    effective_ratings: Annotated[float, Field("as how many equally weighted ratings the weighted ones vary")]
    mmd_before: Annotated[float, Field("largest imbalance of any function of norm 1, unweighted")]
    mmd_after: Annotated[float, Field("the same, weighted")]
    error_explained: Annotated[float, Field("share of the model's squared errors that features explain")]
    error_bias_before: Annotated[float, Field("bound on the bias of the explained mean squared error, unweighted")]
    error_bias_after: Annotated[float, Field("the same, weighted: where it hardly falls, weighting cannot help")]


def recommend(
    ratings: Annotated[
        Table,
        Field(
            "user, item, rating; other columns that describe users or items are used; a column exposure may say random",
            example=demo_ratings,
        ),
    ],
    *,
    random_sample: Annotated[
        Table | None, Field("more ratings, of items shown at random: half to correct with, half to judge by")
    ] = None,
    user_features: Annotated[Table | None, Field("a name and numbers for every user")] = None,
    item_features: Annotated[Table | None, Field("a name and numbers for every item")] = None,
    user: Annotated[str, Field("column of users; found by name unless given")] = "",
    item: Annotated[str, Field("column of items")] = "",
    rating: Annotated[str, Field("column of ratings")] = "",
    loss: Annotated[Literal["ips", "dr"], Field("weighted, or doubly robust")] = "ips",
    anchors: Annotated[Anchors, Field("which functions are balanced")] = "random",
    n_anchors: Annotated[int, Field("how many functions", ge=1, le=5000)] = 200,
    ridge: Annotated[float, Field("lets imbalance remain, for weights that vary less", ge=0)] = 1e-5,
    top: Annotated[int, Field("items recommended to each user", ge=1)] = 10,
    seed: Annotated[int, Field("random seed")] = 0,
) -> Recommended:
    """Recommend what users would like among all items, from ratings they chose to give.

    Rated pairs are weighted until they look like all pairs in every smooth function of what is known of users and
    items; a factorisation of the weighted loss is fitted. What is known are columns of the table, or what the ratings
    themselves reveal. With ratings of items shown at random you also see whether it helped.
    """
    table = RatingTable.of(ratings, user, item, rating)
    chosen, (pairs, values) = ~table.at_random, _at_random(table, random_sample, user, item, rating)
    if chosen.sum() < _FEWEST:
        raise InputError("there are too few ratings", int(chosen.sum()), f"Give {_FEWEST} that users chose to give.")
    x, y = table.pairs[chosen], table.values[chosen]
    side = {
        "user_features": table.user_features if user_features is None else described(user_features, "user"),
        "item_features": table.item_features if item_features is None else described(item_features, "item"),
    }
    say(f"{len(y):,} ratings of {len(np.unique(x[:, 0])):,} users and {len(np.unique(x[:, 1])):,} items.")
    _check_unrated(x, side)
    correct, judge = _halves(len(values), seed)
    bounds = (float(min([*y, *values])), float(max([*y, *values])))
    balancer = KernelBalancer(anchors=anchors, n_anchors=n_anchors, ridge=ridge, random_state=seed)
    model = DebiasedMF(loss, balancer=balancer, rating_range=bounds, random_state=seed)
    model.set_params(propensity_prior=_prior(y, values[correct]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        model.fit(x, y, **side)
    for each in caught:
        say(f"Note: {each.message}")
    assert model.balancer_ is not None
    weights, fitted = model.weights_, model.balancer_
    names = np.stack([model.user_ids_[model.users_], model.item_ids_[model.items_]], 1)
    once = _once(x, y, names)
    quality = None
    if len(judge):
        naive = DebiasedMF("naive", rating_range=bounds, random_state=seed).fit(x, y, **side)
        quality = figures.quality_figure(_scores(naive, model, pairs[judge], values[judge], y.mean()), len(judge))
    before, after = fitted.mmd()
    mean = float((weights * once).mean())
    say(f"Mean rating {once.mean():.3f} as rated; {mean:.3f} estimated for all pairs.")
    say(f"{fitted.ess_:,.0f} effective ratings of {len(weights):,}; weight decay {model.weight_decay_:g}.")
    predicted = model.predict(names)
    bias = fitted.bias_bound(np.square(predicted - once))
    say(
        f"Features explain {100 * bias.explained:.0f} % of the model's squared errors; the mean of that part is biased "
        f"by at most {bias.bound_before:.3g} as rated and {bias.bound:.3g} weighted."
    )
    return {
        "recommendations": Table(_recommendations(model, top, table.titles)),
        "weights": Table(
            polars.DataFrame(
                {
                    "user": names[:, 0],
                    "item": names[:, 1],
                    "rating": once,
                    "weight": weights,
                    "predicted": predicted,
                }
            )
        ),
        "balance": figures.balance_figure(fitted),
        "ratings": figures.ratings_figure(once, weights, values if len(values) else None, fitted.ess_),
        "quality": quality,
        "mean_as_rated": float(once.mean()),
        "mean_of_all": mean,
        "effective_ratings": fitted.ess_,
        "mmd_before": before,
        "mmd_after": after,
        "error_explained": bias.explained,
        "error_bias_before": bias.bound_before,
        "error_bias_after": bias.bound,
    }


class _Shown(NamedTuple):
    pairs: ndarray
    values: ndarray


def _check_unrated(pairs: ndarray, side: dict[str, Described | None]) -> None:
    """That there is something to recommend, before all the work; features may name more than was rated."""
    users, items = (
        len(np.unique(pairs[:, j])) if side[name] is None else len(side[name])  # type: ignore[arg-type]
        for j, name in enumerate(("user_features", "item_features"))
    )
    if len(np.unique(pairs, axis=0)) == users * items:
        got = f"{users} users and {items} items, all pairs rated"
        raise InputError("there is nothing left to recommend", got, "Give features of items that nobody has rated.")


def _at_random(table: RatingTable, sample: Table | None, user: str, item: str, rating: str) -> _Shown:
    """Ratings of pairs shown at random, from the table itself and from another."""
    shown = _Shown(table.pairs[table.at_random], table.values[table.at_random])
    if sample is None:
        return shown
    more = RatingTable.of(sample, user, item, rating)
    return _Shown(np.concatenate([shown.pairs, more.pairs]), np.concatenate([shown.values, more.values]))


def _halves(count: int, seed: int) -> tuple[ndarray, ndarray]:
    """What corrects, and what judges: never the same rows."""
    order = np.random.default_rng(seed).permutation(count)
    return order[: count // 2], order[count // 2 :]


def _prior(chosen: ndarray, at_random: ndarray) -> ndarray | None:
    """The random sample, if every rating occurs in it; naive Bayes can say nothing of the others."""
    if len(at_random) and np.isin(chosen, at_random).all():
        return at_random
    if len(at_random):
        say("Some ratings do not occur in the random sample: balancing starts from equal weights.")
    return None


def _once(pairs: ndarray, values: ndarray, names: ndarray) -> ndarray:
    """Mean rating of each pair, in the order of `names`."""
    frame = polars.DataFrame({"user": pairs[:, 0], "item": pairs[:, 1], "rating": values})
    means = frame.group_by("user", "item").agg(polars.col("rating").mean())
    wanted = polars.DataFrame({"user": names[:, 0], "item": names[:, 1]})
    return wanted.join(means, on=["user", "item"], how="left", maintain_order="left")["rating"].to_numpy()


def _scores(
    naive: DebiasedMF, model: DebiasedMF, pairs: ndarray, values: ndarray, mean: float
) -> dict[str, dict[str, float]]:
    """Errors of models at pairs shown at random, and how they rank."""
    found = {}
    positive = (values > np.median(values)).astype(np.float64)
    groups = np.unique(pairs[:, 0], return_inverse=True)[1]
    rows = {
        "mean rating": np.full(len(values), mean),
        "unweighted": naive.predict(pairs),
        "balanced": model.predict(pairs),
    }
    for name, predicted in rows.items():
        errors = predicted - values
        found[name] = {"mean of prediction less rating": float(errors.mean())}
        found[name]["root mean square error"] = float(np.sqrt(np.square(errors).mean()))
        if 0 < positive.sum() < len(positive):
            found[name]["AUC (above the median or not)"] = auc(positive, predicted)
            found[name]["NDCG of a user's best 5"] = ranking_scores(groups, positive, predicted, 5).ndcg
    return found


def _recommendations(model: DebiasedMF, top: int, titles: dict[str, str] | None) -> polars.DataFrame:
    frames = []
    schema = {"user": polars.String, "rank": polars.Int64, "item": polars.String, "expected_rating": polars.Float64}
    if titles is not None:
        schema["title"] = polars.String
    for user in track(model.user_ids_, "Recommending"):
        best = model.recommend(user, top)
        columns = {
            "user": [str(user)] * len(best),
            "rank": range(1, len(best) + 1),
            "item": [str(name) for name, _ in best],
            "expected_rating": [value for _, value in best],
        }
        if titles is not None:
            columns["title"] = [titles.get(str(name), "") for name, _ in best]
        frames.append(polars.DataFrame(columns, schema=schema))
    return polars.concat(frames)


class Simulated(TypedDict):
    errors: Annotated[Table, Field("relative error of each estimate in each draw")]
    estimates: Annotated[Figure, Field("the same, a point a draw")]
    naive: Annotated[float, Field("mean size of the naive error", unit="fraction")]
    balanced: Annotated[float, Field("mean size of the error of kernel balancing", unit="fraction")]


def simulate(
    *,
    draws: Annotated[int, Field("data sets", ge=1, le=1000)] = 6,
    users: Annotated[int, Field("users in each", ge=20, le=2000)] = 200,
    items: Annotated[int, Field("items in each", ge=20, le=2000)] = 200,
    errors: Annotated[
        Literal["smooth", "noise"], Field("errors that covariates explain, or that nothing explains")
    ] = "smooth",
    seed: Annotated[int, Field("random seed")] = 0,
) -> Simulated:
    """See how far estimates of a recommender's mean error are off where the truth is known.

    Ratings are made that are observed more often where they are liked. With errors="noise" no weighting can help, and
    none does: a control.
    """
    truths = [semi_synthetic(seed + j, users, items, errors) for j in range(draws)]
    found = {name: [relative_error(truth, name) for truth in truths] for name in track(list(ESTIMATORS), "Estimating")}
    frame = polars.DataFrame({"draw": range(seed, seed + draws), **found})
    return {
        "errors": Table(frame),
        "estimates": figures.estimates_figure(found),
        "naive": float(np.abs(found["naive mean"]).mean()),
        "balanced": float(np.abs(found["kernel balancing"]).mean()),
    }


class Scaled(TypedDict):
    scores: Annotated[Table, Field("score by weight decay, weights and their scale")]
    curves: Annotated[Figure, Field("the same as curves")]


def scale(
    ratings: Annotated[
        Table, Field("user, item, rating, and a column exposure that says random", example=demo_ratings)
    ],
    *,
    factor: Annotated[
        float, Field("by what weights are multiplied; 12.5 is the mean inverse propensity of Coat", gt=0)
    ] = 12.5,
    seed: Annotated[int, Field("random seed")] = 0,
) -> Scaled:
    """Show why weights must have mean 1: larger ones regularise less, which looks like a gain of debiasing.

    For every weight decay, uniform and balanced weights, each as they are and times a factor, are judged by the AUC at
    pairs shown at random. Weights times c with decay d are exactly weights with decay d / c: compare best points, not
    points at one decay.
    """
    table = RatingTable.of(ratings)
    test = table.at_random
    if test.sum() < _FEWEST or (~test).sum() < _FEWEST:
        got = f"{int(test.sum())} at random, {int((~test).sum())} chosen"
        raise InputError("both kinds of ratings are needed", got, "Mark rows shown at random: exposure = random.")
    positive = (table.values[test] > np.median(table.values[test])).astype(np.float64)
    decays = np.geomspace(1e-5, 1e-1, 9)
    side = {"user_features": table.user_features, "item_features": table.item_features}
    curves: dict[str, list[float]] = {}
    for name, loss in (("uniform", "naive"), ("balanced", "ips")):
        for times in (1.0, factor):
            label = f"{name} weights" + ("" if times == 1 else f" times {times:g}")
            curves[label] = []
            for decay in track(decays.tolist(), label):
                model = DebiasedMF(loss, weight_decay=decay / times, random_state=seed)  # type: ignore[arg-type]
                model.fit(table.pairs[~test], table.values[~test], **side)
                curves[label].append(auc(positive, model.predict(table.pairs[test])))
    frame = polars.DataFrame({"weight_decay": decays, **curves})
    return {"scores": Table(frame), "curves": figures.scale_figure(decays.tolist(), curves, "AUC at random pairs")}


JOBS = (recommend, simulate, scale)
