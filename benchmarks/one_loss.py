"""Cost of one loss at one size, `python -m benchmarks.one_loss JSON`; for `benchmarks.losses`."""

import json
import sys
from collections.abc import Callable

import torch
from pytorch_metric_learning.losses import ProxyAnchorLoss
from pytorch_metric_learning.losses import SoftTripleLoss as TheirSoftTriple
from torch import Tensor, nn

from benchmarks.implementations import C as CURVATURE
from benchmarks.implementations import mobius_pairwise
from benchmarks.measuring import measure, yield_memory_first
from geomdml.losses import CHESTLoss, SoftTripleLoss
from geomdml.nn import HyperbolicHead
from geomdml.spaces import Hyperbolic

Size = tuple[int, int, int, int]  # B, C, K, D
Problem = tuple[list[Tensor], Callable[[Tensor, Tensor], Tensor]]

BASE, OURS, BAR = "matmul", "CHEST", "SoftTriple (pytorch-metric-learning)"


def product(classes: int, centers: int, dim: int) -> Problem:
    """All inner products with the proxies: what no loss can do without."""
    proxies = (torch.randn(classes * centers, dim) / dim**0.5).requires_grad_()
    return [proxies], lambda x, labels: (x @ proxies.T).sum()


def chest(classes: int, centers: int, dim: int) -> Problem:
    """Two spaces, HypHC, and the proxies mapped through the head."""
    head = HyperbolicHead(dim, dim, space=Hyperbolic(c=CURVATURE), norm="layer", clip=10.0)
    loss = CHESTLoss(classes, dim, centers_per_class=centers)
    return [*loss.parameters(), *head.parameters()], lambda x, labels: loss(x, labels, head=head)


def module(loss: nn.Module) -> Problem:
    return list(loss.parameters()), loss


def mobius(classes: int, centers: int, dim: int) -> Problem:
    """The distance matrix of the Hyp-ViT formula to all proxies, with no loss made of it."""
    proxies = (0.5 * torch.nn.functional.normalize(torch.randn(classes * centers, dim))).requires_grad_()
    return [proxies], lambda x, labels: mobius_pairwise(0.5 * torch.nn.functional.normalize(x), proxies).sum()


LOSSES: dict[str, Callable[[int, int, int], Problem]] = {
    BASE: product,
    OURS: chest,
    "geomdml SoftTriple, Euclidean": lambda c, k, d: module(SoftTripleLoss(c, d, centers_per_class=k)),
    "geomdml SoftTriple, hyperbolic": lambda c, k, d: module(
        SoftTripleLoss(c, d, centers_per_class=k, space=Hyperbolic(c=CURVATURE))
    ),
    BAR: lambda c, k, d: module(TheirSoftTriple(c, d, centers_per_class=k)),
    "ProxyAnchor (pytorch-metric-learning), K = 1": lambda c, k, d: module(ProxyAnchorLoss(c, d)),
    "Hyp-ViT matrix": mobius,
}
BROADCASTS = {"Hyp-ViT matrix"}  # make a (B, C·K, D) tensor, so that their memory can be foretold


def cost(name: str, size: Size, seconds: float) -> dict[str, float | bool]:
    """Forward and backward in float32: see `measuring.measure`; and whether all that came out is finite."""

    def problem(size: Size) -> tuple[list[Tensor], Callable[[], Tensor]]:
        batch, classes, centers, dim = size
        torch.manual_seed(0)
        parameters, loss = LOSSES[name](classes, centers, dim)
        x, labels = torch.randn(batch, dim, requires_grad=True), torch.randint(classes, (batch,))
        leaves = [x, *parameters]

        def step() -> Tensor:
            for leaf in leaves:
                leaf.grad = None
            total = loss(x, labels)
            total.backward()
            return total.detach()

        return leaves, step

    problem((8, 4, 2, 8))[1]()  # loads code and starts threads
    leaves, step = problem(size)
    result = measure(step, device="cpu", seconds=seconds)
    return {**result, "finite": all(bool(t.isfinite().all()) for t in (step(), *(leaf.grad for leaf in leaves)))}


if __name__ == "__main__":
    yield_memory_first()
    print(json.dumps(cost(**json.loads(sys.argv[1]))))
