"""Geographic location encoding with spherical harmonics and sinusoidal networks (arXiv 2310.06743)."""

from __future__ import annotations

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "GeoPriorCombiner": "species",
        "Grid": "grid",
        "LocationClassifier": "classifier",
        "LocationEncoder": "encoder",
        "LocationRegressor": "regressor",
        "PresenceOnlySpeciesModel": "species",
        "SpatialBlocks": "points",
        "SphericalHarmonics": "harmonics",
        "SphericalHarmonicsFeatures": "features",
        "WorldMap": "maps",
        "area_weights": "points",
        "encodings": "encodings",
        "load_geoclip": "pretrained",
        "load_model": "models",
        "load_satclip": "pretrained",
    },
)
