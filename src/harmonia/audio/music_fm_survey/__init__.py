"""Foundation models for music, a survey made to run: catalogue, probing, scaling laws, cards (arXiv 2408.14340)."""

from __future__ import annotations

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Cell": "benchmark",
        "ClipSet": "tasks",
        "ENCODERS": "encoders",
        "Encoder": "encoders",
        "MarbleProbe": "marble",
        "NetworkEncoder": "encoders",
        "ProbingBenchmark": "benchmark",
        "Report": "benchmark",
        "SpectralEncoder": "encoders",
        "Task": "tasks",
        "encoders": "encoders",
        "few_shot": "neighbours",
        "key_gains": "tasks",
        "offline_tasks": "tasks",
    },
)
