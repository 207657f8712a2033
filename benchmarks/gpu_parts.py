"""The parts of `benchmarks.gpu`, each in a process of its own: `python -m benchmarks.gpu_parts JSON` prints a table.

Every part runs on the CPU too, at tiny sizes (`tiny`), so that its first run on a GPU is not its first run.
"""

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.implementations import C
from benchmarks.measuring import measure
from benchmarks.products import OURS, PRODUCTS, in_chart
from geomdml import poincare, tangent
from geomdml.losses import CHESTLoss, SoftTripleLoss
from geomdml.nn import HyperbolicHead
from geomdml.spaces import Hyperbolic

Table = dict[str, Any]  # header, rows, and a note
Size = tuple[int, ...]

RADIUS = 0.5  # √c‖u‖
PEERS = ("MERU", "geoopt main")


def directions(*shape: int, seed: int = 0) -> Tensor:
    return nn.functional.normalize(torch.randn(shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def timed(step: Callable[[], object], device: str, tiny: bool) -> float:
    """Median milliseconds."""
    return 1e3 * measure(step, device=device, seconds=0.0 if tiny else 0.7)["seconds"]


def accuracy(device: str, tiny: bool) -> Table:
    """Largest relative error in float32 against 50 digits, of random pairs at one radius, and of near ones."""
    count, dim = (3, 8) if tiny else (12, 64)
    rows = []
    for tf32 in (False, True):
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        for name, (pairwise, chart, exact) in PRODUCTS.items():
            cells = [name, "TF32" if tf32 else "float32"]
            for radius, near in ((0.5, False), (2.0, False), (8.0, False), (2.0, True)):
                u = radius / C**0.5 * directions(count, dim)
                v = u * (1 + 1e-4) if near else radius / C**0.5 * directions(count, dim, seed=1)
                x, y = (in_chart(chart, w) for w in (u, v))
                found = pairwise(x.to(device), y.to(device)).cpu()
                found = found.diagonal() if near else found.flatten()
                pairs = list(zip(x, y, strict=True)) if near else [(a, b) for a in x for b in y]
                errors = [
                    abs(d - e) / e for d, e in zip(found.tolist(), (exact(a, b, c=C) for a, b in pairs), strict=True)
                ]
                cells.append(f"{float(max(errors)):.1e}" if bool(found.isfinite().all()) else "not finite")
            rows.append(cells)
    return {"header": ["", "products", "√c‖u‖ = 0.5", "2", "8", "2, 1e-4 apart"], "rows": rows}


def placement(device: str, tiny: bool) -> Table:
    """Every public function, loss, solver and score, forward and backward, beside the CPU: the worst difference."""
    from tests.geomdml.test_devices import CASES, evaluated

    drawn_there = ("HIER", "sample", "start_at")  # random numbers of a GPU are its own
    names = [name for name in CASES if not any(word in name for word in drawn_there)][: 8 if tiny else None]
    rows = []
    for name in names:
        try:
            pairs = zip(evaluated(CASES[name], device), evaluated(CASES[name], "cpu"), strict=True)
            for a, b in pairs:
                if isinstance(b, Tensor):
                    torch.testing.assert_close(a.cpu(), b, rtol=1e-5, atol=1e-6, equal_nan=True)
        except Exception as error:  # the table says which
            rows.append([name, (str(error).strip().splitlines() or [type(error).__name__])[0][:120]])
    return {"header": ["differs", "how"], "rows": rows, "note": f"{len(names) - len(rows)} of {len(names)} agree."}


def kernels(device: str, tiny: bool) -> Table:
    """Triton's kernels beside torch's operations: the largest difference, and what either takes."""
    if device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"
    from geomdml._core.all_pairs import fused

    rows = []
    for size in [(5, 7, 4)] if tiny else [(64, 4096, 64), (512, 32768, 384)]:
        x, y = (RADIUS / C**0.5 * directions(n, size[2], seed=n) for n in size[:2])
        x, y = (z.to(device).requires_grad_() for z in (x, y))

        def step(x: Tensor = x, y: Tensor = y) -> list[Tensor]:
            dist = tangent.pairwise_dist(x, y, c=C)
            return [dist, *torch.autograd.grad(dist.sum(), (x, y))]

        found, milliseconds = {}, {}
        for forced in (True, False):
            with fused.kernels(forced):
                found[forced], milliseconds[forced] = step(), timed(step, device, tiny)
        apart = max(float((a - b).norm() / b.norm()) for a, b in zip(found[True], found[False], strict=True))
        rows.append([by(size), *(f"{milliseconds[forced]:.3g}" for forced in (True, False)), f"{apart:.1e}"])
    return {"header": ["tangent", "kernels, ms", "torch, ms", "largest relative difference"], "rows": rows}


def distances(device: str, tiny: bool) -> Table:
    """Forward and backward of all pairs in float32, and how many times the faster of MERU's and geoopt's formula."""
    sizes = [(16, 16, 8), (50, 50, 64), (200, 1000, 384), (75, 22636, 384), (512, 100_000, 512)]
    rows = []
    for size in [(4, 6, 3)] if tiny else sizes:
        for itself in (False, True) if size[1] <= 1000 else (False,):
            u = RADIUS / C**0.5 * directions(size[0], size[2])
            v = u if itself else RADIUS / C**0.5 * directions(size[1], size[2], seed=1)
            took = {}
            for name, (pairwise, chart, _) in PRODUCTS.items():
                x, y = (in_chart(chart, w).to(device).requires_grad_() for w in (u, v))
                y = x if itself else y
                took[name] = timed(
                    lambda f=pairwise, x=x, y=y: torch.autograd.grad(f(x, y).sum(), [x, y]), device, tiny
                )
            peer = min(took[name] for name in PEERS)
            cells = [f"{took[name]:.3g} ({took[name] / peer:.2f})" for name in OURS]
            rows.append(
                [by(size) + (", with itself" if itself else ""), *cells, *(f"{took[name]:.3g}" for name in PEERS)]
            )
    return {"header": ["", *(f"{name}, ms" for name in (*OURS, *PEERS))], "rows": rows}


def one_to_many(device: str, tiny: bool) -> Table:
    """(512, 1, 5) × (512, 51, 5), forward and backward; geoopt's own `dist` where it is installed."""
    batch, many = (4, 3) if tiny else (512, 51)
    u, v = RADIUS / C**0.5 * directions(batch, 1, 5), RADIUS / C**0.5 * directions(batch, many, 5, seed=1)
    functions: dict[str, tuple[str, Callable[[Tensor, Tensor], Tensor]]] = {
        "tangent": ("tangent", lambda x, y: tangent.dist(x, y, c=C)),
        "ball": ("ball", lambda x, y: poincare.dist(x, y, c=C)),
    }
    try:
        from geoopt import PoincareBall

        functions["geoopt"] = ("ball", PoincareBall(c=C).to(device).dist)
    except ModuleNotFoundError:
        pass
    rows = []
    for name, (chart, dist) in functions.items():
        x, y = (in_chart(chart, w).to(device).requires_grad_() for w in (u, v))
        rows.append([name, f"{timed(partial(_gradients, dist, x, y), device, tiny):.3g}"])
    return {"header": ["", "ms"], "rows": rows}


def _gradients(f: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(f(x, y).sum(), [x, y])


def _train(value: Callable[[], Tensor], optimiser: torch.optim.Optimizer) -> None:
    loss = value()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def losses(device: str, tiny: bool) -> Table:
    """A step of CHEST and of SoftTriple beside the matrix products that they cannot avoid, all in float32."""
    rows = []
    for size in [(4, 3, 2, 6)] if tiny else [(200, 100, 10, 384), (75, 11318, 2, 384), (256, 100_000, 2, 512)]:
        batch, classes, centers, dim = size
        torch.manual_seed(0)
        x = torch.randn(batch, dim, device=device, requires_grad=True)
        labels = torch.randint(classes, (batch,), device=device)
        head = HyperbolicHead(dim, dim, space=Hyperbolic(c=C), clip=10.0).to(device)
        chest = CHESTLoss(classes, dim, centers_per_class=centers).to(device)
        soft = SoftTripleLoss(classes, dim, centers_per_class=centers, space=Hyperbolic(c=C)).to(device)
        flat = chest.proxies.vectors.detach().flatten(0, 1).requires_grad_()

        def products(x: Tensor = x, flat: Tensor = flat, head: HyperbolicHead = head) -> Tensor:
            return (head.linear(x) @ head.linear(flat).T).sum() + (x @ flat.T).sum()

        steps = {
            "CHEST": (
                lambda x=x, y=labels, f=chest, h=head: f(x, y, head=h),
                [x, *chest.parameters(), *head.parameters()],
            ),
            "SoftTriple": (lambda x=x, y=labels, f=soft: f(x, y), [x, *soft.parameters()]),
            "products of CHEST": (products, [x, flat, *head.linear.parameters()]),
        }
        took = {
            name: timed(lambda f=f, p=p: torch.autograd.grad(f(), p), device, tiny) for name, (f, p) in steps.items()
        }
        ratio = took["CHEST"] / took["products of CHEST"]
        rows.append([by(size), *(f"{took[name]:.3g}" for name in steps), f"{ratio:.2f}"])
    header = ["(B, C, K, D)", "CHEST, ms", "SoftTriple, ms", "products of CHEST, ms", "CHEST / its products"]
    return {"header": header, "rows": rows}


def precision(device: str, tiny: bool) -> Table:
    """bf16 and autocast give the float32 loss of the rounded inputs; so does torch.compile of the given ones."""
    torch.manual_seed(0)
    loss = SoftTripleLoss(5, 16, space=Hyperbolic(c=C)).to(device)
    labels = torch.arange(8, device=device) % 5
    x = directions(8, 16).to(device)
    rows = []

    def compare(name: str, found: Callable[[Tensor], Tensor], given: Tensor, wanted: Tensor) -> None:
        leaf, reference = given.clone().requires_grad_(), wanted.clone().requires_grad_()
        value, expected = found(leaf), loss(reference, labels)
        (a,), (b,) = torch.autograd.grad(value, leaf), torch.autograd.grad(expected, reference)
        by_value = float((value - expected).detach().abs() / expected.detach().abs())
        rows.append([name, f"{by_value:.1e}", f"{float((a.float() - b).norm() / b.norm()):.1e}"])

    half = x.bfloat16()
    with torch.autocast(device, dtype=torch.bfloat16):
        compare("bf16 inputs, autocast", lambda x: loss(x, labels), half, half.float())
    backend = "aot_eager" if tiny else "inductor"
    compare(f"torch.compile, {backend}", lambda x: torch.compile(loss, backend=backend)(x, labels), x, x)
    return {"header": ["", "loss differs by", "gradient differs by"], "rows": rows}


def training(device: str, tiny: bool) -> Table:
    """Images a second of a ViT-S/16 in bf16, AdamW: with CHEST of 1,000 classes, and with a linear layer of them."""
    import timm

    name, batch, classes, pixels = (
        ("vit_tiny_patch16_224", 2, 4, 32) if tiny else ("vit_small_patch16_224", 128, 1000, 224)
    )
    images = torch.randn(batch, 3, pixels, pixels, device=device)
    labels = torch.randint(classes, (batch,), device=device)
    speed = {}
    for kind in ("linear", "CHEST"):
        torch.manual_seed(0)
        network = timm.create_model(name, num_classes=0, img_size=pixels).to(device)
        dim = network.num_features
        head = HyperbolicHead(dim, dim, space=Hyperbolic(c=C)) if kind == "CHEST" else nn.Linear(dim, classes)
        loss = CHESTLoss(classes, dim) if kind == "CHEST" else nn.CrossEntropyLoss()
        head, loss = head.to(device), loss.to(device)
        optimiser = torch.optim.AdamW([*network.parameters(), *head.parameters(), *loss.parameters()], lr=1e-5)

        def value(network: nn.Module, head: nn.Module, loss: nn.Module, whole: bool) -> Tensor:
            with torch.autocast(device, dtype=torch.bfloat16):
                features = network(images)
                return loss(features, labels, head=head) if whole else loss(head(features), labels)

        step = partial(_train, partial(value, network, head, loss, kind == "CHEST"), optimiser)
        speed[kind] = 1e3 * batch / timed(step, device, tiny)
    rows = [[kind, f"{rate:.0f}", f"{rate / speed['linear']:.2f}"] for kind, rate in speed.items()]
    return {"header": [name, "images a second", "of the linear layer's"], "rows": rows}


def scores(device: str, tiny: bool) -> Table:
    """Seconds of scores, search and transport."""
    from geomdml.metrics import retrieval
    from geomdml.search import knn
    from geomdml.transport import sinkhorn

    count, dim = (20, 4) if tiny else (20_000, 128)
    x, labels = directions(count, dim).to(device), (torch.arange(count) % 10).to(device)
    cost = torch.rand(*(2 * [12 if tiny else 1024]), generator=torch.Generator().manual_seed(0)).to(device)
    steps = {
        f"retrieval, {count} points in {dim} dimensions": lambda: retrieval(x, labels, ks=(1,)),
        f"the 10 nearest of {count}": lambda: knn(x, x, 10, space=Hyperbolic(c=C)),
        f"sinkhorn, n = {len(cost)}, reg = 0.01": lambda: sinkhorn(cost, 0.01),
    }
    return {"header": ["", "ms"], "rows": [[name, f"{timed(step, device, tiny):.3g}"] for name, step in steps.items()]}


def processes(device: str, tiny: bool) -> Table:
    """Two processes, NCCL on two GPUs: the gradient of a batch in two halves beside that of the whole."""
    from benchmarks.gpu_processes import difference

    if device == "cuda" and torch.cuda.device_count() < 2:
        return {"header": ["DDP"], "rows": [], "note": "Not run: one GPU."}
    return {"header": ["DDP, two processes", "gradient differs by"], "rows": [["hyperbolic pairs", difference(device)]]}


PARTS: dict[str, tuple[Callable[[str, bool], Table], int]] = {  # and the seconds that each may take
    "accuracy": (accuracy, 60),
    "placement": (placement, 90),
    "kernels": (kernels, 60),
    "distances": (distances, 90),
    "one_to_many": (one_to_many, 40),
    "losses": (losses, 60),
    "precision": (precision, 90),
    "training": (training, 70),
    "scores": (scores, 60),
    "processes": (processes, 60),
}


def by(size: Size) -> str:
    return " × ".join(map(str, size))


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(PARTS[given["part"]][0](given["device"], given["tiny"])))
