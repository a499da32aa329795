"""Mixtures drawn and read, and training: losses that fall, runs that resume, data that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from harmonia.audio.mossformer2 import (
    DynamicMix,
    MossFormer2,
    MossFormer2Config,
    Speaker,
    SpeechSeparator,
    read_mixtures,
    read_speakers,
    train_separator,
)
from harmonia.audio.mossformer2.mixing import coloured_noise, fixed_draw, fixed_mixtures, has_mixtures, reverberated
from harmonia.audio.mossformer2.training import improvement, optimizers, separation_scores
from harmonia.core.errors import InputError
from harmonia.parts.training import Plan

RATE = 8000
CONFIG = MossFormer2Config(
    n_filters=16, kernel=32, depth=1, group=32, qk_dim=8, fsmn_dim=8, order=3, dropout=0.0, sample_rate=RATE
)


def tone(hertz: float, seconds: float, rate: int = RATE) -> np.ndarray:
    return (0.1 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def folder_of_speakers(place: Path, count: int = 3) -> Path:
    for number in range(count):
        for sentence in range(2):
            path = place / f"speaker{number}" / "chapter" / f"{sentence}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, tone(200 * (number + 1), 1.0, 16000), 16000)
    return place


def people(count: int = 2) -> list[Speaker]:
    return [Speaker(str(n), ((32768 * tone(300 + 500 * n, 1.3)).astype(np.int16),)) for n in range(count)]


def write(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE, subtype="FLOAT")


def test_speakers_are_read_at_any_depth_and_rate(tmp_path):
    speakers = read_speakers(folder_of_speakers(tmp_path), RATE)
    assert [speaker.name for speaker in speakers] == ["speaker0", "speaker1", "speaker2"]
    assert [len(sentence) for sentence in speakers[0].sentences] == [RATE, RATE]


def test_mixtures_are_the_sum_of_different_speakers_and_the_same_for_a_seed():
    mix = DynamicMix(people(3), RATE, seconds=1.5, noise=0.0)
    mixture, sources = mix.draw(torch.Generator().manual_seed(1), batch=5)
    assert mixture.shape == (5, 12000)
    assert sources.shape == (5, 2, 12000)
    torch.testing.assert_close(sources.sum(1), mixture)
    again, _ = mix.draw(torch.Generator().manual_seed(1), batch=5)
    assert torch.equal(again, mixture)
    assert not torch.equal(mix.draw(torch.Generator().manual_seed(2), batch=5)[0], mixture)
    peaks = torch.fft.rfft(sources).abs().argmax(-1)
    assert (peaks[:, 0] != peaks[:, 1]).all()


def test_levels_stay_within_the_gain():
    mix = DynamicMix(people(), RATE, seconds=1.0, gain_db=5.0, noise=0.0, pause_s=0.0)
    for number in range(10):
        _, sources = mix.one(np.random.default_rng(number))
        level = 20 * np.log10(np.sqrt(np.square(sources).mean(1)))
        assert (np.abs(level + 26) <= 5.01).all()


def test_rooms_and_noise_are_as_strong_as_they_say():
    random = np.random.default_rng(0)
    click = np.zeros(RATE, dtype=np.float32)
    click[100] = 1
    wet = reverberated(click, 0.3, RATE, random)
    assert np.abs(wet[:100]).max() < 1e-6
    assert wet[100] == pytest.approx(1)
    tail_db = 10 * np.log10(np.square(wet[101:]).sum())
    assert -12.1 <= tail_db <= -2.9
    noise = coloured_noise(4096, random)
    assert np.square(noise).mean() == pytest.approx(1, rel=1e-5)


def wsj(place: Path, name: str = "mix") -> Path:
    a, b = tone(300, 1.0), tone(700, 1.0)
    for part, samples in ((name, a + b), ("s1", a), ("s2", b)):
        write(place / part / "x.wav", samples)
    return place


@pytest.mark.parametrize("layout", ["mix", "mix_clean", "mix_both", "scp", "csv"])
def test_published_mixtures_are_read(layout, tmp_path):
    place = wsj(tmp_path, layout if layout.startswith("mix") else "mix")
    if layout == "scp":
        place = tmp_path / "list.scp"
        place.write_text("mix/x.wav s1/x.wav s2/x.wav\n")
    elif layout == "csv":
        place = tmp_path / "list.csv"
        place.write_text("id,mix,s1,s2\n1,mix/x.wav,s1/x.wav,s2/x.wav\n")
    assert has_mixtures(place)
    (mixed,) = read_mixtures(place, RATE)
    np.testing.assert_allclose(mixed.sources.sum(0), mixed.mixture, atol=1e-6)
    draw = fixed_draw([mixed], 4000, batch=3)
    mixture, sources = draw(torch.Generator().manual_seed(0))
    torch.testing.assert_close(sources.sum(1), mixture, atol=1e-6, rtol=0)
    long, _ = fixed_draw([mixed], 20000, batch=1)(torch.Generator().manual_seed(0))
    assert long.shape == (1, 20000)


def test_data_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_speakers(tmp_path / "nowhere", RATE)
    with pytest.raises(InputError, match="two speakers"):
        read_speakers(tmp_path, RATE)
    with pytest.raises(InputError, match="no mixtures"):
        read_mixtures(tmp_path, RATE)
    with pytest.raises(InputError, match="no such list"):
        read_mixtures(tmp_path / "nowhere.scp", RATE)
    with pytest.raises(InputError, match="different speakers"):
        DynamicMix(people(2), RATE, seconds=1.0, n_speakers=3)
    place = wsj(tmp_path / "short")
    write(place / "s2" / "x.wav", tone(300, 0.5))
    with pytest.raises(InputError, match="differ from it in length"):
        read_mixtures(place, RATE)


def test_training_separates_two_tones_and_resumes_exactly(tmp_path):
    mix = DynamicMix(people(), RATE, seconds=0.5, speed=0.02, reverb=0.0, noise=0.0)
    held_out = fixed_mixtures(mix, 4, seed=9)
    plan = Plan(steps=60, learning_rate=1e-2, warmup=5, ema_decay=0.8, clip_norm=5.0, checkpoint_every=30)

    def run(folder: Path | None, steps: int | None = None) -> MossFormer2:
        torch.manual_seed(0)
        draw, left = (lambda generator: mix.draw(generator, 2)), [steps]

        def stopping(generator: torch.Generator):
            if left[0] is not None:
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
            return draw(generator)

        return train_separator(
            MossFormer2(CONFIG), stopping, plan, held_out=held_out, folder=folder, device="cpu"
        ).model

    whole = run(None)
    scores = separation_scores(whole, held_out)
    assert scores["gain"] > 10
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, steps=40)
    for name, tensor in run(tmp_path).state_dict().items():
        torch.testing.assert_close(tensor, whole.state_dict()[name], atol=0, rtol=0)


def test_every_parameter_is_optimised_once():
    model = MossFormer2(CONFIG)
    grouped = [p for each in optimizers(model, Plan(steps=1)) for group in each.param_groups for p in group["params"]]
    assert len(grouped) == len(set(map(id, grouped))) == len(list(model.parameters()))


def test_the_best_order_counts():
    a, b = np.random.default_rng(0).normal(size=(2, 4000))
    straight, swapped = (improvement(a + b, np.stack([a, b]), each) for each in (np.stack([a, b]), np.stack([b, a])))
    assert straight == pytest.approx(swapped)
    assert improvement(a + b, np.stack([a, b]), np.stack([a + b, a + b]))[1] == pytest.approx(0)


@pytest.mark.parametrize("published", [False, True])
def test_the_estimator_fits_on_both_kinds_of_folders(published, tmp_path):
    place = wsj(tmp_path) if published else folder_of_speakers(tmp_path)
    torch.manual_seed(0)
    model = MossFormer2(CONFIG)
    before = model.encoder.clone()
    separator = SpeechSeparator(model, steps=2, device="cpu").fit(place)
    assert separator.predict(tone(300, 0.5), RATE).shape == (2, 4000)
    assert torch.equal(model.encoder, before)
    assert not torch.equal(separator.model_.encoder, before)
