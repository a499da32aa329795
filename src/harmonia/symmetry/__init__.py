"""Symmetry: functions on the sphere, groups and equivariant networks."""

from __future__ import annotations

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "GeoPriorCombiner": "location_encoder",
        "LocationClassifier": "location_encoder",
        "LocationEncoder": "location_encoder",
        "LocationRegressor": "location_encoder",
        "PresenceOnlySpeciesModel": "location_encoder",
        "SpatialBlocks": "location_encoder",
        "SphericalHarmonics": "location_encoder",
        "SphericalHarmonicsFeatures": "location_encoder",
        "encodings": "location_encoder",
        "load_geoclip": "location_encoder",
        "load_satclip": "location_encoder",
    },
)
