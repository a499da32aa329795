"""Speech separation beside clearvoice: the released 16 kHz shape, random weights, the same recording.

Both sides read the same checkpoint, in clearvoice's layout, as a user would. The file comes from a process of its own,
so that making it does not count as anybody's memory. clearvoice is installed without its pins; of what it imports and
these networks do not use, `torchinfo` is stood in for.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from harmonia.app.bench import Race

RATE = 16000
CHECKPOINT = Path(tempfile.gettempdir()) / "harmonia-mossformer2-random.pt"


def recording(seconds):
    return (np.random.default_rng(0).standard_normal(seconds * RATE) / 10).astype(np.float32)


def checkpoint():
    """56 million random weights, 223 MB, made once."""
    if not CHECKPOINT.is_file():
        subprocess.run([sys.executable, __file__], check=True)
    return CHECKPOINT


def clearvoice_network():
    sys.modules.setdefault("torchinfo", SimpleNamespace(summary=None))
    from clearvoice.models.mossformer2_ss.mossformer2 import MossFormer2_SS_16K

    return MossFormer2_SS_16K(
        SimpleNamespace(
            encoder_embedding_dim=512,
            mossformer_sequence_dim=512,
            num_mossformer_layer=24,
            encoder_kernel_size=16,
            num_spks=2,
        )
    )


def make_checkpoint():
    import torch

    torch.manual_seed(0)
    unfinished = CHECKPOINT.with_suffix(".part")
    torch.save({"model": clearvoice_network().state_dict()}, unfinished)
    unfinished.rename(CHECKPOINT)


def ours(seconds, dtype="float32"):
    import torch

    from harmonia.audio.mossformer2 import MossFormer2

    model = MossFormer2.from_checkpoint(checkpoint()).to(getattr(torch, dtype))
    mixture = torch.from_numpy(recording(seconds))[None]

    @torch.inference_mode()
    def step():
        return model(mixture).float().numpy()

    return step


def clearvoice(seconds, dtype="float32"):
    import torch

    model = clearvoice_network()
    model.load_state_dict(torch.load(checkpoint(), weights_only=True)["model"])
    model = model.eval()
    mixture = torch.from_numpy(recording(seconds))[None]

    @torch.inference_mode()
    def step():
        return torch.stack(model(mixture), 1).numpy()

    return step


RACES = (
    Race(
        "clearvoice",
        "10 s at 16 kHz, 55.7 M parameters, the network alone",
        ours,
        clearvoice,
        {"seconds": 10},
        tolerance=1e-4,
        repeats=2,
        note="both read the same checkpoint of random weights, whose outputs peak at 0.08: 1e-4 of it is 1e-5",
    ),
    Race(
        "clearvoice",
        "10 s at 16 kHz, 55.7 M parameters, ours in bfloat16",
        ours,
        clearvoice,
        {"seconds": 10, "dtype": "bfloat16"},
        tolerance=0.05,
        repeats=2,
        note="the peer computes in float32: its code has no other type",
    ),
)

if __name__ == "__main__":
    make_checkpoint()
