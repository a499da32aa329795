"""Jobs of the effective theory: what an activation, a width and a depth mean; and what is wrong with a network."""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple, TypedDict

import polars
import torch
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.core.task import Field
from harmonia.core.weights import Checkpoint
from harmonia.media import Figure, Table, Text
from harmonia.networks.effective_theory import figures
from harmonia.networks.effective_theory.activation import ACTIVATIONS, Pointwise, as_activation
from harmonia.networks.effective_theory.architecture import load_weights, network_of
from harmonia.networks.effective_theory.aspect import emergent_slope, gamma_for, optimal_ratio
from harmonia.networks.effective_theory.criticality import CriticalityReport
from harmonia.networks.effective_theory.criticality import analyze as analyze_activation
from harmonia.networks.effective_theory.diagnosis import Diagnosis
from harmonia.networks.effective_theory.diagnosis import diagnose as diagnose_network
from harmonia.networks.effective_theory.ensemble import Ensemble, sample_ensemble
from harmonia.networks.effective_theory.initialise import critical_init_
from harmonia.networks.effective_theory.phase import phase_of
from harmonia.networks.effective_theory.rates import learning_rates
from harmonia.networks.effective_theory.recursion import LayerTable, recursion

_WIDEST_TANGENT = 128
"""Widest networks whose tangent kernels are sampled."""

_OPERATIONS = 6e10
"""What the sampling of these may cost."""

_NUMBERS = 2e8
"""Preactivations that are sampled at most for an ensemble of kernels."""

EXAMPLE = """
# A digit classifier of 50 layers, as torch initialises it.
Linear(64, 128)
48 * (ReLU(), Linear(128, 128))
ReLU(), Linear(128, 10)
"""


class Analysed(TypedDict):
    layers: Annotated[Table, Field("every layer: predicted and sampled tensors, learning rates")]
    criticality: Annotated[Figure, Field("where the activation is critical, and the plane of initialisations")]
    flow: Annotated[Figure, Field("kernels and finite-width tensors through the layers, beside sampled networks")]
    depth: Annotated[Figure, Field("how networks of this width come to differ with depth, and the best depth")]
    universality: Annotated[str, Field("class of the activation")]
    C_W: Annotated[float, Field("variance of the weights, times the fan-in")]
    C_b: Annotated[float, Field("variance of the biases")]
    K_first: Annotated[float, Field("variance to start with in the first layer")]
    fate: Annotated[str, Field("what happens to signals at this initialisation")]
    best_depth: Annotated[int, Field("layers that this width carries best")]
    r_eff: Annotated[float, Field("effective depth: below 0.1 shallow, above 1 chaotic")]
    skip_weight: Annotated[float, Field("skip connections z' = W s(z) + b + gamma z that make the depth the best one")]


def analyze(
    *,
    activation: Annotated[
        str, Field(f"a name ({', '.join(ACTIVATIONS)}) or a formula of x such as 'x * tanh(x)'")
    ] = "gelu",
    width: Annotated[int, Field("units of a hidden layer", ge=2, le=65_536)] = 256,
    depth: Annotated[int, Field("layers with weights", ge=2, le=1000)] = 16,
    outputs: Annotated[int, Field("outputs of the network", ge=1, le=1_000_000)] = 10,
    gamma: Annotated[float, Field("weight of skip connections", ge=0, lt=1)] = 0.0,
    weight_variance: Annotated[float | None, Field("C_W, fan-in times variance; critical unless given", gt=0)] = None,
    bias_variance: Annotated[float | None, Field("C_b; critical unless given", ge=0)] = None,
    nets: Annotated[int, Field("random networks that are sampled to check the theory", ge=50, le=100_000)] = 2000,
    seed: Annotated[int, Field("random seed", ge=0)] = 0,
) -> Analysed:
    """Find the initialisation, best depth and learning rates for an activation and a width.

    Any activation is judged: is there an initialisation at which signals neither explode nor vanish? Every layer's
    kernels and finite-width fluctuations are predicted without sampling or training, and checked against random
    networks with error bars.
    """
    if (weight_variance is None) != (bias_variance is None):
        raise InputError("an initialisation is two variances", "one", "Give weight_variance and bias_variance.")
    pointwise = as_activation(activation)
    if weight_variance is None:
        pointwise = _made_critical(pointwise)
    report = analyze_activation(pointwise)
    C_b, C_W = report.with_skips(gamma) if weight_variance is None else (bias_variance or 0.0, weight_variance)
    phase = phase_of(pointwise, C_b, C_W, report.start, gamma)
    options = {"C_b": C_b, "C_W": C_W, "K1": max(report.start, C_b), "gamma": gamma}
    samples = _sampled(pointwise, depth, width, nets, seed, options)
    table = samples.predicted[width]
    if report.is_critical:
        nu, ratio = emergent_slope(pointwise, gamma), optimal_ratio(pointwise, outputs, gamma)
        weight = gamma_for(depth, width, pointwise, outputs)
    else:
        nu, weight = float(table["V"][-1] / (depth * table["K"][-1] ** 2)), math.nan
        ratio = 4 / (20 + 3 * outputs) / nu
    if (r_eff := nu * depth / width) > 1:
        need = math.ceil(nu * depth)
        say(f"r_eff = {r_eff:.2g} > 1: perturbation theory is not valid; use a width of at least {need}.")
    return {
        "layers": Table(_layers(table, samples.measured, report)),
        "criticality": figures.criticality_figure(pointwise, report, phase, gamma),
        "flow": figures.flow_figure(table, samples.measured, samples.predicted),
        "depth": figures.depth_figure(nu, width, depth, ratio, samples.spreads),
        "universality": report.universality,
        "C_W": C_W,
        "C_b": C_b,
        "K_first": options["K1"],
        "fate": phase.verdict,
        "best_depth": max(1, round(ratio * width)),
        "r_eff": r_eff,
        "skip_weight": weight,
    }


class _Samples(NamedTuple):
    """Random networks beside what is predicted for their widths.

    Attributes:
        predicted: Layer tables by width.
        spreads: The same with an ensemble of kernels, for widths up to the user's.
        measured: Ensembles for the user's width: of kernels, and of tangent kernels where that is not too wide.
    """

    predicted: dict[int, LayerTable]
    spreads: dict[int, tuple[LayerTable, Ensemble]]
    measured: list[Ensemble]


def _made_critical(activation: Pointwise) -> Pointwise:
    """The activation, or the nearest one by a constant that has a critical initialisation."""
    report = analyze_activation(activation)
    if report.is_critical:
        return activation
    what = f"no initialisation of '{activation.name}' is critical"
    if report.shift is None:
        mend = "Give weight_variance and bias_variance to see what they do."
        raise InputError(f"{what}, nor of it plus a constant", report.universality, mend)
    shift = report.shift
    say(f"{what.capitalize()}. Showing s(x) - ({shift:.6g}), which has one.")
    return Pointwise(f"{activation.name} − {shift:.4g}", lambda x: activation.function(x) - shift)


def _sampled(activation: Pointwise, depth: int, width: int, nets: int, seed: int, options: dict[str, Any]) -> _Samples:
    widths = sorted({max(8, width // 4), max(8, width // 2), width})
    tangent, skips = min(width, _WIDEST_TANGENT), options["gamma"] > 0
    many = {n: int(min(nets, max(50, _NUMBERS / (n * depth)))) for n in widths}
    few = 0 if skips else int(min(nets, max(50, _OPERATIONS / (4 * tangent**3 * depth))))
    seconds = sum(n * depth * many[n] for n in widths) / 5e7 + few * 4 * tangent**3 * depth / 2e10
    if seconds > 20:
        say(f"About {seconds:.0f} s to sample networks.")
    predicted = {n: recursion(activation, depth, n, **options) for n in {*widths, tangent}}
    names = ("K", "V", "T") if skips else ("K", "V")
    spreads = {
        n: (predicted[n], sample_ensemble(activation, depth, n, many[n], observables=names, seed=seed, **options))
        for n in widths
    }
    measured = [spreads[width][1]]
    if few:
        measured.append(sample_ensemble(activation, depth, tangent, few, seed=seed, **options))
    return _Samples(predicted, spreads, measured)


def _layers(table: LayerTable, measured: list[Ensemble], report: CriticalityReport) -> polars.DataFrame:
    frame = table.frame
    for ensemble in reversed(measured):
        columns = ensemble.frame.drop("layer")
        frame = frame.with_columns(
            columns[name].alias(f"{name}, sampled at width {ensemble.width}") for name in columns.columns
        )
    if report.is_critical and not table.gamma:
        biases, weights = learning_rates(report, table.depth)
        frame = frame.with_columns(
            polars.Series("learning rate of biases", biases),
            polars.Series("learning rate of weights x fan-in", weights),
        )
    return frame


class Diagnosed(TypedDict):
    modules: Annotated[Table, Field("every module: size of its output, growth of perturbations, gradient")]
    picture: Annotated[Figure, Field("signal, susceptibility and gradient, as it is and critically initialised")]
    weights: Annotated[Checkpoint, Field("the network's weights, critically initialised")]
    advice: Annotated[Text, Field("what was found and what to do")]
    verdict: Annotated[str, Field("steady, or what explodes or vanishes")]
    signal: Annotated[float, Field("size of the last layer's output over the first one's")]
    gradient: Annotated[float, Field("the first hidden layer's gradient over the last one's")]
    depth: Annotated[int, Field("layers with weights on the longest path")]
    r_eff: Annotated[float, Field("effective depth: below 0.1 shallow, above 1 chaotic")]


def diagnose(
    network: Annotated[
        Text,
        Field("its layers as torch.nn writes them: Linear(64, 128), 8 * Residual(...)", example=lambda: Text(EXAMPLE)),
    ],
    *,
    data: Annotated[Table | None, Field("inputs, one a row; standard normal ones unless given")] = None,
    weights: Annotated[Checkpoint | None, Field("weights of that network; torch's initialisation unless given")] = None,
    size: Annotated[int, Field("height and width of images, for convolutions", ge=1, le=1024)] = 32,
    batch: Annotated[int, Field("inputs that are used", ge=2, le=4096)] = 64,
    seed: Annotated[int, Field("random seed", ge=0)] = 0,
) -> Diagnosed:
    """Find where the signal or the gradient of a network explodes or vanishes, and initialise it critically.

    The network is described by a text file that lists its layers, so no program of anyone's is run; its weights may
    come from a safetensors or state-dict file. Any other torch module can be diagnosed from Python:
    ``harmonia.networks.diagnose(model, inputs)``.
    """
    model = network_of(network.text, seed)
    if weights is not None:
        load_weights(model, weights.tensors)
    x = _inputs(model, data, size, batch, seed)
    before = diagnose_network(model, x, seed=seed)
    after: Diagnosis | None = None
    advice = before.advice
    try:
        critical_init_(model, input_scale=x, generator=torch.Generator().manual_seed(seed))
        after = diagnose_network(model, x, seed=seed)
        advice = [*advice, f"Critically initialised: {after.verdict}. " + " ".join(after.advice[:2])]
    except InputError as error:
        advice = [*advice, f"Not initialised anew: {error.what}."]
    modules = before.modules
    if after is not None:
        renamed = after.modules.select("K", "chi_par", "chi_perp", "gradient")
        modules = modules.with_columns(renamed[name].alias(f"{name}, critical") for name in renamed.columns)
    return {
        "modules": Table(modules),
        "picture": figures.diagnosis_figure(before, after),
        "weights": Checkpoint(dict(model.state_dict()), {"network": network.text.strip(), "seed": str(seed)}),
        "advice": Text("\n".join(advice)),
        "verdict": before.verdict,
        "signal": before.signal,
        "gradient": before.gradient,
        "depth": before.depth,
        "r_eff": before.r_eff,
    }


def _inputs(model: nn.Module, data: Table | None, size: int, batch: int, seed: int) -> Tensor:
    """A batch of the shape that the first layer with a known input takes."""
    shape = _input_shape(model, size)
    if data is None:
        say(f"No data given: using {batch} standard normal inputs of shape {' x '.join(map(str, shape))}.")
        return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(seed))
    rows = torch.from_numpy(data.numeric())
    if rows.shape[1] != math.prod(shape):
        got = f"{rows.shape[1]} columns of numbers for inputs of shape {' x '.join(map(str, shape))}"
        raise InputError("the data do not fit the network's inputs", got, "Change the columns, or --size of images.")
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:batch]]
    spread = rows.std(0, correction=0)
    return ((rows - rows.mean(0)) / torch.where(spread > 0, spread, 1.0)).reshape(-1, *shape).float()


def _input_shape(model: nn.Module, size: int) -> tuple[int, ...]:
    for part in model.modules():
        if isinstance(part, nn.Linear):
            return (part.in_features,)
        if isinstance(part, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            return (part.in_channels, *[size] * len(part.kernel_size))
    raise InputError("the network has no layer with weights", "none", "List one with Linear or Conv layers.")


JOBS = (analyze, diagnose)
