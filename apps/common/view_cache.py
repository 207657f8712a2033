"""The pictures of a data set's shapes: rendered once, on all cores, and kept."""

import logging
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import NamedTuple

import numpy as np
from filelock import FileLock
from jaxtyping import UInt8
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from apps.common.packages import FetchError, cache_folder
from apps.common.rendering import Look, render
from apps.common.view_store import Store, Views
from apps.common.workers import on_all_cores
from apps.datasets.meshes import MeshError
from apps.datasets.shapes import Shapes, Source

SHOWN = 5
CHUNK = 4

log = logging.getLogger(__name__)


class Rendered(NamedTuple):
    """Shapes with their pictures: views[i] are those of shape i. `broken` has a line for each that is left out."""

    shapes: Shapes
    views: Views
    broken: tuple[str, ...]


def rendered(shapes: Shapes, look: Look, *, strict: bool = False) -> Rendered:
    """The shapes that can be rendered, with their pictures, from the cache or rendered now.

    The pictures of a data set in one look are one file in the cache, found by the hash of each mesh's content: a mesh
    that was changed or added is rendered, and no other. A run that is killed goes on from there the next time.

    Args:
        strict: a broken shape is an error.

    Raises:
        ValueError: no shape can be rendered, or one cannot when `strict`; names the first few by path and reason.
        FetchError: the cache folder cannot be written to, or a process that rendered was killed.
        ImportError: open3d is missing.
    """
    folder = cache_folder() / "views" / f"{shapes.title}-{look.key()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        keys = [_key(source) for source in shapes.sources]
        with FileLock(folder / ".lock"), Store(folder, look.shape, look.described()) as store:
            _render_missing(shapes, keys, look, store)
    except OSError as error:
        raise FetchError(
            f"pictures cannot be kept in {folder} ({error}): make room there, or name another place by $GEOMDML_DATA"
        ) from error
    reasons = [key.reason if isinstance(key, MeshError) else store.broken.get(key) for key in keys]
    broken = tuple(f"{shapes.names[i]} {reason}" for i, reason in enumerate(reasons) if reason is not None)
    _report(broken, shapes, strict)
    whole = [i for i, reason in enumerate(reasons) if reason is None]
    return Rendered(shapes.chosen(whole), store.views([str(keys[i]) for i in whole]), broken)


def _render_missing(shapes: Shapes, keys: Sequence[str | MeshError], look: Look, store: Store) -> None:
    wanted = {
        key: source
        for key, source in zip(keys, shapes.sources, strict=True)
        if key not in store and isinstance(key, str)
    }
    if not wanted:
        return
    results = on_all_cores(partial(_pictures_or_reason, look=look), [*wanted.values()], chunk=CHUNK)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tracked = progress.track(results, len(wanted), description=f"rendering {shapes.title}")
        try:
            for key, result in zip(wanted, tracked, strict=True):
                store.add(key, result)
        except BrokenProcessPool as error:
            next_one = next(name for name, key in zip(shapes.names, keys, strict=True) if key not in store)
            raise FetchError(
                f"a process that rendered {shapes.title} was killed at {next_one} or soon after (was memory short?): "
                "the same command goes on from there"
            ) from error


def _pictures_or_reason(source: Source, look: Look) -> UInt8[np.ndarray, "V C S S"] | str:
    try:
        return render(source.read(), look)
    except MeshError as error:
        return error.reason


def _key(source: Source) -> str | MeshError:
    try:
        return source.key()
    except MeshError as error:
        return error


def _report(broken: Sequence[str], shapes: Shapes, strict: bool) -> None:
    if not broken:
        return
    shown = "; ".join(broken[:SHOWN]) + ("; ..." if len(broken) > SHOWN else "")
    message = f"{len(broken)} of {len(shapes)} shapes of {shapes.title} are broken: {shown}"
    if strict or len(broken) == len(shapes):
        raise ValueError(message)
    log.warning("left out: %s", message)
