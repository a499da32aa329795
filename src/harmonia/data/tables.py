"""Tables and digits that scikit-learn brings."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars
from jaxtyping import Float64, Int64

from harmonia.core.errors import MissingDependency
from harmonia.data.source import from_source
from harmonia.media import Table


class Digits(NamedTuple):
    """Handwritten digits: grey values 0 to 16, and which digit each is."""

    images: Float64[np.ndarray, "digits 8 8"]
    labels: Int64[np.ndarray, " digits"]


@from_source(
    "Optical recognition of handwritten digits (test part)",
    by="E. Alpaydin, C. Kaynak, 1998; UCI",
    licence="CC-BY-4.0",
    package="scikit-learn",
)
def digits() -> Digits:
    """1,797 handwritten digits of 8 by 8 pixels.

    Example:
        >>> digits().images.shape, digits().labels[:5].tolist()
        ((1797, 8, 8), [0, 1, 2, 3, 4])
    """
    from sklearn.datasets import load_digits

    loaded = load_digits()
    return Digits(loaded.images.astype(np.float64), loaded.target.astype(np.int64))


@from_source("Wine recognition", by="M. Forina et al., 1991; UCI", licence="CC-BY-4.0", package="scikit-learn")
def wine() -> Table:
    """178 wines, 13 chemical measurements, and the ``class``: three growers.

    Example:
        >>> table = wine()
        >>> table.frame.shape, table.column("class").unique().sort().to_list()
        ((178, 14), ['class_0', 'class_1', 'class_2'])
    """
    from sklearn.datasets import load_wine

    return _labelled(load_wine(), "class")


@from_source(
    "Breast cancer Wisconsin (diagnostic)",
    by="W. Wolberg, W. Street, O. Mangasarian, 1995; UCI",
    licence="CC-BY-4.0",
    package="scikit-learn",
)
def breast_cancer() -> Table:
    """569 tumours, 30 measurements of their cell nuclei, and the ``diagnosis``: malignant or benign.

    Example:
        >>> breast_cancer().frame.shape
        (569, 31)
    """
    from sklearn.datasets import load_breast_cancer

    return _labelled(load_breast_cancer(), "diagnosis")


@from_source("Iris", by="R. A. Fisher, 1936; UCI", licence="CC-BY-4.0", package="scikit-learn")
def iris() -> Table:
    """150 flowers, four lengths, and the ``species``.

    Example:
        >>> iris().column("species").n_unique()
        3
    """
    from sklearn.datasets import load_iris

    return _labelled(load_iris(), "species")


@from_source(
    "Diabetes progression",
    by="B. Efron, T. Hastie, I. Johnstone, R. Tibshirani, 2004",
    licence="none stated; published with Least Angle Regression",
    package="scikit-learn",
)
def diabetes() -> Table:
    """442 patients, ten measurements in their own units, and the ``progression`` after a year.

    Example:
        >>> diabetes().numeric(["age", "progression"])[0].tolist()
        [59.0, 151.0]
    """
    from sklearn.datasets import load_diabetes

    loaded = load_diabetes(scaled=False)
    columns = {name: loaded.data[:, i] for i, name in enumerate(loaded.feature_names)}
    return Table(polars.DataFrame(columns | {"progression": loaded.target}))


@from_source(
    "Housing values in suburbs of Boston",
    by="D. Harrison, D. L. Rubinfeld, 1978",
    licence="none stated; the package's is BSD-3-Clause",
    package="islp",
)
def boston() -> Table:
    """506 suburbs of Boston, twelve of their properties in 1970, and the median value of homes, ``medv``.

    Read from the file in the package, which is not imported and needs none of its dependencies.

    Raises:
        MissingDependency: the package is not installed.
    """
    return _islp("Boston")


@from_source(
    "Default on credit card debt",
    by="G. James, D. Witten, T. Hastie, R. Tibshirani; simulated",
    licence="none stated; the package's is BSD-3-Clause",
    package="islp",
)
def credit_default() -> Table:
    """10,000 simulated clients: whether they ``default`` and are a ``student``, their ``balance`` and ``income``.

    Read from the file in the package, which is not imported and needs none of its dependencies.

    Raises:
        MissingDependency: the package is not installed.
    """
    return _islp("Default")


def _islp(name: str) -> Table:
    spec = find_spec("ISLP")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependency(
            "this needs the data in the Python package 'islp'",
            "an installation without it",
            "Run: pip install --no-deps islp.",
        )
    return Table.read(Path(next(iter(spec.submodule_search_locations))) / "data" / f"{name}.csv")


def _labelled(loaded: Any, label: str) -> Table:
    columns = {str(name): loaded.data[:, i] for i, name in enumerate(loaded.feature_names)}
    return Table(polars.DataFrame(columns | {label: [str(loaded.target_names[k]) for k in loaded.target]}))
