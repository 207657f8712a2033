"""glTF: every way to lay out a scene gives its triangles, and what is not read is refused by its name."""

import base64
import json
import struct

import numpy as np
import pytest

from apps.shapes import meshes
from apps.shapes.meshes import decode

CORNERS = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
FIRST, SECOND = [0, 1, 2], [0, 2, 3]
KINDS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}


class Scene:
    """A scene that is put together piece by piece; without more, a square of two triangles."""

    def __init__(self, mode=4, indices=(*FIRST, *SECOND), **primitive):
        self.data = b""
        self.json = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}]}
        self.json.update(bufferViews=[], accessors=[])
        self.primitive = {"attributes": {"POSITION": self.accessor(CORNERS)}, "mode": mode, **primitive}
        if indices is not None:
            self.primitive["indices"] = self.accessor(np.array(indices), "u2")
        self.json["meshes"] = [{"primitives": [self.primitive]}]
        self.node = self.json["nodes"][0]

    def view(self, values, kind, **more):
        data = np.asarray(values).astype("<" + kind).tobytes()
        self.json["bufferViews"].append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data), **more})
        self.data += data
        return len(self.json["bufferViews"]) - 1

    def accessor(self, values, kind="f4", **more):
        values = np.asarray(values)
        view = self.view(values, kind)
        names = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
        width = values.shape[1] if values.ndim == 2 else 1
        accessor = {"bufferView": view, "componentType": KINDS[kind], "count": len(values), "type": names[width]}
        self.json["accessors"].append({**accessor, **more})
        return len(self.json["accessors"]) - 1

    def position(self):
        return self.json["accessors"][self.primitive["attributes"]["POSITION"]]

    def text(self):
        uri = "data:application/octet-stream;base64," + base64.b64encode(self.data).decode()
        self.json.setdefault("buffers", [{"uri": uri, "byteLength": len(self.data)}])
        return json.dumps(self.json).encode()

    def binary(self):
        self.json.setdefault("buffers", [{"byteLength": len(self.data)}])
        text = json.dumps(self.json).encode()
        text += b" " * (-len(text) % 4)
        data = self.data + b"\0" * (-len(self.data) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks

    def read(self):
        return decode(self.text(), ".gltf")

    def triangles(self):
        mesh = self.read()
        return mesh.vertices[mesh.faces]


def check(scene, corners=CORNERS, triangles=(FIRST, SECOND)):
    np.testing.assert_allclose(scene.triangles(), np.asarray(corners)[np.array(triangles)], atol=1e-6)


def test_text_and_binary_are_the_same():
    scene = Scene()
    check(scene)
    scene = Scene()
    mesh = decode(scene.binary(), ".glb")
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], CORNERS[np.array([FIRST, SECOND])])


@pytest.mark.parametrize(
    ("mode", "indices", "triangles"),
    [
        (4, [0, 1, 2], [FIRST]),
        (5, [0, 1, 3, 2], [[0, 1, 3], [1, 3, 2]]),
        (5, [0, 1, 3, 3, 2], [[0, 1, 3], [3, 3, 2]][:1]),
        (6, [0, 1, 2, 3], [FIRST, SECOND]),
        (6, None, [FIRST, SECOND]),
        (5, None, [[0, 1, 2], [1, 2, 3]]),
    ],
)
def test_triangles_strips_and_fans(mode, indices, triangles):
    check(Scene(mode, indices), triangles=triangles)


@pytest.mark.parametrize("mode", range(4))
def test_points_and_lines_have_no_surface(mode):
    scene = Scene()
    scene.json["meshes"][0]["primitives"].append({"attributes": scene.primitive["attributes"], "mode": mode})
    check(scene)


@pytest.mark.parametrize("base", [True, False])
def test_sparse_numbers_take_the_place_of_the_base(base):
    scene = Scene()
    rows, values = scene.view([1, 2], "u1"), scene.view([[5, 0, 0], [5, 5, 0]], "f4")
    sparse = {"indices": {"bufferView": rows, "componentType": 5121}, "values": {"bufferView": values}}
    scene.position()["sparse"] = {"count": 2, **sparse}
    if base:
        check(scene, [[0, 0, 0], [5, 0, 0], [5, 5, 0], [0, 1, 0]])
    else:  # of zeros
        del scene.position()["bufferView"]
        check(scene, [[0, 0, 0], [5, 0, 0], [5, 5, 0]], [FIRST])


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2"])
@pytest.mark.parametrize("normalized", [True, False])
def test_whole_numbers_are_scaled_where_they_are_normalised(kind, normalized):
    top = np.iinfo(kind).max
    scene = Scene()
    scene.json["extensionsRequired"] = ["KHR_mesh_quantization"]
    scene.primitive["attributes"]["POSITION"] = scene.accessor(CORNERS * top, kind, normalized=normalized)
    check(scene, CORNERS * (1 if normalized else top))


def test_the_least_normalised_number_is_minus_one():
    scene = Scene(indices=FIRST)
    corners = np.array([[-128, 0, 0], [-127, 127, 0], [127, 0, 0]])
    scene.primitive["attributes"]["POSITION"] = scene.accessor(corners, "i1", normalized=True)
    check(scene, [[-1, 0, 0], [-1, 1, 0], [1, 0, 0]], [FIRST])


def test_interleaved_numbers_are_read_by_their_stride():
    scene = Scene()
    rows = np.concatenate([CORNERS, np.full((4, 3), 9)], axis=1)  # position and normal
    view = scene.view(rows, "f4", byteStride=24)
    scene.position()["bufferView"] = view
    check(scene)
    scene.position()["byteOffset"] = 12
    with pytest.raises(ValueError, match="has no surface"):
        scene.read()


def test_an_instance_stands_in_each_of_its_places():
    scene = Scene(indices=FIRST)
    half = 0.5**0.5
    attributes = {
        "TRANSLATION": scene.accessor([[0, 0, 0], [5, 0, 0]]),
        "ROTATION": scene.accessor([[0, 0, 0, 1], [0, 0, half, half]]),
        "SCALE": scene.accessor([[1, 1, 1], [2, 2, 2]]),
    }
    scene.node["extensions"] = {"EXT_mesh_gpu_instancing": {"attributes": attributes}}
    scene.node["translation"] = [0, 0, 7]
    scene.json["extensionsRequired"] = ["EXT_mesh_gpu_instancing"]
    expected = [[[0, 0, 7], [1, 0, 7], [1, 1, 7]], [[5, 0, 7], [5, 2, 7], [3, 2, 7]]]
    np.testing.assert_allclose(scene.triangles(), expected, atol=1e-6)


@pytest.mark.parametrize(
    "nodes",
    [
        [{"translation": [1, 2, 3], "rotation": [0, 0, 0.5**0.5, 0.5**0.5], "scale": [-2, 1, 1], "mesh": 0}],
        [{"matrix": [0, -2, 0, 0, -1, 0, 0, 0, 0, 0, 1, 0, 1, 2, 3, 1], "mesh": 0}],
        [{"translation": [1, 2, 3], "children": [1]}, {"rotation": [0, 0, 0.5**0.5, 0.5**0.5], "children": [2]},
         {"scale": [-2, 1, 1], "mesh": 0}],
        [{"translation": [1, 2, 3], "children": [1], "camera": 0, "name": "world"},
         {"matrix": [0, -2, 0, 0, -1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], "mesh": 0, "name": "world"}],
    ],
)  # fmt: skip
def test_nodes_are_moved_turned_scaled_and_mirrored(nodes):
    scene = Scene()
    scene.json["nodes"] = nodes
    scene.json["cameras"] = [{"type": "perspective", "perspective": {"yfov": 1, "znear": 1}}]
    check(scene, [[1 - y, 2 - 2 * x, 3 + z] for x, y, z in CORNERS])


def test_a_file_without_scenes_shows_all_its_nodes():
    scene = Scene()
    del scene.json["scenes"], scene.json["scene"]
    check(scene)


def test_only_the_nodes_of_the_scene_are_shown():
    scene = Scene()
    scene.json["nodes"].append({"mesh": 0, "translation": [9, 9, 9]})
    scene.json["scenes"].append({"nodes": [1]})
    check(scene)
    scene.json["scene"] = 1
    check(scene, CORNERS + 9)


def test_morph_targets_are_added_by_their_weights():
    for place in ("node", "mesh"):
        scene = Scene()
        scene.primitive["targets"] = [{"POSITION": scene.accessor(CORNERS * [2, 0, 0])}, {"NORMAL": 0}]
        (scene.node if place == "node" else scene.json["meshes"][0])["weights"] = [0.5, 1]
        check(scene, CORNERS * [2, 1, 1])


def test_a_skin_moves_its_points_with_the_joints_and_not_with_its_node():
    scene = Scene()
    scene.json["nodes"] += [{"translation": [0, 0, 1], "children": [2]}, {"scale": [2, 2, 2]}]
    scene.json["scenes"][0]["nodes"] = [0, 1]
    scene.node.update(skin=0, translation=[100, 0, 0])
    binds = np.stack([np.eye(4), np.eye(4)])
    binds[:, 3, 0] = [0, -2]  # by columns
    scene.json["skins"] = [{"joints": [1, 2], "inverseBindMatrices": scene.accessor(binds.reshape(2, 16))}]
    joints = scene.accessor([[0, 1, 0, 0]] * 4, "u1")
    weights = scene.accessor([[255, 0, 0, 0], [0, 255, 0, 0], [51, 204, 0, 0], [255, 0, 0, 0]], "u1", normalized=True)
    scene.primitive["attributes"].update(JOINTS_0=joints, WEIGHTS_0=weights)
    check(scene, [[0, 0, 1], [-2, 0, 1], [-1.4, 1.8, 1], [0, 1, 1]])


def draco(scene):
    del scene.position()["bufferView"]
    scene.primitive["extensions"] = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}
    scene.json["extensionsRequired"] = ["KHR_draco_mesh_compression"]


def draco_beside_a_plain_one(scene):
    plain = dict(scene.primitive)
    scene.json["accessors"].append(scene.position())
    plain["attributes"] = {"POSITION": len(scene.json["accessors"]) - 1}
    scene.json["accessors"][0] = dict(scene.position())
    scene.json["meshes"][0]["primitives"].append(plain)
    draco(scene)


def meshopt(scene):
    view = scene.json["bufferViews"][0]
    view["extensions"] = {"EXT_meshopt_compression": {"buffer": 0, "byteLength": 1, "mode": "ATTRIBUTES"}}
    view["buffer"] = 1
    scene.text()
    scene.json["buffers"].append({"byteLength": 48})


def cycle(scene):
    scene.node["children"] = [0]


def two_parents(scene):
    scene.json["nodes"] = [{"children": [1, 2]}, {"children": [2]}, {"mesh": 0}]


def fractions_as_indices(scene):
    scene.primitive["indices"] = scene.accessor([0.0, 1.0, 2.5], "f4")


def fractions_as_sparse_indices(scene):
    view = scene.view([0.5], "f4")
    scene.position()["sparse"] = {
        "count": 1, "indices": {"bufferView": view, "componentType": 5126}, "values": {"bufferView": 0}
    }  # fmt: skip


def a_morph_target_without_weight(scene):
    scene.primitive["targets"] = [{"POSITION": 0}, {"POSITION": 0}]
    scene.node["weights"] = [0.5]


def put(*path, value):
    def change(scene):
        place = scene.json
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return change


SPARSE = {"count": 1, "indices": {"bufferView": 1, "componentType": 5123, "byteOffset": 4}, "values": {"bufferView": 0}}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (draco, "compressed by KHR_draco_mesh_compression, which is not read"),
        (draco_beside_a_plain_one, "compressed by KHR_draco_mesh_compression, which is not read"),
        (meshopt, "compressed by EXT_meshopt_compression, which is not read"),
        (put("extensionsRequired", value=["VENDOR_spheres"]), "requires the extension VENDOR_spheres, which is"),
        (put("asset", "version", value="1.0"), "it is glTF 1.0: expected 2.0"),
        (cycle, "node 0 comes twice in its scene: expected a tree"),
        (two_parents, "node 2 comes twice"),
        (put("scenes", 0, "nodes", value=[7]), "names nodes 7; there are 1"),
        (put("scene", value=3), "names scenes 3; there are 1"),
        (put("nodes", 0, "mesh", value=-1), "names meshes -1; there are 1"),
        (put("nodes", 0, "scale", value=[1, 2]), "node 0 has the scale [1, 2]: expected 3 numbers"),
        (put("nodes", 0, "rotation", value=[0, 0, 0, 0]), "expected a unit quaternion"),
        (put("nodes", 0, "translation", value=[0, 0, 1e999]), "node 0 has the translation"),
        (put("nodes", 0, "scale", value=[0, 0, 0]), "has no surface"),
        (put("meshes", 0, "primitives", 0, "mode", value=7), "in a primitive of mode 7"),
        (put("meshes", 0, "primitives", 0, "attributes", value={}), "has triangles without POSITION"),
        (put("accessors", 1, "count", value=5), "it has 5 corners in a primitive of mode 4"),
        (put("accessors", 0, "count", value=2), "has triangles with vertex 3 of 2"),
        (put("accessors", 0, "count", value=5), "it has 5 items where bufferView 0 has 48 bytes"),
        (put("accessors", 0, "byteOffset", value=4), "it has 4 items where bufferView 0 has 48 bytes"),
        (put("accessors", 0, "byteOffset", value=-12), "has the byteOffset -12"),
        (put("accessors", 0, "count", value=True), "has the count True"),
        (put("accessors", 0, "componentType", value=5124), "has numbers of componentType 5124"),
        (put("accessors", 0, "type", value="VEC2"), "accessor 0 is of type 'VEC2': expected VEC3"),
        (put("accessors", 0, "bufferView", value=9), "names bufferViews 9; there are 2"),
        (put("accessors", 0, "sparse", value={**SPARSE, "count": 2}), "sparse indices that do not rise below 4"),
        (put("bufferViews", 0, "byteLength", value=4000), "byteLength beyond its data"),
        (put("bufferViews", 0, "byteOffset", value=30), "byteLength beyond its data"),
        (put("bufferViews", 0, "byteStride", value=4), "has a byteStride"),
        (put("buffers", value=[]), "names buffers 0; there are 0"),
        (put("buffers", value=[{"byteLength": 60}]), "buffer 0 has 0 bytes where it says 60"),
        (put("buffers", value=[{"byteLength": 60, "uri": "data:;base64,AAAA"}]), "has 3 bytes where it says 60"),
        (put("buffers", value=[{"byteLength": 60, "uri": "data:;base64,A*"}]), "buffer 0 is no base64"),
        (put("nodes", value={}), "its nodes are no list of objects"),
        (fractions_as_indices, "has indices that are no whole numbers"),
        (fractions_as_sparse_indices, "has indices that are no whole numbers"),
        (a_morph_target_without_weight, "has 1 weights of 2 morph targets"),
        (put("asset", "minVersion", value="2.1"), "it requires glTF 2.1: expected 2.0"),
        (put("nodes", 0, "matrix", value=[1, 0, 0, 0.5, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]), "last row [0.5"),
        (put("nodes", 0, "extensions", value={"KHR_node_visibility": {"visible": False}}), "node 0 is hidden by"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_not_read_or_does_not_fit_is_named(change, reason):
    scene = Scene()
    change(scene)
    with pytest.raises(ValueError) as error:
        scene.read()
    assert reason in str(error.value)


@pytest.mark.parametrize("extension", ["KHR_materials_unlit", "KHR_texture_transform", "EXT_texture_webp"])
def test_what_leaves_the_surface_as_it_is_may_be_required(extension):
    scene = Scene()
    scene.json["extensionsRequired"] = [extension]
    check(scene)


def test_compression_with_plain_numbers_beside_it_is_passed_over():
    scene = Scene()
    scene.primitive["extensions"] = {"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}}
    scene.json["bufferViews"][0]["extensions"] = {"EXT_meshopt_compression": {"buffer": 0}}
    check(scene)


def test_an_index_beyond_its_primitive_does_not_reach_the_next():
    scene = Scene(indices=[0, 1, 4])
    scene.json["meshes"][0]["primitives"].append({"attributes": scene.primitive["attributes"], "mode": 6})
    with pytest.raises(ValueError, match="has triangles with vertex 4 of 4"):
        scene.read()


def test_a_few_nodes_cannot_ask_for_any_number_of_triangles(monkeypatch):
    monkeypatch.setattr(meshes, "MOST_FACES", 5)
    scene = Scene()
    scene.json["nodes"] *= 3
    scene.json["scenes"][0]["nodes"] = [0, 1, 2]
    with pytest.raises(ValueError, match="has more than 5 triangles"):
        scene.read()


@pytest.mark.parametrize("missing", [1, 4, 60])
def test_a_binary_that_is_cut_off_is_refused(missing):
    with pytest.raises(ValueError, match="bytes but has"):
        decode(Scene().binary()[:-missing], ".glb")


def test_json_that_is_nested_without_end_is_refused():
    with pytest.raises(ValueError, match="nested too deep"):
        decode(b"[" * 1_000_000, ".gltf")
