"""Emoji as drawn by eight vendors: a class is an emoji, an instance a vendor's drawing of it.

The drawings are vectors from the Iconify sets. They are rendered at the size wanted, once for each size,
into an array in the cache folder.
"""

import hashlib
import io
import json
import sys
from collections import Counter
from collections.abc import Sequence
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

from apps.common.packages import cache_folder, made_once, npm_package
from apps.common.workers import on_all_cores
from apps.datasets.pictures import Pictures

LEAST_VENDORS = 5
LEAST_SIZE, GREATEST_SIZE = 8, 512

# Vendor: version and SHA-256 of the npm package @iconify-json/VENDOR. fluent-emoji-flat is missing because
# it is a near-twin of fluent-emoji.
SETS = {
    "emojione": ("1.2.3", "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e"),
    "emojione-v1": ("1.2.3", "6641d59d48a42823fdc2b84e7427e9f302944eb98d2c7d94d6e67c139e7b37b3"),
    "fluent-emoji": ("1.2.7", "8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b"),
    "fxemoji": ("1.2.2", "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef"),
    "noto": ("1.2.9", "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"),
    "noto-v1": ("1.2.5", "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37"),
    "openmoji": ("1.2.29", "03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5"),
    "twemoji": ("1.2.5", "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7"),
}


class Drawing(NamedTuple):
    """A vendor's drawing of an emoji: an SVG without its size."""

    emoji: str
    vendor: str
    view_box: str
    body: str

    @property
    def name(self) -> str:
        return f"{self.vendor}/{self.emoji}"


@dataclass(frozen=True)
class Array:
    """Pictures in a .npy file, (N, 3, H, W) uint8, mapped into memory once in each process."""

    path: Path

    def __getitem__(self, row: int) -> UInt8[Tensor, "3 H W"]:
        return torch.from_numpy(_mapped(self.path)[row].copy())


def load(size: int) -> Pictures:
    """All emoji drawn by at least five vendors, over white, padded to a square; sorted by emoji, then vendor.

    1,185 classes and 8,080 pictures, without skin tones, flags and other names of the same emoji. The first
    call fetches the sets by npm and renders them on all cores (about 50 s of one core at 128 px).

    Args:
        size: height and width in pixels, 8 to 512.

    Raises:
        ValueError: another size.
        FetchError: the sets cannot be fetched, or the cache folder not be written to.
    """
    if not LEAST_SIZE <= size <= GREATEST_SIZE:
        raise ValueError(f"size is {size}: {LEAST_SIZE} to {GREATEST_SIZE} pixels are wanted")
    folder = made_once(_folder(size), lambda unfinished: _make(unfinished, size))
    names = tuple(json.loads((folder / "index.json").read_bytes())["names"])
    classes, labels = np.unique([name.partition("/")[2] for name in names], return_inverse=True)
    return Pictures(labels.astype(np.int64), tuple(classes.tolist()), names, Array(folder / "pictures.npy"))


def drawings(sets: dict[str, dict[str, Any]]) -> list[Drawing]:
    """The drawings wanted of all Iconify sets, by vendor: {"icons": {emoji: {"body": ..., ...}}, ...}."""
    found = [
        Drawing(emoji, vendor, _view_box(icon, defaults=icons), icon["body"].replace("currentColor", "#000"))
        for vendor, icons in sets.items()
        for emoji, icon in icons["icons"].items()
        if "skin-tone" not in emoji and "flag" not in emoji and not icon.get("hidden")
    ]
    vendors = Counter(drawing.emoji for drawing in found)
    return sorted(drawing for drawing in found if vendors[drawing.emoji] >= LEAST_VENDORS)


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


def _folder(size: int) -> Path:
    pins = hashlib.sha256(json.dumps([LEAST_VENDORS, SETS]).encode()).hexdigest()[:8]
    return cache_folder() / "emoji" / f"{pins}-resvg_py-{resvg_py.__version__}-{size}"


def _make(folder: Path, size: int) -> None:
    packages = {vendor: npm_package(f"@iconify-json/{vendor}", *pin) for vendor, pin in SETS.items()}
    wanted = drawings({vendor: _json(package / "icons.json") for vendor, package in packages.items()})
    names, failures = _write(folder / "pictures.npy", wanted, size)
    if failures:
        shown = "; ".join(failures[:5]) + ("; ..." if len(failures) > 5 else "")
        print(
            f"{len(failures)} of {len(wanted)} emoji could not be rendered and are left out: {shown}",
            file=sys.stderr,
        )
    (folder / "LICENSES.txt").write_text(_licences(packages), encoding="utf-8")
    made_of = {
        "renderer": f"resvg_py {resvg_py.__version__} (resvg {resvg_py.__resvg_version__})",
        "sets": {vendor: {"version": version, "sha256": sha256} for vendor, (version, sha256) in SETS.items()},
        "size": size,
        "failures": failures,
        "names": names,
    }
    (folder / "index.json").write_text(json.dumps(made_of, indent=1), encoding="utf-8")


def _write(path: Path, wanted: Sequence[Drawing], size: int) -> tuple[list[str], list[str]]:
    """Render into the file; the names of what it holds, row by row, and a line for each that failed.

    Written in order, since a full disk would kill a process that writes through a memory map.
    """
    shape = (len(wanted), 3, size, size)
    names: list[str] = []
    failures: list[str] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with path.open("wb") as file, Progress(*columns, console=Console(stderr=True)) as progress:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        rendering = on_all_cores(partial(_render_or_reason, size=size), wanted, chunk=32)
        rendered = progress.track(rendering, len(wanted), description=f"emoji at {size} px")
        for drawing, picture in zip(wanted, rendered, strict=True):
            if isinstance(picture, str):
                failures.append(f"{drawing.name} ({picture})")
            else:
                file.write(picture.tobytes())
                names.append(drawing.name)
        file.write(bytes(len(failures) * 3 * size * size))
    return names, failures


def _render_or_reason(drawing: Drawing, size: int) -> UInt8[np.ndarray, "3 H W"] | str:
    try:
        return render(drawing, size)
    except ValueError as error:
        return str(error)


def _view_box(icon: dict[str, Any], defaults: dict[str, Any]) -> str:
    sides = {"left": 0, "top": 0, "width": 16, "height": 16}
    return " ".join(str(icon.get(side, defaults.get(side, default))) for side, default in sides.items())


def _licences(packages: dict[str, Path]) -> str:
    lines = [
        "The pictures beside this file are renderings of drawings from these sets, under the sets' licences.",
        "",
    ]
    for vendor, package in packages.items():
        info = _json(package / "info.json")
        licence = info["license"]
        lines += [
            f"{info['name']} (@iconify-json/{vendor} {SETS[vendor][0]})",
            f"  by {info['author']['name']}, {info['author']['url']}",
            f"  {licence['title']} ({licence['spdx']}), {licence['url']}",
            "",
        ]
    return "\n".join(lines)


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


@cache
def _mapped(path: Path) -> UInt8[np.ndarray, "N 3 H W"]:
    mapped: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped
