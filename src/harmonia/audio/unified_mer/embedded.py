"""Makes the embedded weights: one network for tags and ratings of rendered music whose emotions are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from harmonia.audio.unified_mer.checkpoint import EMBEDDED, packed
from harmonia.audio.unified_mer.features import SoundStatistics
from harmonia.audio.unified_mer.model import OWN_SEGMENT, MusicEmotionModel
from harmonia.audio.unified_mer.world import rated, rendered_world, tagged
from harmonia.core.weights import write_safetensors
from harmonia.parts.training import Trained

PIECES, TEST = 2000, 200
CHORDS = 32


def make(
    path: Path = EMBEDDED, pieces: int = PIECES, test: int = TEST, steps: int = 500, seed: int = 0
) -> dict[str, float]:
    """Train on the first pieces of the world, measure on the last ones, write the weights; gives back the scores.

    Every piece has tags and a rating; a tenth of those to learn from chooses the best moment of the run.

    Arguments:
        path: Where the weights go.
        pieces: Pieces of the world.
        test: How many of them are held out.
        steps: Optimizer steps.
        seed: Of labels, weights and batches.
    """
    world = rendered_world(pieces)
    learn, chosen, held_out = np.split(np.arange(pieces), [int(0.9 * (pieces - test)), pieces - test])

    def sets(rows: np.ndarray) -> list:
        return [tagged(world, rows, "tags", seed=seed), rated(world, rows, "ratings", seed=seed)]

    model = MusicEmotionModel(kd=None, steps=steps, batch=32, device="cpu", random_state=seed)
    trained: Trained = model.train(sets(learn), sets(chosen), chords=CHORDS)
    model.network_, model.features_, model.segment_ = trained.model, SoundStatistics(), OWN_SEGMENT
    scores = {name: value for each in sets(held_out) for name, value in model.scores(each).items()}
    tensors, told = packed(model.network_, model.features_, model.segment_)
    made = {"pieces": pieces, "held_out": test, "steps": steps, "seed": seed, "scores": scores}
    write_safetensors(path, tensors, told | {"made": json.dumps(made)})
    return scores
