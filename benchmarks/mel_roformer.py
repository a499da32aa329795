"""Vocal separation beside melband-roformer-infer: the public 44.1 kHz model's shape, random weights, the same chunks.

Both sides read the same checkpoint, as a user would. The files come from a process of their own, so that making them
does not count as anybody's memory.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from harmonia.app.bench import Race

RATE = 44100
CHUNK = 8 * RATE
CHECKPOINT = Path(tempfile.gettempdir()) / "harmonia-mel-roformer-random.ckpt"
SHOWN = 10_000
"""Samples of the result that are compared."""


def song(seconds):
    return (np.random.default_rng(0).standard_normal((2, seconds * RATE)) / 10).astype(np.float32)


def checkpoint():
    """228 million random weights, 913 MB, made once."""
    if not CHECKPOINT.is_file():
        subprocess.run([sys.executable, __file__], check=True)
    return CHECKPOINT


def make_checkpoint():
    import torch

    from harmonia.audio.mel_roformer import MelBandRoformer, MelBandRoformerConfig

    torch.manual_seed(0)
    state = MelBandRoformer(MelBandRoformerConfig()).state_dict()
    unfinished = CHECKPOINT.with_suffix(".part")
    torch.save(state, unfinished)
    unfinished.rename(CHECKPOINT)


def ours(seconds, num_overlap):
    from harmonia.audio.mel_roformer import ChunkedSeparator, MelBandRoformer

    separator = ChunkedSeparator(
        MelBandRoformer.from_checkpoint(checkpoint()), overlap=1 - 1 / num_overlap, compat="msst", device="cpu"
    )
    return lambda: separator.separate(song(seconds), RATE)["vocals"][:, :SHOWN]


def melband_roformer_infer(seconds, num_overlap):
    import torch
    from mel_band_roformer.mel_band_roformer import MelBandRoformer
    from mel_band_roformer.utils import demix_track

    model = MelBandRoformer(
        dim=384,
        depth=6,
        stereo=True,
        time_transformer_depth=1,
        freq_transformer_depth=1,
        attn_dropout=0.0,
        ff_dropout=0.0,
        stft_hop_length=441,
        mask_estimator_depth=2,
    )
    model.load_state_dict(torch.load(checkpoint(), map_location=torch.device("cpu")))
    model.eval()
    config = SimpleNamespace(
        inference=SimpleNamespace(chunk_size=CHUNK, num_overlap=num_overlap),
        training=SimpleNamespace(target_instrument="vocals"),
    )
    return lambda: demix_track(config, model, torch.from_numpy(song(seconds)), torch.device("cpu"))[0]["vocals"][
        :, :SHOWN
    ]


def our_chunks(seconds):
    from harmonia.audio.mel_roformer import ChunkedSeparator, MelBandRoformer

    separator = ChunkedSeparator(MelBandRoformer.from_checkpoint(checkpoint()), device="cpu")

    def step():
        separator.separate(song(seconds), RATE)

    return step


def their_chunks(seconds):
    separate = melband_roformer_infer(seconds, num_overlap=2)

    def step():
        separate()

    return step


RACES = (
    Race(
        "melband-roformer-infer",
        "8 s of stereo, 228 M parameters, chunks of 8 s, half overlapping",
        ours,
        melband_roformer_infer,
        {"seconds": 8, "num_overlap": 2},
        repeats=1,
        note="both read the same checkpoint of random weights",
    ),
    Race(
        "melband-roformer-infer",
        "12 s of stereo, 228 M parameters, each with its default chunks",
        our_chunks,
        their_chunks,
        {"seconds": 12},
        repeats=1,
        note="a quarter against a half overlap, and no padding at the ends: 2 chunks against 5",
    ),
)

if __name__ == "__main__":
    make_checkpoint()
