"""The memory that images take to list, and their embeddings to write; in a process of its own, see `predict_memory`."""

import json
import sys
import tempfile
from pathlib import Path

import torch

from apps.datasets import image_list
from apps.evaluation.embedding_files import Table, Writer
from benchmarks.measuring import forget_peak, peak

BATCH, D = 128, 8


def main() -> None:
    root = json.loads(sys.argv[1])["root"]
    before = forget_peak("cpu")
    images = image_list.load(root, check=False).images
    with tempfile.TemporaryDirectory() as folder:
        table = Table(images.names, images.labels, images.classes, ["new"] * len(images))
        writer = Writer(Path(folder), table, {})
        for rows in torch.zeros(len(images), 1).split(BATCH):
            writer.add(E=torch.zeros(len(rows), D), H=torch.zeros(len(rows), D))
        writer.close()
    print(json.dumps({"images": len(images), "bytes": peak("cpu") - before}))


if __name__ == "__main__":
    main()
