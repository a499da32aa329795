"""One side of a race, in a process of its own; run by path, also by interpreters that have no Harmonia.

``python bench_worker.py <file> <function> <threads> <arguments as JSON> <output.npy>`` calls the function once to get
a step, runs the step once to warm up, saves its output, and then, for each line on standard input, times a step and
answers with a JSON line: seconds and the peak resident memory so far.
"""

import importlib.util
import json
import os
import resource
import sys
import time

file, function, threads, arguments, output = sys.argv[1:6]
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = threads
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the contestants print must not mix with the answers

import numpy as np  # noqa: E402

spec = importlib.util.spec_from_file_location("benchmark", file)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
try:
    import torch

    torch.set_num_threads(int(threads))
except ImportError:
    pass
step = getattr(module, function)(**json.loads(arguments))
# Memory is counted from here: what the interpreter and its imports take is not the method's.
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
result = step()
if result is not None:
    np.save(output, np.asarray(result))
print(json.dumps({"ready": True}), file=answers, flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    step()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": seconds, "peak_kib": peak, "own_kib": peak - before}), file=answers, flush=True)
