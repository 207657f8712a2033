"""`python -m apps.shape3d predict --ckpt_path best.ckpt --meshes FOLDER`: the class of each mesh in a folder."""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from apps.io.atomic import replacing
from apps.io.packages import FetchError
from apps.shape3d.trained import Trained, meshes
from apps.shapes.meshes import MeshError, Up

COLUMNS = ("mesh", "class", "probability", "second", "second probability", "error")


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m apps.shape3d predict", description=__doc__)
    parser.add_argument("--ckpt_path", required=True, help="checkpoint of a fit")
    parser.add_argument("--meshes", required=True, help="a folder of meshes, or one mesh")
    parser.add_argument(
        "--up", choices=("y", "z"), help="the axis that points up in the files; without it as in training"
    )
    parser.add_argument("--out", type=Path, default=Path("predictions.csv"), help="the table to write")
    chosen = parser.parse_args(args)
    try:
        predict(chosen.ckpt_path, chosen.meshes, chosen.up, chosen.out)
    except (ValueError, OSError, ImportError, FetchError) as error:
        sys.exit(f"error: {error}")


def predict(checkpoint: str, folder: str, up: Up | None, out: Path) -> None:
    """Write a line a mesh: its class with its probability, the second guess, or why it cannot be read."""
    trained, paths = Trained(checkpoint), meshes(folder)
    broken = 0
    with replacing(out) as part, part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for path, images in zip(paths, trained.images(paths, up), strict=True):
            if isinstance(images, MeshError):
                broken += 1
                writer.writerow([path, "", "", "", "", images.reason])
                continue
            shares = trained.outputs(images)["logits"].softmax(0)
            top = torch.topk(shares, min(2, len(shares)))
            guesses = [
                word
                for share, label in zip(top.values.tolist(), top.indices.tolist(), strict=True)
                for word in (trained.model.hparams["classes"][label], f"{share:.3f}")
            ]
            writer.writerow([path, *guesses, *[""] * (4 - len(guesses)), ""])
    print(f"{len(paths) - broken} meshes, {broken} broken: {out}", flush=True)
    if broken == len(paths):
        raise ValueError(f"none of the {broken} meshes can be read; {out} says why")
