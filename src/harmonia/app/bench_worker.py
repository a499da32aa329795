"""One side of a race, in a process of its own; run by path, also by interpreters that have no Harmonia.

``python bench_worker.py <file> <function> <threads> <arguments as JSON> <output.npy>`` calls the function once to get
a step, runs the step once to warm up, saves its output, and then, for each line on standard input, times a step and
answers with a JSON line: seconds and the peak resident memory of the process so far.
"""

import importlib.util
import json
import os
import resource
import sys
import time
from types import ModuleType
from typing import Any


def main(file: str, function: str, threads: str, arguments: str, output: str) -> None:
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = threads  # before anything reads them
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the contestants print must not mix with the answers

    step = _load(file)[function](**json.loads(arguments))
    result = step()
    if result is not None:
        import numpy as np

        np.save(output, np.asarray(result))
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps({"seconds": seconds, "peak_kib": peak}), file=answers, flush=True)


def _load(file: str) -> dict[str, Any]:
    try:
        importlib.import_module("harmonia.app.bench")
    except ImportError:
        _let_races_be_listed()
    spec = importlib.util.spec_from_file_location("benchmark", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


def _let_races_be_listed() -> None:
    """Where there is no Harmonia, a benchmark file still imports ``Race`` and lists its races; they are not run."""
    stub = ModuleType("harmonia.app.bench")
    vars(stub)["Race"] = lambda *_, **__: None
    sys.modules |= {"harmonia": ModuleType("harmonia"), "harmonia.app": ModuleType("harmonia.app"), stub.__name__: stub}


if __name__ == "__main__":
    main(*sys.argv[1:6])
