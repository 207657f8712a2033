"""Meshes from files: the same tetrahedron in every format, what is refused and how, and the unit ball."""

import base64
import json
import os
import struct
import tracemalloc
from unittest.mock import Mock

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from apps.shapes import beside, limits, meshes
from apps.shapes.meshes import SUFFIXES, Mesh, MeshError, MeshFile, decode, read, unit

CORNERS = np.array([[0.0, 0, 0], [2, 0, 0], [0, 3, 0], [0, 0, 4]])
SIDES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])


def off(vertices=CORNERS, faces=SIDES):
    lines = [f"OFF\n{len(vertices)} {len(faces)} 0"]
    lines += [" ".join(map(repr, row)) for row in np.asarray(vertices, float).tolist()]
    lines += ["3 " + " ".join(map(str, row)) for row in np.asarray(faces).tolist()]
    return "\n".join(lines).encode()


def exported(suffix):
    content = trimesh.Trimesh(CORNERS, SIDES, process=False).export(file_type=suffix[1:])
    return content if isinstance(content, bytes) else content.encode()


def gltf(uri, node=None):
    """A glTF of the tetrahedron whose buffer is at `uri`."""
    return json.dumps(
        {
            "asset": {"version": "2.0"},
            "scenes": [{"nodes": [0]}],
            "scene": 0,
            "nodes": [{"mesh": 0, **(node or {})}],
            "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
            "accessors": [
                {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3", "min": [0] * 3, "max": [4] * 3},
                {"bufferView": 1, "componentType": 5125, "count": 12, "type": "SCALAR"},
            ],
            "bufferViews": [
                {"buffer": 0, "byteOffset": 0, "byteLength": 48},
                {"buffer": 0, "byteOffset": 48, "byteLength": 48},
            ],
            "buffers": [{"uri": uri, "byteLength": 96}],
        }
    )


def triangles(mesh):
    """Corners of each triangle, in an order that does not depend on how they are listed."""
    return sorted(sorted(map(tuple, mesh.vertices[face].tolist())) for face in mesh.faces)


WHOLE = triangles(Mesh(CORNERS, SIDES))


@pytest.mark.parametrize("suffix", sorted(SUFFIXES - {".gltf"}))
def test_every_format_gives_the_same_tetrahedron(tmp_path, suffix):
    path = tmp_path / f"tetra{suffix.upper()}"
    path.write_bytes(exported(suffix))
    mesh = read(path)
    assert triangles(mesh) == WHOLE
    assert mesh.vertices.dtype == np.float64 and mesh.faces.dtype == np.int64


@pytest.mark.parametrize("content", ["stl_ascii", "ply_ascii", "obj polygons", "obj textured"])
def test_other_ways_to_write_it(content):
    mesh = trimesh.Trimesh(CORNERS, SIDES, process=False)
    if content == "stl_ascii":
        found = decode(mesh.export(file_type="stl_ascii").encode(), ".stl")
    elif content == "ply_ascii":
        found = decode(mesh.export(file_type="ply", encoding="ascii"), ".ply")
    elif content == "obj polygons":
        text = b"mtllib /etc/passwd\no a\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nusemtl x\nf 1 2 3 4\n"
        assert triangles(decode(text, ".obj")) == triangles(decode(off(SQUARE, FAN), ".off"))
        return
    else:
        lines = [f"v {x} {y} {z}" for x, y, z in CORNERS] + ["vt 0 0", "vt 1 0", "vn 0 0 1"]
        lines += [f"g {i}\nf {a + 1}/1/1 {b + 1}/2/1 {c + 1}/1/1" for i, (a, b, c) in enumerate(SIDES)]
        found = decode("\n".join(lines).encode(), ".obj")
    assert triangles(found) == WHOLE


SQUARE = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
FAN = np.array([[0, 1, 2], [0, 2, 3]])


BUFFER = struct.pack("<12f12I", *CORNERS.flatten(), *SIDES.flatten())


def test_gltf_with_its_buffer_inside_and_beside(tmp_path):
    inside = tmp_path / "inside.gltf"
    inside.write_text(gltf("data:application/octet-stream;base64," + base64.b64encode(BUFFER).decode()))
    beside = tmp_path / "beside.gltf"
    beside.write_text(gltf("a%20buffer.bin"))
    (tmp_path / "a buffer.bin").write_bytes(BUFFER)
    assert triangles(read(inside)) == triangles(read(beside)) == WHOLE
    before = MeshFile(beside).key()
    (tmp_path / "a buffer.bin").write_bytes(BUFFER[:-1] + b"\1")
    assert MeshFile(beside).key() != before


def test_a_gltf_scene_is_put_together(tmp_path):
    path = tmp_path / "moved.gltf"
    uri = "data:application/octet-stream;base64," + base64.b64encode(BUFFER).decode()
    path.write_text(gltf(uri, {"translation": [5, 0, 0]}))
    assert triangles(read(path)) == triangles(Mesh(CORNERS + np.array([5, 0, 0]), SIDES))


@pytest.mark.parametrize("uri", ["../secret.bin", "/etc/passwd", "%2e%2e/secret.bin", "link.bin"])
def test_a_gltf_cannot_read_outside_of_its_folder(tmp_path, uri):
    (tmp_path / "secret.bin").write_bytes(BUFFER)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.bin").symlink_to(tmp_path / "secret.bin")
    (tmp_path / "in" / "a.gltf").write_text(gltf(uri))
    with pytest.raises(MeshError, match="outside of its folder"):
        read(tmp_path / "in" / "a.gltf")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.off", b"", "cannot be read: it is empty"),
        ("a.off", off(faces=SIDES[:0]), "has no surface"),
        ("a.off", off(CORNERS + np.nan), "not finite"),
        ("a.off", off(CORNERS + np.inf), "not finite"),
        ("a.off", off(CORNERS * 1e200), "farther out than 1e\\+100"),
        ("a.off", off(CORNERS * 1e-320), "has no surface"),
        ("a.off", off(faces=[[0, 0, 1], [2, 2, 2]]), "has no surface"),
        ("a.off", off(CORNERS * [1, 0, 0]), "has no surface"),
        ("a.obj", b"", "has no surface"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", "has no surface"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "cannot be read"),
        ("a.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf a b c\n", "cannot be read"),
        ("a.obj", b"v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n", "not finite"),
        ("a.stl", exported(".stl")[:100], "has no surface"),
        ("a.ply", exported(".ply")[:-9], "cannot be read"),
        ("a.ply", exported(".ply").replace(b"vertex 4", b"vertex 4000000000000"), "cannot be read"),
        ("a.ply", exported(".ply").replace(b"face 4", b"face 4000000000000"), "cannot be read"),
        ("a.glb", exported(".glb")[:-9], "cannot be read"),
        ("a.gltf", b"{", "Expecting"),
        ("a.gltf", b"[]", "does not hold a JSON object"),
        (
            "a.gltf",
            gltf("").replace('{"uri": "", "byteLength": 96}', "1").encode(),
            "its buffers are no list of objects",
        ),
        (
            "a.gltf",
            gltf("data:,").replace('"count": 4', '"count": 4000000000').encode(),
            "asks for 12,000,000,000 numbers",
        ),
        ("a.gltf", gltf("a\0b").encode(), r"names the buffer 'a\\x00b', which is no name that a file"),
        ("a.gltf", gltf("a" * 300).encode(), f"names the buffer '{'a' * 80}', which is no name"),
        ("a.gltf", gltf("gone.bin").encode(), "names the buffer 'gone.bin', which does not exist"),
        ("a.txt", off(), "has the suffix '.txt'; expected one of .glb, .gltf, .obj, .off, .ply, .stl"),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else value,
)
def test_what_cannot_be_used_is_named_with_its_reason(tmp_path, name, content, reason):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MeshError, match=reason) as error:
        read(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_glb_cannot_ask_for_any_number_of_zeros():
    glb = exported(".glb")
    end = 20 + int.from_bytes(glb[12:16], "little")
    content = json.loads(glb[20:end])
    content["accessors"][0] = {"componentType": 5126, "type": "VEC3", "count": 10**9}
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + glb[end:]
    with pytest.raises(ValueError, match="cannot be read: it asks for 1,000,000,012 numbers"):
        decode(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks, ".glb")


def test_what_is_no_file_is_not_opened(tmp_path):
    with pytest.raises(MeshError, match=r"gone\.off' does not exist"):
        read(tmp_path / "gone.off")
    os.mkfifo(tmp_path / "pipe.off")
    with pytest.raises(MeshError, match=r"pipe\.off' is no file"):
        read(tmp_path / "pipe.off")


@pytest.mark.parametrize(
    ("module", "limit", "reason"),
    [(beside, "MOST_BYTES", "bytes: 3 is the most"), (meshes, "MOST_FACES", "4 triangles: 3")],
)
def test_what_is_huge_is_refused(tmp_path, monkeypatch, module, limit, reason):
    monkeypatch.setattr(module, limit, 3)
    (tmp_path / "a.off").write_bytes(off())
    with pytest.raises(MeshError, match=reason):
        read(tmp_path / "a.off")


def text_ply(vertices, faces):
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    lines = ["ply", "format ascii 1.0", f"element vertex {len(vertices)}", properties + f"element face {len(faces)}"]
    rows = [" ".join(map(str, row)) for row in vertices] + ["3 " + " ".join(map(str, row)) for row in faces]
    return "\n".join([*lines, "property list uchar int vertex_indices", "end_header", *rows]).encode()


def huge(kind):
    """A mesh of 100,000 triangles."""
    faces = np.tile([0, 1, 2], (100_000, 1))
    match kind:
        case "off":
            return off(faces=faces)
        case "off by a polygon":
            return b"OFF\n4 2000 0\n" + b"0 0 0\n" * 4 + (b"50" + b" 0" * 50 + b"\n") * 2000
        case "obj":
            return b"v 0 0 0\nv 1 0 0\nv 0 1 0\n" + b"f 1 2 3\n" * 100_000
        case "obj by vertices":
            return b"v 0 0 0\n" * 100_000
        case "ply":
            return text_ply(CORNERS, faces)
        case "ply in binary":
            return trimesh.Trimesh(CORNERS, faces, process=False).export(file_type="ply")
        case "stl":
            loop = b"outer loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\n"
            return b"solid a\n" + (b"facet normal 0 0 1\n" + loop + b"endfacet\n") * 100_000 + b"endsolid a\n"
        case "stl in binary":
            return bytes(80) + (100_000).to_bytes(4, "little") + bytes(50 * 100_000)
    raise ValueError(kind)


@pytest.mark.parametrize(
    "kind",
    [
        *("off", "off by a polygon", "obj", "obj by vertices", "ply", "ply in binary", "stl", "stl in binary"),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_read(monkeypatch, kind):
    monkeypatch.setattr(meshes, "MOST_FACES", 1000)
    data = huge(kind)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"cannot be read: it has [\d,]+ (triangles|vertices): \d,000 is the most"):
            decode(data, f".{kind[:3]}")
        assert tracemalloc.get_traced_memory()[1] < 2 * len(data) + 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", [".off", ".obj", ".ply"])
def test_lines_are_limited_in_number_and_length(monkeypatch, suffix):
    data = {".off": off(), ".obj": exported(".obj"), ".ply": text_ply(CORNERS, SIDES)}[suffix]
    monkeypatch.setattr(limits, "MOST_LINES", 99)
    assert triangles(decode(data + b"\n" * 50, suffix)) == WHOLE
    with pytest.raises(ValueError, match=r"it has \d+ lines: 99 is the most"):
        decode(data + b"\n" * 100, suffix)
    monkeypatch.setattr(limits, "LONGEST_LINE", 999)
    with pytest.raises(ValueError, match=r"it has a line of 1,\d+ bytes: 999 is the most"):
        decode(data + b"\n#" + b"0" * 1000, suffix)


def test_the_buffers_of_a_gltf_are_limited_together(tmp_path, monkeypatch):
    """The same file under other names is read again each time."""
    path, names = tmp_path / "a.gltf", [f"{'./' * i}b.bin" for i in range(6)]
    (tmp_path / "b.bin").write_bytes(bytes(500))
    path.write_text(json.dumps({"buffers": [{"uri": name, "byteLength": 500} for name in names]}))
    with monkeypatch.context() as patched, pytest.raises(MeshError, match=r"b\.bin', which has 500 bytes"):
        patched.setattr(beside, "MOST_BYTES", 2000)
        MeshFile(path).key()
    monkeypatch.setattr(meshes.gltf_file, "MOST_BUFFERS", 5)
    with pytest.raises(MeshError, match="names 6 buffers: 5 is the most"):
        MeshFile(path).key()


def test_whatever_stops_reading_a_gltf_is_an_error_of_that_mesh(tmp_path, monkeypatch):
    (tmp_path / "a.gltf").write_text(gltf("data:,"))
    for error, reason in ((RecursionError("deep"), "deep"), (MemoryError(), "MemoryError")):
        monkeypatch.setattr(meshes.gltf_file, "buffer_files", Mock(side_effect=error))
        with pytest.raises(MeshError, match=reason):
            MeshFile(tmp_path / "a.gltf").key()


def test_only_what_has_a_surface_is_kept():
    vertices = np.concatenate([[[1e6, 1e6, 1e6]], CORNERS, [[-1e6, 0, 0]]])
    faces = np.concatenate([[[5, 5, 1]], SIDES + 1, [[0, 0, 0]]])
    mesh = decode(off(vertices, faces), ".off")
    assert np.array_equal(mesh.vertices, CORNERS) and np.array_equal(mesh.faces, SIDES)


@given(st.sampled_from([".obj", ".stl", ".ply", ".glb"]), st.data())
def test_damage_in_other_formats_gives_a_mesh_or_a_clear_error(suffix, data):
    content = bytearray(exported(suffix))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content))) if data.draw(st.booleans()) else None]
    try:
        mesh = decode(bytes(content), suffix)
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
        return
    assert np.isfinite(mesh.vertices).all() and len(mesh.faces)
    assert mesh.faces.min() == 0 and mesh.faces.max() == len(mesh.vertices) - 1


@given(st.integers(0, 99), st.sampled_from([1e-90, 1e-3, 1.0, 1e90]), st.sampled_from([0.0, 1.0, 1e3]))
def test_the_unit_ball_whatever_the_place_the_scale_and_the_turn(seed, scale, offset):
    rng = np.random.default_rng(seed)
    vertices, rotation = rng.normal(size=(20, 3)), Rotation.random(rng=rng).as_matrix()
    faces = rng.permuted(np.tile(np.arange(20), (8, 1)), axis=1)[:, :3]
    still = unit(Mesh(vertices, faces))
    moved = unit(Mesh(scale * (vertices @ rotation.T + offset), faces))
    assert np.linalg.norm(still.vertices, axis=1).max() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(moved.vertices, still.vertices @ rotation.T, atol=1e-9)


def test_z_up_is_turned(tmp_path):
    (tmp_path / "a.off").write_bytes(off())
    turned = MeshFile(tmp_path / "a.off", up="z").read()
    assert turned.vertices.tolist() == [[0, 0, 0], [2, 0, 0], [0, 0, -3], [0, 4, 0]]
    assert np.linalg.det(meshes.UPRIGHT) == pytest.approx(1)


def test_the_key_is_that_of_the_content(tmp_path):
    first, second = tmp_path / "a.off", tmp_path / "b.off"
    for path in (first, second):
        path.write_bytes(off())
    assert MeshFile(first).key() == MeshFile(second).key() != MeshFile(first, up="z").key()
    second.write_bytes(off(CORNERS * 2))
    assert MeshFile(first).key() != MeshFile(second).key()
