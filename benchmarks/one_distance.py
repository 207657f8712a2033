"""Cost of one implementation at one size, `python -m benchmarks.one_distance JSON`; for `benchmarks.distances`."""

import json
import sys

import torch

from benchmarks.implementations import IMPLEMENTATIONS, C
from benchmarks.measuring import measure, yield_memory_first
from geomdml import tangent

RADIUS = 0.5  # √c‖u‖


def cost(name: str, size: tuple[int, int, int], device: str, tf32: bool, seconds: float) -> dict[str, float | bool]:
    """Forward and backward of all pairs, float32: see `measuring.measure`; and whether all that came out is finite."""
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    implementation = IMPLEMENTATIONS[name]
    b, p, d = size

    def problem(*counts: int) -> list[torch.Tensor]:
        torch.manual_seed(0)
        u = [RADIUS / C**0.5 * torch.nn.functional.normalize(torch.randn(n, d)) for n in counts]
        return [(tangent.to_ball(x, c=C) if implementation.in_ball else x).to(device).requires_grad_() for x in u]

    def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        x.grad = y.grad = None
        total = implementation.pairwise(x, y).sum()
        total.backward()
        return total.detach()

    step(*problem(8, 8))  # loads code and starts threads
    x, y = problem(b, p)
    result = measure(lambda: step(x, y), device=device, seconds=seconds)
    return {**result, "finite": all(bool(t.isfinite().all()) for t in (step(x, y), x.grad, y.grad))}


if __name__ == "__main__":
    yield_memory_first()
    print(json.dumps(cost(**json.loads(sys.argv[1]))))
