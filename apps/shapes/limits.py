"""How much is read of a mesh file. It is counted before it is read, as a small file can ask for much memory."""

import io
from collections.abc import Iterator

MOST_FACES = 5_000_000
VERTICES, NUMBERS = 3, 12  # of each face, where no two share a vertex: nine coordinates and three indices
MOST_LINES, LONGEST_LINE = 50_000_000, 2**24  # bytes


def check_counts(vertices: int, faces: int, most: int) -> None:
    """Raises ValueError where there are more than `most` faces, or three times as many vertices.

    >>> check_counts(4, 2, most=1)
    Traceback (most recent call last):
    ValueError: it has 2 triangles: 1 is the most that is read
    """
    if faces > most:
        raise ValueError(f"it has {faces:,} triangles: {most:,} is the most that is read")
    if vertices > VERTICES * most:
        raise ValueError(f"it has {vertices:,} vertices: {VERTICES * most:,} is the most that is read")


def check_numbers(numbers: int, most: int) -> None:
    """Raises ValueError where there are more numbers than `most` faces have and their vertices, unshared."""
    if numbers > NUMBERS * most:
        raise ValueError(f"it asks for {numbers:,} numbers: {NUMBERS * most:,} is the most that is read")


def lines(data: bytes) -> Iterator[bytes]:
    """`data.splitlines()`, one line at a time.

    Raises:
        ValueError: more than 50 million lines, or one of more than 16 MB.

    >>> list(lines(b"a\\r\\nb\\rc\\n\\nd"))
    [b'a', b'b', b'c', b'', b'd']
    """
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if (found := data.count(b"\n")) > MOST_LINES:
        raise ValueError(f"it has {found:,} lines: {MOST_LINES:,} is the most that is read")
    for line in io.BytesIO(data):
        if len(line) > LONGEST_LINE:
            raise ValueError(f"it has a line of {len(line):,} bytes: {LONGEST_LINE:,} is the most that is read")
        yield line.removesuffix(b"\n")
