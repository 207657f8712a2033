"""`python -m apps.chest_vit export --ckpt_path FILE --to onnx|torch`: the network for programs without this one."""

import argparse
import contextlib
import io
import json
import logging
import pickle
import re
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from apps.chest_vit.checkpoint import Embedder, Trained, load
from apps.chest_vit.predict import about
from apps.io.atomic import replacing
from apps.io.packages import FetchError

SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
TOLERANCE = 1e-5  # of the largest entry
ABOUT = "about.json"  # the file in a .pt2 that says what the network is


def main(args: list[str] | None = None) -> None:
    """Write the network and check that it gives the same embeddings.

    Raises:
        SystemExit: a file that cannot be used (code 1), in one line; wrong arguments (code 2).
    """
    parser = argparse.ArgumentParser(prog="python -m apps.chest_vit export", description=__doc__)
    parser.add_argument(
        "--ckpt_path", "--checkpoint", dest="checkpoint", type=Path, required=True, help="A .ckpt file of a run."
    )
    parser.add_argument("--to", choices=list(SUFFIXES), required=True, help="ONNX, or torch.export (.pt2).")
    parser.add_argument("--out", type=Path, help="The file to write; without it, beside the checkpoint.")
    asked = parser.parse_args(args)
    path = asked.out or asked.checkpoint.with_suffix(SUFFIXES[asked.to])
    try:
        if path.exists():
            raise ValueError(f"{str(path)!r} exists; move it away, or give another name with --out")
        trained = load(asked.checkpoint)
        difference = write(trained, path, asked.to)
    except (ValueError, OSError, FetchError, pickle.UnpicklingError) as error:
        sys.exit(f"error: {error}")
    print(f"{path}: uint8 images (batch, 3, S, S) to E and H; largest difference {difference:.1e}")
    print(f"output to use: {trained.model.choice_in_words()}", flush=True)


@torch.no_grad()
def write(trained: Trained, path: Path, to: str) -> float:
    """Write the network, and return by how much its embeddings differ, as a share of the largest entry.

    Raises:
        ValueError: the network cannot be exported, or its embeddings differ by more than 1e-5; no file is left.
        OSError: the file cannot be written.
    """
    network, side = Embedder(trained.model).eval(), trained.data["size"]
    program, facts = _program(network, side), metadata(trained)
    with replacing(path) as part:
        if to == "torch":
            buffer = io.BytesIO()  # a disk that fills up is then an OSError, not a crash inside torch's writer
            torch.export.save(program, buffer, extra_files={ABOUT: json.dumps(facts)})
            part.write_bytes(buffer.getbuffer())
        else:
            _to_onnx(program, part, facts)
        difference = _difference(network, part, to, side)
        if not difference <= TOLERANCE:
            raise ValueError(f"the exported network differs by {difference:.1e}; expected at most {TOLERANCE:g}")
    return difference


def metadata(trained: Trained) -> dict[str, str]:
    """What a program needs to use the network: how to prepare images, what E and H are, which of them to use.

    "mean" and "std" are of pixels, 0 to 255; the network itself subtracts and divides by them. "classes" are those of
    the training, [] where the checkpoint does not have their names.
    """
    model, data = trained.model, trained.data
    lists: dict[str, Any] = {
        "mean": model.mean.flatten().tolist(),
        "std": model.std.flatten().tolist(),
        "classes": model.noted.get("classes", []),
        "validation": model.validation,
    }
    facts = {"images": "uint8, RGB, (batch, 3, size, size)", "size": str(data["size"])}
    facts |= {"centre_crop": str(data.get("centre_crop", 1.0))}
    return about(model) | facts | {name: json.dumps(value) for name, value in lists.items()}


def _program(network: Embedder, side: int) -> torch.export.ExportedProgram:
    try:
        return torch.export.export(
            network,
            (_images(3, side),),
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
        )
    except Exception as error:
        raise ValueError(f"torch.export cannot take this network: {str(error).partition(chr(10))[0]}") from error


def _to_onnx(program: torch.export.ExportedProgram, path: Path, facts: dict[str, str]) -> None:
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
    content = exported.model_proto
    _name_batch(content.graph)
    onnx.helper.set_model_props(content, facts)
    onnx.save(content, path)


def _name_batch(graph: Any) -> None:
    """Call the first axis of the images "batch": torch calls it by a symbol of its own, such as s32."""
    symbol = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_param = re.sub(rf"\b{re.escape(symbol)}\b", "batch", axis.dim_param)


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
