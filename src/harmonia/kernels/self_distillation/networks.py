"""Networks distilled into fresh copies of themselves, with an estimate of the best weight instead of a grid over it.

A step trains a teacher on the truth (``f_1``) and a student on the teacher's outputs alone (``g``). Were students
affine in the weight, as in kernel ridge regression, the best one would be ``alpha f_1 + (1 - alpha) g`` with the weight
of `optimal_alpha` on held-out data. The third training uses that weight: three trainings, where a grid of eleven
weights takes twelve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Integer, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.kernels.self_distillation.weight import optimal_alpha, optimal_alpha_of_log_loss

TrainFunction = Callable[[nn.Module, Tensor, Tensor, Tensor, float], Any]
"""``train(model, x, y, soft_targets, alpha)`` trains in place, for instance by `distillation_loss`."""

_BATCH = 1024


def distillation_loss(
    outputs: Float[Tensor, "*batch k"],
    y: Integer[Tensor, "*batch"] | Float[Tensor, "*batch k"],
    soft_targets: Float[Tensor, "*batch k"],
    alpha: float | Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """``alpha |f - y|^2 + (1 - alpha) |f - soft|^2``, means over batch and outputs, as in the official code.

    Arguments:
        outputs: Of the network; logits where `y` are classes, and then f is their softmax.
        y: The truth: classes or values.
        soft_targets: The teacher's probabilities or values.
        alpha: Weight of the truth.

    Example:
        >>> outputs, soft = torch.zeros(1, 2), torch.tensor([[0.5, 0.5]])
        >>> distillation_loss(outputs, torch.tensor([0]), soft, 1.0)
        tensor(0.2500)
        >>> distillation_loss(outputs, torch.tensor([0]), soft, 0.0)
        tensor(0.)
    """
    if y.is_floating_point():
        predicted, truth = outputs, y
    else:
        predicted, truth = outputs.softmax(-1), torch.eye(outputs.shape[-1]).to(outputs)[y]
    return alpha * F.mse_loss(predicted, truth) + (1 - alpha) * F.mse_loss(predicted, soft_targets)


class SelfDistiller:
    """Distil a network into fresh copies of itself, by your own training loop.

    Arguments:
        make_model: Gives a network with fresh weights.
        train_fn: ``train(model, x, y, soft_targets, alpha)``: trains the network in place on the mixture of the truth
            `y` (weight `alpha`) and the teacher's outputs. For the first network `alpha` is 1.
        alpha: Weight of the truth: a number, one for each step after the first, or ``"estimate"``.
        steps: Trained generations in all, the first one included.
        criterion: What the estimate minimises on held-out data: ``"squared"`` error (closed form) or ``"log"`` loss.
        reuse: An estimate this close to 0 or 1 is not trained anew: the student of weight 0, or the first network, is
            already there.
        seed: Seed of torch's generator inside `make_model` and `train_fn`; each training has its own.

    Attributes:
        models_: One network per step, in evaluation mode.
        alphas_: Weights of steps 2, 3, ...
        trainings_: How many networks were trained.

    Example:
        >>> def train(model, x, y, soft_targets, alpha):
        ...     optimizer = torch.optim.Adam(model.parameters(), 0.05)
        ...     for _ in range(100):
        ...         loss = distillation_loss(model(x), y, soft_targets, alpha)
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        >>> x = torch.linspace(-3, 3, 60)[:, None]
        >>> y = x.sin() + 0.3 * torch.randn(60, 1, generator=torch.Generator().manual_seed(0))
        >>> distiller = SelfDistiller(lambda: nn.Sequential(nn.Linear(1, 50), nn.Tanh(), nn.Linear(50, 1)), train)
        >>> distiller = distiller.fit(x[::2], y[::2], x[1::2], y[1::2])
        >>> distiller.trainings_ <= 3, bool((distiller.predict(x) - x.sin()).square().mean() < 0.1)
        (True, True)
    """

    def __init__(
        self,
        make_model: Callable[[], nn.Module],
        train_fn: TrainFunction,
        *,
        alpha: float | Sequence[float] | str = "estimate",
        steps: int = 2,
        criterion: str = "squared",
        reuse: float = 0.05,
        seed: int = 0,
    ) -> None:
        if steps < 1:
            raise InputError("'steps' is at least 1", steps, "Give e.g. steps=2: a network and its student.")
        if criterion not in ("squared", "log"):
            raise InputError("no such criterion", repr(criterion), "Use 'squared' or 'log'.")
        self.make_model, self.train_fn = make_model, train_fn
        self.alpha, self.steps, self.criterion, self.reuse, self.seed = alpha, steps, criterion, reuse, seed
        self._given = self._weights()

    def _weights(self) -> list[float | None]:
        if isinstance(self.alpha, str):
            if self.alpha != "estimate":
                raise InputError("'alpha' is a number, one per step, or 'estimate'", repr(self.alpha), "Change it.")
            return [None] * (self.steps - 1)
        weights = [float(a) for a in self.alpha] if isinstance(self.alpha, Sequence) else [float(self.alpha)]
        weights = weights if isinstance(self.alpha, Sequence) else weights * (self.steps - 1)
        if len(weights) != self.steps - 1 or not all(0 <= alpha <= 1 for alpha in weights):
            raise InputError(
                "weights of the truth lie between 0 and 1, one for each step after the first",
                self.alpha,
                f"Give {self.steps - 1} of them, or one number.",
            )
        return list(weights)

    def fit(
        self,
        x: Shaped[Tensor, " n *features"],
        y: Integer[Tensor, " n"] | Float[Tensor, " n *k"],
        x_val: Shaped[Tensor, " m *features"] | None = None,
        y_val: Integer[Tensor, " m"] | Float[Tensor, " m *k"] | None = None,
    ) -> SelfDistiller:
        """Train all steps.

        Arguments:
            x: Inputs.
            y: Classes (whole numbers) or values.
            x_val, y_val: Held-out data for the estimate of the weight. Not the test data.

        Raises:
            InputError: an estimate without held-out data, or networks that give NaN.
        """
        if None in self._given and (x_val is None or y_val is None or not len(x_val)):
            raise InputError("the weight is estimated on held-out data", "none", "Pass x_val and y_val, or fix alpha.")
        self._classes = not y.is_floating_point()
        self.trainings_, self.models_, self.alphas_ = 0, [], []
        first = self._train(x, y, None, 1.0)
        self.models_.append(first)
        for given in self._given:
            soft = self.outputs(x)
            pure: nn.Module | None = None
            alpha = given
            if alpha is None:
                assert x_val is not None
                assert y_val is not None
                pure = self._train(x, y, soft, 0.0)
                alpha = self._estimate(x_val, y_val, first, pure)
                say(f"Step {len(self.models_) + 1}: the estimated weight of the truth is {alpha:.2f}.")
            if pure is not None and alpha < self.reuse:
                model = pure
            elif alpha > 1 - self.reuse and given is None:
                model = first
            else:
                model = self._train(x, y, soft, alpha)
            self.models_.append(model)
            self.alphas_.append(alpha)
        return self

    def _train(self, x: Tensor, y: Tensor, soft: Tensor | None, alpha: float) -> nn.Module:
        devices = [x.device] if x.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.seed + self.trainings_)
            model = self.make_model()
            if soft is None:
                soft = self._soft_truth(model, x, y)
            model.train()
            self.train_fn(model, x, y, soft, alpha)
        self.trainings_ += 1
        model.eval()
        return model

    def _soft_truth(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """The truth in the shape of outputs: what the first network is trained on, whatever its weight."""
        if not self._classes:
            return y
        return F.one_hot(y, self._outputs_of(model, x[:1]).shape[-1]).to(torch.get_default_dtype())

    def _estimate(self, x: Tensor, y: Tensor, first: nn.Module, pure: nn.Module) -> float:
        teacher, student = (self._outputs_of(model, x).double().cpu().numpy() for model in (first, pure))
        truth = np.eye(teacher.shape[-1])[y.cpu().numpy()] if self._classes else y.double().cpu().numpy()
        if self.criterion == "log":
            if not self._classes:
                raise InputError("log loss is for classes", "values", "Use criterion='squared'.")
            return optimal_alpha_of_log_loss(truth, teacher, student)
        return optimal_alpha(truth, teacher, student, clip=True)

    @torch.no_grad()
    def _outputs_of(self, model: nn.Module, x: Tensor) -> Tensor:
        was_training = model.training
        model.eval()  # or dropout and batch normalisation would disturb the teacher
        outputs = torch.cat([model(batch) for batch in x.split(_BATCH)])
        model.train(was_training)
        if not outputs.isfinite().all():
            raise InputError("a network gives outputs that are not finite", "NaN or infinity", "Check the training.")
        return outputs.softmax(-1) if self._classes else outputs

    def outputs(self, x: Shaped[Tensor, " n *features"], step: int | None = None) -> Float[Tensor, " n *k"]:
        """Probabilities of classes, or values, by the network of a step; the last one unless given."""
        if not getattr(self, "models_", None):
            raise InputError("there is no network yet", "no call of fit", "Call fit first.")
        if step is not None and not 1 <= step <= len(self.models_):
            raise InputError("there is no such step", step, f"Steps 1 to {len(self.models_)} were trained.")
        return self._outputs_of(self.models_[-1 if step is None else step - 1], x)

    def predict(
        self, x: Shaped[Tensor, " n *features"], step: int | None = None
    ) -> Integer[Tensor, " n"] | Float[Tensor, " n *k"]:
        """Classes or values, by the network of a step; the last one unless given."""
        outputs = self.outputs(x, step)
        return outputs.argmax(-1) if self._classes else outputs
