"""Does the memory of `predict` grow with the number of images?

    python -m benchmarks.predict_memory                                  # about ten minutes
    python -m benchmarks.predict_memory --kind parquet --processes 2
    python -m benchmarks.predict_memory --without_network --counts 20000 1000000

A network of test_vit, trained for a step, embeds noise of 8 × 8 pixels, as many images as asked for, PNG in tar or
Parquet files of 10,000 each; some cannot be decoded. Prints the peak of the resident memory of each number of images,
of the largest process, and what an image adds between the first number and the last. Without a network the images are
listed, not decoded, and zeros are written as their embeddings; the peak is that beyond what the process held before.
"""

import argparse
import csv
import io
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine
from benchmarks.measuring import in_own_process

APP = (sys.executable, "-m", "apps.chest_vit")
IN_A_FILE, IN_A_GROUP, CLASSES, BROKEN = 10_000, 500, 1000, 5000  # every 5,000th image is broken


def png(random: np.random.Generator, side: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write(root: Path, count: int, kind: str) -> Path:
    """So many images in tar or Parquet files."""
    root.mkdir()
    random = np.random.default_rng(0)
    content = [png(random, 8) for _ in range(100)]
    for start in range(0, count, IN_A_FILE):
        rows = range(start, min(start + IN_A_FILE, count))
        data = [b"no image" if row % BROKEN == 17 else content[row % len(content)] for row in rows]
        names = [f"class-{row % CLASSES:04}/image-{row:09}.png" for row in rows]
        if kind == "tar":
            with tarfile.open(root / f"{start:09}.tar", "w") as archive:
                for name, image in zip(names, data, strict=True):
                    member = tarfile.TarInfo(name)
                    member.size = len(image)
                    archive.addfile(member, io.BytesIO(image))
        else:
            images = [{"bytes": image, "path": name} for name, image in zip(names, data, strict=True)]
            labels = [name.partition("/")[0] for name in names]
            table = pa.table({"image": images, "label": labels})
            pq.write_table(table, root / f"{start:09}.parquet", row_group_size=IN_A_GROUP)
    return root


def train(folder: Path) -> Path:
    """The checkpoint of a network that was trained for a step."""
    random = np.random.default_rng(1)
    for label in range(14):
        (folder / f"train/class-{label:02}").mkdir(parents=True)
        for index in range(4):
            (folder / f"train/class-{label:02}/{index}.png").write_bytes(png(random, 16))
    words = ("fit", "--config", "apps/chest_vit/configs/smoke.yaml", "--data.root", folder / "train", "--out", folder)
    small = ("--data.classes_per_batch", 4, "--trainer.max_steps", 1, "--trainer.accelerator", "cpu")
    subprocess.run([*APP, *map(str, (*words, *small))], check=True, stdout=subprocess.DEVNULL)
    return folder / "version_0/checkpoints/last.ckpt"


def peak(checkpoint: Path, images: Path, out: Path, processes: int) -> tuple[int, str]:
    """The most bytes that one of the processes of a predict held, and the first line that it printed.

    Raises:
        RuntimeError: one of them failed.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = ("predict", "--ckpt_path", checkpoint, "--images", images, "--out", out, "--device", "cpu")
    running = []
    for rank in range(processes):
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": str(rank), "WORLD_SIZE": str(processes)}
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | (where if processes > 1 else {})
        command = [*APP, *map(str, words)]
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    most, said = 0, ""
    for process in running:
        assert process.stdout is not None
        printed = process.stdout.read()  # until it ends
        said = said or printed.partition("\n")[0].partition(":")[0]
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"predict ended with {process.returncode}: {printed}")
        most = max(most, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
    return most, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[20_000, 100_000], help="images")
    parser.add_argument("--kind", choices=["tar", "parquet"], default="tar")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--without_network", action="store_true", help="list the images and write zeros for them")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    facts = machine(1, ("torch", "pyarrow"))
    lines, found = list[list[str]](), list[int]()
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room)
        checkpoint = None if options.without_network else train(folder)
        for count in options.counts:
            images = write(folder / f"{count}", count, options.kind)
            if checkpoint is None:
                listed = in_own_process("benchmarks.one_listing", {"root": str(images)})
                most, said = listed["bytes"], f"{listed['images']:,} images listed"
            else:
                most, said = peak(checkpoint, images, folder / "runs", options.processes)
            found.append(most)
            lines.append([options.kind, str(options.processes), f"{count:,}", f"{most / 2**20:.0f}", said])
    more = options.counts[-1] - options.counts[0]
    title = f"{(found[-1] - found[0]) / more:.0f} bytes an image" if more else ""
    header = ["files", "processes", "images", "peak MB", "said"]
    table = Table(*header, title=title)
    for line in lines:
        table.add_row(*line)
    Console().print(table)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "predict_memory.csv").open("a", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([*line, *facts.values()] for line in lines)


if __name__ == "__main__":
    main()
