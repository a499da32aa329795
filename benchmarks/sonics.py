"""Detection beside the official class: its crop, its normalisation and its network on librosa's mel spectrogram.

The official package needs torchaudio, torchvision and timm, which do not come along here. Its steps are written out
below on librosa (whose HTK filters without norm are torchaudio's up to 1e-5) with torch's own transformer layers, which
compute what its blocks compute (tests/audio/test_sonics_network.py). Both sides get the same random weights.
"""

import tempfile
from pathlib import Path

import numpy as np

from harmonia.app.bench import Race

RATE = 44100
SECONDS = 180


def song():
    """Three minutes of stereo noise below 6.5 kHz with a swell, as a 16-bit wav file, made once.

    Resamplers differ near half their rate; there is nothing there, so that the outputs can be compared.
    """
    import soundfile

    path = Path(tempfile.gettempdir()) / "harmonia-sonics-song.wav"
    if not path.is_file():
        time = np.arange(SECONDS * RATE) / RATE
        spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal((len(time), 2)), axis=0)
        spectrum[6500 * SECONDS :] = 0
        sound = np.fft.irfft(spectrum, axis=0) * (0.1 + 0.05 * np.sin(time))[:, None]
        unfinished = path.with_suffix(".part.wav")
        soundfile.write(unfinished, sound, RATE)
        unfinished.rename(path)
    return path


def network(variant, seconds):
    import torch

    from harmonia.audio.sonics import SpecTTTra, SpecTTTraConfig

    torch.manual_seed(0)
    return SpecTTTra(SpecTTTraConfig.released(variant, seconds)).eval()


def ours(variant, seconds, hop=None, dtype="float32"):
    from harmonia.audio.sonics import SyntheticSongDetector

    folder = tempfile.mkdtemp()
    network(variant, seconds).save_pretrained(folder)
    compat = "sonics" if hop is None else "none"
    detector = SyntheticSongDetector.from_pretrained(folder, hop=hop, compat=compat, dtype=dtype, device="cpu")
    path = song()
    return lambda: detector.explain(path).logits


def official(variant, seconds, hop=None, dtype="float32"):
    import librosa
    import torch
    from torch import nn
    from torch.nn import functional as F

    model, size = network(variant, seconds), seconds * 16000
    state, config = model.state_dict(), model.config
    blocks = []
    for number in range(config.depth):
        own = {key.split(f"blocks.{number}.")[1]: v for key, v in state.items() if f"blocks.{number}." in key}
        layer = nn.TransformerEncoderLayer(
            config.dim, config.heads, config.hidden, 0.0, "gelu", batch_first=True, norm_first=True
        ).eval()
        names = {
            "self_attn.in_proj_weight": own["attn.qkv.weight"],
            "self_attn.in_proj_bias": torch.zeros(3 * config.dim),
            "self_attn.out_proj.weight": own["attn.proj.weight"],
            "self_attn.out_proj.bias": own["attn.proj.bias"],
            "linear1.weight": own["mlp.fc1.weight"],
            "linear1.bias": own["mlp.fc1.bias"],
            "linear2.weight": own["mlp.fc2.weight"],
            "linear2.bias": own["mlp.fc2.bias"],
            **{f"norm{n}.{part}": own[f"norm{n}.{part}"] for n in (1, 2) for part in ("weight", "bias")},
        }
        layer.load_state_dict(names)
        blocks.append(layer)

    def tokens(x, name):
        key = f"encoder.st_tokenizer.{name}_tokenizer."
        weight = state[f"{key}conv1d.weight"]
        y = F.gelu(F.conv1d(x, weight, stride=weight.shape[2])).transpose(1, 2) + state[f"{key}pos_encoder.pe"]
        return F.layer_norm(y, y.shape[-1:], state[f"{key}norm_pre.weight"], state[f"{key}norm_pre.bias"], 1e-6)

    @torch.inference_mode()
    def logit(clip):
        power = librosa.feature.melspectrogram(
            y=clip, sr=16000, n_fft=2048, hop_length=512, n_mels=128, fmin=20, fmax=8000, htk=True, norm=None,
            pad_mode="reflect",
        )  # fmt: skip
        level = librosa.power_to_db(power, top_db=80)
        level = torch.from_numpy((level - level.mean()) / (level.std(ddof=1) + 1e-6))[None]
        z = F.interpolate(level[:, None], size=config.input_shape, mode="bilinear")[:, 0]
        x = torch.cat([tokens(z, "temporal"), tokens(z.transpose(1, 2), "spectral")], 1)
        for block in blocks:
            x = block(x)
        return model.classifier(x.mean(1)).item()

    path = song()

    def step():
        sound = librosa.load(path, sr=16000)[0]
        last = (len(sound) - size) // 512 * 512
        every = 0 if hop is None else int(hop * 16000) // 512 * 512
        starts = [int((len(sound) - size) / 4 * 3)] if hop is None else [*range(0, last, every), last]
        return np.array([logit(sound[start : start + size]) for start in starts])

    return step


NOTE = "random weights; the peer is its steps on librosa, for torchaudio, torchvision and timm do not come along"

RACES = (
    Race(
        "awsaf49/sonics",
        "3 min of stereo from a file, alpha for 120 s, its one window",
        ours,
        official,
        {"variant": "alpha", "seconds": 120},
        tolerance=1e-3,
        repeats=3,
        note=NOTE,
    ),
    Race(
        "awsaf49/sonics",
        "3 min of stereo from a file, alpha for 5 s, windows every 2.5 s",
        ours,
        official,
        {"variant": "alpha", "seconds": 5, "hop": 2.5},
        tolerance=1e-3,
        repeats=2,
        note=NOTE,
    ),
    Race(
        "awsaf49/sonics",
        "3 min of stereo from a file, alpha for 5 s, windows every 2.5 s, ours in bfloat16",
        ours,
        official,
        {"variant": "alpha", "seconds": 5, "hop": 2.5, "dtype": "bfloat16"},
        tolerance=0.1,
        repeats=2,
        note=NOTE,
    ),
)
