"""One solver on one kind and size of problem, `python -m benchmarks.one_transport JSON`; for `benchmarks.transport`.

Prints a line of JSON for each reg as soon as it is measured. A first call that takes longer than `limit` ends the run.
"""

import json
import signal
import sys
import time
import warnings
from typing import Any

import numpy as np
import torch

from benchmarks.measuring import measure
from benchmarks.transport_solvers import SOLVERS, TOL, Array, error


def costs(kind: str, batch: int, n: int) -> Array:
    """(batch, n, n): squared distances between two clouds in the unit square or Gaussian in 64-d, or random numbers."""
    random = np.random.default_rng(0)
    if kind == "uniform":
        return random.random((batch, n, n))
    x, y = random.random((2, batch, n, 2)) if kind == "2-d" else random.normal(size=(2, batch, n, 64))
    squares = (x * x).sum(-1)[:, :, None] + (y * y).sum(-1)[:, None, :]
    return np.ascontiguousarray(np.maximum(squares - 2 * x @ y.transpose(0, 2, 1), 0))


def run(name: str, kind: str, batch: int, n: int, share: float, seconds: float, limit: float) -> dict[str, Any]:
    cost = costs(kind, batch, n)
    SOLVERS[name](costs("uniform", 1, 4), np.ones(1))()  # loads code, which is not the solver's time

    def out_of_time(*_: Any) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(int(limit))
    start = time.perf_counter()
    try:
        step = SOLVERS[name](cost, share * cost.max((1, 2)))
        plans, iterations = step()  # compiles
        first = time.perf_counter() - start
        off = error(plans)
        signal.alarm(0)
    except TimeoutError:
        return {"failed": f"> {limit:g} s"}
    if not off <= 1.01 * TOL:
        return {"failed": f"error {off:.0e}", "seconds_wasted": first, "error": off, "iterations": iterations}
    return {**measure(step, device="cpu", seconds=seconds), "error": off, "iterations": iterations}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    arguments = json.loads(sys.argv[1])
    threads = arguments.pop("threads")
    torch.set_num_threads(threads)
    for share in arguments.pop("shares"):
        record = run(**arguments, share=share)
        print(json.dumps({"share": share, **record}), flush=True)
        if record.get("failed", "").startswith(">"):
            break  # a smaller reg takes longer
