"""Pre-trains a MERT model on one's own music, or continues a released one."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from harmonia.audio.mert.catalogue import Catalogue
from harmonia.audio.mert.checkpoint import head_weights, load_checkpoint, read_source
from harmonia.audio.mert.config import MERTConfig
from harmonia.audio.mert.material import Material
from harmonia.audio.mert.network import MERTModel
from harmonia.audio.mert.pretraining import Batch, Pretraining, mix_in_batch, span_mask
from harmonia.audio.mert.teachers import (
    CodebookTeacher,
    ConstantQTeacher,
    EncodecTeacher,
    KMeansTeacher,
    RVQTeacher,
    Teacher,
)
from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.core.weights import Checkpoint
from harmonia.parts.training import Plan, Trained, train

TeacherName = Literal["rvq", "encodec", "kmeans", "labels", "cqt"]
_HEARD_BY_TEACHERS = 160
_HELD_OUT_CLIPS = 24


class MERTPretrainer:
    """Pre-trains a model by masked prediction of acoustic codes and of the constant-Q spectrum.

    Arguments:
        config: Shape of a fresh model.
        teachers: ``cqt``, and at most one of ``rvq`` (residual codebooks learnt on the music itself), ``encodec``
            (EnCodec's), ``kmeans`` (HuBERT's MFCC classes) and ``labels`` (codes in the manifest's label files).
        codebooks: Codebooks of ``rvq``; 8 of ``encodec``, 1 of ``kmeans``.
        classes: Entries of the codebooks of ``rvq`` and ``kmeans``.
        crop_seconds: Length of the clips.
        mixture: Probability that a clip is disturbed by others; 0 for none.
        penalty: Weight of the penalty of the convolutions.
        cqt_weight: Weight of the constant-Q regression.
        cqt_level: Level of the clips whose spectrum is guessed, see `ConstantQTeacher`.
        continue_from: Weights to begin with, as for `MERTModel.from_pretrained`; their shape takes precedence. Heads
            that a fairseq checkpoint has are kept where they fit the teachers.
        trust_pickle: Read weights that need unpickling, as fairseq's do. Such a file can run any program.

    Attributes:
        model_: The pre-trained `MERTModel`, after `fit`.
        history_: What was measured on held-out clips.

    Raises:
        InputError: unknown teachers, or several that give codes.

    Example:
        >>> learner = MERTPretrainer(teachers=("rvq", "cqt"), crop_seconds=3.0)
        >>> learner.fit("music/", Plan(steps=1000)).save("mine.safetensors")  # doctest: +SKIP
    """

    def __init__(
        self,
        config: MERTConfig | None = None,
        *,
        teachers: Sequence[TeacherName] = ("rvq", "cqt"),
        codebooks: int = 4,
        classes: int = 256,
        crop_seconds: float = 5.0,
        mixture: float = 0.5,
        penalty: float = 10.0,
        cqt_weight: float = 1.0,
        cqt_level: float | None = 1.0,
        continue_from: str | Path | None = None,
        trust_pickle: bool = False,
    ) -> None:
        unknown = set(teachers) - {"rvq", "encodec", "kmeans", "labels", "cqt"}
        acoustic = [name for name in teachers if name != "cqt"]
        if unknown or len(acoustic) > 1 or not teachers:
            mend = "Choose one of rvq, encodec, kmeans and labels, and cqt or not."
            raise InputError("these teachers do not go together", ", ".join(teachers) or "none", mend)
        self.config, self.teachers = config or MERTConfig.tiny(), tuple(teachers)
        self.codebooks, self.classes, self.crop_seconds = codebooks, classes, crop_seconds
        self.mixture, self.penalty, self.continue_from = mixture, penalty, continue_from
        self.cqt_weight, self.cqt_level, self.trust_pickle = cqt_weight, cqt_level, trust_pickle
        self._acoustic = acoustic[0] if acoustic else None

    def fit(
        self,
        music: str | Path | Catalogue,
        plan: Plan,
        *,
        batch: int = 8,
        held_out: int = 8,
        keep: Path | None = None,
        device: str = "auto",
    ) -> MERTPretrainer:
        """Pre-train on a folder of sound files or a manifest; goes on where an unfinished run in `keep` stopped.

        Arguments:
            music: The catalogue.
            plan: Steps, rates, precision and seed.
            batch: Clips of a step.
            held_out: Files that are only measured on: the last ones.
            keep: Folder for checkpoints.
            device: ``auto``, ``cpu`` or ``cuda``.
        """
        catalogue = music if isinstance(music, Catalogue) else Catalogue.of(music)
        songs, tests = catalogue.split(held_out) if held_out else (catalogue, None)
        encoder = self._encoder(plan.seed)
        self.config = encoder.config
        teacher = self._teacher(songs, plan.seed)
        network = self._network(encoder, teacher, songs, plan.seed)
        constant_q = ConstantQTeacher(self.config, network.bins, self.cqt_level) if network.bins else None
        with tempfile.TemporaryDirectory() as folder:
            material = Material(songs, self.config, teacher, constant_q, Path(folder))
            held = None
            if tests is not None:
                unseen = Material(tests, self.config, teacher, constant_q)
                held = self._batch(unseen, max(batch, _HELD_OUT_CLIPS), torch.Generator().manual_seed(plan.seed), 0.0)
            self._train(network, material, held, plan, batch, keep, device)
        self._files = len(songs.files)
        return self

    def _train(
        self,
        network: Pretraining,
        material: Material,
        held: Batch | None,
        plan: Plan,
        batch: int,
        keep: Path | None,
        device: str,
    ) -> None:
        def draw(generator: torch.Generator) -> Batch:
            return self._batch(material, batch, generator, self.mixture)

        def loss(model: nn.Module, drawn: Batch) -> Tensor:
            return model(drawn).total(self.penalty, self.cqt_weight)

        def evaluate(model: Pretraining) -> dict[str, float]:
            if held is None:
                return {}
            device = model.encoder.masked_spec_embed.device
            losses = model(Batch(*(x.to(device) for x in held)))
            measured = {"held_out_cqt": float(losses.cqt)} if network.bins else {}
            if network.classes:
                measured["held_out_ce"] = float(losses.codes.mean())
                measured["held_out_accuracy"] = float(losses.accuracy.mean())
            return measured

        def make_optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
            decay = plan.weight_decay
            return [torch.optim.AdamW(model.parameters(), plan.learning_rate, plan.betas, 1e-6, decay)]

        trained: Trained[Pretraining] = train(
            network,
            draw,
            loss,
            plan,
            folder=keep,
            evaluate=evaluate,
            make_optimizers=make_optimizers,
            device=device,
        )
        self.network_, self.history_, self.plan_ = trained.model.cpu(), trained.history, plan
        self.model_ = self.network_.encoder.eval()

    def checkpoint(self) -> Checkpoint:
        """The model's weights, matrices in half precision, with their configuration and how they came about."""
        state = {key: value.detach() for key, value in self.model_.state_dict().items()}
        tensors = {key: value.half() if value.ndim > 1 else value for key, value in state.items()}
        made = {
            "teachers": self.teachers,
            "files": self._files,
            "plan": dataclasses.asdict(self.plan_),
            "scores": self.history_[-1] if self.history_ else {},
        }
        config = json.dumps(dataclasses.asdict(self.model_.config))
        return Checkpoint(tensors, {"config": config, "made": json.dumps(made)})

    def save(self, path: str | Path) -> Path:
        """Write `checkpoint` to a ``.safetensors`` file, which `MERTModel.from_pretrained` reads."""
        return self.checkpoint().write(path)

    def _encoder(self, seed: int) -> MERTModel:
        if self.continue_from is not None:
            return load_checkpoint(self.continue_from, trust_pickle=self.trust_pickle).float()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return MERTModel(self.config)

    def _teacher(self, songs: Catalogue, seed: int) -> Teacher | None:
        """The teacher that gives codes; where they are learnt on the music, they are learnt here."""
        if self._acoustic == "encodec":
            return EncodecTeacher()
        if self._acoustic not in ("rvq", "kmeans"):
            return None
        teacher: CodebookTeacher = (
            RVQTeacher(self.config, self.codebooks, self.classes)
            if self._acoustic == "rvq"
            else KMeansTeacher(self.config, self.classes)
        )
        say(f"Learning {teacher.codebooks} codebooks of {teacher.classes} entries from the music.")
        generator = torch.Generator().manual_seed(seed)
        clips = songs.crops(_HEARD_BY_TEACHERS, self._samples, self.config.sample_rate, generator)
        return teacher.fit(torch.from_numpy(clips), seed)

    def _network(self, encoder: MERTModel, teacher: Teacher | None, songs: Catalogue, seed: int) -> Pretraining:
        classes: list[int] = []
        if teacher is not None:
            classes = [teacher.classes] * teacher.codebooks
        elif self._acoustic == "labels":
            if not songs.labels:
                mend = "Pass a manifest with <name>.codec_0 ... beside it."
                raise InputError("there are no labels to learn", songs.root, mend)
            classes = (1 + np.max([codes.max(0) for codes in songs.labels], 0)).tolist()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            bins = 336 if "cqt" in self.teachers else 0
            network = Pretraining(encoder, classes, bins, width=128 if encoder.config.dim > 768 else 64)
        if self.continue_from is not None:
            heads = head_weights(read_source(self.continue_from, trust_pickle=self.trust_pickle))
            own = network.state_dict()
            fitting = {key: value for key, value in heads.items() if key in own and own[key].shape == value.shape}
            network.load_state_dict(fitting, strict=False)
            if fitting:
                say(f"Kept the heads {', '.join(sorted(fitting))}.")
        return network

    @property
    def _samples(self) -> int:
        return round(self.crop_seconds * self.config.sample_rate / self.config.stride) * self.config.stride

    def _batch(self, material: Material, batch: int, generator: torch.Generator, mixture: float) -> Batch:
        crops = material.crops(batch, self._samples, generator)
        audio = mix_in_batch(crops.audio, generator, probability=mixture)
        if self.config.normalize:
            deviation, mean = torch.std_mean(audio, 1, keepdim=True, correction=0)
            audio = (audio - mean) / torch.sqrt(deviation.square() + 1e-7)
        return Batch(
            audio,
            span_mask(batch, self.config.frames(self._samples), generator),
            crops.codes,
            crops.cqt,
        )
