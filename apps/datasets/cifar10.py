"""CIFAR10: 50,000 and 10,000 images, 32 × 32, from its usual Python files; their pickles are read and run no code.

No package of it is known: `root` is a folder with the batches, or with cifar-10-python.tar.gz, or that file itself.
"""

import io
import pickle
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from apps.datasets.image_arrays import ImageArrays, ImageSplit

NAME = "CIFAR10"
TRAIN = tuple(f"data_batch_{n}" for n in range(1, 6))
TEST, META = "test_batch", "batches.meta"
FOLDER, TARBALL = "cifar-10-batches-py", "cifar-10-python.tar.gz"
SIDE, CLASSES = 32, 10
MOST_BYTES = 2**26  # a batch has 31 MB
LAYOUT = f"expected a folder with {TRAIN[0]} to {TRAIN[-1]}, {TEST} and {META}, or {TARBALL}"

Read = Callable[[str], tuple[str, bytes]]


def load(root: str | Path | None) -> ImageSplit:
    """CIFAR10 (Krizhevsky 2009) from its Python files.

    Raises:
        ValueError: no root, or a file that is missing, truncated or not what it should be; names its path.
    """
    if root is None:
        raise ValueError(f"CIFAR10 comes in no package: give --data.root; {LAYOUT}")
    read = _reader(Path(root))
    train = [_batch(*read(name)) for name in TRAIN]
    return ImageSplit(
        name=NAME,
        train=ImageArrays(torch.cat([part.pixels for part in train]), torch.cat([part.labels for part in train])),
        test=_batch(*read(TEST)),
        classes=_classes(*read(META)),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
    )


def _reader(root: Path) -> Read:
    """What gives the path and the content of a file by its name, from a folder or a tarball."""
    folders = [folder for folder in (root, root / FOLDER) if (folder / TRAIN[0]).is_file()]
    if folders:
        return lambda name: _from_folder(folders[0] / name)
    tarballs = [path for path in (root, root / TARBALL) if path.is_file()]
    if tarballs:
        return lambda name: _from_tarball(tarballs[0], name)
    raise ValueError(f"{root / TRAIN[0]} is missing; {LAYOUT}")


def _from_folder(path: Path) -> tuple[str, bytes]:
    if not path.is_file():
        raise ValueError(f"{path} is missing; {LAYOUT}")
    with path.open("rb") as file:
        return str(path), _bounded(file, str(path))


def _from_tarball(path: Path, name: str) -> tuple[str, bytes]:
    place = f"{path}:{FOLDER}/{name}"
    try:
        with tarfile.open(path) as tar:
            file = tar.extractfile(f"{FOLDER}/{name}")
            if file is None:
                raise ValueError(f"{place} is no file; {LAYOUT}")
            return place, _bounded(file, place)
    except KeyError:
        raise ValueError(f"{place} is missing; {LAYOUT}") from None
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged or truncated: {error}") from error


def _bounded(file: Any, place: str) -> bytes:
    content: bytes = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"{place} has more than {MOST_BYTES} bytes: it is no file of CIFAR10")
    return content


def _batch(place: str, content: bytes) -> ImageArrays:
    found = unpickle(place, content)
    data, labels = found.get("data"), found.get("labels")
    if not isinstance(data, _Array) or not isinstance(labels, list):
        raise ValueError(f"{place} has no 'data' array and 'labels' list: it is no batch of CIFAR10")
    if data.shape != (len(labels), 3 * SIDE * SIDE) or not labels:
        raise ValueError(
            f"{place} has data of {data.shape} for {len(labels)} labels; expected (labels, {3 * SIDE * SIDE})"
        )
    if not all(isinstance(label, int) and 0 <= label < CLASSES for label in labels):
        raise ValueError(f"{place} has labels other than 0 to {CLASSES - 1}")
    rows = np.frombuffer(data.values, np.uint8).reshape(data.shape, order=data.order)
    return ImageArrays(torch.from_numpy(rows.reshape(-1, 3, SIDE, SIDE).copy()), torch.tensor(labels))


def _classes(place: str, content: bytes) -> tuple[str, ...]:
    names = unpickle(place, content).get("label_names")
    if not isinstance(names, list) or len(names) != CLASSES or not all(isinstance(n, bytes | str) for n in names):
        raise ValueError(f"{place} has no 'label_names' of {CLASSES} classes")
    return tuple(_text(name) for name in names)


def unpickle(place: str, content: bytes) -> dict[str, Any]:
    """The dictionary in a pickle of Python 2 or 3 that holds plain values and uint8 arrays, and runs nothing.

    Raises:
        ValueError: another content, a truncated one, or one that names anything to call; names `place`.
    """
    try:
        found = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:  # damaged bytes lead unpickling anywhere
        raise ValueError(f"{place} cannot be read as a file of CIFAR10 ({type(error).__name__}: {error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{place} holds a {type(found).__name__}; expected the dictionary of a file of CIFAR10")
    return {_text(key): value for key, value in found.items() if isinstance(key, bytes | str)}


class _Array:
    """Stands for numpy's array while unpickling: memory is taken only for what the file really holds."""

    def __init__(self, *_: Any) -> None:
        self.shape: tuple[int, ...] = ()
        self.order: Literal["C", "F"] = "C"
        self.values = b""

    def __setstate__(self, state: tuple[int, tuple[int, ...], "_DType", bool, bytes]) -> None:
        _, shape, dtype, fortran, values = state
        if not isinstance(dtype, _DType) or dtype.name != "u1" or not isinstance(values, bytes):
            raise pickle.UnpicklingError("an array is not of unsigned bytes")
        if not all(isinstance(size, int) and size >= 0 for size in shape) or int(np.prod(shape, dtype=object)) != len(
            values
        ):
            raise pickle.UnpicklingError(f"an array of shape {shape} has {len(values)} bytes")
        self.shape, self.order, self.values = tuple(shape), "F" if fortran else "C", values


class _DType:
    """Stands for numpy's dtype while unpickling."""

    def __init__(self, name: bytes | str, *_: Any) -> None:
        self.name = _text(name)

    def __setstate__(self, state: Any) -> None:
        """Byte order and alignment: of no matter to bytes."""


class _Unpickler(pickle.Unpickler):
    KNOWN = {
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _DType,
    }
    encoded = 0

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return self.encode
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no file of CIFAR10 does")
        return self.KNOWN[module, name]

    def encode(self, text: str, encoding: str) -> bytes:
        """By `_codecs.encode` Python 3 writes bytes for Python 2; a pickle can call it on one text again and again."""
        self.encoded += len(text)
        if self.encoded > MOST_BYTES:
            raise pickle.UnpicklingError("it holds too much")
        return text.encode("latin1")


def _text(name: bytes | str) -> str:
    return name.decode("latin1") if isinstance(name, bytes) else name
