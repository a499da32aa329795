"""The benchmark, encoders, MARBLE's probe and few-shot episodes, by independent routes."""

from __future__ import annotations

from pathlib import Path

import mir_eval
import numpy as np
import pytest
import soundfile
import torch
from torch.nn import functional as F

from harmonia.audio.music_fm_survey import (
    ClipSet,
    MarbleProbe,
    NetworkEncoder,
    ProbingBenchmark,
    SpectralEncoder,
    Task,
    dataset,
    few_shot,
    key_gains,
    long_sequence_audit,
    offline_tasks,
    online_codelength,
    probe_mlp,
)
from harmonia.audio.music_fm_survey.benchmark import holm
from harmonia.audio.music_fm_survey.encoders import load_encoders, window_starts, windows_of
from harmonia.audio.music_fm_survey.marble import MarblePlan
from harmonia.audio.music_fm_survey.neighbours import probe_neighbours
from harmonia.core.errors import InputError
from harmonia.data.render.labelled import TONICS
from harmonia.media import Audio
from harmonia.parts.probing import Targets


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("HARMONIA_CACHE", str(tmp_path_factory.getbasetemp() / "survey"))


def tones(pitches: list[float], seconds: float = 0.4, rate: int = 16000) -> list[Audio]:
    time = np.arange(round(seconds * rate)) / rate
    return [Audio(0.3 * np.sin(2 * np.pi * 440 * 2 ** ((p - 69) / 12) * time), rate) for p in pitches]


def classes(n: int = 120, d: int = 20, seed: int = 0):
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 4
    features = rng.normal(size=(n, 3, d))
    features[:, 1, :4] += 3 * np.eye(4)[truth]
    return features, Targets.of(truth)


# ------------------------------------------------------------------------------------------------------------- encoders


def test_windows_follow_marbles_overlap_rule() -> None:
    sound = np.arange(25, dtype=np.float32)
    found = [window.tolist() for window in windows_of(sound, 10)]
    assert found[:2] == [list(range(10)), list(range(10, 20))]
    # The official rule builds the last window from the tail of the one before and what is left.
    left = sound[20:]
    assert found[2] == [*sound[10:20][-(10 - len(left)) :].tolist(), *left.tolist()]
    assert window_starts(20, 10) == [0, 10]


@pytest.mark.parametrize("kind", ["log-mel", "mfcc", "chroma", "cqt"])
def test_spectral_encoders_do_not_depend_on_the_batch(kind: str) -> None:
    encoder = SpectralEncoder(kind)
    clips = [*tones([60, 64, 67]), *tones([50], seconds=0.7)]
    together = encoder.transform(clips)
    alone = np.concatenate([encoder.transform([clip]) for clip in clips])
    np.testing.assert_allclose(together, alone, atol=2e-3)
    assert together.shape[1] == 1


def test_chroma_ignores_octaves_and_mfcc_pitch_classes() -> None:
    chroma = SpectralEncoder("chroma").transform(tones([57, 69, 81, 64], seconds=1.0))[:, 0, :12]
    assert chroma.argmax(1).tolist() == [9, 9, 9, 4]


def test_files_are_streamed_and_equal_arrays(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).normal(size=(2, 44100 * 3)).astype(np.float32) * 0.1
    soundfile.write(tmp_path / "a.wav", sound.T, 44100, subtype="FLOAT")
    encoder = SpectralEncoder("mfcc")
    encoder.window_s = 1.0
    from_file = encoder.transform([tmp_path / "a.wav"])
    in_memory = encoder.transform([Audio(sound, 44100)])
    np.testing.assert_allclose(from_file, in_memory, atol=0.05)


def test_network_encoder_takes_any_network() -> None:
    network = torch.nn.Linear(1, 2)
    encoder = NetworkEncoder("mean", 8000, 1.0, network, lambda net, w: net(w.mean(1, keepdim=True))[:, None])
    clips = tones([60, 70], rate=8000)
    expected = [network(torch.from_numpy(c.samples).mean(1, keepdim=True)).detach().numpy()[0] for c in clips]
    np.testing.assert_allclose(encoder.transform(clips)[:, 0], expected, atol=1e-6)
    other = NetworkEncoder("mean", 8000, 1.0, torch.nn.Linear(1, 2), encoder.layers)
    assert encoder.fingerprint != other.fingerprint


def test_mert_and_mel_roformer_are_heard() -> None:
    for name, encoder in load_encoders(["mert-random", "mel-roformer"]).items():
        features = encoder.transform(tones([60, 72], seconds=0.3))
        assert features.shape[0] == 2, name
        assert np.isfinite(features).all()
        assert np.abs(features[0] - features[1]).max() > 1e-4


def test_encoders_refuse_what_cannot_be_heard(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such encoder"):
        load_encoders(["wavelets"])
    with pytest.raises(InputError, match="list of clips"):
        SpectralEncoder("mfcc").transform([])
    with pytest.raises(InputError, match="no such sound file"):
        SpectralEncoder("mfcc").transform([tmp_path / "none.wav"])
    (tmp_path / "bad.wav").write_bytes(b"RIFFnonsense")
    with pytest.raises(InputError):
        SpectralEncoder("mfcc").transform([tmp_path / "bad.wav"])


def test_features_are_cached_by_what_they_depend_on() -> None:
    calls = []

    class Counting(SpectralEncoder):
        def transform(self, clips):
            calls.append(len(clips))
            return super().transform(clips)

    clips = ClipSet("cached tones", tones([60, 62, 64]))
    first, again = (clips.features(Counting("mfcc")) for _ in range(2))
    assert calls == [3]
    assert first.dtype == np.float16
    np.testing.assert_array_equal(first, again)
    clips.features(Counting("chroma"))
    ClipSet("other tones", tones([60])).features(Counting("mfcc"))
    assert calls == [3, 3, 1]


# ---------------------------------------------------------------------------------------------------------------- tasks


def test_key_gains_are_mir_evals() -> None:
    keys = [f"{tonic} {mode}" for mode in ("major", "minor") for tonic in TONICS]
    ours = key_gains(keys)
    theirs = [[mir_eval.key.weighted_score(truth, guess) for guess in keys] for truth in keys]
    np.testing.assert_array_equal(ours, theirs)
    assert key_gains(["C# minor", "Db minor"]).tolist() == [[1, 1], [1, 1]]
    with pytest.raises(InputError, match="no key"):
        key_gains(["H major"])


def test_chance_is_the_best_constant_answer() -> None:
    clips = ClipSet("six", tones([60] * 6))
    assert Task("t", clips, Targets.of(list("aabbbb"))).chance == pytest.approx(4 / 6)
    assert Task("t", clips, Targets.of(np.arange(6.0))).chance == 0
    with pytest.raises(InputError, match="one target for each clip"):
        Task("t", clips, Targets.of(list("ab")))


@pytest.mark.debian
def test_offline_tasks_share_clips_and_keep_programs_together(monkeypatch) -> None:
    from harmonia.audio.music_fm_survey import tasks

    monkeypatch.setitem(tasks.COUNTS, "small", {"notes": 60, "pieces": 48, "moods": 2})
    instrument, pitch, key = offline_tasks(only=["instrument", "pitch", "key"])
    assert instrument.clips is pitch.clips
    assert instrument.groups is not None
    assert key.score.name == "weighted key score"
    assert len(key.targets.classes) == 24
    with pytest.raises(InputError, match="no such task"):
        offline_tasks(only=["rhythm"])


# ------------------------------------------------------------------------------------------------------------ benchmark


def benchmark(probe: str = "ridge") -> ProbingBenchmark:
    pitches = [float(p) for p in np.linspace(48, 84, 36)]
    clips = ClipSet("tones", tones(pitches))
    high = Task("high", clips, Targets.of(["low"] * 18 + ["high"] * 18))
    height = Task("height", clips, Targets.of(np.array(pitches)))
    return ProbingBenchmark(probe, folds=3, resamples=50).add_task(high).add_task(height)


@pytest.mark.parametrize("probe", ["ridge", "logistic", "knn"])
def test_benchmark_reports_every_cell(probe: str) -> None:
    bench = benchmark(probe)
    tasks = ["high"] if probe == "logistic" else None
    report = bench.run(load_encoders(["log-mel", "chroma"]), tasks)
    frame = report.table().frame
    assert frame.height == 2 * len(report.tasks)
    assert report.cell("log-mel", "high").probed.score.score > 0.9
    assert report.cell("log-mel", "high").selectivity > 0.2
    assert (frame["low"] <= frame["score"]).all()
    assert set(report.significance(resamples=50).frame["task"]) == set(report.tasks)
    assert report.plot().figure.axes
    versatility = report.versatility()
    assert versatility[0].mean >= versatility[1].mean
    np.testing.assert_array_equal(np.sort(report.ranks(), 0).sum(0), 3)


def test_agreement_is_one_where_tasks_agree() -> None:
    bench = benchmark()
    task = bench.tasks[1]
    bench.add_task(Task("copy", task.clips, task.targets))
    report = bench.run(load_encoders(["log-mel", "chroma"]), ["height", "copy"])
    assert report.agreement() == 1


def test_benchmark_refuses_nonsense() -> None:
    with pytest.raises(InputError, match="two tasks of one name"):
        benchmark().add_task(benchmark().tasks[0])
    with pytest.raises(InputError, match="nothing to probe"):
        benchmark().run({})
    with pytest.raises(InputError, match="nothing to probe"):
        benchmark().run(load_encoders(["mfcc"]), ["rhythm"])
    with pytest.raises(InputError, match="nothing to compare"):
        benchmark().run(load_encoders(["mfcc"])).significance()


def test_holm_equals_the_definition() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


# --------------------------------------------------------------------------------------------------- MARBLE's own probe


def test_marble_forward_is_its_formula() -> None:
    """A plain re-computation of the published forward: softmax over layers, hidden layer, ReLU, output."""
    probe = MarbleProbe(13, 24, 5).eval()
    x = torch.randn(7, 13, 24, generator=torch.Generator().manual_seed(0))
    state = probe.state_dict()
    assert set(state) == {"aggregator", "hidden_0.weight", "hidden_0.bias", "output.weight", "output.bias"}
    weights = F.softmax(state["aggregator"], dim=1)
    hidden = F.relu(F.linear((x * weights).sum(dim=1), state["hidden_0.weight"], state["hidden_0.bias"]))
    expected = F.linear(hidden, state["output.weight"], state["output.bias"])
    torch.testing.assert_close(probe(x), expected, atol=1e-6, rtol=0)


def test_a_weighted_sum_of_one_layer_is_that_layer() -> None:
    probe = MarbleProbe(4, 8, 3).eval()
    single = MarbleProbe(1, 8, 3).eval()
    state = probe.state_dict()
    state["aggregator"] = torch.tensor([-1e4, -1e4, 1e4, -1e4]).view(1, 4, 1)
    probe.load_state_dict(state)
    single.load_state_dict({**state, "aggregator": torch.zeros(1, 1, 1)})
    x = torch.randn(6, 4, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(probe(x), single(x[:, 2:3]))


def test_marble_probe_learns_and_repeats() -> None:
    features, targets = classes(900)
    plan = MarblePlan(rates=(1e-2,), epochs=12, batch=32, hidden=32)
    first, again = (probe_mlp(features, targets, folds=3, plan=plan) for _ in range(2))
    assert first.score.score > 0.7
    np.testing.assert_array_equal(first.predicted, again.predicted)


def test_neighbours_and_few_shots() -> None:
    features, targets = classes()
    found = probe_neighbours(features, targets, folds=3, resamples=50)
    assert found.layer == 1
    assert found.score.score > 0.7
    noise = features[:, 0]
    assert few_shot(features[:, 1], targets, 5, ways=4, episodes=100).score > 0.55
    guess = few_shot(noise, targets, 5, ways=4, episodes=300)
    assert guess.low < 0.25 < guess.high + 0.03
    with pytest.raises(InputError, match="too few clips"):
        few_shot(noise, targets, 40)
    with pytest.raises(InputError, match="need classes"):
        few_shot(noise, Targets.of(np.arange(120.0)))


def test_code_length_of_noise_is_uniform() -> None:
    features, targets = classes(256)
    known, noise = online_codelength(features[:, 1], targets), online_codelength(features[:, 0], targets)
    assert known.uniform == pytest.approx(2 * 256)
    assert known.bits < 0.6 * noise.bits
    assert noise.compression < 1.05


# --------------------------------------------------------------------------------------------------------------- audits


class Remembers(SpectralEncoder):
    """Correlates the last three seconds with everything before: a perfect memory of its window."""

    window_s: float = 12.0

    def __init__(self) -> None:
        super().__init__("mfcc")
        self.rate = 1000

    def embed(self, windows):
        rows = []
        for window in windows:
            theme = window[-3000:]
            before = window[:-3000]
            best = F.conv1d(before.view(1, 1, -1), theme.view(1, 1, -1)).abs().max() / theme.square().sum()
            rows.append(torch.tensor([[float(best), 1.0]]))
        return torch.stack(rows)


def test_memory_ends_with_the_window() -> None:
    themes = np.random.default_rng(0).normal(size=(16, 4000)).astype(np.float32)
    near, far = long_sequence_audit(Remembers(), themes, 1000, lags_s=(4.0, 15.0), trials=40)
    assert near.accuracy.score > 0.95
    assert far.accuracy.low < 0.5 < far.accuracy.high + 0.1
    with pytest.raises(InputError, match="cannot be used"):
        long_sequence_audit(Remembers(), themes[:3], 1000)


# -------------------------------------------------------------------------------------------------------------- layouts


def write_sound(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(np.arange(1600) * 0.1), 16000)


def test_gtzan(tmp_path: Path) -> None:
    for split, numbers in (("train", range(4)), ("valid", range(4, 6)), ("test", range(6, 8))):
        names = [f"{genre}/{genre}.{i:05d}.wav" for genre in ("blues", "rock") for i in numbers]
        (tmp_path / f"{split}_filtered.txt").write_text("\n".join(names))
        for name in names:
            write_sound(tmp_path / "genres" / name)
    task = dataset(tmp_path, "gtzan")
    assert task.test is not None
    assert task.test.sum() == 4
    assert task.targets.classes.tolist() == ["blues", "rock"]
    report = ProbingBenchmark(folds=2, resamples=20, cached=False).add_task(task).run(load_encoders(["mfcc"]))
    assert len(report.cells[0].probed.items) == 4


def test_meta_json_and_keys(tmp_path: Path) -> None:
    meta = {}
    for i in range(12):
        name = f"{i}.LOFI"
        write_sound(tmp_path / "wav" / f"{name}.wav")
        song = {"audio_uid": str(i // 2)}
        meta[name] = {"y": ["A minor", "C major"][i % 2], "split": "test" if i >= 8 else "train", "clip": song}
    import json

    (tmp_path / "giantsteps.json").write_text(json.dumps(meta))
    task = dataset(tmp_path, "giantsteps")
    assert task.score.name == "weighted key score"
    assert task.groups is not None
    assert len(set(task.groups)) == 6
    moods = {name: {"y": [0.1 * i, 0.2], "split": entry["split"]} for i, (name, entry) in enumerate(meta.items())}
    (tmp_path / "meta.json").write_text(json.dumps(moods))
    assert dataset(tmp_path, "emomusic").targets.values.shape == (12, 2)


def test_nsynth_vocalset_mtt_mtg_and_jsonl(tmp_path: Path) -> None:
    import json

    for split, offset in (("train", 0), ("valid", 10), ("test", 20)):
        entries = {}
        for i in range(4):
            name = f"n{offset + i}"
            entries[name] = {"instrument_family_str": "flute", "pitch": 60 + i, "instrument_str": f"flute_{offset}"}
            write_sound(tmp_path / f"nsynth-{split}" / "audio" / f"{name}.wav")
        (tmp_path / f"nsynth-{split}" / "examples.json").write_text(json.dumps(entries))
        (tmp_path / f"{split}_s.txt").write_text("f1/a.wav\nm1/b.wav")
        (tmp_path / f"{split}.jsonl").write_text(
            "\n".join(json.dumps({"audio_path": "f1/a.wav", "label": f"l{i}", "group": f"{split}{i}"}) for i in (0, 1))
        )
        mtg = tmp_path / "data" / "splits" / "split-0"
        mtg.mkdir(parents=True, exist_ok=True)
        tsv_split = "validation" if split == "valid" else split
        rows = [f"track_{i}\tartist_{offset}\talbum\t0{i}/{i}.mp3\t30\tgenre---a\tgenre---b{i}" for i in (0, 1)]
        (mtg / f"autotagging_genre-{tsv_split}.tsv").write_text("\n".join(["TRACK_ID\t...", *rows]))
    for i in (0, 1):
        write_sound(tmp_path / f"0{i}" / f"{i}.wav")
        (tmp_path / f"0{i}" / f"{i}.wav").rename(tmp_path / f"0{i}" / f"{i}.low.mp3")
    write_sound(tmp_path / "f1" / "a.wav")
    write_sound(tmp_path / "m1" / "b.wav")
    pitch = dataset(tmp_path, "nsynth-pitch")
    assert len(pitch.targets) == 12
    assert pitch.targets.goal == "multiclass"
    assert dataset(tmp_path, "vocalset-singer").targets.classes.tolist() == ["f1", "m1"]
    genre = dataset(tmp_path, "mtg-genre", metric="AP")
    assert genre.targets.goal == "multilabel"
    assert genre.score.name == "average precision"
    assert len(dataset(tmp_path, "jsonl").targets) == 6
    write_sound(tmp_path / "mp3" / "0" / "song-0-29.wav")
    (tmp_path / "mp3" / "0" / "song-0-29.wav").rename(tmp_path / "mp3" / "0" / "song-0-29.mp3")
    (tmp_path / "mp3" / "f").mkdir()
    write_sound(tmp_path / "mp3" / "f" / "b-0-29.wav")
    (tmp_path / "mp3" / "f" / "b-0-29.wav").rename(tmp_path / "mp3" / "f" / "b-0-29.mp3")
    table = "clip_id\tslow\tfast\tmp3_path\n1\t1\t0\t0/song-0-29.mp3\n2\t0\t1\tf/b-0-29.mp3\n"
    (tmp_path / "annotations_final.csv").write_text(table)
    mtt = dataset(tmp_path, "mtt")
    assert mtt.test is not None
    assert mtt.test.tolist() == [False, True]


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("gtzan", "lacks train_filtered.txt"),
        ("giantsteps", "lacks giantsteps.json or meta.json"),
        ("mtt", "lacks annotations_final.csv"),
        ("mtg-genre", "lacks autotagging_genre-train.tsv"),
        ("nsynth-pitch", "lacks examples.json"),
        ("jsonl", "no .jsonl"),
    ],
)
def test_wrong_folders_say_what_was_expected(layout: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        dataset(tmp_path, layout)
