"""SONICS: synthetic or not, identifying counterfeit songs with SpecTTTra (arXiv 2408.14080)."""

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "SonicsFrontEnd": "front_end",
        "SpecTTTra": "network",
        "SpecTTTraConfig": "network",
    },
)
