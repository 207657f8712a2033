"""Small coloured meshes as files of every format that has colours, made for the tests."""

import base64
import io
import json
import struct
from pathlib import Path

import numpy as np
from PIL import Image

# A square in the plane of x and y, two triangles, and the place of each corner in a texture, to the right and down.
SQUARE = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
HALVES = np.array([[0, 1, 2], [0, 2, 3]])
PLACES = np.array([[0.0, 1], [1, 1], [1, 0], [0, 0]])

# A cube whose six sides, in the order of ±x, ±y, ±z, have these colours.
SIDES = np.array([[255, 0, 0], [0, 255, 255], [0, 255, 0], [255, 0, 255], [0, 0, 255], [255, 255, 0]], np.uint8)


def checkerboard(count: int = 4, light=(250, 200, 50), dark=(10, 20, 130)) -> np.ndarray:
    """(count, count, 3), light in the first row and column."""
    odd = np.add.outer(np.arange(count), np.arange(count)) % 2
    return np.where(odd[..., None], dark, light).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def textured(kind: str, folder: Path, pixels: np.ndarray) -> Path:
    """The square with a texture, as "obj", "ply", "gltf" (image beside it) or "glb" (image in it)."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"square.{kind}"
    (folder / "a board.png").write_bytes(png(pixels))
    points = SQUARE.tolist()
    if kind == "obj":
        lines = ["mtllib the library.mtl", *(f"v {x} {y} {z}" for x, y, z in points)]
        lines += [*(f"vt {u} {1 - v}" for u, v in PLACES.tolist()), "usemtl board", "f 1/1 2/2 3/3 4/4"]
        path.write_text("\n".join(lines))
        (folder / "the library.mtl").write_text("newmtl board\nKd 1 1 1\nmap_Kd a board.png\n")
    elif kind == "ply":
        head = ["ply", "format ascii 1.0", "comment TextureFile a board.png", "element vertex 4"]
        head += [f"property float {name}" for name in "xyzst"]
        head += ["element face 2", "property list uchar int vertex_indices", "end_header"]
        rows = [f"{x} {y} {z} {u} {1 - v}" for (x, y, z), (u, v) in zip(points, PLACES.tolist(), strict=True)]
        path.write_text("\n".join([*head, *rows, "3 0 1 2", "3 0 2 3"]))
    else:
        image = {"uri": "a%20board.png"} if kind == "gltf" else {"bufferView": 3, "mimeType": "image/png"}
        parts = [SQUARE.astype("<f4"), HALVES.astype("<u4"), PLACES.astype("<f4")]
        path.write_bytes(gltf(kind, [part.tobytes() for part in parts], png(pixels), {
            "attributes": {"POSITION": 0, "TEXCOORD_0": 2}, "indices": 1, "material": 0,
        }, {
            "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
            "textures": [{"source": 0, "sampler": 0}], "samplers": [{"wrapS": 33071, "wrapT": 33648}],
            "images": [image],
        }, [("VEC3", 5126, 4), ("SCALAR", 5125, 6), ("VEC2", 5126, 4)]))  # fmt: skip
    return path


def gltf(kind: str, parts: list[bytes], image: bytes, primitive: dict, more: dict, types: list[tuple]) -> bytes:
    """A glTF of one primitive: its buffer in the file, with an image behind the numbers."""
    blob, views = b"", []
    for part in [*parts, image]:
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": len(part)})
        blob += part + b"\0" * (-len(part) % 4)
    content = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "accessors": [
            {"bufferView": k, "type": kind, "componentType": component, "count": count, "normalized": component == 5121}
            for k, (kind, component, count) in enumerate(types)
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": len(blob)}],
        **more,
    }
    if kind == "gltf":
        content["buffers"][0]["uri"] = "data:;base64," + base64.b64encode(blob).decode()
        return json.dumps(content).encode()
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(blob), b"BIN\0") + blob
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def cube_faces() -> tuple[np.ndarray, list[list[int]]]:
    """Corners of the cube from -1 to 1, and the four corners of each side in the order of `SIDES`."""
    corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    sides = []
    for axis in range(3):
        for sign in (1, -1):
            rows = [row for row in range(8) if corners[row, axis] == sign]
            sides.append([rows[0], rows[1], rows[3], rows[2]])
    return corners, sides


def coloured_cube(kind: str, folder: Path) -> Path:
    """The cube, a colour a side: "obj" with six materials, "ply" with those of faces, "glb" with those of vertices."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"cube.{kind}"
    corners, sides = cube_faces()
    if kind == "obj":
        lines = ["mtllib cube.mtl", *(f"v {x} {y} {z}" for x, y, z in corners.tolist())]
        for k, side in enumerate(sides):
            lines += [f"usemtl side {k}", "f " + " ".join(str(row + 1) for row in side)]
        path.write_text("\n".join(lines))
        colours = [" ".join(str(value / 255) for value in colour) for colour in SIDES.tolist()]
        (folder / "cube.mtl").write_text("".join(f"newmtl side {k}\nKd {c}\n" for k, c in enumerate(colours)))
    elif kind == "ply":
        head = ["ply", "format ascii 1.0", "element vertex 8", *(f"property float {name}" for name in "xyz")]
        head += ["element face 6", "property list uchar int vertex_indices"]
        head += [*(f"property uchar {name}" for name in ("red", "green", "blue")), "end_header"]
        rows = [" ".join(map(str, row)) for row in corners.tolist()]
        rows += [
            f"4 {' '.join(map(str, s))} {' '.join(map(str, c))}" for s, c in zip(sides, SIDES.tolist(), strict=True)
        ]
        path.write_text("\n".join([*head, *rows]))
    else:
        points = corners[np.array(sides)].reshape(-1, 3).astype("<f4")
        faces = np.concatenate([[[k, k + 1, k + 2], [k, k + 2, k + 3]] for k in range(0, 24, 4)]).astype("<u2")
        colours = np.repeat(np.hstack([SIDES, np.full((6, 1), 255, np.uint8)]), 4, axis=0)
        content = gltf(kind, [points.tobytes(), faces.tobytes(), colours.tobytes()], b"", {
            "attributes": {"POSITION": 0, "COLOR_0": 2}, "indices": 1,
        }, {}, [("VEC3", 5126, 24), ("SCALAR", 5123, 36), ("VEC4", 5121, 24)])  # fmt: skip
        path.write_bytes(content)
    return path
