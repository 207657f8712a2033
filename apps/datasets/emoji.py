"""Emoji as drawn by eight vendors: a class is an emoji, an instance a vendor's drawing of it.

The drawings are vectors from the Iconify sets. They are rendered once for each size,
into an array in the cache folder.
"""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import resvg_py

from apps.datasets import iconify
from apps.datasets.labelled_images import LabelledImages
from apps.io.labels import index_classes
from apps.io.packages import cache_folder, make_once, npm_package

NAME = "1,185 emoji by 8 vendors"
LEAST_VENDORS = 5

# Vendor: version and SHA-256 of the npm package @iconify-json/VENDOR. fluent-emoji-flat is missing because
# it is a near-twin of fluent-emoji.
SETS: dict[str, tuple[str, str]] = json.loads(Path(__file__).with_suffix(".json").read_bytes())


def load(size: int) -> LabelledImages:
    """All emoji drawn by at least five vendors, over white, padded to a square; sorted by emoji, then vendor.

    1,185 classes and 8,080 images, without skin tones, flags and other names of the same emoji. The first
    call fetches the sets by npm and renders them on all cores (about 50 s of one core at 128 px).

    Args:
        size: height and width in pixels, 8 to 512.

    Raises:
        ValueError: another size.
        FetchError: the sets cannot be fetched, or the cache folder not be written to.
    """
    iconify.check_size(size)
    folder = make_once(_folder(size), lambda unfinished: _make(unfinished, size))
    names = tuple(json.loads((folder / "index.json").read_bytes())["names"])
    labels, classes = index_classes(name.partition("/")[2] for name in names)
    return LabelledImages(labels, classes, names, iconify.rendered_in(folder))


def drawings(sets: dict[str, dict[str, Any]]) -> list[iconify.Drawing]:
    """The drawings to render of all Iconify sets, by vendor: {"icons": {emoji: {"body": ..., ...}}, ...}."""
    found = {
        (emoji, vendor): iconify.drawing(f"{vendor}/{emoji}", icon, icons)
        for vendor, icons in sets.items()
        for emoji, icon in icons["icons"].items()
        if "skin-tone" not in emoji and "flag" not in emoji and not icon.get("hidden")
    }
    vendors = Counter(emoji for emoji, _ in found)
    return [found[key] for key in sorted(found) if vendors[key[0]] >= LEAST_VENDORS]


def _folder(size: int) -> Path:
    pins = hashlib.sha256(json.dumps([LEAST_VENDORS, SETS]).encode()).hexdigest()[:8]
    return cache_folder() / "emoji" / f"{pins}-resvg_py-{resvg_py.__version__}-{size}"


def _make(folder: Path, size: int) -> None:
    packages = {vendor: npm_package(f"@iconify-json/{vendor}", *pin) for vendor, pin in SETS.items()}
    sets = {vendor: iconify.read_json(package / "icons.json") for vendor, package in packages.items()}
    names, failures = iconify.write(folder, drawings(sets), size, title="emoji")
    infos = {
        f"@iconify-json/{vendor} {SETS[vendor][0]}": iconify.read_json(package / "info.json")
        for vendor, package in packages.items()
    }
    (folder / "LICENSES.txt").write_text(iconify.licences(infos), encoding="utf-8")
    made_of = {
        "renderer": iconify.RENDERER,
        "sets": {vendor: {"version": version, "sha256": sha256} for vendor, (version, sha256) in SETS.items()},
        "size": size,
        "failures": failures,
        "names": names,
    }
    (folder / "index.json").write_text(json.dumps(made_of, indent=1), encoding="utf-8")
