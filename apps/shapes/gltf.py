"""glTF 2.0, as text with buffers (.gltf) and as one binary (.glb): https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html

The scene is put together as it stands before any animation: nodes, instances, morph targets and skins are applied.
What would change its surface and is not read is refused by its name.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial.transform import Rotation

from apps.shapes.beside import Beside
from apps.shapes.gltf_file import Content, Object, objects, whole
from apps.shapes.gltf_paint import Painter
from apps.shapes.limits import check_counts
from apps.shapes.mesh import Mesh
from apps.shapes.paint import Paint, joined

Matrix = Float64[np.ndarray, "4 4"]

TRIANGLES, STRIP, FAN = 4, 5, 6
MOST_DRAWN = 100_000  # primitives, each as often as it is there
INSTANCED = "EXT_mesh_gpu_instancing"
VISIBILITY = "KHR_node_visibility"
# Extensions that a file may require: those that are read here, those that leave the surface as it is, and those beside
# which plain numbers may stand: where there are none, the primitive is refused.
READ = ("KHR_mesh_quantization", INSTANCED)
COMPRESSIONS = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")
HARMLESS = ("KHR_materials_", "KHR_texture_", "EXT_texture_", "KHR_lights_", "EXT_lights_", "KHR_xmp")


def parse(data: bytes, suffix: str, beside: Beside, most: int, *, painted: bool = False) -> Mesh:
    """Vertices and triangles of the scene; points and lines are passed over.

    Args:
        suffix: ".gltf" or ".glb".
        beside: where the files are that it names.
        most: triangles that are read, all together.
        painted: read the colours too.

    Raises:
        ValueError: broken, too large, or with a feature that is not read; in one line.
    """
    content = Content(data, suffix, beside, most)
    version = str(content.json.get("asset", {}).get("version", "2.0"))
    if version.partition(".")[0] != "2":
        raise ValueError(f"it is glTF {version}: expected 2.0")
    if (least := str(content.json.get("asset", {}).get("minVersion", "2.0"))) != "2.0":
        raise ValueError(f"it requires glTF {least}: expected 2.0")
    for name in map(str, content.json.get("extensionsRequired", [])):
        if name not in READ and name not in COMPRESSIONS and not name.startswith(HARMLESS):
            raise ValueError(f"it requires the extension {name}, which is not read")
    return _Scene(content, most, Painter(content, beside) if painted else None).surface()


class _Scene:
    def __init__(self, content: Content, most: int, painter: Painter | None) -> None:
        self.content, self.most, self.painter = content, most, painter
        self.nodes, self.drawn = content.objects("nodes"), 0

    def surface(self) -> Mesh:
        places = dict(self._placed(self._roots()))
        vertices, faces, paints = [np.empty((0, 3))], [np.empty((0, 3), np.int64)], list[Paint]()
        points, triangles = 0, 0
        for index, place in places.items():
            for primitive, new_points, new_triangles in self._drawn(self.nodes[index], place, places):
                vertices.append(new_points)
                faces.append(new_triangles + points)
                points, triangles = points + len(new_points), triangles + len(new_triangles)
                check_counts(points, triangles, self.most)
                if self.painter is not None:
                    paints.append(self.painter.paint(primitive, new_triangles, len(new_points)))
        mesh = Mesh(np.concatenate(vertices), np.concatenate(faces))
        if self.painter is None:
            return mesh
        return mesh._replace(paint=joined(paints)._replace(missing=self.painter.missing))

    def _roots(self) -> list[int]:
        """The nodes of the scene; of a file without scenes all that are no other's children."""
        if "scenes" in self.content.json:
            return list(self.content.at("scenes", self.content.json.get("scene", 0)).get("nodes", []))
        children = {child for node in self.nodes for child in node.get("children", [])}
        return [index for index in range(len(self.nodes)) if index not in children]

    def _placed(self, roots: list[int]) -> Iterator[tuple[int, Matrix]]:
        """All nodes below some, each with its place in the scene."""
        waiting = [(root, np.eye(4)) for root in reversed(roots)]
        seen = set()
        while waiting:
            index, above = waiting.pop()
            node = self.content.at("nodes", index)
            if index in seen:
                raise ValueError(f"node {index} comes twice in its scene: expected a tree")
            seen.add(index)
            if not node.get("extensions", {}).get(VISIBILITY, {}).get("visible", True):
                raise ValueError(f"node {index} is hidden by {VISIBILITY}, which is not read")
            place = above @ _matrix(node, index)
            yield index, place
            waiting += [(child, place) for child in reversed(node.get("children", []))]

    def _drawn(
        self, node: Object, place: Matrix, places: Mapping[int, Matrix]
    ) -> Iterator[tuple[Object, np.ndarray, np.ndarray]]:
        """What a node draws: its primitives with their points and triangles, as often as it is there."""
        if "mesh" not in node:
            return
        mesh = self.content.at("meshes", node["mesh"])
        weights = node.get("weights") or mesh.get("weights") or []
        primitives, instances = objects(mesh, "primitives"), self._instances(node)
        self.drawn += len(primitives) * len(instances)
        if self.drawn > MOST_DRAWN:
            raise ValueError(f"it draws more than {MOST_DRAWN:,} primitives, which is the most that is read")
        for primitive in primitives:
            mode = primitive.get("mode", TRIANGLES)
            if mode not in range(TRIANGLES):  # those are points and lines
                points = self._points(primitive, weights)
                triangles = self._triangles(primitive, mode, len(points))
                if "skin" in node:
                    skin = self.content.at("skins", node["skin"])
                    yield primitive, self._skinned(primitive, points, skin, places), triangles
                    continue
                for instance in instances:
                    yield primitive, _moved(points, place @ instance), triangles

    def _points(self, primitive: Object, weights: list[float]) -> Float64[np.ndarray, "V 3"]:
        attributes = primitive.get("attributes", {})
        if "POSITION" not in attributes:
            raise ValueError("it has triangles without POSITION")
        points = self.content.numbers(attributes["POSITION"], "VEC3", primitive)
        targets = primitive.get("targets", [])
        if targets and weights and len(weights) != len(targets):
            raise ValueError(f"it has {len(weights)} weights of {len(targets)} morph targets")
        self.content.count(min(len(targets), len(weights)))
        for target, weight in zip(targets, weights, strict=False):
            if weight and "POSITION" in target:
                offsets = self.content.numbers(target["POSITION"], "VEC3", primitive)
                _check_length("a morph target", offsets, points)
                points = points + weight * offsets
        return points

    def _triangles(self, primitive: Object, mode: int, vertices: int) -> Int64[np.ndarray, "F 3"]:
        corners = np.arange(vertices)
        if "indices" in primitive:
            corners = whole(self.content.numbers(primitive["indices"], "SCALAR", primitive)).reshape(-1)
        if len(corners) and not 0 <= corners.min() <= corners.max() < vertices:
            raise ValueError(f"it has triangles with vertex {corners.max()} of {vertices}")
        if mode == TRIANGLES and len(corners) % 3 == 0:
            return corners.reshape(-1, 3)
        if mode == STRIP and len(corners) > 2:
            return np.stack([corners[:-2], corners[1:-1], corners[2:]], axis=1)
        if mode == FAN and len(corners) > 2:
            return np.stack([np.full(len(corners) - 2, corners[0]), corners[1:-1], corners[2:]], axis=1)
        raise ValueError(f"it has {len(corners)} corners in a primitive of mode {mode!r}")

    def _instances(self, node: Object) -> list[Matrix]:
        """Where a node's mesh stands within the node, once or many times (EXT_mesh_gpu_instancing)."""
        attributes = node.get("extensions", {}).get(INSTANCED, {}).get("attributes", {})
        kinds = {"TRANSLATION": "VEC3", "ROTATION": "VEC4", "SCALE": "VEC3"}
        found = {name: self.content.numbers(attributes[name], kinds[name]) for name in kinds if name in attributes}
        if not found:
            return [np.eye(4)]
        lengths = {len(rows) for rows in found.values()}
        if len(lengths) > 1:
            raise ValueError(f"its instances have attributes of {sorted(lengths)} rows: expected as many of each")
        [count] = lengths
        if count > MOST_DRAWN:
            raise ValueError(f"it draws {count:,} instances of a mesh: {MOST_DRAWN:,} is the most that is read")
        rows = [{name.lower(): found[name][i].tolist() for name in found} for i in range(count)]
        return [_matrix(row, "of an instance") for row in rows]

    def _skinned(
        self, primitive: Object, points: Float64[np.ndarray, "V 3"], skin: Object, places: Mapping[int, Matrix]
    ) -> Float64[np.ndarray, "V 3"]:
        """Points moved by the joints of a skin (section 3.7.3); their node's own place does not count."""
        attributes, joints = primitive.get("attributes", {}), skin.get("joints", [])
        if missing := [joint for joint in joints if joint not in places]:
            raise ValueError(f"a skin has joint {missing[0]}, which is not in the scene")
        self.content.count(16 * len(joints))
        binds = np.tile(np.eye(4), (len(joints), 1, 1))
        if "inverseBindMatrices" in skin:
            found = self.content.numbers(skin["inverseBindMatrices"], "MAT4").reshape(-1, 4, 4).transpose(0, 2, 1)
            _check_length("inverseBindMatrices", found, binds)
            binds = found
        matrices = np.array([places[joint] for joint in joints]).reshape(-1, 4, 4) @ binds
        moved, total = np.zeros_like(points), np.zeros((len(points), 1))
        for number in range(len(attributes)):
            if f"JOINTS_{number}" not in attributes:
                break
            bones, shares = (
                self.content.numbers(attributes[f"{name}_{number}"], "VEC4") for name in ("JOINTS", "WEIGHTS")
            )
            for rows in (bones, shares):
                _check_length("a skin", rows, points)
            for joint, share in zip(whole(bones).T, shares.T[:, :, None], strict=True):
                if len(joint) and joint.max() >= len(joints):
                    raise ValueError(f"a skin has joint {joint.max()} of {len(joints)}")
                moved += share * (np.einsum("vij,vj->vi", matrices[joint, :3, :3], points) + matrices[joint, :3, 3])
                total += share
        if not total.all():
            raise ValueError("a skin leaves out vertices: expected weights of joints for each")
        return moved / total


def _matrix(node: Object, index: int | str) -> Matrix:
    """The place of a node in its parent: a matrix, by columns, or translation · rotation · scale (section 3.5.3)."""
    lengths = {"matrix": 16, "translation": 3, "rotation": 4, "scale": 3}
    found = {name: np.array(node[name], np.float64) for name in lengths if name in node}
    for name, values in found.items():
        if values.shape != (lengths[name],) or not np.isfinite(values).all():
            raise ValueError(f"node {index} has the {name} {str(node[name])[:60]}: expected {lengths[name]} numbers")
    if "matrix" in found:
        place = found["matrix"].reshape(4, 4).T
        if not np.array_equal(place[3], (0, 0, 0, 1)):
            raise ValueError(f"node {index} has a matrix with the last row {place[3].tolist()}: expected 0, 0, 0, 1")
        return place
    place = np.eye(4)
    if "rotation" in found:
        if not found["rotation"].any():
            raise ValueError(f"node {index} has the rotation (0, 0, 0, 0): expected a unit quaternion")
        place[:3, :3] = Rotation.from_quat(found["rotation"]).as_matrix()
    place[:3, :3] *= found.get("scale", np.ones(3))
    place[:3, 3] = found.get("translation", np.zeros(3))
    return place


def _moved(points: Float64[np.ndarray, "V 3"], place: Matrix) -> Float64[np.ndarray, "V 3"]:
    return points @ place[:3, :3].T + place[:3, 3]


def _check_length(what: str, rows: np.ndarray, others: np.ndarray) -> None:
    if len(rows) != len(others):
        raise ValueError(f"{what} has {len(rows)} rows: expected {len(others)}")
