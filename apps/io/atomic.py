"""Files and folders that appear whole or not at all: written aside, in the same folder, and renamed."""

import hashlib
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

PART = re.compile(r"\..*\.(?P<where>[0-9a-f]{8})-(?P<process>\d+)\.part(\..*)?", re.DOTALL)


class Aside:
    """A file beside `path` to write to, `part`, until `finish` puts it there or `discard` removes it.

    Its name has the process's number, so that two processes can write the same file: the last to finish wins. It ends
    as that of `path`: libraries choose the format by it. What a killed process left is removed by the first file aside
    that another one makes in that folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     aside = Aside(Path(folder) / "greeting")
    ...     _ = aside.part.write_text("hello")
    ...     before = aside.path.exists()
    ...     aside.finish()
    ...     before, [(path.name, path.read_text()) for path in Path(folder).iterdir()]
    (False, [('greeting', 'hello')])
    """

    def __init__(self, path: Path) -> None:
        self.path, self.part = path, path.with_name(f".{path.stem}.{_where()}-{os.getpid()}.part{path.suffix}")
        _remove_left(path.parent)

    def finish(self, *, sync: bool = False) -> None:
        """Rename the part to `path`; with `sync` only when its content is on the disk. Raises OSError."""
        if sync:
            with self.part.open("rb+") as file:
                os.fsync(file.fileno())  # the name must not reach the disk before the content does
        os.replace(self.part, self.path)

    def discard(self) -> None:
        """Remove the part, where there is one and it can be: what kept it from being written says more."""
        with suppress(OSError):
            self.part.unlink(missing_ok=True)


@cache
def _remove_left(folder: Path) -> None:
    """Remove the parts in a folder whose processes, of this machine, have ended; once a process."""
    with suppress(OSError):  # it can be written to, or not
        for name in os.listdir(folder):
            if (found := PART.fullmatch(name)) and found["where"] == _where() and not _is_alive(int(found["process"])):
                (folder / name).unlink(missing_ok=True)


@cache
def _where() -> str:
    """Stands for where numbers tell processes apart: a machine since it was started, or a container on it."""
    known = [socket.gethostname()]
    with suppress(OSError):  # macOS and Windows have no /proc
        known += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256(" ".join(known).encode()).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # where signal 0 is Ctrl-C
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OverflowError, PermissionError):
        pass
    return True


def write_file(path: Path, write: Callable[[Path], Any], *, sync: bool = False) -> None:
    """Let `write` make a file beside `path`, then put it in its place at once; folders are made as needed.

    Args:
        sync: whether a crash of the machine, too, leaves either the old or the new file.

    Raises:
        OSError: it could not be written; whatever was at `path` is still there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_file(Path(folder) / "new" / "greeting", lambda part: part.write_text("hello"))
    ...     [(path.name, path.read_text()) for path in Path(folder).glob("new/*")]
    [('greeting', 'hello')]
    """
    with replacing(path, sync=sync) as part:
        write(part)


@contextmanager
def replacing(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """A file beside `path` to write within the block, at whose end it is put in its place; see `write_file`.

    What a link leads to is replaced, and a device or pipe is written to as it is.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder) / "greeting") as part:
    ...         _ = part.write_text("hello")
    ...     (Path(folder) / "greeting").read_text()
    'hello'
    """
    unfinished = Aside(Path(os.path.realpath(path)))
    try:
        with naming(path):
            if path.exists() and not path.is_file():
                yield path
                return
            unfinished.path.parent.mkdir(parents=True, exist_ok=True)
            yield unfinished.part
            unfinished.finish(sync=sync)
    finally:
        unfinished.discard()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Within, an OSError says which file could not be written, and why; one that names a file elsewhere passes."""
    try:
        yield
    except OSError as error:
        if isinstance(error.filename, str | os.PathLike):
            written, named = (Path(os.path.realpath(each)) for each in (path, error.filename))
            if named.parent != written.parent and named not in written.parents:
                raise
        reason = os.strerror(error.errno) if error.errno else error
        raise OSError(f"{path} could not be written: {reason}; what was there before is whole") from error


def make_folder(folder: Path, make: Callable[[Path], None]) -> None:
    """Make a folder by `make` where it does not exist yet, in one process while the others wait.

    Args:
        folder: exists only when it is complete.
        make: fills the empty folder that it is given, which lies beside `folder` and takes its name at the end. A run
            stopped at any moment leaves nothing half-made; what a killed one left is removed by the next.

    Raises:
        OSError: it could not be written; and whatever `make` raises.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     make_folder(Path(place) / "shelf", lambda folder: (folder / "box").mkdir())
    ...     [path.name for path in Path(place).glob("shelf/*")]
    ['box']
    """
    if folder.is_dir():
        return
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        if folder.is_dir():
            return
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        try:
            make(unfinished)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
