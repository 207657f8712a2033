"""What does retrieval lose where a training batch is compared with a share of the classes?

    python -m benchmarks.class_sampling --out docs/results/catalogue      # goes on from the lines of class_sampling.csv

CHEST on features that a frozen EfficientNet-Lite0 made once of icons (`benchmarks.icons`), in the 256 directions in
which those of training vary most: its head (256 to 128) and proxies are trained on half of the classes, about 2,500,
and Recall@1 of the hyperbolic output is taken on 1,000 others. Every share of the classes, with random and with nearest
others, begins at the same seeds. Prints a table.
"""

import argparse
import csv
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from apps.datasets.split import split_classes
from apps.evaluation.scores import scores
from apps.networks import pretrained
from apps.training.sampling import ClassBalanced
from apps.training.schedules import warmup_then_cosine
from benchmarks import icons
from geomdml.losses import CHESTLoss
from geomdml.nn import HyperbolicHead
from geomdml.optim import RowAdam
from geomdml.spaces import Euclidean, Hyperbolic

SHARES, OTHERS, SEEDS = (1.0, 0.3, 0.1, 0.03), ("nearest", "random"), (0, 1, 2)
CLASSES, PER_CLASS = 16, 4
DIRECTIONS, TEST_CLASSES = 256, 1000
COLUMNS = ("seed", "share", "others", "Recall@1", "seconds")
Cell = tuple[int, float, str]  # seed, share, others


@torch.no_grad()
def features(folder: Path, size: int) -> dict[str, Tensor]:
    """Features and labels of the images of training and test; those of the network are cached in the folder."""
    path = folder / f"icon-features-{size}.pt"
    if not path.exists():
        images = icons.load(size)
        backbone = pretrained.backbone("efficientnet_lite0", "packaged").eval()
        mean, std = (
            255 * torch.tensor(value).view(3, 1, 1) for value in pretrained.normalisation(backbone, "packaged")
        )
        found = {}
        for name, classes in split_classes(len(images.classes), 0.0, seed=0).items():
            part = images.of_classes(classes)
            rows = torch.arange(len(part)).split(64)
            batches = (torch.stack([part.image(int(row)) for row in chosen]).float() for chosen in rows)
            if len(part):
                found[name] = torch.cat([backbone((batch - mean) / std) for batch in batches])
                found[f"{name} labels"] = torch.from_numpy(part.labels.astype(np.int64))
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(found, path)
    data = torch.load(path, weights_only=True)
    centre = data["train"].mean(0)
    directions = torch.linalg.eigh(torch.cov(data["train"].T)).eigenvectors[:, -DIRECTIONS:]
    tested = data["test labels"] < TEST_CLASSES
    data |= {"test": data["test"][tested], "test labels": data["test labels"][tested]}
    return data | {name: (data[name] - centre) @ directions for name in ("train", "test")}


def recall(data: dict[str, Tensor], cell: Cell, steps: int) -> float:
    """Recall@1 on the test after a training."""
    seed, share, others = cell
    x, labels = data["train"], data["train labels"]
    torch.manual_seed(seed)
    head = HyperbolicHead(x.shape[1], 128, space=Hyperbolic(c=0.5), clip=1.0)
    loss = CHESTLoss(int(labels.max()) + 1, x.shape[1], sample=share, others="random" if share == 1 else others)
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


def read(path: Path) -> dict[Cell, float]:
    """Recall@1 of the trainings that are done."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {(int(row["seed"]), float(row["share"]), row["others"]): float(row["Recall@1"]) for row in rows}


def table(found: dict[Cell, float]) -> str:
    """Markdown: a line for each share and way to choose."""
    lines = [
        "| share of the classes | others | Recall@1 of the seeds | mean ± standard deviation |",
        "|---|---|---|---|",
    ]
    for share, others in dict.fromkeys((share, others) for _, share, others in found):
        values = [value for (_, of, by), value in found.items() if (of, by) == (share, others)]
        spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
        each = ", ".join(f"{value:.2f}" for value in values)
        lines.append(f"| {share:g} | {others} | {each} | {statistics.mean(values):.2f}{spread} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/class_sampling"), help="of the features")
    parser.add_argument("--out", type=Path, default=Path("runs/class_sampling"), help="of class_sampling.csv")
    parser.add_argument("--again", action="store_true", help="forget what was measured")
    parser.add_argument("--size", type=int, default=64, help="side of the images, in pixels")
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = features(options.folder, options.size)
    untrained = scores(data["test"], data["test labels"], Euclidean(), ks=(1,))["Recall@1"]
    counts = [
        f"{int(data[f'{name} labels'].max()) + 1} classes, {len(data[name])} images" for name in ("train", "test")
    ]
    print(f"train {counts[0]}; test {counts[1]}; Recall@1 of the features, untrained: {untrained:.2f}", flush=True)
    cells = [(share, others) for share in SHARES for others in (OTHERS if share < 1 else ("all",))]
    path = options.out / "class_sampling.csv"
    found = {} if options.again else read(path)
    if not found:
        options.out.mkdir(parents=True, exist_ok=True)
        path.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    for cell in ((seed, *each) for seed in SEEDS for each in cells):
        if cell not in found:
            started = time.process_time()
            found[cell] = recall(data, cell, options.steps)
            line = (*cell, f"{found[cell]:.3f}", f"{time.process_time() - started:.0f}")
            with path.open("a", encoding="utf-8") as file:
                file.write(",".join(map(str, line)) + "\n")
            print(*cell, f"{found[cell]:.2f}", flush=True)
    print(table(found))


if __name__ == "__main__":
    main()
