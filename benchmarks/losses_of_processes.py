"""Which losses keep their value and gradients when several processes share the batch? A table, in Markdown.

    python -m benchmarks.losses_of_processes --ranks 1 2 3 > docs/results/catalogue/losses-of-processes.md

Ours through `DistributedLoss`, pytorch-metric-learning's through its DistributedLossWrapper and ours, and the losses of
lightly and open_clip that gather by themselves. Minutes.
"""

import argparse
import sys
from collections.abc import Callable

import torch
from lightly.loss import NTXentLoss
from open_clip.loss import ClipLoss
from pytorch_metric_learning import losses as pml
from pytorch_metric_learning.utils.distributed import DistributedLossWrapper
from torch import Tensor, nn

from benchmarks.machine import machine
from geomdml.distributed import CrossBatchMemory, DistributedLoss, rank_and_size
from geomdml.losses import CHESTLoss, MultiProxyAnchorLoss, PairwiseCrossEntropyLoss, SoftTripleLoss
from geomdml.nn import HyperbolicHead
from geomdml.spaces import Hyperbolic
from geomdml.testing import LossVerdict, judge_loss

D, CLASSES = 8, 4


class WithHead(nn.Module):
    """CHEST and the head that it trains, with a learned curvature."""

    def __init__(self) -> None:
        super().__init__()
        self.head = HyperbolicHead(D, 6, space=Hyperbolic(c=0.7, learnable=True))
        self.loss = DistributedLoss(CHESTLoss(CLASSES, D, centers_per_class=2))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        return self.loss(embeddings, labels, head=self.head)


class TwoViews(nn.Module):
    """A loss of two views of each sample: the embedding, and the embedding turned."""

    def __init__(self, make: Callable[..., nn.Module], **options: bool) -> None:
        super().__init__()
        self.make, self.options = make, options

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        return self.make(**self.options)(embeddings, embeddings.roll(1, 1))


def clip(**options: bool) -> nn.Module:
    """open_clip's loss, of unit vectors and at its scale 1; each process is told its rank."""
    rank, size = rank_and_size()
    loss = ClipLoss(rank=rank, world_size=size, **options)
    return _Scaled(loss)


class _Scaled(nn.Module):
    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        unit = nn.functional.normalize
        return self.loss(unit(one, dim=1), unit(other, dim=1), one.new_tensor(5.0))


def lightly(**options: bool) -> nn.Module:
    # A process group is what it asks for when it is made
    return NTXentLoss(temperature=0.2, gather_distributed=rank_and_size()[1] > 1)


def candidates() -> dict[str, nn.Module]:
    memory = CrossBatchMemory(PairwiseCrossEntropyLoss(), size=8, in_features=D)
    theirs = {"contrastive": pml.ContrastiveLoss(), "multi-similarity": pml.MultiSimilarityLoss()}
    torch.manual_seed(0)
    found: dict[str, nn.Module] = {
        "geomdml: SoftTriple": DistributedLoss(SoftTripleLoss(CLASSES, D)),
        "geomdml: CHEST, its head, c learned": WithHead(),
        "geomdml: proxy anchor": DistributedLoss(MultiProxyAnchorLoss(CLASSES, D)),
        "geomdml: pairwise cross-entropy, with memory": DistributedLoss(memory),
    }
    found |= {
        f"geomdml's DistributedLoss of pytorch-metric-learning's {name}": DistributedLoss(loss)
        for name, loss in (theirs | {"proxy anchor": pml.ProxyAnchorLoss(CLASSES, D)}).items()
    }
    own = "pytorch-metric-learning's DistributedLossWrapper"
    found |= {f"{own}: {name}": DistributedLossWrapper(loss) for name, loss in theirs.items()}
    found |= {
        f"{own}: contrastive, efficient=True": DistributedLossWrapper(pml.ContrastiveLoss(), efficient=True),
        f"{own}: proxy anchor": DistributedLossWrapper(pml.ProxyAnchorLoss(CLASSES, D)),
        "lightly: NTXentLoss(gather_distributed=True)": TwoViews(lightly),
    }
    for options in (
        {"local_loss": False, "gather_with_grad": False},
        {"local_loss": False, "gather_with_grad": True},
        {"local_loss": True, "gather_with_grad": True},
    ):
        words = ", ".join(f"{name}={value}" for name, value in options.items())
        found[f"open_clip: ClipLoss({words})"] = TwoViews(clip, **options)
    return found


def cell(verdict: LossVerdict) -> str:
    if verdict.failure:
        return "fails"
    if verdict.holds:
        return f"{verdict.error:.0e}"
    along = abs(verdict.gradient - round(verdict.gradient, 3)) < 1e-6 or verdict.gradient > 0
    return f"loss × {verdict.loss:.3g}, gradient × {verdict.gradient:.3g}" if along else f"off by {verdict.error:.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="candidates whose names contain this")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 3])
    options = parser.parse_args()
    torch.set_num_threads(1)
    facts = machine(1, ("torch", "pytorch-metric-learning", "lightly", "open_clip_torch"))
    print(", ".join(f"{name} {value}" for name, value in facts.items() if name != "load before the run") + "\n")
    print("| loss | processes | equal shares | a sample twice | a rank without a class | unequal shares |")
    print("|---|---|---|---|---|---|")
    for name, loss in candidates().items():
        if options.only in name:
            verdicts = judge_loss(loss, options.ranks, quiet=True, in_features=D, timeout=30)
            for count in options.ranks:
                cells = [cell(verdict) for verdict in verdicts if verdict.ranks == count]
                print(f"| {name} | {count} | {' | '.join(cells)} |", flush=True)
                print(*(v for v in verdicts if v.ranks == count), sep="\n", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
