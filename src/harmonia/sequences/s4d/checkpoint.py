"""Weights of the official code, loaded strictly: the minimal layer's, and the full kernel's of versions 3 and 4.

There are no released weights of S4D; these are the layouts that the official training scripts write::

    minimal   s4_layers.0.kernel.log_dt, ...            models/s4/s4d.py in example.py
    v4        layers.0.layer.layer.kernel.inv_dt, ...   the full code, also below ``model.``
    v3        layers.0.layer.kernel.kernel.log_dt, ...  the same before its parameters were renamed

The minimal layer keeps eigenvalues of positive imaginary part and merges B into C; here and in the full kernel they are
negative, so that its C is conjugated on the way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harmonia.core.errors import WeightsError
from harmonia.core.weights import load_strictly, read_state_dict
from harmonia.sequences.s4d.kernel import KernelConfig
from harmonia.sequences.s4d.network import S4DConfig, S4DModel

_V3_NAMES = {"log_dt": "inv_dt", "inv_w_real": "A_real", "log_w_real": "A_real", "w_imag": "A_imag"}
_HINTS = {"norm.": "prenorm", "kernel.": "the kernel"}


def load_checkpoint(source: str | Path | Mapping[str, Tensor], *, pooling: Any = "mean", **kernel: Any) -> S4DModel:
    """An `S4DModel` from weights of the official code; every key must be known and every shape fit.

    Shapes tell the size of the network, its normalisation, and whether it looks ahead. What no shape tells, the
    transforms and the discretisation, is given by name.

    Arguments:
        source: A file, or a state dict.
        pooling: ``mean``, ``last`` or ``none``.
        kernel: Fields of `KernelConfig`, such as ``dt_transform="softplus"`` or ``discretization="bilinear"``.

    Raises:
        WeightsError: weights of another network (S4 with its low-rank part among them), missing or unknown keys.
    """
    state = dict(source) if isinstance(source, Mapping) else read_state_dict(source)
    ours = _from_minimal(state) if any(key.startswith("s4_layers.") for key in state) else _from_full(state)
    model = S4DModel(_config(ours, pooling, kernel))
    own = model.state_dict()
    ours = {key: value.to(own[key].dtype) if key in own else value for key, value in ours.items()}
    load_strictly(model, ours, _HINTS)
    return model.eval()


def _from_minimal(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        key = re.sub(r"^s4_layers\.(\d+)\.", r"layers.\1.", key)
        if key.endswith(".output_linear.0.weight"):
            value = value.squeeze(-1)
        key = key.replace(".output_linear.0.", ".output.")
        if key.endswith(".kernel.log_dt"):
            key, value = key.replace("log_dt", "inv_dt"), value[:, None]
        elif key.endswith(".kernel.C"):
            value = torch.view_as_real(torch.view_as_complex(value.contiguous()).conj().resolve_conj())[None]
            found[key[:-1] + "B"] = torch.view_as_real(torch.ones(value.shape[1:3], dtype=torch.cfloat))[None]
        elif re.fullmatch(r"layers\.\d+\.D", key):
            value = value[None]
        found[key.replace("log_A_real", "A_real")] = value
    return found


def _from_full(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    state = {re.sub(r"^model\.", "", key): value for key, value in state.items()}
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        key = key.replace(".kernel.kernel.", ".kernel.")
        head, _, last = key.rpartition(".")
        if head.endswith(".kernel") and last in _V3_NAMES:
            value = value[:, None] if last == "log_dt" and value.ndim == 1 else value
            value = -value if last == "w_imag" else value
            key = f"{head}.{_V3_NAMES[last]}"
        # The layer's own module, once or twice inside of the residual block's.
        key = re.sub(r"^layers\.(\d+)\.layer\.(?:layer\.)?(kernel\.|D$)", r"layers.\1.\2", key)
        key = re.sub(r"^layers\.(\d+)\.layer\.output_linear\.(?:0\.)?", r"layers.\1.output.", key)
        key = re.sub(r"^layers\.(\d+)\.norm\.(?:norm\.)?", r"norms.\1.", key)
        key = re.sub(r"^norm\.norm\.", "norm.", key)
        key = re.sub(r"^(encoder|decoder)\.(?:0\.)?(?:output_transform\.)?(weight|bias)$", r"\1.\2", key)
        found[key] = value
    return found


def _config(state: Mapping[str, Tensor], pooling: Any, kernel: Mapping[str, Any]) -> S4DConfig:
    """What the shapes tell."""
    if "layers.0.kernel.P" in state:
        mend = "S4D has no P: train one, or use the official code."
        raise WeightsError("these are weights of S4, with its low-rank part", "kernel.P", mend)
    try:
        real, rows, skip = (state[f"layers.0.{name}"] for name in ("kernel.A_real", "kernel.C", "D"))
        output, encoder, decoder = (state[f"{name}.weight"] for name in ("layers.0.output", "encoder", "decoder"))
        if rows.ndim != 4:
            raise WeightsError("these kernels are real-valued", tuple(rows.shape), "Only complex ones are read.")
        told = KernelConfig.of(
            {
                "d_state": 2 * real.shape[-1],
                "n_ssm": real.shape[0],
                "dt_tie": state["layers.0.kernel.inv_dt"].shape[1] == 1,
                "channels": skip.shape[0],
                "bidirectional": rows.shape[0] == 2 * skip.shape[0],
                **kernel,
            }
        )
        return S4DConfig(
            d_input=encoder.shape[1],
            d_output=decoder.shape[0],
            d_model=encoder.shape[0],
            n_layers=len({key.split(".")[1] for key in state if key.startswith("layers.")}),
            dropout=0.0,
            norm="batch" if "norms.0.running_mean" in state else "layer" if "norms.0.weight" in state else "none",
            prenorm="norm.weight" in state,
            pooling=pooling,
            mixing="glu" if output.shape[0] == 2 * encoder.shape[0] else "linear",
            kernel=told,
        )
    except KeyError as error:
        mend = "Give those of the official minimal or full S4D; estimators of ours are read by their `load`."
        raise WeightsError("these are no weights of S4D", f"no {error}, {len(state)} keys", mend) from None
