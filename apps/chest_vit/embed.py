"""`python -m apps.chest_vit predict --ckpt_path FILE --images FOLDER_OR_LIST`: the embeddings of new images.

`torchrun --nproc_per_node 4 -m apps.chest_vit predict ...` does it in four processes: each embeds a part of the images.
"""

import csv
import os
import pickle
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser
from torch import distributed

from apps.chest_vit.checkpoint import Trained, load
from apps.chest_vit.data import RetrievalData
from apps.chest_vit.gallery import tracked_batches
from apps.chest_vit.predict import about, finish
from apps.datasets import image_list
from apps.evaluation.embedding_files import Table, Writer
from apps.evaluation.embedding_shards import Shard, stem
from apps.io.atomic import write_file
from apps.io.packages import FetchError
from apps.training.checkpoints import newest
from apps.training.distributed import as_torchrun_says
from apps.training.loading import stretch
from apps.training.messages import is_gone, plain_message
from apps.training.run_folder import RunFolder
from geomdml.distributed import rank_and_size

IMAGES = """Folder of images at any depth; an image; a list: a text file of one path a line, or a CSV, TSV or Parquet
    file with a column of paths; or images in a tar or Parquet file, or in a folder of such files."""
SHOWN = 3
CPU = torch.device("cpu")


def main(args: list[str] | None = None) -> None:
    """Embed the images and write the files.

    Raises:
        SystemExit: a file that cannot be used (code 1), in one line; wrong arguments (code 2).
    """
    parser = ArgumentParser(prog="python -m apps.chest_vit predict", description=__doc__)
    parser.add_argument("--images", required=True, help=IMAGES)
    parser.add_argument("--ckpt_path", required=True, help='A .ckpt file of a run, or "last" of those in --out.')
    parser.add_argument("--config", help="Settings to use instead of the checkpoint's; rarely needed.")
    parser.add_argument("--out", type=str, default="runs", help="Folder in which each run gets a folder of its own.")
    parser.add_argument("--data.eval_batch", type=int, help="Images in a batch; without it as trained.")
    parser.add_argument("--data.workers", type=int, help="Processes that prepare images (0: this one).")
    parser.add_argument("--data.strict", type=bool, default=False, help="Make an image that fails an error.")
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda, cuda:1, ...; auto takes a GPU if any.")
    asked = parser.parse_args(args)
    given = {name: value for name, value in asked.data.as_dict().items() if value is not None and name != "strict"}
    out = Path(asked.out)
    try:
        config = {} if asked.config is None else read_config(Path(asked.config))
        checkpoint = newest(out) if asked.ckpt_path == "last" else asked.ckpt_path
        trained = load(checkpoint, **config.get("model", {}))
        data = trained.images(**(config.get("data", {}) | given))
        with as_torchrun_says() as (rank, ranks):
            part = partial(stretch, rank=rank, ranks=ranks)
            listed = trained.listed(asked.images, strict=asked.data.strict, part=part)
            done = embed(trained, data, listed, out, asked.device)
    except (ValueError, OSError, FetchError, pickle.UnpicklingError) as error:
        sys.exit(f"error: {error}")
    except RuntimeError as error:
        if not is_gone(error):
            raise
        sys.exit(f"error: {plain_message(error)}")
    if rank == 0:
        print(done, flush=True)
        print(f"output: {trained.model.choice_in_words()}", flush=True)


def read_config(path: Path) -> dict[str, dict[str, Any]]:
    """The settings of model and data in a config.yaml.

    Raises:
        ValueError: no such file, or none of settings.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"--config {str(path)!r} cannot be read: {reason}") from error
    parts = {name: content.get(name) or {} for name in ("model", "data")} if isinstance(content, Mapping) else None
    if parts is None or not all(isinstance(part, Mapping) for part in parts.values()):
        raise ValueError(f"--config {str(path)!r} holds no settings of model and data")
    return {name: dict(part) for name, part in parts.items()}


@torch.inference_mode()
def embed(trained: Trained, data: RetrievalData, listed: image_list.Listed, out: Path, device: str = "auto") -> str:
    """Write the embeddings of images, batch by batch, into a new folder in `out`, and which images failed.

    Several processes have a part of the images each.

    Returns:
        what all processes have done, in words.

    Raises:
        ValueError: a device that there is not; images that the network cannot take; and as `Writer`.
    """
    images, place = listed.images, _device(device)
    model = trained.model.to(place)
    model.check_size(data.hparams["size"])
    rank, ranks = rank_and_size()
    folder = Path(_of_the_first(RunFolder(out).log_dir if rank == 0 else ""))
    failed = folder / f"{stem(rank, ranks, 'failed')}.csv"
    if listed.failed:
        write_file(failed, lambda path: _write_failed(path, listed.failed))
    table = Table(images.names, images.labels, images.classes, ["new"] * len(images))
    writer = Writer(folder, table, about(model, images), stem=stem(rank, ranks))
    try:
        for batch in tracked_batches(data, images):
            outputs = model(batch.images.to(place))
            writer.add(E=outputs["E"], H=outputs["H"])
        paths, whole = finish(writer, Shard(len(images), len(listed.failed)))
    except BaseException:
        writer.discard()
        raise
    return summary(whole, [name for name, _ in listed.failed], paths, failed)


def summary(whole: Shard, failed: Sequence[str], paths: Sequence[Path], reasons: Path) -> str:
    """How many images were embedded and failed, where the embeddings are, and where it says why.

    Args:
        whole: the counts of all processes.
        failed: names of images that failed in this one.
        reasons: the file of this process.
    """
    names = ", ".join(name if len(name) < 100 else f"{name[:100]}..." for name in failed[:SHOWN])
    names += ", ..." if whole.failed > SHOWN else ""
    lines = [f"{whole.images:,} images embedded, {whole.failed:,} failed" + (f": {names}" if failed else "")]
    lines += [f"embeddings: {path}" for path in paths]
    lines += [f"failed: {reasons} says why"] if failed else []
    lines += [f"failed: {reasons.parent}/failed-*.csv say why"] if whole.failed > len(failed) else []
    return "\n".join(lines)


def _of_the_first(name: str) -> str:
    """What the first process says, in all."""
    said = [name]
    if rank_and_size()[1] > 1:
        distributed.broadcast_object_list(said)
    return said[0]


def _write_failed(path: Path, failed: Sequence[tuple[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "reason"])
        writer.writerows(failed)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if torch.cuda.is_available() else CPU
    try:
        return torch.zeros((), device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"--device {name} cannot be used: {reason}") from error
