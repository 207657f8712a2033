"""PLY, the format of Stanford's scans, as text and binary. http://paulbourke.net/dataformats/ply/"""

import struct
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

from apps.shapes.beside import Beside
from apps.shapes.limits import MOST_FACES, check_counts, check_numbers, lines
from apps.shapes.mesh import Mesh
from apps.shapes.ply_columns import Column, Columns
from apps.shapes.ply_paint import paint
from apps.shapes.polygons import fans
from apps.shapes.text_numbers import numbers

TYPES = {  # as numpy and struct name them
    "char": "b", "int8": "b", "uchar": "B", "uint8": "B", "short": "h", "int16": "h", "ushort": "H", "uint16": "H",
    "int": "i", "int32": "i", "uint": "I", "uint32": "I", "int64": "q", "uint64": "Q",
    "float": "f", "float32": "f", "double": "d", "float64": "d",
}  # fmt: skip
FRACTIONS = "fd"
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
CORNERS = ("vertex_indices", "vertex_index")
LONGEST_HEADER = 2**20
MOST_DIGITS = 12


class Property(NamedTuple):
    """A number of every row of an element; with a `length`, the type of one, a list of numbers."""

    name: str
    type: str
    length: str = ""


class Element(NamedTuple):
    name: str
    length: int
    properties: list[Property]


def parse(data: bytes, most: int = MOST_FACES, beside: Beside | None = None) -> Mesh:
    """Vertices and triangles of a PLY file; a polygon becomes a fan of triangles around its first corner.

    Other elements and properties are passed over.

    Args:
        beside: where the textures are that it names; without it all colours are passed over too.

    Raises:
        ValueError: more or fewer rows than the header says, triangle strips, or anything else; in one line.

    >>> head = b"ply\\nformat ascii 1.0\\nelement vertex 3\\nproperty float x\\nproperty float y\\nproperty float z\\n"
    >>> faces = b"element face 1\\nproperty list uchar int vertex_indices\\nend_header\\n"
    >>> parse(head + faces + b"0 0 0\\n1 0 0\\n0 1 0\\n3 0 1 2\\n").faces.tolist()
    [[0, 1, 2]]
    """
    elements, order, body = _header(data)
    elements = [element for element in elements if element.length and element.properties]
    for element in elements:
        check_counts(element.length * (element.name != "face"), element.length * (element.name == "face"), most)
    read = _text_columns(elements, body, most) if order == "ascii" else _binary_columns(elements, body, order, most)
    found = dict(read)
    if len(found.get("tristrips", {})):
        raise ValueError("it has triangle strips (tristrips), which are not read: expected faces")
    vertices, faces = np.empty((0, 3)), Column(np.empty(0, np.int64), np.empty(0, np.int64), "i")
    if columns := found.get("vertex"):
        vertices = np.stack([_single(columns, name).astype(np.float64) for name in "xyz"], axis=1)
    if columns := found.get("face"):
        faces = _corners(columns)
    wrong = np.flatnonzero((faces.values < 0) | (faces.values >= len(vertices)))
    if len(wrong):
        face = np.repeat(np.arange(len(faces.counts)), faces.counts)[wrong[0]]
        raise ValueError(f"face {face} names vertex {faces.values[wrong[0]]} of {len(vertices)}")
    triangles = fans(faces.values.astype(np.int64), faces.counts, most)
    return Mesh(vertices, triangles, None if beside is None else paint(data, found, faces, triangles, beside))


def _single(columns: Columns, name: str) -> np.ndarray:
    if name not in columns or (columns[name].counts != 1).any():
        raise ValueError(f"its vertices have {', '.join(columns)}: expected numbers x, y and z")
    return columns[name].values


def _corners(columns: Columns) -> Column:
    name = next((name for name in CORNERS if name in columns), None)
    if name is None:
        raise ValueError(f"its faces have {', '.join(columns)}: expected a list vertex_indices")
    if columns[name].values.dtype.kind == "f":
        raise ValueError(f"the {name} of its faces are no whole numbers")
    return columns[name]


def _header(data: bytes) -> tuple[list[Element], str, bytes]:
    """What a file holds, in which order of bytes, and the rest of it."""
    head, mark, body = data[:LONGEST_HEADER].partition(b"end_header")
    lines = [line.decode("ascii", errors="replace").split() for line in head.splitlines()]
    if not lines or lines[0] != ["ply"] or not mark:
        raise ValueError("it has no header from 'ply' to 'end_header'")
    # Bytes that follow may look like an end of line, so it is known by the first one.
    end = next(end for end in (b"\r\n", b"\n", b"\r") if end in head[:20])
    body = data[len(head) + len(mark) :]
    blanks, found, body = body.partition(end)
    if not found or blanks.strip():
        raise ValueError("its line 'end_header' does not end there")
    elements: list[Element] = []
    order = ""
    for words in lines[1:]:
        match words:
            case [] | ["comment" | "obj_info", *_]:
                pass
            case ["format", name, "1.0"] if name in ORDERS and not order:
                order = name
            case ["element", name, count] if count.isdecimal() and len(count) <= MOST_DIGITS:
                elements.append(Element(name, int(count), []))
            case ["property", type_, name] if elements and type_ in TYPES:
                elements[-1].properties.append(Property(name, TYPES[type_]))
            case ["property", "list", count, type_, name] if (
                elements and type_ in TYPES and TYPES.get(count, "f") not in FRACTIONS
            ):
                elements[-1].properties.append(Property(name, TYPES[type_], TYPES[count]))
            case _:
                raise ValueError(f"its header has the line {' '.join(words)[:60]!r}")
    if not order:
        raise ValueError("its header has no line 'format ascii 1.0' or 'format binary_little_endian 1.0'")
    names = [[element.name for element in elements], *([each.name for each in e.properties] for e in elements)]
    if any(len(set(some)) != len(some) for some in names):
        raise ValueError("its header names an element or a property twice")
    return elements, order, body


def _text_columns(elements: list[Element], body: bytes, most: int) -> Iterator[tuple[str, Columns]]:
    waiting = (line for line in lines(body) if line.strip())
    of_each = [list(islice(waiting, element.length)) for element in elements]
    found = sum(map(len, of_each)) + sum(1 for _ in waiting)
    if found != sum(element.length for element in elements):
        says = " and ".join(f"{element.length} of {element.name}" for element in elements)
        raise ValueError(f"it says {says} but has {found} lines of them")
    for element, rows in zip(elements, of_each, strict=True):
        width = len(element.properties)
        if any(each.length for each in element.properties):
            yield element.name, _text_lists(element, rows, most)
            continue
        wrong = next((i for i, row in enumerate(rows) if len(row.split()) != width), None)
        if wrong is not None:
            raise ValueError(f"{element.name} {wrong} is {rows[wrong][:40]!r}: expected {width} numbers")
        table, ones = numbers(rows, range(width), element.name), np.ones(len(rows), np.int64)
        yield (
            element.name,
            {each.name: Column(table[:, i], ones, each.type) for i, each in enumerate(element.properties)},
        )


def _text_lists(element: Element, rows: list[bytes], most: int) -> Columns:
    total = 0
    parts: list[list[list[float]]] = [[] for _ in element.properties]
    for number, row in enumerate(rows):
        words = row.split()
        place = 0
        total += len(words)
        check_numbers(total, most)
        try:
            for part, each in zip(parts, element.properties, strict=True):
                count = int(words[place]) if each.length else 1
                place += bool(each.length)
                convert = float if each.type in FRACTIONS else int
                part.append([convert(word) for word in words[place : place + count]])
                place += count
            if place != len(words) or b"_" in row or any(len(part) <= number for part in parts):
                raise ValueError
        except (ValueError, IndexError) as error:
            raise ValueError(f"{element.name} {number} is {row[:40]!r}") from error
    return _columns(element, parts)


def _columns(element: Element, parts: Sequence[Sequence[Sequence[float]]]) -> Columns:
    """The columns of an element, from what each property has in each row."""
    columns = {}
    for each, part in zip(element.properties, parts, strict=True):
        values = np.array(list(chain.from_iterable(part)), np.float64 if each.type in FRACTIONS else np.int64)
        columns[each.name] = Column(values, np.array([len(row) for row in part], np.int64), each.type)
    return columns


def _binary_columns(elements: list[Element], body: bytes, order: str, most: int) -> Iterator[tuple[str, Columns]]:
    place = 0
    for element in elements:
        least = sum(np.dtype(each.length or each.type).itemsize for each in element.properties)
        if element.length * least > len(body) - place:
            raise ValueError(f"it says {element.length} of {element.name} but ends before them")
        columns, place = _binary_rows(element, body, place, ORDERS[order], most)
        yield element.name, columns
    if place != len(body):
        raise ValueError(f"it has {len(body) - place} bytes more than its header says")


def _binary_rows(element: Element, body: bytes, start: int, order: str, most: int) -> tuple[Columns, int]:
    """The rows of an element, all at once where their lists are as long as those of the first row, else one by one."""
    first, place = _row(element, body, start, order, 0)
    lengths = [len(values) for values in first]
    dtype = np.dtype(
        [
            field
            for i, (each, length) in enumerate(zip(element.properties, lengths, strict=True))
            for field in ((f"count {i}", order + (each.length or "V0")), (f"value {i}", order + each.type, (length,)))
        ]
    )
    if element.length * dtype.itemsize <= len(body) - start:
        table = np.frombuffer(body, dtype, element.length, start)
        if all((table[f"count {i}"] == lengths[i]).all() for i, each in enumerate(element.properties) if each.length):
            columns = {
                each.name: Column(table[f"value {i}"].reshape(-1), np.broadcast_to(lengths[i], len(table)), each.type)
                for i, each in enumerate(element.properties)
            }
            return columns, start + table.nbytes
    rows, total = [first], sum(lengths)
    for number in range(1, element.length):
        row, place = _row(element, body, place, order, number)
        total += sum(map(len, row))
        check_numbers(total, most)
        rows.append(row)
    return _columns(element, list(zip(*rows, strict=True))), place


def _row(element: Element, body: bytes, place: int, order: str, number: int) -> tuple[list[tuple], int]:
    """The numbers of each property of a row, and where they end."""
    row = []
    try:
        for each in element.properties:
            count = 1
            if each.length:
                (count,) = struct.unpack_from(order + each.length, body, place)
                place += struct.calcsize(order + each.length)
            if not 0 <= count <= len(body) - place:
                raise ValueError(f"{element.name} {number} has {count} {each.name}")
            values = struct.unpack_from(f"{order}{count}{each.type}", body, place)
            place += struct.calcsize(f"{order}{count}{each.type}")
            row.append(values)
    except struct.error as error:
        raise ValueError(f"it says {element.length} of {element.name} but ends in {number}") from error
    return row, place
