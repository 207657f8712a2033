"""Cost of one way to render one mesh, `python -m benchmarks.one_render JSON`; for `benchmarks.render`."""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import trimesh

from apps.shapes.cameras import ring
from apps.shapes.meshes import Mesh, unit
from apps.shapes.rendering import Look, render
from benchmarks.measuring import measure, yield_memory_first

Step = Callable[[], np.ndarray]  # all views of the mesh, from its vertices and faces; what is hit has other values


def ours(mesh: Mesh, look: Look, threads: int = 1) -> Step:
    return lambda: render(mesh, look, threads=threads)[:, 0]


def ours_on_all_cores(mesh: Mesh, look: Look) -> Step:
    return ours(mesh, look, threads=0)


def ours_sampled(mesh: Mesh, look: Look) -> Step:
    return ours(mesh, Look(look.directions, look.size, look.shading, samples=2))


def by_intersector(mesh: Mesh, look: Look, engine: Any) -> Step:
    """The first triangles that the rays of our cameras meet, shaded by the normal: what trimesh offers."""

    def views() -> np.ndarray:
        shape = trimesh.Trimesh(*unit(mesh), process=False)
        intersector = engine(shape)
        ticks = (2 * np.arange(look.size) + 1) / look.size - 1
        images = []
        for direction in np.array(look.directions):
            right = np.cross([0, 1, 0], direction)
            right /= np.linalg.norm(right)
            up = np.cross(direction, right)
            origins = (ticks[None, :, None] * right - ticks[:, None, None] * up + 2 * direction).reshape(-1, 3)
            met = intersector.intersects_first(origins, np.broadcast_to(-direction, origins.shape))
            light = np.abs(shape.face_normals[met] @ direction)
            images.append(np.where(met >= 0, 0.2 + 0.6 * light, 1.0).reshape(look.size, look.size))
        return np.rint(255 * np.stack(images))

    return views


def trimesh_rays(mesh: Mesh, look: Look) -> Step:
    from trimesh.ray.ray_triangle import RayMeshIntersector

    return by_intersector(mesh, look, RayMeshIntersector)


def trimesh_embree(mesh: Mesh, look: Look) -> Step:
    from trimesh.ray.ray_pyembree import RayMeshIntersector

    return by_intersector(mesh, look, RayMeshIntersector)


def with_pyrender(mesh: Mesh, look: Look) -> Step:
    """OpenGL through EGL, in software where there is no GPU."""
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    import pyrender

    renderer = pyrender.OffscreenRenderer(look.size, look.size)
    camera = pyrender.OrthographicCamera(1.0, 1.0, znear=0.5, zfar=3.5)

    def views() -> np.ndarray:
        shape = pyrender.Mesh.from_trimesh(trimesh.Trimesh(*unit(mesh), process=False), smooth=False)
        images = []
        scene = pyrender.Scene(bg_color=[1.0, 1.0, 1.0])
        scene.add(shape)
        nodes = [scene.add(camera), scene.add(pyrender.DirectionalLight(intensity=3.0))]
        for direction in np.array(look.directions):
            pose = np.eye(4)
            pose[:3, 0] = np.cross([0, 1, 0], direction)
            pose[:3, 0] /= np.linalg.norm(pose[:3, 0])
            pose[:3, 1], pose[:3, 2], pose[:3, 3] = np.cross(direction, pose[:3, 0]), direction, 2 * direction
            for node in nodes:
                scene.set_pose(node, pose)
            colour, depth = renderer.render(scene)
            images.append(np.where(depth > 0, np.minimum(colour[..., 0], 254), 255))
        return np.stack(images)

    return views


def with_filament(mesh: Mesh, look: Look) -> Step:
    """Open3D's other renderer, which needs Vulkan."""
    import open3d as o3d

    rendering = o3d.visualization.rendering
    renderer = rendering.OffscreenRenderer(look.size, look.size)
    material = rendering.MaterialRecord()
    material.shader = "defaultLit"

    def views() -> np.ndarray:
        vertices, faces = unit(mesh)
        shape = o3d.geometry.TriangleMesh(o3d.utility.Vector3dVector(vertices), o3d.utility.Vector3iVector(faces))
        shape.compute_triangle_normals()
        renderer.scene.clear_geometry()
        renderer.scene.add_geometry("shape", shape, material)
        images = []
        for direction in np.array(look.directions):
            renderer.setup_camera(60.0, [0, 0, 0], 2 * direction, [0, 1, 0])
            images.append(np.asarray(renderer.render_to_image())[..., 0])
        return np.stack(images)

    return views


ENGINES: dict[str, Callable[[Mesh, Look], Step]] = {
    "ours": ours,
    "ours, 4 rays a pixel": ours_sampled,
    "ours, all cores": ours_on_all_cores,
    "trimesh, its own rays": trimesh_rays,
    "trimesh, Embree": trimesh_embree,
    "pyrender, EGL": with_pyrender,
    "open3d, Filament": with_filament,
}


def cost(engine: str, triangles: int, views: int, size: int, seconds: float) -> dict[str, float]:
    """See `measuring.measure`.

    Also the processor's seconds, of all threads, and `differs`, the share of pixels whose silhouette is not ours.
    """
    around = round((triangles / 2) ** 0.5)
    torus = trimesh.creation.torus(0.7, 0.3, major_sections=around, minor_sections=around)
    mesh = Mesh(np.asarray(torus.vertices), np.asarray(torus.faces))
    look = Look(ring(views), size, samples=1)
    render_views = ENGINES[engine](mesh, look)
    processor: list[float] = []

    def step() -> np.ndarray:
        start = time.process_time()
        images = render_views()
        processor.append(time.process_time() - start)
        return images

    result = measure(step, device="cpu", seconds=seconds)
    differs = float(((step() < 255) != (render(mesh, look)[:, 0] < 255)).mean())
    return {**result, "processor": statistics.median(processor[1:]), "views": views, "differs": differs}


if __name__ == "__main__":
    yield_memory_first()
    print(json.dumps(cost(**json.loads(sys.argv[1]))))
