r"""Encoders that others trained: SatCLIP and GeoCLIP.

SatCLIP (Klemmer et al. 2023) is this paper's encoder, spherical harmonics and SIREN, trained against satellite images.
GeoCLIP (Vivanco et al. 2023) encodes the Equal Earth projection by random Fourier features of three widths:

    v = 66.50336 / 180 * equal_earth(lon, lat),  sum over s of MLP_s([cos 2 pi B_s v, sin 2 pi B_s v]).
"""

from __future__ import annotations

import math
import pickle
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.card import Card
from harmonia.core.errors import WeightsError
from harmonia.core.weights import load_strictly, locate, read_state_dict
from harmonia.data.source import package_folder
from harmonia.symmetry.location_encoder.encoder import LocationEncoder

_LOCATION = "model.location.nnet."
_AGAIN = "model.nnet."


def load_satclip(source: str | Path) -> LocationEncoder:
    """SatCLIP's location encoder, 256 features a point, not normalised.

    A ``.ckpt`` of Lightning holds objects of classes that need not be installed here. They are read as inert
    placeholders: nothing in the file is executed, so no trust is asked for.

    Weights of SatCLIP expect the older harmonics, ``convention="satclip"``. Beyond 75 degrees of latitude the official
    harmonics of 40 degrees are themselves off by up to 0.05 (cancellation), so embeddings differ there.

    Arguments:
        source: A ``.ckpt``, a ``.safetensors`` written from the encoder, or ``hub:microsoft/SatCLIP-ViT16-L40``.

    Raises:
        WeightsError: no such file, or not of SatCLIP.

    Example::

        encoder = load_satclip("satclip-vit16-l40.ckpt")
        encoder.encode(torch.tensor([[5.6, 51.9]]))            # (1, 256)
        encoder.checkpoint().write("satclip-vit16-l40.safetensors")
    """
    path = locate(source, released=Card.load(Path(__file__).with_name("card.toml")).weights)
    if path.suffix == ".safetensors":
        return LocationEncoder.from_checkpoint(path)
    content = read_inertly(path)
    parameters, state = content.get("hyper_parameters"), content.get("state_dict")
    if not isinstance(parameters, Mapping) or not isinstance(state, Mapping):
        raise WeightsError("this is no checkpoint of SatCLIP", f"the keys {list(content)[:6]}", "Pass its .ckpt file.")
    if (parameters.get("le_type"), parameters.get("pe_type")) != ("sphericalharmonics", "siren"):
        raise WeightsError(
            "only SatCLIP with spherical harmonics and SIREN is read",
            f"le_type={parameters.get('le_type')}, pe_type={parameters.get('pe_type')}",
            "Use one of the released SatCLIP-*-L10 and -L40 files.",
        )
    closed_form = parameters.get("harmonics_calculation") == "closed-form"
    encoder = LocationEncoder(
        "sh",
        "siren",
        outputs=int(parameters["embed_dim"]),
        degree=int(parameters["legendre_polys"]),
        convention="closed-form" if closed_form else "satclip",
        hidden=int(parameters["capacity"]),
        layers=int(parameters["num_hidden_layers"]),
    ).to(torch.float64)
    prefix = _LOCATION if any(key.startswith(_LOCATION) for key in state) else _AGAIN
    tensors = {key.removeprefix(prefix): value.double() for key, value in state.items() if key.startswith(prefix)}
    fields = {"layers.0": "legendre_polys or capacity", "layers": "capacity", "last_layer": "embed_dim"}
    load_strictly(encoder.network, tensors, fields)
    return encoder.eval()


def read_inertly(path: Path) -> dict[str, Any]:
    """A pickled checkpoint of PyTorch in which everything that is no tensor or plain container is an empty placeholder.

    The released checkpoints hold objects of their training framework beside the tensors, which ``weights_only=True``
    refuses even as placeholders. This unpickler is the stricter of the two: it resolves three kinds of names, all of
    them tensors' own, and neither imports nor calls anything else that a file names.

    Raises:
        WeightsError: not a checkpoint.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=False, pickle_module=_inert_pickle)
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        raise WeightsError(f"{path.name} is no checkpoint", got, "Fetch it again.") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path.name} is no checkpoint", type(content).__name__, "Pass a .ckpt file.")
    return content


class _Placeholder(dict[Any, Any]):
    """Stands for an object of any class: takes what a pickle gives it and does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)

    def __setstate__(self, state: object) -> None: ...

    def append(self, item: object) -> None: ...

    def extend(self, items: object) -> None: ...


class _InertUnpickler(pickle.Unpickler):
    """Knows how tensors are rebuilt; every other name is a placeholder, so nothing of the file's choice is called."""

    def find_class(self, module: str, name: str) -> Any:
        rebuilds = module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_parameter")
        stored = module in ("torch", "torch.storage") and name.endswith("Storage")
        if rebuilds or stored or (module, name) == ("collections", "OrderedDict"):
            return super().find_class(module, name)
        return _Placeholder


_inert_pickle = types.SimpleNamespace(
    Unpickler=_InertUnpickler, load=lambda file, **options: _InertUnpickler(file, **options).load(), __name__="inert"
)


class GeoCLIPEncoder(nn.Module):
    """GeoCLIP's location encoder, 512 features a point."""

    num_capsules = 3

    def __init__(self) -> None:
        super().__init__()
        for i in range(self.num_capsules):
            self.add_module(f"LocEnc{i}", _Capsule())

    def forward(self, lonlat: Float[Tensor, "points 2"]) -> Float[Tensor, "points 512"]:
        projected = _equal_earth(lonlat).to(torch.float32)
        return torch.stack([capsule(projected) for capsule in self.children()]).sum(0)

    @torch.no_grad()
    def encode(self, lonlat: Float[Tensor, "points 2"]) -> Float[Tensor, "points 512"]:
        """Features without gradients, in chunks."""
        return torch.cat([self(chunk) for chunk in lonlat.split(2**14)])


class _Capsule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        wide = [layer for inputs in (512, 1024, 1024) for layer in (nn.Linear(inputs, 1024), nn.ReLU())]
        self.capsule = nn.Sequential(_FourierFeatures(), *wide)
        self.head = nn.Sequential(nn.Linear(1024, 512))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.capsule(x))


class _FourierFeatures(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.zeros(256, 2), requires_grad=False)

    def forward(self, v: Tensor) -> Tensor:
        angle = 2 * math.pi * v @ self.b.T
        return torch.cat([angle.cos(), angle.sin()], dim=-1)


def _equal_earth(lonlat: Tensor) -> Tensor:
    """The projection as GeoCLIP computes it, in the precision of the points."""
    a1, a2, a3, a4 = 1.340264, -0.081106, 0.000893, 0.003796
    lon, lat = torch.deg2rad(lonlat).unbind(-1)
    theta = torch.asin(math.sqrt(3) / 2 * torch.sin(lat))
    slope = 9 * a4 * theta**8 + 7 * a3 * theta**6 + 3 * a2 * theta**2 + a1
    x = 2 * math.sqrt(3) * lon * torch.cos(theta) / (3 * slope)
    y = a4 * theta**9 + a3 * theta**7 + a2 * theta**3 + a1 * theta
    return torch.stack([x, y], dim=1) * (66.50336 / 180)


def load_geoclip(source: str | Path | None = None) -> GeoCLIPEncoder:
    """GeoCLIP's location encoder with its published weights (MIT).

    Arguments:
        source: ``location_encoder_weights.pth``; the one in the installed package ``geoclip`` unless given, which need
            not be importable (``pip install --no-deps geoclip``).

    Raises:
        MissingDependency: no source and the package is not installed.
        WeightsError: not these weights.
    """
    path = package_folder("geoclip", extra="peers") / "model/weights/location_encoder_weights.pth"
    path = locate(path if source is None else source)
    encoder = GeoCLIPEncoder()
    load_strictly(encoder, read_state_dict(path))
    return encoder.eval()
