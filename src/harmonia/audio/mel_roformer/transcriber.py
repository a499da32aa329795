"""The estimator a user holds: songs in, melody notes out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from harmonia.audio.mel_roformer.decoding import Decoding, NoteList
from harmonia.audio.mel_roformer.stems import Stems
from harmonia.audio.mel_roformer.training import train_transcriber
from harmonia.audio.mel_roformer.transcription import MelodyNetwork, transcribe
from harmonia.core.errors import InputError
from harmonia.core.weights import locate
from harmonia.media import Audio
from harmonia.parts.metrics import NoteRows
from harmonia.parts.training import Plan

EMBEDDED = Path(__file__).parent / "weights" / "melody.safetensors"


class VocalMelodyTranscriber(BaseEstimator):
    """Writes down what the lead voice of a song sings.

    Mel-RoFormer features, onset and pitch heads (arXiv 2409.04702), decoded to notes that never overlap.

    Arguments:
        weights: Where fitting starts: ``embedded``, a local file, or ``hub:<repo>/<file>``.
        decoding: Thresholds of the decoder; None takes the defaults.
        steps: Optimizer steps of `fit`.
        learning_rate: Peak rate of `fit`.
        device: ``auto``, ``cpu`` or ``cuda``.
        random_state: Seed of `fit`.

    Example:
        >>> transcriber = VocalMelodyTranscriber.from_pretrained()
        >>> silence = np.zeros((1, 44100), dtype=np.float32)
        >>> len(transcriber.predict(silence, 44100))
        0
    """

    def __init__(
        self,
        weights: str = "embedded",
        *,
        decoding: Decoding | None = None,
        steps: int = 200,
        learning_rate: float = 3e-4,
        device: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.weights = weights
        self.decoding = decoding
        self.steps = steps
        self.learning_rate = learning_rate
        self.device = device
        self.random_state = random_state

    @classmethod
    def from_pretrained(cls, weights: str = "embedded", **parameters: Any) -> VocalMelodyTranscriber:
        """A transcriber that is ready to predict.

        Raises:
            WeightsError: weights that cannot be found or read.
        """
        transcriber = cls(weights, **parameters)
        transcriber.network_ = transcriber._read()
        return transcriber

    def fit(self, audio: Sequence[Audio], notes: Sequence[NoteRows]) -> VocalMelodyTranscriber:
        """Fine-tune on songs with known melodies.

        Arguments:
            audio: The songs.
            notes: For each song, rows (onset_s, offset_s, midi).

        Raises:
            InputError: no songs, or as many lists of notes as songs are not given.
        """
        if not audio or len(audio) != len(notes):
            raise InputError(
                "each song needs its notes", f"{len(audio)} songs and {len(notes)} lists of notes", "Give one for one."
            )
        network = self._read()
        songs = []
        for number, (song, rows) in enumerate(zip(audio, notes, strict=True)):
            mixture = _fitting(song.samples, song.rate, network)
            songs.append(Stems.of(str(number), mixture, np.zeros_like(mixture), rows))
        plan = Plan(
            self.steps,
            self.learning_rate,
            warmup=min(100, self.steps // 10 + 1),
            ema_decay=0.99,
            seed=self.random_state,
        )
        self.network_ = train_transcriber(network, songs, plan, device=self.device).model
        return self

    def predict(self, samples: Float[ndarray, "*channels time"], rate: int) -> NoteList:
        """The notes of one song.

        Arguments:
            samples: Mono or stereo, floats in [-1, 1] or integers; their level does not matter.
            rate: Sampling rate in hertz; resampled where the network needs another.

        Raises:
            InputError: empty or not finite audio, or more than two channels.
            NotFittedError: neither fitted nor made by `from_pretrained`.
        """
        return (self.decoding or Decoding())(*self.probabilities(samples, rate))

    def probabilities(
        self, samples: Float[ndarray, "*channels time"], rate: int
    ) -> tuple[Float[ndarray, " frames"], Float[ndarray, "frames 89"], Float[ndarray, " frames"]]:
        """What `predict` decodes: onset probability, pitch probabilities (last: silence), and time of each frame."""
        check_is_fitted(self, "network_")
        return transcribe(self.network_, _fitting(samples, rate, self.network_))

    def _read(self) -> MelodyNetwork:
        device = "cuda" if self.device in ("auto", "cuda") and torch.cuda.is_available() else "cpu"
        return MelodyNetwork.load(locate(self.weights, embedded=EMBEDDED)).to(device)


def _fitting(samples: ndarray, rate: int, network: MelodyNetwork) -> Float[ndarray, "channels time"]:
    """The audio at the network's rate and channels."""
    wanted = network.config.backbone
    audio = Audio(samples, rate).resampled(wanted.sample_rate)
    if audio.channels > 2:
        raise InputError("a song has one or two channels", audio.channels, "Mix it down to stereo first.")
    return (audio.mono() if wanted.channels == 1 else audio.stereo()).samples
