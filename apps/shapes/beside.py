"""The files that a mesh names: in its own folder or deeper, and of a limited size all together.

Whoever wrote the mesh wrote the names, so they may lead anywhere; no more is opened than what lies beside the mesh.
"""

import posixpath
import zipfile
from abc import ABC, abstractmethod
from pathlib import Path

MOST_BYTES = 2**29  # of a mesh and the files that it names
LONGEST_NAME = 255


class Beside(ABC):
    """Reads the files beside a mesh, each once, `most` bytes together at most (512 MB)."""

    def __init__(self, most: int | None = None) -> None:
        self.left, self._read = MOST_BYTES if most is None else most, dict[str, bytes]()

    def read(self, name: str) -> bytes:
        """The content of a file by its name, a path from the mesh's folder.

        Raises:
            ValueError: there is none, it lies outside of the folder, or is too large; "does not exist", to follow
                "the file, which".
        """
        if name not in self._read:
            if "\0" in name or any(len(part) > LONGEST_NAME for part in name.split("/")):
                raise ValueError("is no name that a file can have")
            self._read[name] = self._open(name)
            self.left -= len(self._read[name])
        return self._read[name]

    @property
    def size(self) -> int:
        """The bytes that were read."""
        return sum(map(len, self._read.values()))

    def check_size(self, size: int) -> None:
        """Raises ValueError where a file is larger than what is left."""
        if size > self.left:
            raise ValueError(f"has {size:,} bytes: {self.left:,} is the most that is read")

    @abstractmethod
    def _open(self, name: str) -> bytes: ...


class Folder(Beside):
    """The files in the folder of a mesh, whose content is `mesh`; raises ValueError where that cannot be read."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path.parent
        self.mesh = self._content(path)
        self.left -= len(self.mesh)

    def _open(self, name: str) -> bytes:
        path = self.path / name
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise ValueError("lies outside of its folder")
        return self._content(path)

    def _content(self, path: Path) -> bytes:
        if not path.is_file():
            raise ValueError("is no file" if path.exists() else "does not exist")
        self.check_size(path.stat().st_size)
        return path.read_bytes()


class Archive(Beside):
    """The files of a folder in a zip archive."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__()
        self.archive, self.folder = archive, folder

    def _open(self, name: str) -> bytes:
        member = posixpath.normpath(posixpath.join(self.folder, name))
        if self.folder and not member.startswith(self.folder + "/"):
            raise ValueError("lies outside of its folder")
        try:
            found = self.archive.getinfo(member)
        except KeyError:
            raise ValueError("does not exist") from None
        self.check_size(found.file_size)
        return self.archive.read(found)


class Nothing(Beside):
    """No files: of a mesh that came without its folder."""

    def __init__(self) -> None:
        super().__init__(0)

    def _open(self, name: str) -> bytes:
        raise ValueError("did not come with it")
