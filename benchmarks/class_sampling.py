"""What does retrieval lose where a training batch is compared with a share of the classes?

    python -m benchmarks.class_sampling --folder runs/class_sampling      # packaged emoji; a quarter of an hour

CHEST on features that a frozen EfficientNet-Lite0 made once: its head (1280 to 128) and proxies are trained on half of
the emoji's classes, and Recall@1 of the hyperbolic output is taken on the other half. Every share of the classes, with
random and with nearest others, begins at the same seeds. Writes results.csv, and prints a table.
"""

import argparse
import csv
import statistics
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from apps.chest_vit.data import RetrievalData
from apps.evaluation.scores import scores
from apps.networks import pretrained
from apps.training.sampling import ClassBalanced
from apps.training.schedules import warmup_then_cosine
from geomdml.losses import CHESTLoss
from geomdml.nn import HyperbolicHead
from geomdml.optim import RowAdam
from geomdml.spaces import Hyperbolic

SHARES, OTHERS, SEEDS = (1.0, 0.3, 0.1, 0.03), ("random", "nearest"), (0, 1, 2)
CLASSES, PER_CLASS = 16, 4


@torch.no_grad()
def features(folder: Path, size: int) -> dict[str, Tensor]:
    """Features and labels of the images of training and test, kept in the folder."""
    path = folder / f"features-{size}.pt"
    if not path.exists():
        data = RetrievalData(size=size, render=size, validation=0.0, eval_batch=32)
        backbone = pretrained.backbone("efficientnet_lite0", "packaged").eval()
        mean, std = (
            255 * torch.tensor(value).view(3, 1, 1) for value in pretrained.normalisation(backbone, "packaged")
        )
        found = {}
        for name, images in (("train", data.train), ("test", data.test)):
            parts = [backbone((batch.images.float() - mean) / std) for batch in data.in_order(images)]
            found |= {name: torch.cat(parts), f"{name} labels": torch.from_numpy(images.labels.astype(np.int64))}
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(found, path)
    return torch.load(path, weights_only=True)


def recall(data: dict[str, Tensor], share: float, others: str, seed: int, steps: int) -> float:
    """Recall@1 on the test after a training."""
    x, labels = data["train"], data["train labels"]
    torch.manual_seed(seed)
    head = HyperbolicHead(x.shape[1], 128, space=Hyperbolic(c=0.5), clip=1.0)
    loss = CHESTLoss(int(labels.max()) + 1, x.shape[1], sample=share, others=others)
    assert loss.proxies is not None
    loss.proxies.start_at(x, labels)
    groups = [{"params": list(head.parameters()), "lr": 1e-3}, *loss.parameter_groups(1e-3, 1e-2)]
    optimizer = RowAdam(groups, lr=1e-3)
    schedule = warmup_then_cosine(optimizer, steps, warmup=0.1)
    batches = ClassBalanced(labels.numpy(), classes=CLASSES, per_class=PER_CLASS, steps=steps, seed=seed)
    for draws in batches:
        rows = torch.tensor([draw.image for draw in draws])
        optimizer.zero_grad()
        loss(x[rows], labels[rows], head=head).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return scores(head(data["test"]), data["test labels"], head.space, ks=(1,))["Recall@1"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/class_sampling"))
    parser.add_argument("--size", type=int, default=64, help="side of the images, in pixels")
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = features(options.folder, options.size)
    cells = [(share, others) for share in SHARES for others in (OTHERS if share < 1 else OTHERS[:1])]
    found: dict[tuple[float, str], list[float]] = {cell: [] for cell in cells}
    with (options.folder / "results.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["seed", "share", "others", "Recall@1"])
        for seed in SEEDS:
            for cell in cells:
                found[cell].append(recall(data, *cell, seed, options.steps))
                writer.writerow([seed, *cell, f"{found[cell][-1]:.3f}"])
                file.flush()
    print("| share | others | Recall@1 of the seeds | mean |")
    print("|---|---|---|---|")
    for (share, others), values in found.items():
        name = "all" if share == 1 else others
        print(f"| {share} | {name} | {', '.join(f'{v:.2f}' for v in values)} | {statistics.mean(values):.2f} |")


if __name__ == "__main__":
    main()
