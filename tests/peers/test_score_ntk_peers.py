"""Beside scikit-learn's kernel ridge regression, and ctgan's synthetic rows."""

from __future__ import annotations

import numpy as np
import polars
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge

from harmonia.data.tables import iris
from harmonia.kernels.score_ntk import NTKScoreEstimator, TableCodec, TabularSynthesizer, three_gaussians
from harmonia.kernels.score_ntk.quality import usefulness

pytestmark = pytest.mark.peer


def test_ridge_instead_of_flow_is_scikit_learn():
    """The fitted spectrum serves ridge regression, whose predictions scikit-learn makes by one solve a penalty."""
    data = three_gaussians().sample(50, torch.Generator().manual_seed(0)).numpy()
    model = NTKScoreEstimator(draws_per_point=4, stop=1.0, random_state=0).fit(data)
    inputs, labels = model.regression(model.pairs_)
    flow, gram = model.flow_, model.kernel_(inputs).numpy()
    for penalty in (1e-4, 1e-2, 1.0):
        gains = flow.values / (flow.values + penalty)
        ours = flow.vectors @ (gains[:, None] * (flow.vectors.T @ labels))
        theirs = KernelRidge(alpha=penalty * len(labels), kernel="precomputed").fit(gram, labels.numpy()).predict(gram)
        np.testing.assert_allclose(ours, theirs, atol=1e-7)


@pytest.mark.slow
def test_rows_are_worth_those_of_ctgan():
    ctgan, pandas = pytest.importorskip("ctgan"), pytest.importorskip("pandas")
    frame = iris().frame.sample(fraction=1.0, shuffle=True, seed=0)
    train, test = frame[:100], frame[100:]
    codec = TableCodec.of(train)
    model = ctgan.CTGAN(epochs=300, enable_gpu=False)
    model.set_random_state(0)
    model.fit(pandas.DataFrame(train.to_dict(as_series=False)), discrete_columns=["species"])
    theirs = polars.DataFrame(model.sample(100).to_dict("list"))
    ours = TabularSynthesizer(random_state=0).fit(train).sample(100)
    scores = [usefulness(rows, test, "species", codec) for rows in (ours, theirs)]
    assert scores[0] > 0.97
    assert scores[0] > scores[1]
