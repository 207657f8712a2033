"""How many images a second come from JPEG files? `python -m benchmarks.loading`

The images of training at 224 pixels, in batches of one worker process: ours (`apps.chest_vit.data.Augmentation`) beside
torchvision's ImageFolder with the same random crop, mirror and colours, applied as its users do (to Pillow's image) and
to tensors; in turn, several times. Files are drawn, in the sizes of Cars or Birds and of a camera. Writes loading.csv.
"""

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import InterpolationMode, v2

from apps.chest_vit.data import Augmentation
from apps.datasets.folder import load
from benchmarks.machine import machine

SIZE, BATCH = 224, 32
SHAPES = [(500, 375), (1600, 1200)]  # width, height
CROP, JITTER = 0.5, 0.2
OURS = "geomdml"


class Ours(Dataset):
    def __init__(self, root: Path) -> None:
        self.images, self.augment = load(root), Augmentation(SIZE, CROP, flip=True, rotate=0.0, jitter=JITTER)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.augment(self.images, row), int(self.images.labels[row])


def theirs(root: Path, *, tensors_first: bool) -> Dataset:
    steps = [
        v2.RandomResizedCrop(SIZE, (CROP, 1.0), interpolation=InterpolationMode.BICUBIC),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(JITTER, JITTER, JITTER),
    ]
    change = [v2.PILToTensor()]
    return ImageFolder(str(root), v2.Compose(change + steps if tensors_first else steps + change))


WAYS: dict[str, Callable[[Path], Dataset]] = {
    OURS: Ours,
    "torchvision, Pillow's images": lambda root: theirs(root, tensors_first=False),
    "torchvision, tensors": lambda root: theirs(root, tensors_first=True),
}


def draw(root: Path, count: int, shape: tuple[int, int]) -> None:
    """JPEG files with as much detail as photographs have: noise of every scale."""
    random = np.random.default_rng(0)
    for i in range(count):
        picture = np.zeros((shape[1], shape[0], 3))
        for cell in (2, 8, 32, 128):
            noise = random.normal(size=(shape[1] // cell + 2, shape[0] // cell + 2, 3)) * cell**0.5
            picture += noise.repeat(cell, 0).repeat(cell, 1)[: shape[1], : shape[0]]
        folder = root / f"class{i % 4}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(np.clip(128 + 8 * picture, 0, 255).astype(np.uint8)).save(folder / f"{i}.jpg", quality=90)


def rate(data: Dataset, workers: int) -> float:
    """Images a second, from the second batch on."""
    torch.manual_seed(0)
    batches = iter(DataLoader(data, BATCH, shuffle=True, num_workers=workers, drop_last=True))
    next(batches)
    start = time.perf_counter()
    return sum(len(labels) for _, labels in batches) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=320, help="images")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    facts = machine(1, ("torch", "torchvision", "pillow"))
    lines = []
    for shape in SHAPES:
        with tempfile.TemporaryDirectory() as room:
            draw(Path(room), options.count, shape)
            sets = {name: make(Path(room)) for name, make in WAYS.items()}
            rates: dict[str, list[float]] = {name: [] for name in WAYS}
            for _ in range(options.turns):
                for name, data in sets.items():
                    rates[name].append(rate(data, options.workers))
        for name, found in rates.items():
            ratio = statistics.median(a / b for a, b in zip(rates[OURS], found, strict=True))
            lines.append(["×".join(map(str, shape)), name, f"{statistics.median(found):.1f}", f"{ratio:.2f}"])
    header = ["file", "way", "images a second", "ours over it"]
    table = Table(*header, title=f"{SIZE} px, {options.workers} worker")
    for line in lines:
        table.add_row(*line)
    Console().print(table)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "loading.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*header, *facts])
        writer.writerows([*line, *facts.values()] for line in lines)


if __name__ == "__main__":
    main()
