"""A user's table of ratings: which column is what, which pairs were shown at random, what describes users and items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars
from jaxtyping import Float64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.media import Table
from harmonia.parts.features import Features

_NAMES = {
    "user": ("user", "user_id", "userid", "users", "uid", "viewer", "customer", "customer_id"),
    "item": (
        "item",
        "item_id",
        "itemid",
        "movieid",
        "movie_id",
        "movie",
        "song",
        "song_id",
        "video_id",
        "product",
        "iid",
    ),
    "rating": ("rating", "ratings", "score", "value", "stars", "watch_ratio", "label"),
}
_EXPOSURE = "exposure"
_DISTINCT = 0.9
"""Share of items with a name of their own from which on a column of words names them."""

Described = dict[str, Float64[ndarray, " features"]]


@dataclass(frozen=True)
class RatingTable:
    """Ratings with names of users and items as words.

    Attributes:
        pairs: (n, 2) names.
        values: Ratings.
        at_random: Which were shown at random, by a column ``exposure`` that says "random", in any case.
        user_features, item_features: Numbers for each name, from columns that are the same in all rows of a user, or
            of an item; None if there are none.
        titles: What items are called, by a column of words that has another one for nearly every item.
    """

    pairs: ndarray
    values: Float64[ndarray, " n"]
    at_random: ndarray
    user_features: Described | None = None
    item_features: Described | None = None
    titles: dict[str, str] | None = None

    @classmethod
    def of(cls, table: Table, user: str = "", item: str = "", rating: str = "") -> RatingTable:
        """Find the columns by name, or take those named.

        Raises:
            InputError: columns that are not there, ratings that are no numbers, or pairs without a name.
        """
        names = [_find(table, given, of) for of, given in (("user", user), ("item", item), ("rating", rating))]
        if len(set(names)) < 3:
            raise InputError("user, item and rating are three columns", ", ".join(names), "Name different ones.")
        values = table.numeric([names[2]])[:, 0]
        for name in names[:2]:
            if table.column(name).null_count():
                row = int(np.flatnonzero(table.column(name).is_null().to_numpy())[0]) + 1
                raise InputError(f"column '{name}' has an empty cell", f"row {row}", "Drop such rows.")
        pairs = np.stack([table.column(name).cast(polars.String).to_numpy().astype(str) for name in names[:2]], 1)
        exposures = [name for name in table.names if _plain(name) == _EXPOSURE and name not in names]
        at_random = np.zeros(len(values), dtype=bool)
        for name in exposures:
            at_random |= _shown_at_random(table, name)
        by_user, by_item = (_describing(table, name, {*names, *exposures}) for name in names[:2])
        return cls(pairs, values, at_random, by_user, by_item, _titles(table, names[1], [*names, *exposures]))


def described(table: Table, of: str) -> Described:
    """Features from a table whose first column names users or items; the others describe them.

    Raises:
        InputError: one column only, a name that occurs twice, or values that are missing.
    """
    name = table.names[0]
    keys = table.frame[name].cast(polars.String)
    if len(table.names) < 2 or keys.n_unique() < len(keys) or keys.null_count():
        got = f"{len(table.names)} columns, {keys.n_unique()} names in {len(keys)} rows"
        raise InputError(f"{of} features are a name and numbers, once for each {of}", got, "Pass such a table.")
    rest = Table(table.frame.drop(name))
    return dict(zip(keys.to_list(), Features.of(rest).inputs(rest)))


def _plain(word: str) -> str:
    return word.strip().lower()


def _shown_at_random(table: Table, name: str) -> ndarray:
    words = table.column(name).cast(polars.String).fill_null("").to_list()
    found = np.array([_plain(word) == "random" for word in words])
    if not found.any():
        say(f"Column '{name}' says random in no row, but for instance '{words[0]}': all ratings count as chosen.")
    return found


def _describing(table: Table, key: str, others: set[str]) -> Described | None:
    """Columns with one value for each user, or item, but not one for all."""
    usable = [
        name
        for name, kind in table.frame.schema.items()
        if name not in others and (kind.is_numeric() or kind in (polars.String, polars.Boolean))
    ]
    counts = table.frame.group_by(key).agg(polars.col(usable).n_unique()) if usable else None
    if counts is None:
        return None
    constant = [name for name in usable if counts[name].max() == 1 and table.frame[name].n_unique() > 1]
    if not constant:
        return None
    once = table.frame.unique(subset=[key], keep="first", maintain_order=True)
    try:
        chosen = Table(once.select(constant))
        inputs = Features.of(chosen).inputs(chosen)
    except InputError as error:
        say(f"Columns that describe each {key} are not used: {error}")
        return None
    say(f"Columns that describe each {key}: {', '.join(constant)}.")
    return dict(zip(once[key].cast(polars.String).to_list(), inputs))


def _titles(table: Table, key: str, others: list[str]) -> dict[str, str] | None:
    for name, kind in table.frame.schema.items():
        if kind == polars.String and name not in others:
            words = polars.col(name).fill_null("")
            items = table.frame.group_by(key).agg(words.first(), words.n_unique().alias("_different"))
            if items["_different"].max() == 1 and items[name].n_unique() > _DISTINCT * len(items):
                return dict(zip(items[key].cast(polars.String).to_list(), items[name].to_list()))
    return None


def _find(table: Table, given: str, of: str) -> str:
    if given:
        table.column(given)
        return given
    lower = {name.lower(): name for name in table.names}
    for candidate in _NAMES[of]:
        if candidate in lower:
            return lower[candidate]
    place = list(_NAMES).index(of)
    if len(table.names) < 3:
        raise InputError("ratings need columns user, item and rating", ", ".join(table.names), "Pass three columns.")
    say(f"No column is called {of}: taking '{table.names[place]}', the {('first', 'second', 'third')[place]}.")
    return table.names[place]
