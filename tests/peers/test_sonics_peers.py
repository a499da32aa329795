"""The front-end beside librosa and transformers, ConvNeXt beside transformers, with the same random weights."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from harmonia.audio.sonics.baselines import ConvNeXt
from harmonia.parts.log_mel import LogMel

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]


def sound(samples: int = 80000) -> np.ndarray:
    random = np.random.default_rng(0)
    return (0.1 * random.standard_normal(samples) * np.linspace(0, 1, samples)).astype(np.float32)


def test_the_spectrogram_of_sonics_is_librosas_without_norm():
    librosa = pytest.importorskip("librosa")
    power = librosa.feature.melspectrogram(
        y=sound(), sr=16000, n_fft=2048, hop_length=512, n_mels=128, fmin=20, fmax=8000, htk=True, norm=None,
        pad_mode="reflect",
    )  # fmt: skip
    expected = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=80)
    assert np.abs(LogMel("sonics")(torch.from_numpy(sound())).numpy() - expected).max() < 1e-3


def test_the_spectrogram_of_librosa():
    librosa = pytest.importorskip("librosa")
    expected = librosa.power_to_db(librosa.feature.melspectrogram(y=sound(), sr=22050))
    assert np.abs(LogMel("librosa")(torch.from_numpy(sound())).numpy() - expected).max() < 1e-3


def test_the_spectrogram_of_whisper():
    transformers = pytest.importorskip("transformers")
    extractor = transformers.WhisperFeatureExtractor(chunk_length=5)
    expected = extractor(sound(), sampling_rate=16000, return_tensors="np").input_features[0]
    assert np.abs(LogMel("whisper")(torch.from_numpy(sound())).numpy() - expected).max() < 1e-4


def test_convnext_is_that_of_transformers():
    transformers = pytest.importorskip("transformers")
    config = transformers.ConvNextConfig(num_channels=1, hidden_sizes=[8, 12, 16, 24], depths=[1, 2, 1, 1])
    torch.manual_seed(0)
    peer = transformers.ConvNextModel(config).eval()
    ours = ConvNeXt(depths=(1, 2, 1, 1), dims=(8, 12, 16, 24)).eval()
    for parameter in peer.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    # Both list their parameters from the image to the pooled vector, ours with the classifier at the end.
    order = [name for name, _ in peer.named_parameters()]
    order.sort(key=lambda name: (not name.startswith("embeddings"), name.startswith("layernorm")))
    theirs = [dict(peer.named_parameters())[name] for name in order]
    gains = [p for name, p in zip(order, theirs, strict=True) if re.search("layer_scale", name)]
    plain = [p for name, p in zip(order, theirs, strict=True) if not re.search("layer_scale", name)]
    own = dict(ours.named_parameters())
    own_gains = [p for name, p in own.items() if name.endswith("gain")]
    own_plain = [p for name, p in own.items() if not name.endswith("gain") and not name.startswith("classifier")]
    with torch.no_grad():
        for a, b in zip([*own_gains, *own_plain], [*gains, *plain], strict=True):
            a.copy_(b)
        x = torch.randn(2, 128, 64)
        expected = ours.classifier(peer(x[:, None]).pooler_output).squeeze(-1)
        assert (ours(x) - expected).abs().max() < 1e-4
