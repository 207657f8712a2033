"""Arrays made of a data set's shapes, such as images or points: once, on all cores, and cached."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from apps.io.packages import FetchError, cache_folder
from apps.io.workers import on_all_cores
from apps.shapes.labelled_shapes import Shapes, Source
from apps.shapes.meshes import KILLED, MeshError
from apps.shapes.store import Arrays, Shape, Store, read

SHOWN = 5
CHUNK = 4

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How an array is made of a shape.

    Args:
        name: of the folder in the cache, and of the file in it: "views".
        key: a short hash of `about`.
        about: all that the arrays depend on but the mesh.
        shape, dtype: of one array; "uint8" or "float32".
        doing: the word for it: "rendering".
        make: the array of a mesh's source, the same on every run; raises MeshError. Sent to other processes.
        painted: whether the arrays depend on the colours of a mesh too.
    """

    name: str
    key: str
    about: dict[str, Any]
    shape: Shape
    dtype: str
    doing: str
    make: Callable[[Source], np.ndarray]
    painted: bool = False


def make_cached(shapes: Shapes, recipe: Recipe, *, strict: bool = False) -> tuple[Shapes, Arrays, tuple[str, ...]]:
    """The shapes that are whole, the array of each, and a line for each that is broken and left out.

    The arrays of a data set by one recipe are one file in the cache, found by the hash of each mesh's content: of a
    mesh that was changed or added it is made, and of no other. A run that is killed goes on from there the next time.
    A mesh whose process is killed, as where memory is short, is broken in this run and tried again in the next.

    Args:
        strict: a broken shape is an error.

    Raises:
        ValueError: no shape is whole, or one is not when `strict`; names the first few by path and reason.
        FetchError: the cache folder cannot be written to, or no process can be started.
    """
    folder = cache_folder() / recipe.name / f"{shapes.title}-{recipe.key}"
    try:
        keys = [_key(source, recipe.painted) for source in shapes.sources]
        contents = read(folder, recipe.shape, name=recipe.name, dtype=recipe.dtype)
        # A cache that has all of them may be one that cannot be written to, and needs no lock.
        killed: dict[str, str] = {}
        if not all(key in contents for key in keys if isinstance(key, str)):
            folder.mkdir(parents=True, exist_ok=True)
            store = partial(Store, folder, recipe.shape, recipe.about, name=recipe.name, dtype=recipe.dtype)
            with FileLock(folder / ".lock"), store() as opened:
                killed = _make_missing(shapes, keys, recipe, opened)
                contents = opened.contents
    except (OSError, NotImplementedError) as error:  # the latter where the disk knows no locks
        raise FetchError(
            f"{recipe.name} cannot be kept in {folder} ({error}): make room there, or name another place by "
            "$GEOMDML_DATA"
        ) from error
    broken_now = contents.broken | killed
    reasons = [key.reason if isinstance(key, MeshError) else broken_now.get(key) for key in keys]
    broken = tuple(f"{shapes.names[i]} {reason}" for i, reason in enumerate(reasons) if reason is not None)
    _report(broken, shapes, strict)
    whole = [i for i, reason in enumerate(reasons) if reason is None]
    return shapes.of_rows(whole), contents.arrays([str(keys[i]) for i in whole]), broken


def _make_missing(shapes: Shapes, keys: Sequence[str | MeshError], recipe: Recipe, store: Store) -> dict[str, str]:
    """Add what is not in the store; why not, by key, where a process was killed over it."""
    missing = {
        key: source
        for key, source in zip(keys, shapes.sources, strict=True)
        if key not in store and isinstance(key, str)
    }
    killed: dict[str, str] = {}
    if not missing:
        return killed
    function = partial(_array_or_reason, make=recipe.make)
    results = on_all_cores(function, [*missing.values()], chunk=CHUNK, killed=lambda _: None)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tracked = progress.track(results, len(missing), description=f"{recipe.doing} {shapes.title}")
        try:
            for key, result in zip(missing, tracked, strict=True):
                if result is None:
                    killed[key] = KILLED
                else:
                    store.add(key, result)
        except BrokenProcessPool as error:
            raise FetchError(
                f"no process can be started for {recipe.doing} {shapes.title} (is memory short?): the same command "
                "goes on from there"
            ) from error
    return killed


def _array_or_reason(source: Source, make: Callable[[Source], np.ndarray]) -> np.ndarray | str | None:
    try:
        return make(source)
    except MeshError as error:
        return error.reason


def _key(source: Source, painted: bool) -> str | MeshError:
    try:
        return source.key(painted=painted)
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
