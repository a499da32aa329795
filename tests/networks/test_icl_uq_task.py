"""The jobs, on the embedded table and on a file; bad input on the command line; the claims; the card."""

from __future__ import annotations

import numpy as np
import polars
import pytest
from typer.testing import CliRunner

from harmonia.app.cli import app
from harmonia.core.claim import HOLDS, claims_in
from harmonia.core.errors import InputError
from harmonia.core.registry import find, search
from harmonia.core.task import find_job, jobs_in
from harmonia.core.weights import Checkpoint
from harmonia.media import Figure, Table
from harmonia.networks.icl_uq import claim, task
from harmonia.networks.icl_uq.claims import identities

JOBS = jobs_in(task)


def table(count=60, missing=()):
    generator = np.random.default_rng(0)
    size = generator.standard_normal(count)
    kind = np.where(generator.random(count) < 0.5, "a", "b")
    price = 3 * size + (kind == "a") + 0.5 * generator.standard_normal(count)
    values = [None if i in missing else float(v) for i, v in enumerate(price)]
    return Table(polars.DataFrame({"size": size, "kind": kind.tolist(), "price": values}))


def test_a_table_is_predicted_with_new_rows(tmp_path):
    found = find_job(JOBS, "predict").run({"table": table(missing=(3, 7)), "members": 2, "context": 30})
    frame = found["predictions"].frame
    assert frame.columns == ["row", "price", "role", "mean", "std", "low", "high", "gap_from_exact"]
    assert frame.height == 60
    assert frame.filter(role="new")["row"].to_list() == [4, 8]
    assert frame.drop("price").null_count().sum_horizontal().item() == 0
    assert (frame["low"] < frame["mean"]).all()
    assert set(found["scores"].frame.columns) == {"method", "rmse", "nll", "coverage", "width", "seconds"}
    assert isinstance(found["quality"], Figure)
    assert len(find_job(JOBS, "predict").save(found, tmp_path, "x")) == 4


@pytest.mark.parametrize("name", task.OUTPUTS)
def test_a_target_named_like_an_output_is_refused(name):
    with pytest.raises(InputError, match="named like a column"):
        task.predict(Table(table().frame.rename({"price": name})), members=1)


def test_one_row_of_context_is_refused():
    with pytest.raises(InputError, match="two rows or more"):
        task.predict(table(), members=1, context=1)
    scores = task.predict(table(20), members=1, context=2)["scores"].frame
    assert np.isfinite(scores.drop("method").to_numpy()).all()


def test_shifts_are_reported():
    found = task.shift_report(weights="embedded:linear", tasks=20)
    assert set(found["curves"].frame["experiment"]) == {"in distribution", "noise", "covariates", "length"}
    assert isinstance(found["picture"], Figure)


def test_a_network_is_pretrained_and_read_again(tmp_path):
    learnt = task.pretrain(dim=1, context=4, width=8, layers=1, heads=1, steps=2, batch=4, device="cpu")
    assert isinstance(learnt["weights"], Checkpoint)
    path = tmp_path / "w.safetensors"
    learnt["weights"].write(path)
    more = task.pretrain(dim=1, context=6, start=str(path), steps=1, batch=4, device="cpu", family="mixed")
    assert "nll" in more["weights"].metadata["made"]
    with pytest.raises(InputError, match="other tasks"):
        task.pretrain(dim=2, start=str(path), steps=1, device="cpu")


def test_continued_weights_keep_their_shape(tmp_path):
    more = task.pretrain(start="embedded", context=96, steps=1, batch=2, device="cpu")
    assert '"context": 96' in more["weights"].metadata["config"]
    wide = {"width": 128, "layers": 9, "positions": "learned", "tokens": "split"}
    with pytest.raises(InputError, match="another shape") as refused:
        task.pretrain(start="embedded", **wide, steps=1, device="cpu")
    assert refused.value.got == "d_model=128, n_layers=9, positions=learned, tokens=split"
    placed = task.pretrain(dim=1, context=4, width=8, layers=1, positions="learned", steps=1, batch=2, device="cpu")
    path = tmp_path / "w.safetensors"
    placed["weights"].write(path)
    with pytest.raises(InputError, match="prompts of another length"):
        task.pretrain(dim=1, context=6, start=str(path), steps=1, device="cpu")
    task.pretrain(dim=1, context=4, start=str(path), steps=1, batch=2, device="cpu")


def test_flips_are_followed():
    found = task.flip(steps=2, batch=4, context=6, device="cpu")
    assert {"step", "trained_accuracy", "swapped_accuracy", "swapped_prior_share"} <= set(found["scores"].frame.columns)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "kind"], "Choose a column of numbers"),
        (["--target", "cost"], "no column"),
        (["--coverage", "1.5"], "out of range"),
        (["--weights", "nowhere.safetensors"], "no such file"),
        (["--members", "0"], "out of range"),
    ],
)
def test_bad_words_on_the_command_line(tmp_path, arguments, message):
    path = tmp_path / "t.csv"
    table().write(path)
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["run", "icl-uq", "predict", str(path), *arguments, "--out", str(out)])
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert not out.exists() or not list(out.iterdir())


def test_too_few_rows():
    with pytest.raises(InputError, match="too few rows"):
        task.predict(table(6, missing=(0, 1, 2)), target="price")


def test_weights_without_a_prior_have_no_report(tmp_path):
    from harmonia.core.weights import write_safetensors
    from harmonia.networks.icl_uq import InContextConfig, InContextTransformer

    state = InContextTransformer(InContextConfig(2, 8, 32, 1, 1)).state_dict()
    path = write_safetensors(tmp_path / "w.safetensors", state)
    with pytest.raises(InputError, match="what they were trained on"):
        task.shift_report(weights=str(path), tasks=10)


@pytest.mark.parametrize("each", claims_in(identities), ids=lambda c: c.measure.__name__)
def test_identities_hold(each):
    assert each.check(seed=1).verdict in HOLDS


def test_claims_are_named_once_and_cheap_ones_are_quick():
    claims = claims_in(claim)
    names = [each.name for each in claims]
    assert len(set(names)) == len(names)
    assert {"quick", "full", "gpu"} == {each.tier for each in claims}


def test_the_card_is_found():
    assert find("icl-uq").built
    assert "icl-uq" in {method.slug for method in search("in-context learning")}
