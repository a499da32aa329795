"""A location encoder: an encoding of longitude and latitude, and a small network on top."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.errors import InputError, WeightsError
from harmonia.core.weights import Checkpoint, load_strictly
from harmonia.symmetry.location_encoder.encodings import Compat, make_encoding
from harmonia.symmetry.location_encoder.grid import Grid, synthesise
from harmonia.symmetry.location_encoder.harmonics import SphericalHarmonics
from harmonia.symmetry.location_encoder.networks import Linear, Network, make_network

CHUNK = 2**24
"""Numbers of the widest intermediate that `LocationEncoder` holds at a time when it evaluates without gradients."""


PROCESS = "process."
"""Prefix of tensors in a checkpoint that belong to an estimator rather than to its network."""


class LocationEncoder(nn.Module, PyTorchModelHubMixin):
    r"""Longitude and latitude in degrees to features or predictions: ``network(encoding(lon, lat))``.

    The paper's best is ``sh`` with ``siren``: sin(W_n ... sin(30 (W_1 Y(lon, lat) + b_1))), one smooth function on the
    whole sphere without seams or poles.

    Arguments:
        encoding: ``sh``, ``direct``, ``cartesian3d``, ``wrap``, ``grid``, ``theory``, ``spherec``, ``spherec+``,
            ``spherem`` or ``spherem+``.
        network: ``siren``, ``fcnet`` or ``linear``.
        outputs: Number of outputs.
        degree: Degrees L of the harmonics; details are about 180 / L degrees.
        convention: Signs of the harmonics, see `SphericalHarmonics`.
        hidden: Units of a hidden layer.
        layers: Hidden layers of ``siren``.
        w0: Frequency of the first layer of ``siren``.
        dropout: Dropout of ``siren``.
        num_scales, min_radius, max_radius, compat: Of the multi-scale encodings.
        seed: Of the initial weights.

    Raises:
        InputError: an unknown name or an impossible size.

    Example:
        >>> encoder = LocationEncoder("sh", "siren", outputs=256, degree=20)
        >>> encoder(torch.tensor([[5.6, 51.9]])).shape
        torch.Size([1, 256])
    """

    def __init__(
        self,
        encoding: str = "sh",
        network: str = "siren",
        *,
        outputs: int = 1,
        degree: int = 10,
        convention: str = "standard",
        hidden: int = 64,
        layers: int = 2,
        w0: float = 30.0,
        dropout: float = 0.0,
        num_scales: int = 16,
        min_radius: float = 10.0,
        max_radius: float = 360.0,
        compat: Compat = "",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "encoding": encoding,
            "network": network,
            "outputs": outputs,
            "degree": degree,
            "convention": convention,
            "hidden": hidden,
            "layers": layers,
            "w0": w0,
            "dropout": dropout,
            "num_scales": num_scales,
            "min_radius": min_radius,
            "max_radius": max_radius,
            "compat": compat,
        }
        self.encoding = make_encoding(
            encoding,
            degree=degree,
            convention=convention,
            num_scales=num_scales,
            min_radius=min_radius,
            max_radius=max_radius,
            compat=compat,
        )
        features: int = self.encoding.num_features  # type: ignore[assignment]
        self.network: Network = make_network(
            network, features, outputs, hidden=hidden, layers=layers, w0=w0, dropout=dropout
        )
        self.network.reset_parameters(torch.Generator().manual_seed(seed))

    @property
    def dtype(self) -> torch.dtype:
        return self.network.first.weight.dtype

    def forward(self, lonlat: Float[Tensor, "points 2"]) -> Float[Tensor, "points outputs"]:
        """Outputs in the precision of the network; differentiable in weights and points."""
        return self.network.head(self.network.hidden(self._first(lonlat)))

    def features(self, lonlat: Float[Tensor, "points 2"]) -> Float[Tensor, "points features"]:
        """The encoding alone, made in float64 and rounded to the precision of the network."""
        return self.encoding(lonlat.to(torch.float64)).to(self.dtype)

    def encode(self, lonlat: Float[Tensor, "points 2"]) -> Float[Tensor, "points outputs"]:
        """Outputs without gradients, in chunks, with dropout off."""
        return self._in_chunks(lonlat, self.forward)

    def encode_hidden(self, lonlat: Float[Tensor, "points 2"]) -> Float[Tensor, "points hidden"]:
        """The last hidden layer, or the encoding where there is none: features for a linear model."""
        if isinstance(self.network, Linear):
            return self._in_chunks(lonlat, self.features)
        return self._in_chunks(lonlat, lambda chunk: self.network.hidden(self._first(chunk)))

    def on_grid(self, grid: Grid) -> Float[Tensor, "rows columns outputs"]:
        """Outputs at all cells of a grid; harmonics are summed by Fourier transform."""
        first, encoding = self.network.first, self.encoding
        step = max(1, CHUNK // max(grid.columns * first.out_features, first.in_features))
        bands = [slice(start, start + step) for start in range(0, grid.rows, step)]

        def outputs(band: slice) -> Tensor:
            if not isinstance(encoding, SphericalHarmonics):
                points = torch.from_numpy(grid.points(band)).to(first.weight.device)
                return self(points).unflatten(0, (-1, grid.columns))
            projected = synthesise(encoding, first.weight, grid, band)
            return self.network.head(self.network.hidden(self._with_bias(projected)))

        with torch.no_grad(), _evaluation(self):
            return torch.cat([outputs(band) for band in bands])

    def checkpoint(self, **metadata: Any) -> Checkpoint:
        """The weights with their configuration, to be written as one ``.safetensors`` file."""
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
        state = {key: value.detach().clone() for key, value in self.network.state_dict().items()}
        return Checkpoint(state, {"location_encoder": json.dumps(self.config), **texts})

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint | str | Path) -> LocationEncoder:
        """The encoder of a checkpoint, or of the file it was written to.

        Raises:
            WeightsError: not a file of weights, or not of a location encoder.
        """
        if not isinstance(checkpoint, Checkpoint):
            checkpoint = Checkpoint.read(checkpoint)
        if "location_encoder" not in checkpoint.metadata:
            raise WeightsError(
                "the file holds no location encoder",
                f"metadata {sorted(checkpoint.metadata) or 'none'}",
                "Use a file written by this method; a SatCLIP .ckpt is read by load_satclip.",
            )
        try:
            encoder = cls(**json.loads(checkpoint.metadata["location_encoder"]))
        except (TypeError, ValueError) as error:
            raise WeightsError("the configuration in the file is not valid", error, "Write the file again.") from error
        tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if not name.startswith(PROCESS)}
        double = any(tensor.dtype == torch.float64 for tensor in tensors.values())
        encoder.network.to(torch.float64 if double else torch.float32)
        load_strictly(encoder.network, tensors, {"layers.0": "degree", "last_layer": "outputs", "layers": "hidden"})
        return encoder.eval()

    def _first(self, lonlat: Tensor) -> Tensor:
        """Output of the first layer; without gradients in the points, the harmonics are never held all at once."""
        if isinstance(self.encoding, SphericalHarmonics) and not lonlat.requires_grad:
            return self._with_bias(self.encoding.project(lonlat, self.network.first.weight))
        return self.network.first(self.features(lonlat))

    def _with_bias(self, projected: Tensor) -> Tensor:
        bias = self.network.first.bias
        return projected if bias is None else projected + bias

    def _in_chunks(self, lonlat: Tensor, function: Any) -> Tensor:
        if lonlat.ndim != 2 or lonlat.shape[1] != 2:
            raise InputError(
                "points have two columns, longitude and latitude", f"shape {tuple(lonlat.shape)}", "Reshape to (n, 2)."
            )
        step = max(1, CHUNK // self.network.first.in_features)
        with torch.no_grad(), _evaluation(self):
            return torch.cat([function(chunk) for chunk in lonlat.split(step)])


class _evaluation:
    """Dropout off inside, as before outside."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.before = module, module.training

    def __enter__(self) -> None:
        self.module.eval()

    def __exit__(self, *_: object) -> None:
        self.module.train(self.before)
