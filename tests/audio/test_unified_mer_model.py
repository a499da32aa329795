"""Listening, checkpoints, the estimator and its training, with tiny networks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone

from harmonia.audio.mert import MERTConfig, MERTModel
from harmonia.audio.unified_mer.btc import BTC, BTCConfig
from harmonia.audio.unified_mer.checkpoint import EMBEDDED, load_network, load_teacher
from harmonia.audio.unified_mer.chords import ChordRecognizer
from harmonia.audio.unified_mer.datasets import EmotionDataset
from harmonia.audio.unified_mer.encoding import encode_harmony
from harmonia.audio.unified_mer.features import FeatureTable, MERTLayers, MusicFeatures, SoundStatistics, hear
from harmonia.audio.unified_mer.model import MusicEmotionModel
from harmonia.audio.unified_mer.network import EmotionConfig, EmotionNetwork, TeacherNetwork
from harmonia.audio.unified_mer.scores import rating_scores, tag_scores
from harmonia.audio.unified_mer.statistics import RATE, TEMPI, WIDTH, sound_statistics
from harmonia.audio.unified_mer.training import train_student, train_teacher
from harmonia.core.errors import InputError, WeightsError
from harmonia.core.weights import read_metadata
from harmonia.media import Audio
from harmonia.parts.harmony import Key, parse_chord
from harmonia.parts.training import Plan

TEMPLATES = ChordRecognizer("templates")


def seeded(make, seed: int = 0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def sound(seconds: float, rate: int = RATE, channels: int = 2) -> Audio:
    time = np.arange(round(seconds * rate)) / rate
    tone = sum(np.sin(2 * np.pi * 440 * 2 ** (step / 12) * time) for step in (-21, 0, 3, 7)) / 5
    return Audio(np.tile(tone * (1 + np.sin(4 * np.pi * time)) / 2, (channels, 1)), rate)


class Level(MusicFeatures):
    """The mean of a segment, and its length."""

    rate, width = 8000, 2

    def segment(self, sound):
        return np.array([sound.mean(), len(sound) / self.rate])


# --------------------------------------------------------------------------------------------------------- listening


@pytest.mark.parametrize(
    ("seconds", "lengths"),
    [(0.3, [1.0]), (4.0, [4.0]), (9.5, [4.0, 4.0, 1.5]), (8.5, [4.0, 4.0])],
    ids=lambda v: str(v),
)
def test_segments_abut_and_a_last_crumb_is_dropped(seconds: float, lengths: list[float]) -> None:
    heard = hear(sound(seconds), Level(), TEMPLATES, segment=4.0)
    assert heard.segments[:, 1].tolist() == lengths
    assert heard.spans[:, 0].tolist() == [4.0 * n for n in range(len(lengths))]


def test_windows_of_a_finer_curve_contain_the_segments() -> None:
    plain, fine = (hear(sound(11.0), Level(), TEMPLATES, segment=4.0, detail=detail) for detail in (1, 4))
    assert np.array_equal(plain.segments, fine.segments)
    assert np.diff(fine.spans[:, 0]).tolist() == [1.0] * (len(fine.windows) - 1)
    assert len(fine.curve_table()) == len(fine.windows) == 11


def test_each_window_of_a_curve_knows_its_own_chords() -> None:
    heard = hear(sound(8.0), Level(), TEMPLATES, segment=4.0)
    chords = (parse_chord("C:maj", 0.0, 3.0), parse_chord("F:maj", 3.0, 5.0), parse_chord("G:maj", 5.0, 8.0))
    table = replace(heard, chords=chords, key=Key(0, "major", 1.0)).curve_table()
    assert table.roots[:, :3].tolist() == [[1, 6, 0], [6, 8, 0]]


def test_silence_has_neither_chords_nor_key() -> None:
    heard = hear(Audio(np.zeros((2, 3 * 44100)), 44100), Level(), TEMPLATES)
    assert heard.key is None
    assert [chord.label for chord in heard.chords] == ["N"]
    assert heard.harmony.minor == 0


@pytest.mark.parametrize("options", [{"segment": 0.5}, {"detail": 0}], ids=["segment", "detail"])
def test_impossible_segments_are_refused(options) -> None:
    with pytest.raises(InputError):
        hear(sound(2.0), Level(), TEMPLATES, **options)


def test_statistics_follow_level_and_tempo() -> None:
    quiet, loud = (sound_statistics(gain * sound(6.0).samples[0]) for gain in (0.1, 1.0))
    assert quiet.shape == (WIDTH,)
    assert loud[120] - quiet[120] == pytest.approx(20, abs=0.5)
    clicks = np.zeros(10 * RATE)
    clicks[:: RATE // 2] = 1.0  # 120 a minute
    pulse = sound_statistics(clicks)[-16:]
    assert abs(TEMPI[pulse.argmax()] - 120) < 10
    assert np.isfinite(sound_statistics(np.zeros(1))).all()


def test_mert_layers_are_means_over_time_side_by_side() -> None:
    model = seeded(lambda: MERTModel(MERTConfig.tiny())).eval()
    features = MERTLayers(model, layers=(1, 3), device="cpu")
    clip = sound(1.5, rate=24000, channels=1).samples[0]
    normal = (clip - clip.mean()) / np.sqrt(clip.var() + 1e-7)
    with torch.no_grad():
        hidden = model(torch.from_numpy(normal)[None].float(), layers=[1, 3])["hidden"]
    expected = torch.cat([state[0].mean(0) for state in hidden]).numpy()
    assert np.abs(features.segment(clip) - expected).max() < 1e-5


def test_runs_of_segments_are_drawn_evenly_and_averaged() -> None:
    segments = np.arange(5, dtype=np.float32)[:, None]
    table = FeatureTable.of([(segments[:4], encode_harmony([])), (segments[4:], encode_harmony([]))])
    assert table.music[:, 0].tolist() == [1.5, 4.0]
    rows = np.zeros(4000, dtype=np.int64)
    drawn = table.augmented(rows, torch.Generator().manual_seed(0))[0][:, 0].numpy()
    runs = [np.mean(segments[a:b]) for a in range(4) for b in range(a + 1, 5)]
    chances = [1 / 4 / (4 - a) for a in range(4) for _ in range(a + 1, 5)]
    assert drawn.mean() == pytest.approx(np.dot(runs, chances), abs=0.05)
    assert set(np.round(drawn, 4)) == set(np.round(np.float32(runs), 4))
    assert table.augmented(np.ones(3, dtype=np.int64), torch.Generator())[0].tolist() == [[4.0]] * 3
    assert table.take(np.array([1])).segments.tolist() == [[4.0]]


@pytest.mark.parametrize("backend", ["btc", "ears"])
def test_recognisers_that_are_not_there_are_refused(backend) -> None:
    with pytest.raises((InputError, TypeError)):
        ChordRecognizer(backend)


# ------------------------------------------------------------------------------------------------------- checkpoints


def lightning(path: Path, network, **more) -> Path:
    """A checkpoint as Lightning writes it: the network under `model.`, buffers of the losses beside it."""
    state = {f"model.{key}": value for key, value in network.state_dict().items()}
    for loss in ("loss_fn_classification", "loss_fn_classification_eval"):
        state |= {f"{loss}.weight": torch.ones(56), f"{loss}.pos_weight": torch.ones(56)}
    torch.save({"state_dict": state | more, "epoch": 7, "pytorch-lightning_version": "2.2"}, path)
    return path


def test_a_released_student_is_read_from_its_lightning_file(tmp_path: Path) -> None:
    network = seeded(lambda: EmotionNetwork(EmotionConfig())).eval()
    read, wants = load_network(lightning(tmp_path / "J_all.ckpt", network))
    assert wants == {"features": "mert", "segment": "30.0"}
    assert read.config == EmotionConfig()
    assert all(torch.equal(value, read.state_dict()[key]) for key, value in network.state_dict().items())


def test_a_released_teacher_is_read_and_is_no_student(tmp_path: Path) -> None:
    path = lightning(tmp_path / "D.ckpt", seeded(lambda: TeacherNetwork(EmotionConfig(), 2)))
    assert load_teacher(path).output_proj[2].out_features == 2
    with pytest.raises(WeightsError, match="teacher"):
        load_network(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.chord_lstm.weight": torch.zeros(3)}, "which the network lacks"),
        ({"model.regression_branch.0.bias": torch.zeros(3)}, "another shape"),
        ({"model.classification_branch.2.bias": torch.zeros(55)}, "not named"),
        ({"ema.input_proj.0.bias": torch.zeros(3)}, "which the network lacks"),
    ],
    ids=["unknown", "shape", "tags", "other prefix"],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, change, message: str) -> None:
    network = seeded(lambda: EmotionNetwork(EmotionConfig()))
    with pytest.raises(WeightsError, match=message):
        load_network(lightning(tmp_path / "J.ckpt", network, **change))


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="not the weights of Music2Emo"):
        load_network(tmp_path / "w.pt")
    with pytest.raises(WeightsError):
        load_network(tmp_path / "nowhere.ckpt")


def test_the_embedded_weights_say_how_they_were_made() -> None:
    network, wants = load_network()
    assert wants == {"features": "statistics", "segment": "10.0"}
    assert network.config.music_width == SoundStatistics.width
    assert EMBEDDED.stat().st_size < 3_000_000


# --------------------------------------------------------------------------------------------------------- estimator


def test_the_released_pipeline_runs_with_random_weights(tmp_path: Path) -> None:
    """MERT-95M's shape, layers "5, 6" of the release, BTC: 1536 numbers and its fourteen qualities, as published."""
    btc = seeded(lambda: BTC(BTCConfig(width=16, layers=1)))
    torch.save({"model": btc.state_dict(), "mean": 0.0, "std": 1.0}, tmp_path / "btc.pt")
    student = lightning(tmp_path / "J_all.ckpt", seeded(lambda: EmotionNetwork(EmotionConfig())))
    mert = seeded(lambda: MERTModel(MERTConfig(layers=7))).eval()
    model = MusicEmotionModel.from_official(student, btc=tmp_path / "btc.pt", mert=mert, device="cpu")
    assert model.recognizer_.used == "btc"
    assert model.segment_ == 30.0
    heard = model.hear(sound(2.0, rate=44100))
    assert heard.segments.shape == (1, 1536)
    found = model.predict(heard.table())
    assert found.proba.shape == (1, 56)
    assert np.isfinite([found.valence, found.arousal]).all()


def test_networks_and_features_must_agree() -> None:
    network = EmotionNetwork(EmotionConfig(music_width=77))
    small = seeded(lambda: MERTModel(MERTConfig(layers=7, dim=64, heads=2, feed_forward=64)))
    with pytest.raises(InputError, match="other features"):
        MusicEmotionModel(network, mert=small, chords="templates", device="cpu").load()


def test_the_estimator_is_cloned_and_reads_paths_and_sounds(tmp_path: Path) -> None:
    model = clone(MusicEmotionModel(chords="templates", device="cpu"))
    assert model.get_params()["kd"] == "mse_bce"
    path = sound(3.0, rate=32000).write(tmp_path / "song.wav")
    found = model.predict([path, sound(3.0)])
    assert found.valence.shape == (2,)
    assert found.valence[0] == pytest.approx(found.valence[1], abs=0.3)
    curve = model.predict_curve(sound(16.0), detail=2)
    assert curve.times is not None
    assert curve.times.tolist() == [5.0, 10.0, 13.0, 15.5]
    with pytest.raises(InputError, match="list"):
        model.predict(sound(1.0))
    with pytest.raises(InputError, match="another width"):
        model.predict(FeatureTable.of([(np.zeros((1, 3), np.float32), encode_harmony([]))]))


def test_compat_only_forgets_the_mode() -> None:
    minor = sound(4.0)  # A minor
    models = (MusicEmotionModel(chords="templates", compat=compat, device="cpu") for compat in (False, True))
    ours, theirs = (model.hear(minor) for model in models)
    assert (ours.harmony.minor, theirs.harmony.minor) == (1, 0)
    assert np.array_equal(ours.harmony.roots, theirs.harmony.roots)


# ---------------------------------------------------------------------------------------------------------- training


def toy(kind: str, count: int = 60, seed: int = 0) -> EmotionDataset:
    """Two features tell valence and arousal; tags tell who is above the middle."""
    random = np.random.default_rng(seed)
    emotion = random.uniform(1, 9, (count, 2)).astype(np.float32)
    songs = [(row[None] / 4 - 1, encode_harmony([])) for row in emotion]
    labels = emotion if kind == "va" else (emotion > 5).astype(np.float32)
    tags = ("glad", "wild") if kind == "tags" else ()
    return EmotionDataset(kind, kind, labels, tags=tags, table=FeatureTable.of(songs))


def plan(steps: int = 150, **more) -> Plan:
    return Plan(steps, 3e-3, warmup=5, ema_decay=0.9, evaluate_every=25, checkpoint_every=20, **more)


CONFIG = EmotionConfig(music_width=2, tags=("glad", "wild"), width=32, hidden=16, chords=4, standardize=True)


def test_one_network_learns_tags_and_ratings() -> None:
    sets, tests = [toy("tags"), toy("va")], [toy("tags", seed=1), toy("va", seed=1)]
    trained = train_student(sets, CONFIG, plan(100), validation=tests, device="cpu")
    with torch.no_grad():
        tags, _ = trained.model(*tests[0].table.inputs())
        _, found = trained.model(*tests[1].table.inputs())
    assert tag_scores(tests[0].labels, tags.sigmoid().numpy())["roc_auc"] > 0.9
    assert rating_scores(tests[1].labels, found.numpy())["r2_arousal"] > 0.5
    assert {"validation_tags", "validation_va"} <= set(trained.history[-1])


def test_students_follow_their_teachers_and_the_official_one_only_in_the_difference() -> None:
    """A teacher that is 2 points too high in both: labels weigh 0.2, so squared error moves by 0.8 of that."""
    data = toy("va", 200)
    teacher = train_teacher(data, CONFIG, plan(100), device="cpu").model
    with torch.no_grad():
        teacher.output_proj[2].bias += 2.0
    shifts = {}
    for kd in ("mse_bce", "official"):
        student = train_student([data], CONFIG, plan(100), kd=kd, teachers={"va": teacher}, device="cpu").model
        with torch.no_grad():
            shifts[kd] = float((student(*data.table.inputs())[1] - torch.from_numpy(data.labels)).mean())
    assert shifts["mse_bce"] == pytest.approx(1.6, abs=0.3)
    assert shifts["official"] == pytest.approx(0.0, abs=0.3)


def test_the_best_moment_is_kept_over_a_resumed_run(tmp_path: Path) -> None:
    sets, tests = [toy("va")], [toy("va", seed=1)]
    whole = train_teacher(sets[0], CONFIG, plan(60), validation=tests, device="cpu")
    again = train_teacher(sets[0], CONFIG, plan(60), validation=tests, device="cpu", folder=tmp_path)
    resumed = train_teacher(sets[0], CONFIG, plan(60), validation=tests, device="cpu", folder=tmp_path)
    for other in (again, resumed):
        assert all(torch.equal(v, other.model.state_dict()[k]) for k, v in whole.model.state_dict().items())


def test_sets_that_cannot_be_learnt_are_refused() -> None:
    bare = EmotionDataset("x", "va", np.ones((3, 2), np.float32))
    for sets, message in (
        ([], "nothing to learn"),
        ([bare], "not listened"),
        ([toy("va"), toy("va")], "names"),
    ):
        with pytest.raises(InputError, match=message):
            train_student(sets, CONFIG, plan(1), device="cpu")
    with pytest.raises(InputError, match="another width"):
        train_student([toy("va")], EmotionConfig(music_width=3, tags=("a",)), plan(1), device="cpu")
    with pytest.raises(InputError, match="other tags"):
        train_student([toy("tags")], EmotionConfig(music_width=2, tags=("a",)), plan(1), device="cpu")
    teachers = {"other": TeacherNetwork(CONFIG, 2)}
    with pytest.raises(InputError, match="no teacher"):
        train_student([toy("va")], CONFIG, plan(1), kd="mse_bce", teachers=teachers, device="cpu")


def test_fit_listens_to_songs_and_saves_what_it_learnt(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    songs, labels = [], []
    for number in range(8):
        gain = 0.05 + 0.1 * number
        songs.append(Audio(gain * random.normal(size=(1, RATE * 2)), RATE).write(tmp_path / f"{number}.wav"))
        labels.append((8.0 - number, 1.0 + number))
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    data = EmotionDataset("loud", "va", np.float32([*labels, (5, 5)]), (*songs, broken))
    model = MusicEmotionModel(chords="templates", kd=None, steps=20, batch=4, device="cpu").fit([data])
    assert len(model.held_out_[0]) == 1
    read, wants = load_network(model.save(tmp_path / "own.safetensors"))
    assert wants["features"] == "statistics"
    assert read.config == model.network_.config
    again = MusicEmotionModel(tmp_path / "own.safetensors", chords="templates", device="cpu")
    assert again.predict(songs[:2]).arousal == pytest.approx(model.predict(songs[:2]).arousal, abs=0.05)
    assert np.isfinite(again.score(EmotionDataset("loud", "va", np.float32(labels), tuple(songs))))


# ----------------------------------------------------------------------------------------------------------- metrics


def test_average_precision_and_auc_by_counting() -> None:
    random = np.random.default_rng(0)
    labels = (random.random((30, 3)) < 0.3).astype(np.float32)
    scores = random.random((30, 3)).astype(np.float32)
    precisions, areas = [], []
    for y, s in zip(labels.T, scores.T, strict=True):
        ranked = y[np.argsort(-s)]
        precisions.append(np.mean([ranked[: n + 1].mean() for n in np.flatnonzero(ranked)]))
        areas.append(np.mean([float(p > n) for p in s[y == 1] for n in s[y == 0]]))
    found = tag_scores(labels, scores)
    assert found["pr_auc"] == pytest.approx(np.mean(precisions))
    assert found["roc_auc"] == pytest.approx(np.mean(areas))


def test_constant_ratings_have_no_r2_and_constant_tags_no_score() -> None:
    scores = rating_scores(np.float32([[1, 2], [1, 3]]), np.float32([[1, 2], [2, 3]]))
    assert np.isnan(scores["r2_valence"])
    assert scores["r2_arousal"] == 1.0
    with pytest.raises(InputError, match="no tag"):
        tag_scores(np.ones((3, 2), np.float32), np.ones((3, 2), np.float32))


def test_metadata_is_plain_json() -> None:
    made = json.loads(read_metadata(EMBEDDED)["made"])
    assert made["scores"]["r2_arousal"] > 0.5
