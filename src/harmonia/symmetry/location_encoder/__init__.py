"""Geographic location encoding with spherical harmonics and sinusoidal networks (arXiv 2310.06743)."""

from __future__ import annotations

from harmonia.symmetry.location_encoder import encodings
from harmonia.symmetry.location_encoder.classifier import LocationClassifier
from harmonia.symmetry.location_encoder.encoder import LocationEncoder
from harmonia.symmetry.location_encoder.features import SphericalHarmonicsFeatures
from harmonia.symmetry.location_encoder.grid import Grid
from harmonia.symmetry.location_encoder.harmonics import SphericalHarmonics
from harmonia.symmetry.location_encoder.maps import WorldMap
from harmonia.symmetry.location_encoder.models import load_model
from harmonia.symmetry.location_encoder.points import SpatialBlocks, area_weights
from harmonia.symmetry.location_encoder.pretrained import load_geoclip, load_satclip
from harmonia.symmetry.location_encoder.regressor import LocationRegressor
from harmonia.symmetry.location_encoder.species import GeoPriorCombiner, PresenceOnlySpeciesModel

__all__ = [
    "GeoPriorCombiner",
    "Grid",
    "LocationClassifier",
    "LocationEncoder",
    "LocationRegressor",
    "PresenceOnlySpeciesModel",
    "SpatialBlocks",
    "SphericalHarmonics",
    "SphericalHarmonicsFeatures",
    "WorldMap",
    "area_weights",
    "encodings",
    "load_geoclip",
    "load_model",
    "load_satclip",
]
