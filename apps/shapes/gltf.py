"""What a glTF file says before its numbers are read: which buffers it names, and how much it asks for."""

import json
from typing import Any


def described(data: bytes, suffix: str) -> dict[str, Any]:
    """The JSON of a .gltf, or of the first chunk of a .glb (glTF 2.0, section 4.4).

    Raises:
        ValueError: none, or something else.
    """
    if suffix == ".glb":
        data = data[20 : 20 + int.from_bytes(data[12:16], "little")]
    content = json.loads(data)
    if not isinstance(content, dict):
        raise ValueError("it does not hold a JSON object")
    return content


def buffer_files(content: dict[str, Any]) -> list[str]:
    """The files that hold its buffers, as it writes them.

    >>> buffer_files({"buffers": [{"uri": "a.bin"}, {"uri": "data:;base64,AAAA"}, {}]})
    ['a.bin']
    """
    uris = [buffer.get("uri", "") for buffer in _objects(content, "buffers")]
    return [str(uri) for uri in uris if uri and not str(uri).startswith("data:")]


def check_counts(content: dict[str, Any], most: int) -> None:
    """A few bytes can ask for any number of zeros: raises ValueError where more than `most` elements are wanted.

    >>> check_counts({"accessors": [{"count": 4000000000}]}, 1000)
    Traceback (most recent call last):
    ValueError: it asks for 4000000000 numbers at once: 1,000 is the most that is read
    """
    for accessor in _objects(content, "accessors"):
        count = accessor.get("count", 0)
        if not isinstance(count, int) or count > most:
            raise ValueError(f"it asks for {count!r} numbers at once: {most:,} is the most that is read")


def _objects(content: dict[str, Any], name: str) -> list[dict[str, Any]]:
    objects = content.get(name, [])
    if not isinstance(objects, list) or not all(isinstance(each, dict) for each in objects):
        raise ValueError(f"its {name} are no list of objects")
    return objects
