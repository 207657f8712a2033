"""Icons by their names: thousands of classes, each drawn by several authors.

Of the sets in one npm package, without emoji, flags and logos. Sets of one author repeat each other's drawings, so each
author gives one drawing of a name. Nobody has checked that a name means the same to all.
"""

import hashlib
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import resvg_py

from apps.datasets import iconify
from apps.datasets.labelled_images import LabelledImages
from apps.datasets.pictograms import PACKAGE
from apps.io.labels import index_classes
from apps.io.packages import cache_folder, make_once, npm_package

LEFT_OUT = ("Emoji", "Flags / Maps", "Logos")
LEAST_AUTHORS, MOST_AUTHORS = 4, 6


def load(size: int) -> LabelledImages:
    """Icons whose name at least four authors have drawn, six of them at most; black over white, sorted by name.

    Args:
        size: height and width in pixels, 8 to 512.
    """
    iconify.check_size(size)
    pins = hashlib.sha256(json.dumps([PACKAGE, LEFT_OUT, LEAST_AUTHORS, MOST_AUTHORS]).encode()).hexdigest()[:8]
    folder = cache_folder() / "icons" / f"{pins}-resvg_py-{resvg_py.__version__}-{size}"
    folder = make_once(folder, lambda unfinished: _make(unfinished, size))
    names = tuple(json.loads((folder / "names.json").read_bytes()))
    labels, classes = index_classes(name.partition("/")[2] for name in names)
    return LabelledImages(labels, classes, names, iconify.rendered_in(folder))


def _make(folder: Path, size: int) -> None:
    package = npm_package(*PACKAGE)
    infos = iconify.read_json(package / "collections.json")
    drawn: dict[str, dict[str, iconify.Drawing]] = defaultdict(dict)  # by name and author
    for place in sorted(infos):
        if infos[place].get("category") not in LEFT_OUT:
            icons = iconify.read_json(package / "json" / f"{place}.json")
            for name, icon in icons["icons"].items():
                if not icon.get("hidden"):
                    drawing = iconify.drawing(f"{place}/{name}", icon, icons)
                    drawn[name].setdefault(infos[place]["author"]["name"], drawing)
    chosen: list[iconify.Drawing] = []
    for name in sorted(drawn):
        if len(drawn[name]) >= LEAST_AUTHORS:
            seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
            order = np.random.default_rng(seed).permutation(sorted(drawn[name]))[:MOST_AUTHORS]
            chosen += [drawn[name][author] for author in sorted(order.tolist())]
    names, _ = iconify.write(folder, chosen, size, title="icons")
    (folder / "names.json").write_text(json.dumps(names), encoding="utf-8")
    used = {name.partition("/")[0] for name in names}
    licences = iconify.licences({f"{place}, of {PACKAGE[0]} {PACKAGE[1]}": infos[place] for place in sorted(used)})
    (folder / "LICENSES.txt").write_text(licences, encoding="utf-8")
