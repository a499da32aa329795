"""Catalogue, scaling laws, cards, overlap, tools and similarity, by independent routes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad, minimize

from harmonia.audio.music_fm_survey import (
    DownstreamLaw,
    MinHash,
    ScalingLaw,
    Source,
    TransparencyCard,
    catalogue,
    combine,
    concept_direction,
    conflicts,
    effective_tokens,
    explain_emergence,
    in_context,
    isoflop,
    kink,
    linear_cka,
    memorised,
    pipeline,
    rsa,
    shared_melodies,
    shared_sounds,
    steer,
    tools,
)
from harmonia.audio.music_fm_survey.catalogue import as_table
from harmonia.audio.music_fm_survey.licences import LICENCES, Terms, terms
from harmonia.audio.music_fm_survey.memorisation import coverage_entropy
from harmonia.audio.music_fm_survey.overlap import grams, jaccard, melody_of
from harmonia.audio.music_fm_survey.scaling import fit_repetition, objective
from harmonia.audio.music_fm_survey.taxonomy import Model, read_records
from harmonia.audio.music_fm_survey.transparency import subgroup_gap
from harmonia.audio.music_fm_survey.tune_lm import Budget, TuneModel, scaling_runs, train_run
from harmonia.core.errors import InputError
from harmonia.data import demo_song
from harmonia.data.tune import Tune, TuneNote
from harmonia.media import Audio, Score


def runs(noise: float = 0.0, seed: int = 0, count: int = 60):
    rng = np.random.default_rng(seed)
    size, data = 10 ** rng.uniform(5, 9, count), 10 ** rng.uniform(6, 10, count)
    loss = 1.7 + 400 * size**-0.34 + 410 * data**-0.28
    return size, data, loss * np.exp(noise * rng.normal(size=count))


# -------------------------------------------------------------------------------------------------------------- scaling


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_gradient_of_the_objective(seed: int) -> None:
    rng = np.random.default_rng(seed)
    theta = np.array([*rng.normal(0, 1, 3), *rng.uniform(0.1, 1, 2)])
    rows = np.stack([rng.normal(size=15), rng.normal(size=15), rng.normal(size=15)])
    error = check_grad(lambda t: objective(t, rows, 0.1)[0], lambda t: objective(t, rows, 0.1)[1], theta)
    assert error < 2e-4 * max(1.0, np.abs(objective(theta, rows, 0.1)[1]).max())


def test_law_is_the_optimum_another_optimizer_finds() -> None:
    size, data, loss = runs(0.01)
    law = ScalingLaw(resamples=0).fit(size, data, loss)

    def plain(theta) -> float:
        log_a, log_b, log_e, a, b = theta
        predicted = np.exp(log_a) * size**-a + np.exp(log_b) * data**-b + np.exp(log_e)
        r = np.abs(np.log(predicted) - np.log(loss))
        return float(np.where(r <= 1e-3, 0.5 * r**2 / 1e-3, r - 0.5e-3).sum())

    ours = plain([np.log(law.A_), np.log(law.B_), np.log(law.E_), law.a_, law.b_])
    start = [np.log(400), np.log(410), np.log(1.7), 0.34, 0.28]
    theirs = minimize(plain, start, method="Nelder-Mead", options={"maxiter": 20_000, "xatol": 1e-9, "fatol": 1e-12})
    assert ours <= theirs.fun + 1e-4


def test_units_of_size_and_data_do_not_matter() -> None:
    size, data, loss = runs(0.003)
    one, two = (ScalingLaw(resamples=0).fit(size * s, data * d, loss) for s, d in ((1, 1), (1e-6, 1e3)))
    assert one.a_ == pytest.approx(two.a_, abs=2e-4)
    assert pytest.approx(two.E_, rel=2e-4) == one.E_


@settings(max_examples=20, deadline=None)
@given(st.floats(1e12, 1e24))
def test_best_split_lies_below_a_grid(budget: float) -> None:
    law = ScalingLaw(resamples=0).fit(*runs())
    best = law.optimal(budget)
    assert 6 * best.params * best.tokens == pytest.approx(budget)
    around = best.params * np.geomspace(0.1, 10, 301)
    assert best.loss <= law.predict(around, budget / 6 / around).min() + 1e-12


def test_intervals_hold_the_truth_and_shrink_with_noise() -> None:
    wide, narrow = (ScalingLaw(resamples=60).fit(*runs(noise)).confint()["a"] for noise in (0.02, 0.002))
    assert wide[0] <= 0.34 <= wide[1]
    assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])


def test_repetition_and_isoflop() -> None:
    law = ScalingLaw(resamples=0).fit(*runs())
    epochs, unique = np.array([1, 2, 4, 8, 16, 64]), np.full(6, 1e7)
    loss = law.predict(1e7, effective_tokens(unique, epochs, 15.4))
    assert fit_repetition(law, np.full(6, 1e7), unique, epochs, loss) == pytest.approx(15.4, rel=1e-3)
    budgets = np.repeat([1e16, 1e18, 1e20], 11)
    sizes = np.concatenate([law.optimal(c).params * np.geomspace(0.5, 2, 11) for c in (1e16, 1e18, 1e20)])
    found = isoflop(sizes, budgets, law.predict(sizes, budgets / 6 / sizes))
    assert found.exponent == pytest.approx(law.b_ / (law.a_ + law.b_), abs=0.01)


def test_too_few_or_impossible_runs_are_refused() -> None:
    size, data, loss = runs(count=7)
    with pytest.raises(InputError, match="too few runs"):
        ScalingLaw().fit(size, data, loss)
    size, data, loss = runs(count=20)
    with pytest.raises(InputError, match="too few runs"):
        ScalingLaw().fit(np.full(20, 1e6), data, loss)
    with pytest.raises(InputError, match="positive"):
        ScalingLaw().fit(size, data, -loss)
    with pytest.raises(InputError, match="equally many"):
        ScalingLaw().fit(size, data, loss[1:])
    with pytest.warns(UserWarning, match="do not identify the exponent b"):
        ScalingLaw(resamples=0).fit(size, data, 1.7 + 400 * size**-0.34)
    with pytest.raises(InputError, match="need resamples"):
        ScalingLaw(resamples=0).fit(size, data, loss).confint()
    with pytest.raises(InputError, match="no best size"):
        isoflop([1.0, 2.0, 4.0], [1.0, 1.0, 1.0], [1.0, 2.0, 1.0])


def test_emergence_of_a_score_alone_and_of_both() -> None:
    rng = np.random.default_rng(0)
    scale = np.logspace(4, 8, 25)
    smooth = -0.3 * (8 - np.log10(scale)) + 0.01 * rng.normal(size=25)
    sudden = np.maximum(0, np.log10(scale) - 6.5) + 0.01 * rng.normal(size=25)
    assert not kink(scale, smooth).shown
    assert "smoothly" in explain_emergence(scale, sudden, smooth).verdict
    assert "itself appears" in explain_emergence(scale, sudden, sudden).verdict
    law = DownstreamLaw.fit(np.linspace(1, 3, 10), DownstreamLaw(0.25, 0.95, 4, 1.8)(np.linspace(1, 3, 10)), low=0.25)
    assert law.steepness == pytest.approx(4, rel=1e-3)
    with pytest.raises(InputError, match="seven runs"):
        kink(scale[:5], smooth[:5])


# ------------------------------------------------------------------------------------------------------------- licences

LICENCE = st.sampled_from(sorted(LICENCES)).map(terms)


@settings(max_examples=100, deadline=None)
@given(LICENCE, LICENCE, LICENCE)
def test_licences_form_a_lattice(x: Terms, y: Terms, z: Terms) -> None:
    assert x & y == y & x
    assert (x & y) & z == x & (y & z)
    assert x & x == x
    assert x & Terms() == x
    assert (x & y) <= x
    assert (x <= y) == ((x & y) == x)


def test_conflicts_are_named() -> None:
    parts = {"a": "CC-BY-SA-4.0", "b": "GPL-3.0-only", "c": "CC-BY-ND-4.0", "d": "custom", "e": "whatever"}
    found = {conflict.what: conflict.parts for conflict in conflicts(parts, commercial=True)}
    assert found["share-alike terms differ"] == ("a", "b")
    assert found["no derivatives allowed"] == ("c",)
    assert found["own terms must be read"] == ("d",)
    assert found["licence unknown"] == ("e",)
    assert conflicts({"a": "MIT", "b": "CC0-1.0"}, commercial=True) == []
    assert combine(["MIT", "CC-BY-NC-SA-4.0"]).commercial is False
    with pytest.raises(InputError, match="no known licence"):
        terms("MIT-ish")


# -------------------------------------------------------------------------------------------------------------- overlap

MELODY = st.lists(st.tuples(st.sampled_from([0.25, 0.5, 1.0]), st.integers(48, 84)), min_size=10, max_size=40)


def melody(steps) -> list[tuple[float, float, int]]:
    onset, out = 0.0, []
    for length, pitch in steps:
        out.append((onset, onset + length, pitch))
        onset += length
    return out


@settings(max_examples=50, deadline=None)
@given(MELODY, st.integers(-12, 12), st.floats(0.3, 3.0))
def test_grams_do_not_change_under_transposition_and_tempo(steps, semitones: int, tempo: float) -> None:
    tune = melody(steps)
    moved = [(tempo * on, tempo * off, pitch + semitones) for on, off, pitch in tune]
    assert grams(tune) == grams(moved)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 60))
def test_minhash_estimates_jaccard(common: int) -> None:
    a, b = set(range(100)), set(range(100 - common, 200 - common))
    minhash = MinHash(1024)
    estimate = float((minhash(a) == minhash(b)).mean())
    assert abs(estimate - jaccard(a, b)) < 5 * np.sqrt(0.25 / 1024)


def random_tunes(count: int, seed: int = 0, notes: int = 40) -> dict[str, list[tuple[float, float, int]]]:
    rng = np.random.default_rng(seed)
    pairs = [
        [(float(rng.choice([0.25, 0.5, 1.0])), int(rng.integers(50, 80))) for _ in range(notes)] for _ in range(count)
    ]
    return {f"{seed}-{i}": melody(steps) for i, steps in enumerate(pairs)}


def test_overlap_and_memorisation_are_found_and_nothing_else() -> None:
    train, test = random_tunes(40, 1), random_tunes(20, 2)
    assert shared_melodies(train, test) == []
    tune = next(iter(test.values()))
    planted = train | {"copy": [(2 * on, 2 * off, pitch - 4) for on, off, pitch in tune]}
    assert [match[:2] for match in shared_melodies(planted, test)] == [("copy", next(iter(test)))]
    half = [*tune[:20], *((on + 50, off + 50, pitch) for on, off, pitch in next(iter(random_tunes(1, 3).values())))]
    outputs = {"stolen": half, "new": next(iter(random_tunes(1, 4).values()))}
    stolen, new = memorised(outputs, planted, dict(list(test.items())[1:]))
    assert stolen.source == "copy"
    assert stolen.notes == 20
    assert stolen.p_value <= 0.05 < new.p_value
    with pytest.raises(InputError, match="unseen music"):
        memorised(outputs, train, {})


def test_sounds_are_recognised_in_part_and_in_noise() -> None:
    rng = np.random.default_rng(0)
    song = demo_song()
    library = {"first": song.cut(0, 6), "last": song.cut(6, 12)}
    part = song.cut(7.3, 10.1).resampled(16000)
    noisy = Audio(part.samples + 0.01 * rng.normal(size=part.samples.shape).astype(np.float32), 16000)
    other = Audio(0.1 * rng.normal(size=30000).astype(np.float32), 11025)
    found = shared_sounds(library, {"part": noisy, "other": other})
    assert [match[:2] for match in found] == [("last", "part")]


def test_melody_is_the_top_line() -> None:
    score = Score.from_notes([(0, 1, 60), (0, 1, 67), (1, 2, 64), (1, 2, 48)])
    assert [pitch for _, _, pitch in melody_of(score)] == [67, 64]


def test_coverage() -> None:
    assert coverage_entropy(["a"] * 3 + ["b"] * 1) == pytest.approx(-(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25)))


# ---------------------------------------------------------------------------------------------------------------- cards


def test_card_of_a_folder_notices_changed_files(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    card = TransparencyCard.from_folder(tmp_path)
    assert card.verify(tmp_path) == []
    chain = card.chain
    card.write(tmp_path / "card.json")
    (tmp_path / "model.bin").write_bytes(b"other weights")
    kept = TransparencyCard.from_folder(tmp_path)
    assert [finding.what for finding in kept.verify(tmp_path)] == ["not the file of the card"]
    assert kept.chain == chain
    (tmp_path / "model.bin").unlink()
    assert [finding.what for finding in kept.verify(tmp_path)] == ["missing"]


def test_card_says_unknown_and_never_guesses() -> None:
    text = TransparencyCard(name="X").to_markdown()
    assert "Training: unknown; unknown; unknown" in text
    assert "Terms that follow from the data: unknown" in text


def test_card_judges_granted_terms_and_outputs() -> None:
    source = Source(name="songs", licence="CC-BY-SA-4.0", consent="given", genres=["folk"])
    card = TransparencyCard(name="X", licence="MIT", sources=[source])
    assert any("grants" in finding.what for finding in card.check())
    train, test = random_tunes(30, 1), random_tunes(25, 2)
    copied = {"out": [(3 * on, 3 * off, p + 2) for on, off, p in train["1-3"]]}
    found = [f for f in card.check(train, test, copied) if f.check == "memorisation"]
    assert found[0].parts == ["out", "1-3"]
    with pytest.raises(InputError, match="compared with training"):
        card.check(outputs=copied)
    with pytest.raises(InputError, match="one kind"):
        card.check(train, {"sound": Audio(np.ones(4000), 8000)})


def test_cards_are_read_strictly(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text('name = "X"\nlicense = "MIT"\n')
    with pytest.raises(InputError, match="cannot be read"):
        TransparencyCard.read(tmp_path / "card.toml")
    with pytest.raises(InputError, match="holds no model"):
        TransparencyCard.from_folder(tmp_path)


def test_subgroups() -> None:
    finding, scores = subgroup_gap([True, False] * 50, ["a", "a", "b", "b"] * 25)
    assert finding is None
    assert set(scores) == {"a", "b"}


# ------------------------------------------------------------------------------------------------------------ catalogue


def test_catalogue_holds_the_lists_and_finds() -> None:
    whole = catalogue.load()
    groups = [model.group for model in whole.models]
    assert {g: groups.count(g) for g in set(groups)} == {
        "contrastive": 15,
        "generative": 30,
        "masked": 22,
        "adapted language models": 7,
    }
    assert len(whole.methods) >= 49
    masked = catalogue.query(modality="symbolic", paradigm="masked")
    assert set(masked["name"]) == {"MidiBERT-Piano", "MusicBERT", "MRBERT", "MusIAC"}
    assert "MuPT" in catalogue.query(weights__license__commercial=True)["name"].to_list()
    assert catalogue.query(min_year=2024)["year"].min() == 2024
    assert catalogue.query("methods", status="planned").height + catalogue.query("methods", field="audio").height > 0
    assert "unverified" in as_table(masked).frame["verified"].to_list()
    assert {model.id for model in whole.models if model.harmonia} <= {model.id for model in whole.models}
    assert {model.harmonia for model in whole.models if model.harmonia} <= {method.id for method in whole.methods}


def test_what_a_source_confirms_is_filled_and_named() -> None:
    whole = catalogue.load()
    verified = [model for model in whole.models if model.verified]
    assert len(verified) >= 40
    for model in verified:
        known = {name for names in model.confirmed.values() for name in names}
        assert known <= set(model.checkable)
        assert not known & set(model.unconfirmed)
    musicgen = catalogue.query(name="MusicGen")
    assert musicgen["sources"][0].startswith("https://github.com/facebookresearch/audiocraft")
    assert as_table(musicgen).frame["verified"].to_list() == ["verified"]
    assert catalogue.query(verified=False)["sources"].null_count() == len(whole.models) - len(verified)
    assert as_table(catalogue.query(id="cola")).frame["verified"][0].startswith("verified but for modality")


def test_catalogue_says_what_is_near() -> None:
    with pytest.raises(InputError, match="Did you mean 'diffusion'"):
        catalogue.query(paradigm="difusion")
    with pytest.raises(InputError, match="no such field"):
        catalogue.query(colour="blue")
    with pytest.raises(InputError, match="no record matches"):
        as_table(catalogue.query(modality="symbolic", paradigm="contrastive", purpose="generation"))


def test_records_are_strict(tmp_path: Path) -> None:
    good = {"id": "x", "name": "X", "group": "g", "modality": ["text"], "purpose": ["generation"], "paradigm": ["VAE"]}
    file = tmp_path / "models.jsonl"
    for record, message in (
        ({**good, "modality": ["smell"]}, "line 1"),
        ({**good, "colour": 1}, "line 1"),
        ({**good, "weights": {"license": "free"}}, "SPDX"),
        ({**good, "confirmed": {"https://x.org": ["year"]}}, "'year' is confirmed and not filled"),
        ({**good, "confirmed": {"a friend": ["modality"]}}, "no address"),
    ):
        file.write_text(json.dumps(record))
        with pytest.raises(InputError, match=message):
            list(read_records(file, Model))
    file.write_text("\n".join([json.dumps(good)] * 2))
    with pytest.raises(InputError, match="repeats an identifier"):
        list(read_records(file, Model))
    file.write_text("{")
    with pytest.raises(InputError, match="no JSON"):
        list(read_records(file, Model))


def test_html_marks_what_is_unverified(tmp_path: Path) -> None:
    text = catalogue.to_html(tmp_path / "all.html").read_text()
    assert text.count("<h2>") == 3
    assert "class=unverified" in text
    assert "<a href='https://github.com/facebookresearch/audiocraft'>" in text


# ---------------------------------------------------------------------------------------------------------------- tools


def test_every_job_is_a_tool_with_a_valid_schema() -> None:
    schemas = tools.export_schema(["music-fm-survey", "mel-roformer"])
    names = [tool["name"] for tool in schemas]
    assert len(names) == len(set(names))
    assert "music-fm-survey.scaling" in names
    for tool in schemas:
        properties = tool["input_schema"]["properties"]
        assert set(tool["input_schema"]["required"]) <= set(properties)
        assert tool["description"]
    overlap = next(t for t in schemas if t["name"] == "mel-roformer.separate")["input_schema"]["properties"]["overlap"]
    assert overlap["minimum"] == 0
    assert overlap["exclusiveMaximum"] == 1
    assert overlap["default"] == 0.25
    json.dumps(schemas)


def test_pipelines_are_checked_before_they_run() -> None:
    assert [step.take for step in pipeline.check(["mel-roformer:vocals"], Audio)] == ["vocals"]
    with pytest.raises(InputError, match="no output 'drums'"):
        pipeline.check(["mel-roformer:drums"], Audio)
    with pytest.raises(InputError, match="no such job"):
        pipeline.check(["mel-roformer.dance"], Audio)
    with pytest.raises(InputError, match="has steps"):
        pipeline.check([], Audio)
    chosen = pipeline.plan("take it apart", lambda request, schemas: ["mel-roformer"])
    assert chosen[0].label == "mel-roformer.separate"


def test_pipeline_hands_outputs_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    song = Audio(0.1 * rng.normal(size=(2, 44100)), 44100)
    song.write(tmp_path / "song.wav")
    found = pipeline.run(["mel-roformer:vocals"], tmp_path / "song.wav", mel_roformer={"chunk": 1.0})
    assert set(found) == {"mel-roformer.separate"}
    assert isinstance(found["mel-roformer.separate"]["vocals"], Audio)


# ----------------------------------------------------------------------------------------------------------- similarity


def test_cka_by_grams_and_by_features_agree() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 50)), rng.normal(size=(30, 40))
    k, m = (z - z.mean(0) for z in (x, y))
    expected = np.square(k.T @ m).sum() / np.linalg.norm(k.T @ k) / np.linalg.norm(m.T @ m)
    assert linear_cka(x, y) == pytest.approx(expected)
    rotated = x @ np.linalg.qr(rng.normal(size=(50, 50)))[0]
    assert linear_cka(x, 5 * rotated + 2) == pytest.approx(1)
    assert rsa(x - x.mean(0), 5 * rotated) == pytest.approx(1)
    with pytest.raises(InputError, match="same clips"):
        linear_cka(x, y[1:])
    with pytest.raises(InputError, match="does not vary"):
        linear_cka(np.ones((5, 2)), y[:5])


def test_steering_changes_the_concept_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    tempo, loudness = rng.normal(size=(2, 400))
    features = np.stack([tempo, loudness, tempo + loudness], 1) @ rng.normal(size=(3, 12))
    features += 0.01 * rng.normal(size=features.shape)
    found = steer(features, 20 * tempo + 100, loudness)
    assert found.effect == pytest.approx(1, abs=0.1)
    assert abs(found.leak) < 0.6
    direction = concept_direction(features, 20 * tempo + 100)
    assert direction.deviation == pytest.approx(20 * tempo.std())
    with pytest.raises(InputError, match="does not vary"):
        concept_direction(features, np.ones(400))


def test_in_context_of_a_model_that_ignores_examples_is_chance() -> None:
    examples = [(f"{i}", "ab"[i % 2]) for i in range(40)]
    rng = np.random.default_rng(0)
    found = in_context(lambda shown, text, label: rng.random(), examples, shots=3, episodes=300)
    assert found.low < 0.5 < found.high
    with pytest.raises(InputError, match="too few examples"):
        in_context(lambda *_: 0.0, examples, shots=30)


# -------------------------------------------------------------------------------------------------------- melody models


def tunes(count: int = 30) -> list[Tune]:
    steps = [0, 2, 4, 5, 7, 5, 4, 2]
    return [
        Tune(str(i), "ours", "4/4", tuple(TuneNote(float(n), 1.0, 60 + i % 5 + steps[n % 8]) for n in range(40)))
        for i in range(count)
    ]


def test_melody_models_learn_and_are_causal() -> None:
    import torch

    torch.manual_seed(0)
    model = TuneModel(16).eval()
    notes = torch.randint(0, 175, (1, 20))
    changed = notes.clone()
    changed[0, 12:] = 3
    torch.testing.assert_close(model(notes)[:, :12], model(changed)[:, :12], atol=1e-5, rtol=1e-4)
    stream = np.tile([5, 9, 60, 44], 200)
    size, loss = train_run(8, stream, stream, Budget(epochs=40, steps=120), 0)
    assert size == sum(parameter.numel() for parameter in TuneModel(8).parameters())
    assert loss < 1.0


def test_runs_cover_the_grid() -> None:
    frame = scaling_runs(tunes(), widths=(4, 8), shares=(0.5, 1.0), held_out=4, budget=Budget(epochs=1, steps=20))
    assert frame.height == 4
    assert frame["params"].n_unique() == 2
    assert (frame["loss"] > 0).all()
    with pytest.raises(InputError, match="fewer tunes"):
        scaling_runs(tunes(3), held_out=5)
