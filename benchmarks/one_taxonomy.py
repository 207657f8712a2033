"""One measurement of `benchmarks.taxonomy`, `python -m benchmarks.one_taxonomy JSON`.

"train" trains one method and scores it; "distance" times the distances of one step, "step" a step of the app.
"""

import json
import os
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from apps.taxonomy.data import TaxonomyData
from apps.taxonomy.model import TaxonomyEmbedding
from benchmarks.measuring import measure
from benchmarks.taxonomy_methods import DIM, METHODS, geoopt_ball
from geomdml.hierarchy import reconstruction
from geomdml.spaces import Hyperbolic

PAIRS, NEGATIVES, LENGTH = 512, 50, 1.0  # LENGTH of tangent vectors, half the distance from the origin

Distance = Callable[[Tensor, Tensor], Tensor]


def trained(root_synset: str, name: str, rate: float, steps: int, seed: int) -> dict[str, float]:
    data = TaxonomyData(root_synset=root_synset)
    found = METHODS[name].train(data, rate, steps, seed)
    points, space = found.points, found.space
    with torch.no_grad():
        radius = space.dist(points, torch.zeros_like(points)).max()
    scores = reconstruction(points, data.known, space=space)
    return {
        "map": 100 * scores.map,
        "mean_rank": scores.mean_rank,
        "radius": float(radius),
        "trained": found.steps,
        "seconds": found.seconds,
        "step": found.step,
        "load": os.getloadavg()[0],
    }


def distances() -> dict[str, tuple[Distance, Callable[[Tensor], Tensor]]]:
    """Distances, and how tangent vectors become the points that they take."""
    ours = {f"geomdml.{chart}": Hyperbolic(1.0, chart=chart) for chart in ("tangent", "ball", "lorentz")}
    ball = geoopt_ball()
    return {
        **{name: (space.dist, space.expmap0) for name, space in ours.items()},
        "geoopt dist": (ball.dist, ball.expmap0),
        "geoopt dist of expmap0": (lambda x, y: ball.dist(ball.expmap0(x), ball.expmap0(y)), lambda u: u),
    }


def distance(name: str, seconds: float) -> dict[str, float]:
    """Forward and backward of the distances of PAIRS nodes to an ancestor and NEGATIVES each, float32."""
    torch.manual_seed(0)
    measured, place = distances()[name]
    shapes = (PAIRS, 1, DIM), (PAIRS, 1 + NEGATIVES, DIM)
    x, y = (place(LENGTH / DIM**0.5 * torch.randn(shape)).requires_grad_() for shape in shapes)

    def step() -> None:
        x.grad = y.grad = None
        measured(x, y).sum().backward()

    return measure(step, device="cpu", seconds=seconds)


def step(nodes: int, rows: int, seconds: float) -> dict[str, float]:
    """A step of the app as it is by default, at so many nodes; of these, so many are in the batches."""
    torch.manual_seed(0)
    model = TaxonomyEmbedding(nodes, dim=DIM, initial="random", start=LENGTH)
    optimizer = model.make_optimizer()
    among = torch.randperm(nodes)[:rows]
    batches = [among[torch.randint(rows, (PAIRS, 2 + NEGATIVES))] for _ in range(16)]

    def one() -> None:
        batches.append(batches.pop(0))
        loss = model(batches[0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return measure(one, device="cpu", seconds=seconds)


KINDS: dict[str, Callable[..., dict[str, float]]] = {"train": trained, "distance": distance, "step": step}

if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    torch.set_num_threads(arguments.pop("threads"))
    print(json.dumps(KINDS[arguments.pop("kind")](**arguments)))
