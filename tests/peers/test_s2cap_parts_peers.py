"""The parts beneath singing captions beside other people's packages: pitch trackers and the COCO caption scores."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from harmonia.data import demo_truth
from harmonia.parts.pitch import PitchTracker
from harmonia.parts.text_metrics import bleu, cider_d, rouge_l

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]

RATE = 16000


def voice() -> np.ndarray:
    return demo_truth().stems["vocals"].mono().resampled(RATE).samples[0].astype(np.float64)


def right_pitch(times: np.ndarray, f0: np.ndarray) -> float:
    """Share of the truly voiced frames whose pitch is right within 50 cents."""
    truth = demo_truth().f0
    true = truth[np.round(times / 0.005).astype(int).clip(0, len(truth) - 1)]
    both = (true > 0) & (f0 > 0)
    return float((np.abs(1200 * np.log2(f0[both] / true[both])) < 50).sum() / (true > 0).sum())


def agreement(f0: np.ndarray, other: np.ndarray) -> float:
    both = (f0 > 0) & (other > 0)
    return float((np.abs(1200 * np.log2(f0[both] / other[both])) < 50).mean())


def test_the_pitch_of_sung_material_is_as_right_as_pyin_and_harvest() -> None:
    librosa = pytest.importorskip("librosa")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyworld = pytest.importorskip("pyworld")
    sound = voice()
    pitch = PitchTracker()(sound, RATE)
    pyin, *_ = librosa.pyin(sound, fmin=65, fmax=1100, sr=RATE, frame_length=1024, hop_length=160)
    harvest, times = pyworld.harvest(sound, RATE, f0_floor=65, f0_ceil=1100, frame_period=10.0)
    ours = right_pitch(pitch.times, pitch.f0)
    assert ours >= right_pitch(np.arange(len(pyin)) * 0.01, np.nan_to_num(pyin)) - 0.02
    assert ours >= right_pitch(times, harvest) - 0.02
    middle = np.interp(pitch.times, times, np.arange(len(times))).round().astype(int)
    assert agreement(pitch.f0, harvest[middle]) > 0.9


def sentences(count: int, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    words = [
        "a",
        "man",
        "woman",
        "sings",
        "in",
        "low",
        "high",
        "register",
        "softly",
        "loudly",
        "with",
        "bright",
        "dark",
        "voice",
        "slow",
        "song",
    ]
    return [" ".join(random.choice(words, random.integers(1, 14))) for _ in range(count)]


@pytest.mark.parametrize("references", [1, 3])
def test_caption_scores_equal_pycocoevalcap(references: int) -> None:
    pytest.importorskip("pycocoevalcap")
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    captions = sentences(40, 0)
    texts = [list(group) for group in zip(*(sentences(40, 1 + i) for i in range(references)))]
    texts[3][0] = captions[3]
    said = {number: [caption] for number, caption in enumerate(captions)}
    truth = dict(enumerate(texts))
    assert bleu(captions, texts) == pytest.approx(Bleu(4).compute_score(truth, said, verbose=0)[0], abs=1e-6)
    assert rouge_l(captions, texts) == pytest.approx(float(Rouge().compute_score(truth, said)[0]), abs=1e-6)
    assert cider_d(captions, texts) == pytest.approx(float(Cider().compute_score(truth, said)[0]), abs=1e-6)
