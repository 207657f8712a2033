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
