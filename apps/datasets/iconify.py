"""Drawings from the icon sets of Iconify: vectors in JSON, rendered once into an array in the cache folder."""

import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import resvg_py
import torch
from jaxtyping import UInt8
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from apps.io.workers import on_all_cores

RENDERER = f"resvg_py {resvg_py.__version__} (resvg {resvg_py.__resvg_version__})"
LEAST_SIZE, GREATEST_SIZE = 8, 512
FILE = "images.npy"


class Drawing(NamedTuple):
    """An SVG without its size; `name` is SET/ICON."""

    name: str
    view_box: str
    body: str


@dataclass(frozen=True)
class Array:
    """Images in a .npy file, (N, 3, H, W) uint8, mapped into memory once in each process."""

    path: Path

    def __getitem__(self, row: int) -> UInt8[Tensor, "3 H W"]:
        return torch.from_numpy(_mapped(self.path)[row].copy())


def rendered_in(folder: Path) -> Array:
    """The images that `write` put into the folder; caches of versions up to 3e9ece1 have them under another name."""
    path = folder / FILE
    return Array(path if path.exists() else folder / "pictures.npy")


def check_size(size: int) -> None:
    """Refuse a height and width in pixels that is not from 8 to 512."""
    if not LEAST_SIZE <= size <= GREATEST_SIZE:
        raise ValueError(f"size is {size}; expected {LEAST_SIZE} to {GREATEST_SIZE} pixels")


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def drawing(name: str, icon: Mapping[str, Any], defaults: Mapping[str, Any]) -> Drawing:
    """An icon of a set; `defaults` is the set, which may say the box of all its icons.

    >>> drawing("a/square", {"body": '<path fill="currentColor" d="M0 0h4v4H0z"/>', "width": 8}, {"height": 4})
    Drawing(name='a/square', view_box='0 0 8 4', body='<path fill="#000" d="M0 0h4v4H0z"/>')
    """
    sides = {"left": 0, "top": 0, "width": 16, "height": 16}
    box = " ".join(str(icon.get(side, defaults.get(side, default))) for side, default in sides.items())
    return Drawing(name, box, icon["body"].replace("currentColor", "#000"))


def render(drawing: Drawing, size: int) -> UInt8[np.ndarray, "3 {size} {size}"]:
    """A drawing over white; one that is not square is centred.

    Raises:
        ValueError: the drawing is no SVG.
    """
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{size}" height="{size}" viewBox="{drawing.view_box}">{drawing.body}</svg>'
    )
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, background="white", skip_system_fonts=True))
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def write(folder: Path, drawings: Sequence[Drawing], size: int, *, title: str) -> tuple[list[str], list[str]]:
    """Render into `FILE` of the folder: the names of what it holds, row by row, and a line for each that failed.

    Written in order, since a full disk would kill a process that writes through a memory map.
    """
    shape = (len(drawings), 3, size, size)
    names: list[str] = []
    failures: list[str] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (folder / FILE).open("wb") as file, Progress(*columns, console=Console(stderr=True)) as progress:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        rendering = on_all_cores(partial(_render_or_reason, size=size), drawings, chunk=32)
        rendered = progress.track(rendering, len(drawings), description=f"{title} at {size} px")
        for drawing, image in zip(drawings, rendered, strict=True):
            if isinstance(image, str):
                failures.append(f"{drawing.name} ({image})")
            else:
                file.write(image.tobytes())
                names.append(drawing.name)
        file.write(bytes(len(failures) * 3 * size * size))
    if failures:
        shown = "; ".join(failures[:5]) + ("; ..." if len(failures) > 5 else "")
        print(
            f"{len(failures)} of {len(drawings)} {title} could not be rendered and are left out: {shown}",
            file=sys.stderr,
        )
    return names, failures


def licences(sets: Mapping[str, Mapping[str, Any]]) -> str:
    """What to lay beside images of these sets: {"SET VERSION": its info, with name, author and license}."""
    lines = [
        "The images beside this file are renderings of drawings from these sets, under the sets' licences.",
        "",
    ]
    for place, info in sets.items():
        licence, author = info["license"], info["author"]
        lines += [
            f"{info['name']} ({place})",
            f"  by {author['name']}, {author.get('url', 'no address given')}",
            f"  {licence['title']} ({licence.get('spdx', 'no SPDX name')}), {licence.get('url', 'no address given')}",
            "",
        ]
    return "\n".join(lines)


def _render_or_reason(drawing: Drawing, size: int) -> UInt8[np.ndarray, "3 H W"] | str:
    try:
        return render(drawing, size)
    except ValueError as error:
        return str(error)


@cache
def _mapped(path: Path) -> UInt8[np.ndarray, "N 3 H W"]:
    mapped: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped
