"""Features beside transformers' HubertModel: the shape of MERT-v1-95M, the same random weights, one minute of sound.

Both sides read the same checkpoint, as a user would. It comes from a process of its own, so that making it does not
count as anybody's memory.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from harmonia.app.bench import Race

RATE = 24000
FOLDER = Path(tempfile.gettempdir()) / "harmonia-mert-random"


def clip(seconds):
    return (np.random.default_rng(0).standard_normal(seconds * RATE) / 10).astype(np.float32)


def checkpoint():
    """94 million random weights, 378 MB, made once."""
    if not (FOLDER / "config.json").is_file():
        subprocess.run([sys.executable, __file__], check=True)
    return FOLDER


def make_checkpoint():
    import torch
    from transformers import HubertConfig, HubertModel

    torch.manual_seed(0)
    model = HubertModel(HubertConfig()).eval()
    for parameter in model.parameters():
        parameter.data += 0.005 * torch.randn_like(parameter)
    model.save_pretrained(FOLDER)


def our_states(seconds):
    import torch

    from harmonia.audio.mert import MERTModel

    model, audio = MERTModel.from_pretrained(checkpoint()), torch.from_numpy(clip(seconds))[None]

    def step():
        with torch.inference_mode():
            return torch.stack([state[0, :100] for state in model(audio)["hidden"]]).numpy()

    return step


def their_states(seconds):
    import torch
    from transformers import HubertModel

    model, audio = HubertModel.from_pretrained(checkpoint()).eval(), torch.from_numpy(clip(seconds))[None]

    def step():
        with torch.inference_mode():
            states = model(audio, output_hidden_states=True).hidden_states
        return torch.stack([state[0, :100] for state in states]).numpy()

    return step


def our_means(seconds):
    import torch

    from harmonia.audio.mert import MERTModel

    model, audio = MERTModel.from_pretrained(checkpoint()), torch.from_numpy(clip(seconds))[None]

    def step():
        with torch.inference_mode():
            return torch.stack(model(audio, reduce="mean")["hidden"])[:, 0].numpy()

    return step


def their_means(seconds):
    import torch
    from transformers import HubertModel

    model, audio = HubertModel.from_pretrained(checkpoint()).eval(), torch.from_numpy(clip(seconds))[None]

    def step():
        with torch.inference_mode():
            states = model(audio, output_hidden_states=True).hidden_states
        return torch.stack([state[0].mean(0) for state in states]).numpy()

    return step


def our_constant_q(seconds):
    import torch

    from harmonia.parts.constant_q import ConstantQ

    transform, audio = ConstantQ(RATE, 320, 32.7, 336, 48), torch.from_numpy(clip(seconds))[None]
    return lambda: transform(audio).abs()[0, :, :100].numpy()


def nnaudio(seconds):
    import torch
    from nnAudio.features.cqt import CQT1992v2

    transform = CQT1992v2(
        RATE, 320, 32.7, n_bins=336, bins_per_octave=48, pad_mode="constant", output_format="Magnitude", verbose=False
    )
    audio = torch.from_numpy(clip(seconds))[None]
    return lambda: transform(audio)[0, :, :100].numpy()


def librosa_cqt(seconds):
    import librosa

    audio = clip(seconds)

    def step():
        librosa.cqt(audio, sr=RATE, hop_length=320, fmin=32.7, n_bins=336, bins_per_octave=48)

    return step


def our_constant_q_alone(seconds):
    transform = our_constant_q(seconds)

    def step():
        transform()

    return step


RACES = (
    Race(
        "transformers",
        "all hidden states of 60 s, 95M shape",
        our_states,
        their_states,
        {"seconds": 60},
        repeats=2,
        note="both read the same checkpoint of random weights",
    ),
    Race(
        "transformers",
        "mean of every layer over 60 s, 95M shape",
        our_means,
        their_means,
        {"seconds": 60},
        repeats=2,
        note="theirs keeps all states first; both read the same checkpoint of random weights",
    ),
    Race(
        "nnAudio",
        "constant-Q transform of 10 s, 336 bins, 75 frames a second",
        our_constant_q,
        nnaudio,
        {"seconds": 10},
        tolerance=1e-4,
    ),
    Race(
        "librosa",
        "constant-Q transform of 10 s, 336 bins, 75 frames a second",
        our_constant_q_alone,
        librosa_cqt,
        {"seconds": 10},
        note="outputs are compared in tests/peers: librosa leaves a hundredth of each window's spectrum out",
    ),
)

if __name__ == "__main__":
    make_checkpoint()
