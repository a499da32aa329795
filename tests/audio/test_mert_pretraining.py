"""Masks, mixtures, losses, teachers and whole runs of pre-training."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from harmonia.audio.mert import MERTConfig, MERTModel, MERTPretrainer, material
from harmonia.audio.mert.catalogue import Catalogue, write_manifest
from harmonia.audio.mert.encoder import plain_attention
from harmonia.audio.mert.material import Material
from harmonia.audio.mert.pretraining import Batch, Pretraining, mix_in_batch, span_mask
from harmonia.audio.mert.teachers import ConstantQTeacher, KMeansTeacher, RVQTeacher, _slope
from harmonia.core.errors import InputError
from harmonia.core.weights import read_metadata
from harmonia.parts.constant_q import ConstantQ
from harmonia.parts.training import Plan

SMALL = dataclasses.replace(
    MERTConfig.tiny(),
    cqt_bins=0,
    dim=16,
    layers=1,
    heads=2,
    feed_forward=24,
    conv_dim=(8,) * 7,
    pos_kernel=10,
    pos_groups=4,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return 0.1 * torch.randn(*shape, generator=generator(seed))


# ------------------------------------------------------------------------------------------------ masks and mixtures


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(10, 200), st.integers(2, 10), st.integers(0, 10_000))
def test_masks_are_spans_and_equally_many(batch, frames, length, seed):
    mask = span_mask(batch, frames, generator(seed), length=length)
    counts = mask.sum(1)
    assert mask.shape == (batch, frames)
    assert (counts == counts[0]).all()
    assert int(counts[0]) >= min(length, frames)
    if batch == 1:  # nothing was trimmed: all runs are spans
        runs = [len(list(run)) for masked, run in itertools.groupby(mask[0].tolist()) if masked]
        assert min(runs) >= length


def test_masks_cover_what_the_formula_says():
    for probability, length in ((0.8, 5), (0.65, 10)):
        shares = [
            float(span_mask(1, 1000, generator(seed), probability=probability, length=length).float().mean())
            for seed in range(200)
        ]
        assert abs(np.mean(shares) - (1 - (1 - probability / length) ** length)) < 0.01


def test_masks_need_room():
    with pytest.raises(InputError, match="shorter than a masked span"):
        span_mask(1, 4, generator())


def test_mixtures_add_snippets_of_the_other_clips():
    clips = torch.stack([torch.full((1000,), 10.0**i) for i in range(3)])
    mixed = mix_in_batch(clips, generator(3), probability=1.0, lengths=(100, 300), counts=(1, 3), volume=0.5)
    for i in range(3):
        added = (mixed[i] - clips[i]).numpy()
        assert 100 <= (added > 0).sum() <= 900
        levels = {float(level) for level in np.unique(added)}
        others = [0.5 * 10.0**j for j in range(3) if j != i]
        sums = {a * others[0] + b * others[1] for a in range(4) for b in range(4) if a + b <= 3}
        assert levels <= sums


def test_half_of_the_clips_are_disturbed():
    touched = []
    for seed in range(100):
        clips = noise(8, 400, seed=seed)
        touched.append(float((mix_in_batch(clips, generator(seed), lengths=(50, 100)) != clips).any(1).float().mean()))
    assert abs(np.mean(touched) - 0.5) < 0.06
    clips = noise(4, 100)
    assert torch.equal(mix_in_batch(clips, generator(), probability=0.0), clips)
    assert torch.equal(mix_in_batch(clips[:1], generator(), probability=1.0), clips[:1])


# ------------------------------------------------------------------------------------------------------------- losses


def pretraining(classes=(20, 20), bins=84):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Pretraining(MERTModel(SMALL), classes, bins, width=8).eval()
    audio, frames = noise(2, 12000), SMALL.frames(12000)
    codes = torch.randint(0, 20, (2, frames, len(classes)), generator=generator())
    return network, Batch(audio, span_mask(2, frames, generator()), codes, torch.rand(2, frames, bins))


def test_the_losses_are_those_of_the_masked_frames():
    network, batch = pretraining()
    losses = network(batch)
    (last,) = network.encoder(batch.audio, layers=[-1], spans=batch.spans)["hidden"]
    assert torch.allclose(losses.penalty, network.encoder.frames(batch.audio).square().mean())
    masked = [last[i, j] for i, j in batch.spans.nonzero().tolist()]
    where = batch.spans.nonzero().tolist()
    for book in range(2):
        total = 0.0
        for x, (i, j) in zip(masked, where, strict=True):
            projected = network.final_proj(x)[8 * book : 8 * book + 8]
            similarity = F.cosine_similarity(projected[None], network.label_embs_concat[20 * book : 20 * book + 20])
            total = total - torch.log_softmax(similarity / 0.1, 0)[batch.codes[i, j, book]]
        assert torch.allclose(losses.codes[book], total / len(where), atol=1e-5)
    error = [
        (network.encoder_cqt_model["fc"](x) - batch.cqt[i, j]).square().mean()
        for x, (i, j) in zip(masked, where, strict=True)
    ]
    assert torch.allclose(losses.cqt, torch.stack(error).mean(), atol=1e-5)
    expected = losses.codes.sum() + 10 * losses.penalty + losses.cqt
    assert torch.allclose(losses.total(), expected)


def test_nothing_outside_the_mask_is_asked_for():
    network, batch = pretraining()
    changed = batch._replace(
        codes=torch.where(batch.spans[..., None], batch.codes, (batch.codes + 1) % 20),
        cqt=torch.where(batch.spans[..., None], batch.cqt, 9.0),
    )
    assert torch.equal(network(batch).total(), network(changed).total())


def test_the_penalty_is_that_of_the_convolutions_alone():
    config = dataclasses.replace(SMALL, cqt_bins=84)
    network, batch = Pretraining(MERTModel(config), (20, 20), 84, width=8).eval(), pretraining()[1]
    convolved = network.encoder.feature_extractor(batch.audio)
    assert torch.allclose(network(batch).penalty, convolved.square().mean())


def test_half_precision_attends_like_single():
    q, k, v = (noise(2, 3, 7, 4, seed=n) for n in range(3))
    mask = torch.arange(7) < torch.tensor([7, 5])[:, None, None, None]
    expected = F.scaled_dot_product_attention(q, k, v, mask)
    assert torch.allclose(plain_attention(q, k, v, mask, 0.0), expected, atol=1e-6)
    half = plain_attention(*(x.bfloat16() for x in (q, k, v)), mask, 0.0)
    assert (half.float() - expected).abs().max() < 0.03


def test_a_run_in_half_precision_learns_like_one_in_single(folder):
    losses = []
    for precision in ("no", "bf16"):
        plan = dataclasses.replace(PLAN, precision=precision)
        learner = MERTPretrainer(SMALL, **LITTLE).fit(folder, plan, batch=2, held_out=1, device="cpu")
        losses.append([record["loss"] for record in learner.history_])
    assert np.allclose(*losses, rtol=0.02)


def test_gradients_into_the_convolutions_are_scaled():
    network, batch = pretraining()
    full = torch.autograd.grad(network(batch).total(), network.encoder.feature_extractor.parameters())
    network.encoder.config = dataclasses.replace(SMALL, feature_grad=0.1)
    tenth = torch.autograd.grad(network(batch).total(), network.encoder.feature_extractor.parameters())
    for a, b in zip(full, tenth, strict=True):
        assert torch.allclose(0.1 * a, b, rtol=1e-4, atol=1e-6)


def test_one_teacher_is_enough_and_none_is_not():
    codes, batch = pretraining(bins=0)
    assert float(codes(batch).cqt) == 0.0
    cqt, batch = pretraining(classes=())
    assert cqt(batch).total().item() > 0
    with pytest.raises(InputError, match="no teachers"):
        Pretraining(MERTModel(SMALL), (), 0)


# ----------------------------------------------------------------------------------------------------------- teachers


def test_residual_codes_are_the_nearest_entries():
    music = noise(6, 24000)
    teacher = RVQTeacher(SMALL, codebooks=3, classes=8).fit(music)
    audio = music[:1, :12000]
    codes = teacher(audio, 36)[0]
    residual = ((teacher.describe(audio)[0, :36] - teacher.mean) / teacher.scale).double()
    errors = [float(residual.square().mean())]
    for book in range(3):
        distances = (residual[:, None] - teacher.centroids[book].double()).square().sum(-1)
        assert torch.equal(codes[:, book], distances.argmin(1))
        residual = residual - teacher.centroids[book].double()[codes[:, book]]
        errors.append(float(residual.square().mean()))
    assert errors == sorted(errors, reverse=True)


def test_teachers_are_reproducible_and_travel_with_their_state():
    music, audio = noise(6, 24000), noise(2, 12000, seed=5)
    one, other = (KMeansTeacher(SMALL, classes=10).fit(music, seed=3) for _ in range(2))
    assert torch.equal(one(audio, 36), other(audio, 36))
    fresh = KMeansTeacher(SMALL, classes=10)
    fresh.load_state_dict(one.state_dict())
    assert torch.equal(fresh(audio, 36), one(audio, 36))
    assert one(audio, 36).shape == (2, 36, 1)
    with pytest.raises(InputError, match="more frames"):
        KMeansTeacher(SMALL, classes=1000).fit(noise(1, 12000))


def test_mfccs_are_those_of_librosa():
    librosa = pytest.importorskip("librosa")
    audio = noise(1, 24000)
    found = KMeansTeacher(SMALL).describe(audio)[0, :, :13].numpy()
    mel = librosa.feature.melspectrogram(
        y=audio[0].numpy(), sr=24000, n_fft=2048, hop_length=320, n_mels=80, pad_mode="constant"
    )
    expected = librosa.feature.mfcc(S=np.log(np.maximum(mel, 1e-5)), n_mfcc=13).T
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def test_slopes_are_those_of_straight_lines():
    time = torch.arange(20.0)[None, :, None]
    line = torch.cat([3 * time + 1, -0.5 * time], -1)
    slope = _slope(line)
    assert torch.allclose(slope[:, 2:-2], torch.tensor([3.0, -0.5]).expand(1, 16, 2))


def test_the_constant_q_teacher_hears_no_level_unless_asked():
    audio = noise(2, 24000)
    teacher = ConstantQTeacher(SMALL)
    assert torch.allclose(teacher(audio, 74), teacher(7 * audio, 74), rtol=1e-4, atol=1e-6)
    plain = ConstantQTeacher(SMALL, level=None)
    expected = ConstantQ(24000, 320, 32.7, 336, 48)(audio).abs().transpose(1, 2)[:, :74]
    assert torch.equal(plain(audio, 74), expected)
    assert teacher(torch.zeros(1, 24000), 74).abs().max() == 0


# ---------------------------------------------------------------------------------------------------------- catalogues


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "music" / "deep").mkdir(parents=True)
    for number, rate in enumerate((24000, 24000, 48000, 24000)):
        time = np.arange(3 * rate) / rate
        tone = 0.3 * np.sin(2 * np.pi * 220 * (number + 1) * time) + 0.01 * rng.standard_normal(len(time))
        place = tmp_path / "music" / ("deep" if number == 3 else "") / f"{number}.wav"
        soundfile.write(place, np.stack([tone, tone], 1), rate)
    (tmp_path / "music" / "notes.txt").write_text("no sound")
    return tmp_path / "music"


def test_a_folder_is_read_with_all_its_folders(folder):
    catalogue = Catalogue.of(folder)
    assert catalogue.files == ("0.wav", "1.wav", "2.wav", "deep/3.wav")
    assert catalogue.seconds == (3.0,) * 4
    train, test = catalogue.split(1)
    assert (len(train.files), test.files) == (3, ("deep/3.wav",))


def test_crops_are_parts_of_the_files(folder):
    catalogue = Catalogue.of(folder)
    crops = catalogue.crops(12, 6400, 24000, generator(), grid=320)
    where = catalogue.places(12, 6400, 24000, generator(), grid=320)
    assert crops.shape == (12, 6400)
    assert {file for file, _ in where} == {0, 1, 2, 3}
    for crop, (file, start) in zip(crops, where, strict=True):
        assert start % 320 == 0
        sound, rate = soundfile.read(folder / catalogue.files[file], dtype="float32")
        if rate == 24000:
            assert np.abs(sound[start : start + 6400, 0] - crop).max() < 1e-6
        else:
            spectrum = np.abs(np.fft.rfft(crop * np.hanning(6400)))
            assert abs(int(spectrum.argmax()) - 220 * 3 * 6400 / 24000) <= 1
    again = catalogue.crops(12, 6400, 24000, generator(), grid=320)
    assert np.array_equal(crops, again)


def test_manifests_and_labels_make_the_round_trip(folder, tmp_path):
    plain = Catalogue.of(folder)
    labels = tuple(np.arange(225 * 2).reshape(225, 2) % (7 + i) for i in range(4))
    labelled = dataclasses.replace(plain, labels=labels)
    path = write_manifest(labelled, tmp_path / "train.tsv", 24000)
    assert path.read_text().splitlines()[:2] == [str(folder), "0.wav\t72000"]
    again = Catalogue.of(path)
    assert (again.files, again.seconds) == (plain.files, plain.seconds)
    assert all(np.array_equal(a, b) for a, b in zip(again.labels, labels, strict=True))


def test_catalogues_that_cannot_be_used(folder, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        Catalogue.of(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no sound files"):
        Catalogue.of(tmp_path / "empty")
    (tmp_path / "empty" / "bad.wav").write_bytes(b"no sound")
    with pytest.raises(InputError, match="no file of the catalogue"):
        Catalogue.of(tmp_path / "empty")
    with pytest.raises(InputError, match="as long as a crop"):
        Catalogue.of(folder).crops(1, 24000 * 60, 24000, generator())
    with pytest.raises(InputError, match="held out"):
        Catalogue.of(folder).split(4)
    path = write_manifest(Catalogue.of(folder), tmp_path / "train.tsv", 24000)
    path.with_suffix(".codec_0").write_text("1 2 3\n")
    with pytest.raises(InputError, match="a line for each file"):
        Catalogue.of(path)
    path.with_suffix(".codec_0").write_text("one two\n" * 4)
    with pytest.raises(InputError, match="line of integers"):
        Catalogue.of(path)


# ------------------------------------------------------------------------------------------------------------ material


def test_what_is_kept_of_a_file_is_what_the_teachers_say_of_its_crops(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(material, "_STRETCH", 90)
    monkeypatch.setattr(material, "_MARGIN", 90)
    catalogue, music = Catalogue.of(folder), noise(6, 24000)
    teacher, constant_q = RVQTeacher(SMALL, codebooks=2, classes=8).fit(music), ConstantQTeacher(SMALL)
    kept = Material(catalogue, SMALL, teacher, constant_q, tmp_path).crops(6, 16000, generator())
    again = Material(catalogue, SMALL, teacher, constant_q, tmp_path).crops(6, 16000, generator())
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))
    frames = SMALL.frames(16000)
    for n, (file, start) in enumerate(catalogue.places(6, 16000, 24000, generator(), grid=320)):
        sound = torch.from_numpy(catalogue.read(file, 0, 72000, 24000))[None]
        first, audio = start // 320, sound[:, start : start + 16000]
        assert torch.equal(kept.audio[n], audio[0])
        assert (kept.codes[n] == teacher(sound, 225)[0, first : first + frames]).float().mean() > 0.99
        whole = constant_q.magnitudes(sound, 225)[0, first : first + frames] * constant_q.gain(audio)
        assert (kept.cqt[n] - whole).abs().max() < 2e-3 * whole.abs().max()


def test_teachers_hear_crops_anew_where_nothing_is_kept(folder):
    catalogue, constant_q = Catalogue.of(folder), ConstantQTeacher(SMALL)
    crops = Material(catalogue, SMALL, None, constant_q).crops(3, 12000, generator())
    expected = constant_q(crops.audio, SMALL.frames(12000))
    assert (crops.cqt - expected).abs().max() < 2e-3 * expected.abs().max()
    assert crops.codes.shape == (3, SMALL.frames(12000), 0)


def test_large_catalogues_are_not_kept(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(material, "KEPT_AT_MOST", 1000)
    Material(Catalogue.of(folder), SMALL, None, ConstantQTeacher(SMALL), tmp_path).crops(1, 12000, generator())
    assert not list(tmp_path.glob("*.npy"))


# ---------------------------------------------------------------------------------------------------------------- runs

PLAN = Plan(steps=4, learning_rate=1e-3, warmup=1, evaluate_every=2, checkpoint_every=2, ema_decay=0.5)
LITTLE = {"codebooks": 2, "classes": 8, "crop_seconds": 0.6}


def test_a_run_leaves_a_model_that_can_be_read(folder, tmp_path):
    learner = MERTPretrainer(SMALL, **LITTLE)
    learner.fit(folder, PLAN, batch=2, held_out=1, device="cpu")
    assert {"held_out_ce", "held_out_accuracy", "held_out_cqt", "loss"} <= set(learner.history_[-1])
    path = learner.save(tmp_path / "weights.safetensors")
    again = MERTModel.from_pretrained(path)
    audio = noise(1, 8000)
    one, other = (m(audio)["hidden"][-1] for m in (learner.model_, again))
    assert (one - other).abs().max() < 0.02 * one.abs().max()
    assert '"rvq", "cqt"' in read_metadata(path)["made"]


def test_an_interrupted_run_ends_with_the_same_weights(folder, tmp_path):
    whole = MERTPretrainer(SMALL, **LITTLE).fit(folder, PLAN, batch=2, held_out=1, device="cpu").model_

    class Stopped(MERTPretrainer):
        def _batch(self, *arguments):
            self.count = getattr(self, "count", 0) + 1
            if self.count == 6:  # the held-out batch, two trial steps, then steps 1 and 2 are done
                raise KeyboardInterrupt
            return super()._batch(*arguments)

    with pytest.raises(KeyboardInterrupt):
        Stopped(SMALL, **LITTLE).fit(folder, PLAN, batch=2, held_out=1, keep=tmp_path / "run", device="cpu")
    resumed = MERTPretrainer(SMALL, **LITTLE)
    resumed.fit(folder, PLAN, batch=2, held_out=1, keep=tmp_path / "run", device="cpu")
    for a, b in zip(whole.parameters(), resumed.model_.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_run_learns(folder):
    plan = Plan(steps=40, learning_rate=3e-3, warmup=4, evaluate_every=20, ema_decay=0.8)
    learner = MERTPretrainer(SMALL, **LITTLE).fit(folder, plan, batch=4, held_out=1, device="cpu")
    first, last = learner.history_[0], learner.history_[-1]
    assert last["loss"] < 0.9 * first["loss"]


@pytest.mark.parametrize("teachers", [("kmeans",), ("cqt",), ("rvq",)], ids=["kmeans", "cqt", "rvq"])
def test_other_teachers(folder, teachers):
    learner = MERTPretrainer(SMALL, teachers=teachers, **LITTLE)
    learner.fit(folder, dataclasses.replace(PLAN, steps=1), batch=2, held_out=0, device="cpu")
    assert learner.network_.classes == {"kmeans": [8], "cqt": [], "rvq": [8, 8]}[teachers[0]]


def test_labels_of_a_manifest_are_learnt_where_the_crops_are(folder, tmp_path):
    labels = tuple(np.arange(225)[:, None] for _ in range(4))
    path = write_manifest(dataclasses.replace(Catalogue.of(folder), labels=labels), tmp_path / "train.tsv", 24000)
    learner = MERTPretrainer(SMALL, teachers=("labels",), crop_seconds=0.6)
    batch = Material(Catalogue.of(path), SMALL, None, None).crops(3, learner._samples, generator())
    where = Catalogue.of(path).places(3, learner._samples, 24000, generator(), grid=320)
    for codes, (_, start) in zip(batch.codes, where, strict=True):
        assert codes[:, 0].tolist() == list(range(start // 320, start // 320 + SMALL.frames(learner._samples)))
    learner.fit(path, dataclasses.replace(PLAN, steps=1), batch=2, held_out=1, device="cpu")
    assert learner.network_.classes == [225]
    with pytest.raises(InputError, match="no labels"):
        learner.fit(folder, PLAN, held_out=1)


def test_weights_are_continued_with_their_heads(folder, tmp_path):
    network, _ = pretraining(classes=(8, 8), bins=336)
    heads = Pretraining(network.encoder, (8, 8), 336)
    state = {**network.encoder.state_dict(), **{k: v for k, v in heads.state_dict().items() if "encoder." not in k}}
    torch.save(state, tmp_path / "weights.pt")
    (tmp_path / "config.json").write_text('{"num_attention_heads": 2}')
    learner = MERTPretrainer(continue_from=tmp_path / "weights.pt", **LITTLE)
    still = dataclasses.replace(PLAN, steps=1, learning_rate=1e-12, ema_decay=0.0)
    learner.fit(folder, still, batch=2, held_out=0, device="cpu")
    assert learner.config.dim == 16
    for key, value in state.items():
        own = learner.network_.state_dict().get(key, learner.model_.state_dict().get(key))
        assert torch.allclose(own, value, atol=1e-5), key


def test_teachers_that_do_not_go_together():
    for teachers in (("rvq", "kmeans"), ()):
        with pytest.raises(InputError, match="do not go together"):
            MERTPretrainer(SMALL, teachers=teachers)
