"""What does a training step cost with a million classes, of which a hundredth takes part?

    python -m benchmarks.million_classes          # 5 GB in all, about a minute; --others nearest

CHEST in float32 (its head, both spaces, HypHC), K = 2 proxies of dimension 128 a class, a batch of 64 images of 32
classes, and the step of Adam on the rows that took part. Beside it, step by step in turn, the same with 10,000 classes
of which all take part: as many proxies. Prints the medians, the median of the ratios, and the memory that the large
model takes beyond its parameters: the state of Adam, and the peak of the steps.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.machine import machine
from benchmarks.measuring import forget_peak, peak, yield_memory_first
from geomdml.losses import CHESTLoss
from geomdml.nn import HyperbolicHead
from geomdml.optim import RowAdam
from geomdml.spaces import Hyperbolic

D, K, BATCH = 128, 2, 64


def training(classes: int, **options: float | str) -> tuple[int, Callable[[], None]]:
    """The bytes of the parameters, and a step."""
    torch.manual_seed(0)
    head = HyperbolicHead(D, D, space=Hyperbolic(c=0.5), clip=1.0)
    loss = CHESTLoss(classes, D, centers_per_class=K, **options)
    parameters = [*head.parameters(), *loss.parameters()]
    optimizer = RowAdam(parameters, lr=1e-3)

    def step() -> None:
        labels = torch.randint(classes, (BATCH // 2,)).repeat(2)
        optimizer.zero_grad()
        loss(torch.randn(BATCH, D), labels, head=head).backward()
        optimizer.step()

    return sum(p.numel() * p.element_size() for p in parameters), step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=1_000_000)
    parser.add_argument("--sample", type=float, default=0.01)
    parser.add_argument("--others", choices=["random", "nearest"], default="random")
    parser.add_argument("--steps", type=int, default=15)
    options = parser.parse_args()
    yield_memory_first()
    torch.set_num_threads(1)
    _, small = training(round(options.classes * options.sample))
    size, large = training(options.classes, sample=options.sample, others=options.others)
    for step in (small, large, small):
        step()
    start = forget_peak("cpu") - 2 * size  # what there was before Adam's two states, of which some rows are made
    times: list[tuple[float, float]] = []
    for _ in range(options.steps):
        times.append((_seconds(small), _seconds(large)))
    found = {
        "parameters, GB": size / 2**30,
        "beyond them at the peak, with Adam's states whole, GB": (peak("cpu") - start) / 2**30,
        "step, ms": 1e3 * statistics.median(large for _, large in times),
        f"step with {round(options.classes * options.sample)} classes, all of them, ms": 1e3
        * statistics.median(small for small, _ in times),
        "ratio": statistics.median(large / small for small, large in times),
    }
    print(json.dumps({**vars(options), **found, **machine(1, ("torch",))}))


def _seconds(step: Callable[[], None]) -> float:
    start = time.process_time()
    step()
    return time.process_time() - start


if __name__ == "__main__":
    main()
