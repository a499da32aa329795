"""Attribute models: logistic regressions on descriptors of the voice and of the mixture, fitted in seconds.

They stand where the paper's pipeline asks a cloud model for gender, timbre, mood and style. What they know is the
rendered singing that they were fitted on; `fit_attribute_models` fits others on clips of one's own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray
from sklearn.linear_model import LogisticRegression

from harmonia.audio.s2cap.attributes import LEXICON
from harmonia.audio.s2cap.descriptors import describe_mix, describe_voice
from harmonia.audio.s2cap.manifest import Clip, read_mono
from harmonia.audio.s2cap.measures import RATE, Voice, hear
from harmonia.core.errors import InputError, WeightsError
from harmonia.core.progress import track
from harmonia.core.weights import Checkpoint, locate, read_metadata, read_state_dict

EMBEDDED = Path(__file__).parent / "weights" / "attributes.safetensors"
PRESENCE = "voice"
OF_VOICE = ("gender", "age", "timbre", "expression", PRESENCE)
OF_MIX = ("genre", "mood", "tempo")
VALUES = {name: tuple(LEXICON[name]) for name in (*OF_VOICE[:-1], *OF_MIX)} | {PRESENCE: ("absent", "present")}
LEAK_DB = (5.0, 25.0)
"""How far below the voice a separator leaves the rest."""

Odds = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Logistic:
    """A multinomial logistic regression on standardised descriptors, ``softmax(W (x - m) / s + b)``.

    Attributes:
        mean, scale: Of the descriptors it was fitted on.
        weight: One row a value.
        bias: One entry a value.
    """

    mean: Float64[ndarray, " features"]
    scale: Float64[ndarray, " features"]
    weight: Float64[ndarray, "values features"]
    bias: Float64[ndarray, " values"]

    @classmethod
    def fit(
        cls, descriptors: Float64[ndarray, "clips features"], labels: ndarray, values: Sequence[str], strength: float
    ) -> Logistic:
        """Fit by maximum likelihood with an L2 penalty; values that never occur get no probability.

        Raises:
            InputError: fewer than two different values.
        """
        present = sorted({str(label) for label in labels}, key=list(values).index)
        if len(present) < 2:
            raise InputError("an attribute model needs two values to tell apart", ", ".join(present), "Add clips.")
        mean, scale = descriptors.mean(0), descriptors.std(0) + 1e-6
        fitted = LogisticRegression(C=strength, max_iter=500).fit((descriptors - mean) / scale, labels)
        rows = {str(value): row for row, value in enumerate(fitted.classes_)}
        coefficients, intercepts = fitted.coef_, fitted.intercept_
        if len(rows) == 2:
            coefficients = np.stack([-coefficients[0] / 2, coefficients[0] / 2])
            intercepts = np.array([-intercepts[0] / 2, intercepts[0] / 2])
        weight, bias = np.zeros((len(values), len(mean))), np.full(len(values), -30.0)
        for place, value in enumerate(values):
            if value in rows:
                weight[place], bias[place] = coefficients[rows[value]], intercepts[rows[value]]
        return cls(mean, scale, weight, bias)

    def probabilities(self, descriptors: Float64[ndarray, " features"]) -> Float64[ndarray, " values"]:
        """Of each value; descriptors are cut at four deviations, for what is further out is unlike anything fitted."""
        logits = self.weight @ ((descriptors - self.mean) / self.scale).clip(-4, 4) + self.bias
        odds = np.exp(logits - logits.max())
        return odds / odds.sum()


@dataclass(frozen=True)
class AttributeModels:
    """One `Logistic` for each attribute that cannot be measured, and for whether somebody sings.

    Example:
        >>> models = AttributeModels.from_pretrained()
        >>> sorted(models.models)
        ['age', 'expression', 'gender', 'genre', 'mood', 'tempo', 'timbre', 'voice']
    """

    models: dict[str, Logistic]

    @classmethod
    def from_pretrained(cls, weights: str = "embedded") -> AttributeModels:
        """The embedded models, or those of a file.

        Raises:
            WeightsError: a file that is missing or holds other weights.
        """
        path = locate(weights, embedded=EMBEDDED)
        tensors = {name: value.double().numpy() for name, value in read_state_dict(path).items()}
        wanted = {f"{name}.{part}" for name in VALUES for part in ("mean", "scale", "weight", "bias")}
        if set(tensors) != wanted or json.loads(read_metadata(path).get("values", "{}")) != _listed():
            raise WeightsError("these are no attribute models", path.name, "Pass a file of fit_attribute_models.")
        return cls(
            {
                name: Logistic(*(tensors[f"{name}.{part}"] for part in ("mean", "scale", "weight", "bias")))
                for name in VALUES
            }
        )

    def checkpoint(self, made: dict[str, float | int | str]) -> Checkpoint:
        """The models as a file."""
        tensors = {
            f"{name}.{part}": torch.from_numpy(getattr(model, part)).float()
            for name, model in self.models.items()
            for part in ("mean", "scale", "weight", "bias")
        }
        return Checkpoint(tensors, {"values": json.dumps(_listed()), "made": json.dumps(made)})

    def odds(self, mix: Float[ndarray, " time"], vocals: Float[ndarray, " time"], voice: Voice) -> Odds:
        """Probability of each value of each attribute, and of `PRESENCE`.

        Arguments:
            mix, vocals: Mixture and separated voice, mono, at 16 kHz.
            voice: Measures of the latter.
        """
        described = {True: describe_voice(vocals, voice), False: describe_mix(mix)}
        return {
            name: dict(zip(VALUES[name], model.probabilities(described[name in OF_VOICE]).tolist(), strict=True))
            for name, model in self.models.items()
        }


def fit_attribute_models(clips: Sequence[Clip], *, strength: float = 0.03, seed: int = 0) -> AttributeModels:
    """Fit all models on clips whose vocals and attributes are known.

    The voice is described as a separator would give it, with the rest 5 to 25 dB below; the rest alone is what nobody
    singing sounds like.

    Arguments:
        clips: With `vocals_path` and attributes.
        strength: Inverse weight of the L2 penalty.
        seed: Of the leaks.

    Raises:
        InputError: no clips, or clips without vocals.
    """
    if not clips or any(clip.vocals_path is None for clip in clips):
        raise InputError("attribute models are fitted on clips with vocals", f"{len(clips)} clips", "Add vocals_path.")
    rng = np.random.default_rng(seed)
    voices, mixes, nobody = zip(*(described(clip, rng) for clip in track(clips, "Describing")), strict=True)
    models = {}
    for name in VALUES:
        if name == PRESENCE:
            rows = np.array([*voices, *nobody])
            labels = np.array(["present"] * len(voices) + ["absent"] * len(nobody))
        else:
            known = [number for number, clip in enumerate(clips) if name in clip.attributes]
            source = voices if name in OF_VOICE else mixes
            rows = np.array([source[number] for number in known])
            labels = np.array([clips[number].attributes[name] for number in known])
        models[name] = Logistic.fit(rows, labels, VALUES[name], strength)
    return AttributeModels(models)


def described(
    clip: Clip, rng: np.random.Generator
) -> tuple[Float64[ndarray, " voice"], Float64[ndarray, " mix"], Float64[ndarray, " voice"]]:
    """Descriptors of a clip's voice with leaks, of its mixture, and of its backing as if that were a voice."""
    assert clip.vocals_path is not None
    mix = read_mono(clip.path, RATE, clip.begin, clip.end)
    vocals = read_mono(clip.vocals_path, RATE, clip.begin, clip.end)
    backing = mix - vocals
    ratio = np.sqrt(np.mean(vocals**2) / (np.mean(backing**2) + 1e-12))
    leaking = vocals + backing * ratio * 10 ** (-rng.uniform(*LEAK_DB) / 20)
    return describe_voice(leaking, hear(leaking)), describe_mix(mix), describe_voice(backing, hear(backing))


def _listed() -> dict[str, list[str]]:
    return {name: list(values) for name, values in VALUES.items()}
