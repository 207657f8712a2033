"""What lies in a glTF file: its JSON, its buffers, and the numbers in them (glTF 2.0, sections 3.6 and 4.4)."""

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import numpy as np
from jaxtyping import Float64, Int64

from apps.shapes.beside import Beside
from apps.shapes.limits import check_numbers

Object = dict[str, Any]

TYPES = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
MOST_VALUES = 2_000_000  # of the JSON; a scene of 8,000 parts has about 100,000
MOST_BUFFERS = 1000  # in files of their own
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


def described(data: bytes, suffix: str) -> Object:
    """The JSON of a .gltf, or of the first chunk of a .glb (glTF 2.0, section 4.4).

    Raises:
        ValueError: none, or something else.
    """
    return _split(data, suffix)[0]


def buffer_files(content: Object) -> list[str]:
    """The files that hold its buffers, as paths from its folder.

    Raises:
        ValueError: more than 1,000 of them.

    >>> buffer_files({"buffers": [{"uri": "a%20b.bin"}, {"uri": "data:;base64,AAAA"}, {}]})
    ['a b.bin']
    """
    uris = [buffer.get("uri", "") for buffer in objects(content, "buffers")]
    names = list(dict.fromkeys(unquote(str(uri)) for uri in uris if uri and not str(uri).startswith("data:")))
    if len(names) > MOST_BUFFERS:
        raise ValueError(f"it names {len(names):,} buffers: {MOST_BUFFERS:,} is the most that is read")
    return names


def read_buffer(beside: Beside, name: str) -> bytes:
    """The content of a file that holds a buffer. Raises ValueError, in a sentence on the mesh."""
    try:
        return beside.read(name)
    except ValueError as error:
        raise ValueError(f"it names the buffer {name[:80]!r}, which {error}") from error


class Content:
    """The objects of a file, and the numbers that its accessors stand for.

    Args:
        data: of the file.
        suffix: ".gltf" or ".glb".
        beside: where the files are that it names.
        most: triangles that are read; the accessors may hold as many numbers as so many could have, all together and
            each as often as it is read.

    Raises:
        ValueError: no such file; so do the methods, for what does not fit together. In one line.
    """

    def __init__(self, data: bytes, suffix: str, beside: Beside, most: int) -> None:
        self.json, self.binary = _split(data, suffix)
        self.beside, self.most, self.read = beside, most, 0
        self.size = len(data)
        self._objects: dict[str, list[Object]] = {}
        self._decoded: dict[int, bytes] = {}

    def objects(self, name: str) -> list[Object]:
        """All objects of a kind, such as "nodes"."""
        if name not in self._objects:
            self._objects[name] = objects(self.json, name)
        return self._objects[name]

    def count(self, numbers: int) -> None:
        """Raises ValueError where these numbers, with all before them, are too many."""
        self.read += numbers
        check_numbers(self.read, self.most)

    def at(self, name: str, index: Any) -> Object:
        """An object by its kind and index."""
        found = self.objects(name)
        if type(index) is not int or not 0 <= index < len(found):
            raise ValueError(f"it names {name} {index!r}; there are {len(found)}")
        return found[index]

    def numbers(self, index: Any, kind: str, primitive: Object | None = None) -> Float64[np.ndarray, "N W"]:
        """The numbers of an accessor, one row for each of its items (section 3.6.2)."""
        accessor = self.at("accessors", index)
        count, width = _whole(accessor, "count"), WIDTHS[kind]
        self.count(count * width)
        if accessor.get("type") != kind:
            raise ValueError(f"accessor {index} is of type {accessor.get('type')!r}: expected {kind}")
        if "bufferView" not in accessor and "sparse" not in accessor:
            extensions = ", ".join((primitive or {}).get("extensions", {}))
            raise ValueError(
                f"it has numbers compressed by {extensions}, which is not read"
                if extensions
                else f"accessor {index} has no numbers"
            )
        if "bufferView" in accessor:
            rows = self._rows(accessor, accessor, count, width).astype(np.float64)
        elif count > (
            size := self.size + self.beside.size
        ):  # as the offsets of a morph target, of vertices that it has
            raise ValueError(f"accessor {index} asks for {count:,} zeros in a file of {size:,} bytes")
        else:
            rows = np.zeros((count, width))
        if sparse := accessor.get("sparse"):
            changed = _whole(sparse, "count")
            places = whole(self._rows(sparse.get("indices", {}), sparse.get("indices", {}), changed, 1)).reshape(-1)
            if changed and (places[-1] >= count or (np.diff(places) <= 0).any()):
                raise ValueError(f"accessor {index} has sparse indices that do not rise below {count}")
            rows[places] = self._rows(accessor, sparse.get("values", {}), changed, width)
        dtype = np.dtype(TYPES[accessor["componentType"]])
        if not accessor.get("normalized") or dtype.kind == "f":
            return rows
        return np.maximum(rows / np.iinfo(dtype).max, -1)

    def _rows(self, typed: Object, placed: Object, count: int, width: int) -> np.ndarray:
        """Numbers of the type of one object, from where another places them in a view of a buffer."""
        if typed.get("componentType") not in TYPES:
            raise ValueError(f"it has numbers of componentType {typed.get('componentType')!r}")
        dtype = np.dtype(TYPES[typed["componentType"]])
        view = self.at("bufferViews", placed.get("bufferView"))
        size = width * dtype.itemsize
        stride = _whole(view, "byteStride", size)
        buffer = self._buffer(view)
        start, length = _whole(view, "byteOffset", 0), _whole(view, "byteLength")
        first = _whole(placed, "byteOffset", 0)
        if stride < size or start + length > len(buffer):
            raise ValueError(f"bufferView {placed['bufferView']} has a byteStride or byteLength beyond its data")
        if not count:
            return np.empty((0, width), dtype)
        if first + (count - 1) * stride + size > length:
            raise ValueError(f"it has {count} items where bufferView {placed['bufferView']} has {length} bytes")
        return np.ndarray((count, width), dtype, buffer, start + first, (stride, dtype.itemsize))

    def _buffer(self, view: Object) -> bytes:
        """The buffer behind a view. Compressed views name a buffer of plain numbers, which need not be there."""
        index: Any = view.get("buffer")
        buffer = self.at("buffers", index)
        if index not in self._decoded:
            self._decoded[index] = self._bytes(index, buffer.get("uri"))
        found = self._decoded[index]
        if len(found) < _whole(buffer, "byteLength"):
            if extensions := ", ".join(view.get("extensions", {})):
                raise ValueError(f"it has numbers compressed by {extensions}, which is not read")
            raise ValueError(f"buffer {index} has {len(found)} bytes where it says {buffer['byteLength']}")
        return found

    def _bytes(self, index: int, uri: Any) -> bytes:
        if uri is None:
            return self.binary if index == 0 and self.binary is not None else b""
        if not str(uri).startswith("data:"):
            return read_buffer(self.beside, unquote(str(uri)))
        return _from_base64(f"buffer {index}", str(uri))

    def image(self, image: Object) -> bytes:
        """The content of an image that lies in the file, as base64 or in a buffer."""
        if uri := image.get("uri"):
            return _from_base64("an image", str(uri))
        view = self.at("bufferViews", image.get("bufferView"))
        start, length = _whole(view, "byteOffset", 0), _whole(view, "byteLength")
        return self._buffer(view)[start : start + length]


def _from_base64(name: str, uri: str) -> bytes:
    try:
        return base64.b64decode(uri.partition(",")[2], validate=True)
    except binascii.Error as error:
        raise ValueError(f"{name} is no base64: {error}") from error


def _split(data: bytes, suffix: str) -> tuple[Object, bytes | None]:
    """The JSON, and the binary chunk of a .glb where it has one."""
    binary = None
    if suffix == ".glb":
        if data[:8] != b"glTF\x02\0\0\0":
            raise ValueError("it does not begin as glTF 2 does in binary")
        if int.from_bytes(data[8:12], "little") != len(data):
            raise ValueError(f"it says {int.from_bytes(data[8:12], 'little')} bytes but has {len(data)}")
        chunks = list(_chunks(data))
        if not chunks or chunks[0][0] != b"JSON":
            raise ValueError("it does not begin with a chunk of JSON")
        binary = next((chunk for kind, chunk in chunks[1:2] if kind == b"BIN\0"), None)
        data = chunks[0][1]
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise ValueError(f"its JSON has more than {MOST_VALUES:,} values, which is the most that is read")
    try:
        content = json.loads(data)
    except RecursionError as error:
        raise ValueError("its JSON is nested too deep") from error
    if not isinstance(content, dict):
        raise ValueError("it does not hold a JSON object")
    return content, binary


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 12
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "little")
        if place + 8 + length > len(data):
            raise ValueError(f"it has a chunk of {length} bytes but ends before")
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        place += 8 + length


def _whole(content: Object, name: str, default: int | None = None) -> int:
    value = content.get(name, default)
    if type(value) is not int or value < 0:
        raise ValueError(f"it has the {name} {value!r}: expected a whole number")
    return value


def whole(rows: np.ndarray) -> Int64[np.ndarray, "N W"]:
    """Indices as integers, of which a file may say that they are floats."""
    if not ((rows >= 0) & (rows < 2**32) & (rows == np.floor(rows))).all():
        raise ValueError("it has indices that are no whole numbers from 0")
    return rows.astype(np.int64)


def objects(content: Object, name: str) -> list[Object]:
    """The list of objects that an object has under a name; none where it is left out."""
    found = content.get(name, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise ValueError(f"its {name} are no list of objects")
    return found
