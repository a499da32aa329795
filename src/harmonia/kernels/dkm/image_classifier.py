"""Classify images with a convolutional deep kernel machine."""

from __future__ import annotations

import math
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d
from torch import Tensor

from harmonia.core.checks import check_number, check_whole
from harmonia.core.errors import InputError
from harmonia.kernels.dkm.fitting import normal_points
from harmonia.kernels.dkm.images import ImageWhitening, augmented, random_patches
from harmonia.kernels.dkm.output import categorical_expectation, categorical_prediction
from harmonia.kernels.dkm.resnet import ConvDeepKernelMachine, ConvDeepKernelMachineConfig
from harmonia.parts.gram import Marginals
from harmonia.parts.training import Plan, Trained, train

DRAWS, PREDICTION_DRAWS = 32, 256
"""Points of the expectation over logits, in training and after."""


class ConvDeepKernelMachineClassifier(ClassifierMixin, BaseEstimator):
    """A convolutional deep kernel machine (arXiv:2309.09814) for arrays of images.

    Whitening, inducing patches from the data, Adam on minibatches: hundreds of steps on at least a thousand images
    before it leaves the start, where all classes are alike; for fewer take `DeepKernelMachineClassifier`. With
    `wishart` and ``objective="taylor"`` it is the regularised machine of arXiv:2410.06171, which also works in float32.

    Arguments:
        config: Sizes and choices; the image's shape and the classes are filled in.
        epochs: Passes over the data.
        batch_size: Images of a step.
        lr: Peak learning rate, which falls to 0 along half a cosine.
        margin: Pixels by which training images are shifted at most.
        flip: Whether half of them are mirrored.
        whiten: Whether images are whitened first.
        dtype: ``"float64"`` or ``"float32"``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        folder: Where checkpoints go, from which an interrupted training resumes; None for none.
        random_state: Seed, a generator of numpy's, or None for another one at every fit.

    Attributes:
        classes_: Labels.
        machine_: The network (`ConvDeepKernelMachine`).
        gram_matrices_: Learned Gram matrices of inducing patches, from the input on.
        history_: Loss by epoch.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> images, labels = load_digits(n_class=3, return_X_y=True)
        >>> config = ConvDeepKernelMachineConfig(widths=(8, 8), blocks=1)
        >>> model = ConvDeepKernelMachineClassifier(config, epochs=2, batch_size=64)
        >>> model.fit(images.reshape(-1, 8, 8), labels).predict_proba(images[:2].reshape(-1, 8, 8)).shape
        (2, 3)
    """

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        config=None,
        *,
        epochs=20,
        batch_size=256,
        lr=0.01,
        margin=0,
        flip=False,
        whiten=True,
        dtype="float64",
        device="auto",
        folder=None,
        random_state=0,
    ):
        self.config = config
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.margin = margin
        self.flip = flip
        self.whiten = whiten
        self.dtype = dtype
        self.device = device
        self.folder = folder
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> ConvDeepKernelMachineClassifier:
        """Learn from images (n, height, width) or (n, channels, height, width) and their labels.

        Raises:
            InputError: images or labels that do not fit, or parameters out of range.
            ValueError: labels that are no classes, as of all classifiers of scikit-learn.
        """
        for name, lowest in (("epochs", 1), ("batch_size", 1), ("margin", 0)):
            check_whole(name, getattr(self, name), lowest)
        check_number("lr", self.lr, above=0)
        images = self._images(X)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        classes, index = np.unique(y, return_inverse=True)
        if len(index) != len(images) or len(classes) < 2:
            got = f"{len(index)} labels of {len(classes)} classes for {len(images)} images"
            raise InputError("every image has one of at least two labels", got, "Check the labels.")
        labels = torch.from_numpy(index)
        state = self.random_state
        seed = int(state) if isinstance(state, Integral) else int(check_random_state(state).randint(2**31))
        generator = torch.Generator().manual_seed(seed)
        config = replace(
            self.config or ConvDeepKernelMachineConfig(),
            image_shape=tuple(images.shape[1:]),
            outputs=len(classes),
        )
        whitening = ImageWhitening(images) if self.whiten else None
        seen = images if whitening is None else whitening(images)
        patches = random_patches(seen, labels, config.inducing[0], generator=generator)
        machine = ConvDeepKernelMachine(config, patches, whitening, generator).to(images.dtype)
        found = self._train(machine, images, labels, seed)
        self.classes_, self.machine_, self._seed = classes, found.model, seed
        self.history_ = [float(record["loss"]) for record in found.history]
        with torch.no_grad():
            self._frozen = found.model.frozen()
        self.gram_matrices_ = [layer.passed.gram.cpu().numpy() for layer in found.model.gram_layers()]
        return self

    def _train(
        self, machine: ConvDeepKernelMachine, images: Float[Tensor, "n c h w"], labels: Int64[Tensor, " n"], seed: int
    ) -> Trained[ConvDeepKernelMachine]:
        n, size = len(images), min(int(self.batch_size), len(images))
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # of the noise, as `train` does for its steps
            machine(images[:size])  # sets Gram matrices to their kernels and starts the statistics
        draws = normal_points(DRAWS, machine.config.outputs, seed).to(images.dtype)

        def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
            rows = torch.randperm(n, generator=generator)[:size]
            batch = images[rows]
            if self.margin or self.flip:
                batch = augmented(batch, self.margin, self.flip, generator)
            return batch, labels[rows]

        def loss(model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
            x, y = batch
            expected = categorical_expectation(model(x), y, draws.to(x.device))
            return model.divergence() / n - expected.mean()

        steps = math.ceil(n / size)
        plan = Plan(
            steps=int(self.epochs) * steps,
            learning_rate=float(self.lr),
            warmup=1,
            final=0.0,
            clip_norm=math.inf,
            ema_decay=0.0,
            evaluate_every=steps,
            checkpoint_every=10 * steps,
            seed=seed,
        )
        folder = None if self.folder is None else Path(self.folder)
        return train(
            machine,
            draw,
            loss,
            plan,
            folder=folder,
            make_optimizers=lambda model: [torch.optim.Adam(model.parameters(), self.lr, betas=(0.8, 0.9))],
            device=self.device,
        )

    @torch.no_grad()
    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities (n, C); every image's are its own."""
        check_is_fitted(self)
        images = self._images(X)
        if images.shape[1:] != self.machine_.config.image_shape:
            shape = self.machine_.config.image_shape
            raise InputError("the images have another shape", tuple(images.shape[1:]), f"Pass {shape}.")
        device = self.machine_.output.mu.device
        draws = normal_points(PREDICTION_DRAWS, len(self.classes_), self._seed).to(device, images.dtype)
        parts = [self._frozen(part.to(device)) for part in images.split(512)]
        shares = torch.cat([categorical_prediction(Marginals(*part), draws) for part in parts])
        return (shares / shares.sum(1, keepdim=True)).cpu().numpy()

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class."""
        return self.classes_[self.predict_proba(X).argmax(1)]

    def _images(self, X: Any) -> Tensor:
        if self.dtype not in ("float64", "float32"):
            raise InputError("no such precision", repr(self.dtype), "Use 'float64' or 'float32'.")
        images = np.asarray(X, dtype=self.dtype)
        images = images[:, None] if images.ndim == 3 else images
        if images.ndim != 4 or not len(images):
            raise InputError("images are an array (n, channels, height, width)", images.shape, "Reshape them.")
        if not np.isfinite(images).all():
            raise InputError("pixels are finite numbers", "NaN or infinity", "Check the images.")
        return torch.from_numpy(np.ascontiguousarray(images))
