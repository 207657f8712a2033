"""`python -m apps.chest_vit export --checkpoint FILE --to onnx|torch`: the network for programs without this one."""

import argparse
import contextlib
import io
import logging
import pickle
import sys
import warnings
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from apps.chest_vit.checkpoint import Embedder, Trained, load
from apps.io.atomic import replacing
from apps.io.packages import FetchError

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
TOLERANCE = 1e-5  # of the largest entry


def main(args: list[str] | None = None) -> None:
    """Write the network and check that it gives the same embeddings.

    Raises:
        SystemExit: a file that cannot be used (code 1), in one line; wrong arguments (code 2).
    """
    parser = argparse.ArgumentParser(prog="python -m apps.chest_vit export", description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True, help="A .ckpt file of a run.")
    parser.add_argument("--to", choices=list(SUFFIXES), required=True, help="ONNX, or torch.export (.pt2).")
    parser.add_argument("--out", type=Path, help="The file to write; without it, beside the checkpoint.")
    asked = parser.parse_args(args)
    path = asked.out or asked.checkpoint.with_suffix(SUFFIXES[asked.to])
    try:
        if path.exists():
            raise ValueError(f"{str(path)!r} exists; move it away, or give another name with --out")
        difference = write(load(asked.checkpoint), path, asked.to)
    except (ValueError, OSError, FetchError, pickle.UnpicklingError) as error:
        sys.exit(f"error: {error}")
    print(f"{path}: uint8 images (batch, 3, S, S) to E and H; largest difference {difference:.1e}", flush=True)


@torch.no_grad()
def write(trained: Trained, path: Path, to: str) -> float:
    """Write the network, and return by how much its embeddings differ, as a share of the largest entry.

    Raises:
        ValueError: the network cannot be exported, or its embeddings differ by more than 1e-5; no file is left.
        OSError: the file cannot be written.
    """
    network, side = Embedder(trained.model).eval(), trained.data["size"]
    program = _program(network, side)
    with replacing(path) as part:
        if to == "torch":
            buffer = io.BytesIO()  # a disk that fills up is then an OSError, not a crash inside torch's writer
            torch.export.save(program, buffer)
            part.write_bytes(buffer.getbuffer())
        else:
            _to_onnx(program, part)
        difference = _difference(network, part, to, side)
        if not difference <= TOLERANCE:
            raise ValueError(f"the exported network differs by {difference:.1e}; expected at most {TOLERANCE:g}")
    return difference


def _program(network: Embedder, side: int) -> torch.export.ExportedProgram:
    try:
        return torch.export.export(
            network,
            (_images(3, side),),
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
        )
    except Exception as error:
        raise ValueError(f"torch.export cannot take this network: {str(error).partition(chr(10))[0]}") from error


def _to_onnx(program: torch.export.ExportedProgram, path: Path) -> None:
    try:
        onnx, *_ = map(import_module, ("onnx", "onnxscript", "onnxruntime"))  # torch and the check need the others
    except ImportError as error:
        raise ValueError(f"{error.name} is missing: pip install onnx onnxruntime onnxscript") from error
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter's own
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        exported = torch.onnx.export(
            program, input_names=["images"], output_names=["E", "H"], dynamo=True, verbose=False
        )
    assert exported is not None
    onnx.save(exported.model_proto, path)


def _difference(network: Embedder, path: Path, to: str, side: int) -> float:
    """Over batches of sizes that the export has not seen."""
    largest = 0.0
    for batch in (1, 5):
        images = _images(batch, side)
        for mine, theirs in zip(network(images), run(path, to, images), strict=True):
            largest = max(largest, float((mine - theirs).abs().max() / mine.abs().max()))
    return largest


def run(path: Path, to: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """E and H of images by an exported network."""
    if to == "torch":
        return torch.export.load(path).module()(images)
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    E, H = (torch.from_numpy(array) for array in session.run(["E", "H"], {"images": images.numpy()}))
    return E, H


def _images(count: int, side: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
