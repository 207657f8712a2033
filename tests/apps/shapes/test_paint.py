"""Colours, textures and alpha against what a ray must see, in every format and from every side."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from apps.shapes import mtl, textures
from apps.shapes.cameras import RIGS, dodecahedron, ring
from apps.shapes.mesh import Mesh
from apps.shapes.meshes import MeshFile, read
from apps.shapes.paint import Paint, Texture, white
from apps.shapes.pose import principal
from apps.shapes.rendering import Look, render
from apps.shapes.views import images_of
from tests.apps.shapes.painted import HALVES, PLACES, SIDES, SQUARE, checkerboard, coloured_cube, png, textured

SIZE = 40
CLEAR = 0.02  # of the ball's radius: rays this near to an edge may be on either side of it


def frames(look):
    """Origins and directions (V, S, S, 3) of the rays through the pixels, written anew."""
    x = (np.arange(look.size) + 0.5) / look.size * 2 - 1
    for direction in look.directions:
        towards = np.array(direction) / np.linalg.norm(direction)
        right = np.array([towards[2], 0, -towards[0]]) / np.hypot(towards[0], towards[2])
        plane = x[None, :, None] * right + x[::-1][:, None, None] * np.cross(towards, right)
        if look.lens:
            yield look.distance * towards + 0 * plane, np.tan(np.radians(look.lens / 2)) * plane - towards
        else:
            yield plane + 2 * towards, np.broadcast_to(-towards, plane.shape)


def square_seen(look, pixels, bare=255):
    """For each view the colours of the textured square, and which pixels are away from all edges."""
    half, count = 2**-0.5, len(pixels)
    for origins, directions in frames(look):
        with np.errstate(divide="ignore", invalid="ignore"):
            t = -origins[..., 2] / directions[..., 2]
        point = origins + np.nan_to_num(t, posinf=0, neginf=0)[..., None] * directions
        uv = np.stack([point[..., 0], -point[..., 1]], axis=-1) / (2 * half) + 0.5
        inside = (np.abs(point[..., :2]) < half).all(axis=-1) & (np.abs(directions[..., 2]) > 0.2)
        row, column = (np.clip(uv[..., k] * count, 0, count - 1).astype(int) for k in (1, 0))
        edge = np.abs(uv * count - np.rint(uv * count)).min(axis=-1)
        clear = (edge / count * np.abs(directions[..., 2]) > CLEAR) & (np.abs(directions[..., 2]) > 0.2)
        yield np.where(inside[..., None], pixels[row, column], bare), clear


@pytest.mark.parametrize("kind", ["obj", "ply", "gltf", "glb"])
@pytest.mark.parametrize("rig", ["ring", "mvtn", "dodecahedron"])
def test_a_checkerboard_has_its_colours_from_every_side(tmp_path, kind, rig):
    board = checkerboard()
    mesh = read(textured(kind, tmp_path, board), painted=True)
    assert mesh.paint.missing == ()
    look = Look(*RIGS[rig][:1], SIZE, "albedo", 1, lens=RIGS[rig].lens)
    views = render(mesh, look).transpose(0, 2, 3, 1)
    checked = 0
    for view, (expected, clear) in zip(views, square_seen(look, board), strict=True):
        assert np.array_equal(view[clear], expected[clear])
        checked += clear.sum()
    assert checked > 0.2 * views[..., 0].size


def cube_seen(look):
    """For each view the colours of the cube, and which pixels are away from its edges."""
    half = 3**-0.5
    for origins, directions in frames(look):
        directions = np.where(directions == 0, 1e-12, directions)
        low, high = (-half - origins) / directions, (half - origins) / directions
        enter, leave = np.minimum(low, high), np.maximum(low, high)
        first, last = enter.max(axis=-1), leave.min(axis=-1)
        axis = enter.argmax(axis=-1)
        point = origins + first[..., None] * directions
        positive = np.take_along_axis(point, axis[..., None], axis=-1)[..., 0] > 0
        colours = np.where((first < last)[..., None], SIDES[2 * axis + ~positive], 255)
        gap = np.sort(np.abs(np.abs(point) - half), axis=-1)[..., 1]  # from the nearest edge
        yield colours, (np.abs(first - last) > 0.1) & (gap > CLEAR)


@pytest.mark.parametrize("kind", ["obj", "ply", "glb"])
@pytest.mark.parametrize("rig", ["ring", "mvtn", "view-gcn", "mvtn-spherical"])
def test_a_cube_shows_the_colours_of_its_six_sides(tmp_path, kind, rig):
    mesh = read(coloured_cube(kind, tmp_path), painted=True)
    look = Look(RIGS[rig].directions, SIZE, ("albedo", "lambert"), 1, colours=True, lens=RIGS[rig].lens)
    albedo, lambert = render(mesh, look).transpose(0, 2, 3, 1).reshape(2, -1, SIZE, SIZE, 3)
    light = render(mesh, Look(look.directions, SIZE, "lambert", 1, lens=look.lens))[:, 0, :, :, None] / 255
    for bare, lit, shade, (expected, clear) in zip(albedo, lambert, light, cube_seen(look), strict=True):
        assert clear.mean() > 0.3 and np.array_equal(bare[clear], expected[clear])
        assert np.abs(lit[clear] - np.where(expected[clear] == 255, 255 * shade[clear], 0)).max() <= 1


def test_colours_between_vertices_are_their_weighted_means():
    corners = np.array([[1.0, 0, 0], [-0.5, 3**0.5 / 2, 0], [-0.5, -(3**0.5) / 2, 0]])
    colours = np.eye(4, dtype=np.float32)[None, :3]
    colours[..., 3] = 1
    paint = white(1)._replace(colours=colours)
    look = Look(ring(1, 0), 64, "albedo", 1)
    [image] = render(Mesh(corners, np.array([[0, 1, 2]]), paint), look).transpose(0, 2, 3, 1)
    [(origins, _)] = frames(look)
    weights = (1 + 2 * origins[..., :2] @ corners[:, :2].T) / 3
    inside = (weights > 0.01).all(axis=-1)
    assert inside.sum() > 1000
    assert np.abs(image[inside] - 255 * weights[inside]).max() <= 0.51


def layers(*colours):
    """Squares behind one another, the first nearest to z, each with a colour and its alpha."""
    count = len(colours)
    heights = np.linspace(0.1, -0.1, count)
    vertices = np.concatenate([SQUARE * [1, 1, 0] + [0, 0, height] for height in heights])
    paint = white(2 * count)
    paint = paint._replace(colours=paint.colours * np.repeat(np.float32(colours), 2, axis=0)[:, None])
    return Mesh(vertices, np.concatenate([HALVES + 4 * k for k in range(count)]), paint)


@given(st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), min_size=1, max_size=5))
def test_alpha_is_the_share_that_covers_what_lies_behind(colours):
    mesh = layers(*colours)
    images = render(mesh, Look(ring(1, 0), 8, ("albedo", "depth", "normals"), 1))
    expected = np.array([255.0] * 3 + [0] * 4)
    radius = np.sqrt(2 + (0.01 if len(colours) > 1 else 0))
    for (*colour, alpha), height in list(zip(colours, np.linspace(0.1, -0.1, len(colours)), strict=True))[::-1]:
        height = height / radius if len(colours) > 1 else 0
        here = np.array([*(255 * np.array(colour)), 255 - 254 * (1 - height) / 2, 127.5, 127.5, 255])
        expected = alpha * here + (1 - alpha) * expected
    found = np.concatenate([images[0, :, 4, 4], images[1, :1, 4, 4], images[2, :, 4, 4]])
    assert np.abs(found - expected).max() < 1.6  # 1/512 of what is left is not followed, and rounding


def test_a_mask_cuts_holes_and_an_opaque_material_has_none(tmp_path):
    pixels = np.dstack([checkerboard(4), np.where(checkerboard(4)[..., 0] > 99, 255, 90)]).astype(np.uint8)
    path = textured("gltf", tmp_path, pixels)
    text, look = path.read_text(), Look(ring(1, 0), 64, "albedo", 1)
    seen = {}
    for mode in ("OPAQUE", "MASK", "BLEND"):
        path.write_text(text.replace('{"pbrM', f'{{"alphaMode": "{mode}", "alphaCutoff": 0.5, "pbrM'))
        seen[mode] = render(read(path, painted=True), look)[0].transpose(1, 2, 0).astype(int)
    [(expected, clear)] = square_seen(look, pixels)
    expected, clear = expected[..., :3], clear & (np.abs(seen["OPAQUE"] - 255).sum(axis=-1) > 0)
    dark = clear & (expected[..., 0] < 99)
    assert np.array_equal(seen["OPAQUE"][clear], expected[clear])
    assert (seen["MASK"][dark] == 255).all() and np.array_equal(seen["MASK"][clear & ~dark], expected[clear & ~dark])
    assert np.abs(seen["BLEND"][dark] - (90 * expected[dark].astype(int) + 165 * 255) / 255).max() <= 1


@pytest.mark.parametrize("kind", ["obj", "ply", "gltf"])
def test_a_missing_texture_is_reported_and_leaves_the_base_colour(tmp_path, kind, caplog):
    path = textured(kind, tmp_path, checkerboard())
    (tmp_path / "a board.png").unlink()
    base = (255, 255, 255)
    if kind == "obj":
        library = tmp_path / "the library.mtl"
        library.write_text(library.read_text().replace("Kd 1 1 1", "Kd 0.2 0.4 0.6"))
        base = (51, 102, 153)
    elif kind == "gltf":
        path.write_text(path.read_text().replace('{"baseColorT', '{"baseColorFactor": [0, 1, 0, 1], "baseColorT'))
        base = (0, 255, 0)
    with caplog.at_level(logging.WARNING):
        images = images_of(MeshFile(path), Look(ring(1, 0), 16, "albedo", 1))
    assert images[0, :, 8, 8].tolist() == list(base)
    [message] = caplog.messages
    assert str(path) in message and "base colour" in message and "board.png', which does not exist" in message


def test_without_its_library_an_obj_is_white_and_says_so(tmp_path):
    path = coloured_cube("obj", tmp_path)
    (tmp_path / "cube.mtl").unlink()
    paint = read(path, painted=True).paint
    assert (paint.colours == 1).all() and paint.missing == ("'cube.mtl', which does not exist",)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/secret.png", "link.png", "..\\secret.png"])
@pytest.mark.parametrize("kind", ["obj", "ply", "gltf"])
def test_no_texture_is_read_from_outside_of_the_folder(tmp_path, kind, name):
    path = textured(kind, tmp_path / "in", checkerboard())
    (tmp_path / "secret.png").write_bytes(png(checkerboard()))
    (tmp_path / "in/link.png").symlink_to(tmp_path / "secret.png")
    for file in [file for file in (tmp_path / "in").iterdir() if file.suffix in (".mtl", ".ply", ".gltf")]:
        text = file.read_text().replace("a%20board.png", "a board.png")
        file.write_text(text.replace("a board.png", name.replace("\\", "\\\\") if kind == "gltf" else name))
    mesh = read(path, painted=True)
    assert not mesh.paint.textures
    assert any("outside of its folder" in line or "lies elsewhere" in line for line in mesh.paint.missing)
    MeshFile(path).key(painted=True)


def test_a_path_of_its_authors_disk_is_looked_for_beside_the_mesh(tmp_path):
    path = textured("obj", tmp_path, checkerboard())
    library = tmp_path / "the library.mtl"
    library.write_text(library.read_text().replace("a board.png", "C:\\Documents and Settings\\me\\a board.png"))
    assert len(read(path, painted=True).paint.textures) == 1


def test_images_are_counted_before_they_are_read(tmp_path, monkeypatch):
    path = textured("obj", tmp_path, checkerboard(64))
    monkeypatch.setattr(textures, "MOST_PIXELS", 64 * 64 - 1)
    assert read(path, painted=True).paint.missing == (
        "'a board.png', which has 64 × 64 pixels: 4,095 more are the most that is read",
    )
    (tmp_path / "a board.png").write_bytes(b"no image")
    assert "is no image that can be read" in read(path, painted=True).paint.missing[0]
    (tmp_path / "a board.png").write_bytes(png(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8))[:2000])
    assert "is a broken image" in read(path, painted=True).paint.missing[0]


def test_small_views_of_fine_textures_are_not_noise():
    """A pixel is the mean of what it covers, not one of the many texels behind it."""
    fine = np.dstack([checkerboard(1024, (255,) * 3, (0,) * 3), np.full((1024, 1024), 255, np.uint8)])
    paint = Paint(np.ones((2, 3, 4), np.float32), np.float32(PLACES)[HALVES], np.zeros(2, int), (Texture(fine),))
    views = render(Mesh(SQUARE, HALVES, paint), Look(ring(3, 20), 32, "albedo"))
    for view in views[:, 0]:
        inside = view[(view > 0) & (view < 250)]
        assert len(inside) > 50 and np.median(np.abs(inside - 127.5)) < 2


@pytest.mark.parametrize(
    ("wrap", "expected"),
    [("repeat", [0, 1, 0, 1, 0, 1]), ("clamp", [0, 0, 0, 1, 1, 1]), ("mirror", [1, 0, 0, 1, 1, 0])],
)
def test_what_lies_beyond_a_texture(wrap, expected):
    pixels = np.uint8([[[0, 0, 0, 255], [255, 255, 255, 255]]])
    uvs = np.float32([[-1, 0], [2, 0], [2, 1], [-1, 1]])[HALVES]
    paint = Paint(np.ones((2, 3, 4), np.float32), uvs, np.zeros(2, int), (Texture(pixels, (wrap, wrap)),))
    image = render(Mesh(SQUARE, HALVES, paint), Look(ring(1, 0), 64, "albedo", 1))[0, 0, 32]
    found = image[32 - 21 : 32 + 21].reshape(6, 7)[:, 3]
    assert (found / 255).tolist() == expected


def test_several_shadings_are_the_images_of_each(tmp_path):
    mesh = read(coloured_cube("obj", tmp_path), painted=True)
    names = ("phong", "albedo", "normals", "depth", "lambert")
    together = render(mesh, Look(ring(3), 24, names, colours=True))
    apart = [render(mesh, Look(ring(3), 24, name, colours=True)) for name in names]
    assert np.array_equal(together, np.concatenate([np.broadcast_to(images, (3, 3, 24, 24)) for images in apart]))
    assert Look(shading=("lambert", "depth")).channels == 1


def test_the_key_is_that_of_the_colours_only_where_they_are_seen(tmp_path):
    path = textured("obj", tmp_path, checkerboard())
    grey, coloured = MeshFile(path).key(), MeshFile(path).key(painted=True)
    (tmp_path / "a board.png").write_bytes(png(checkerboard(8)))
    assert MeshFile(path).key() == grey and MeshFile(path).key(painted=True) != coloured
    (tmp_path / "the library.mtl").unlink()
    assert MeshFile(path).key() == grey


WORDS = b'newmtl Kd d Tr map_Kd map_d -s -o -clamp on 1 nan 1e999 x \xff "a'.split()


@given(st.lists(st.sampled_from([*WORDS, b"\n", b"\n"]), max_size=30))
def test_any_library_is_read_or_refused_in_one_line(words):
    try:
        found = mtl.parse(b" ".join(words))
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
        return
    assert all(0 <= value <= 1 for material in found.values() for value in (*material.colour, material.alpha))


@given(st.sampled_from(["obj", "ply", "gltf", "glb"]), st.data())
def test_damaged_colours_give_a_mesh_or_a_clear_error(tmp_path_factory, kind, data):
    folder = tmp_path_factory.mktemp("damaged")
    path = textured(kind, folder, checkerboard())
    for file in folder.iterdir():
        content = bytearray(file.read_bytes())
        for _ in range(data.draw(st.integers(0, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        file.write_bytes(bytes(content))
    try:
        mesh = read(path, painted=True)
    except ValueError as error:
        assert str(error) and "\n" not in str(error)
        return
    paint = mesh.paint
    assert paint.colours.shape == (len(mesh.faces), 3, 4) and np.isfinite(paint.uvs).all()
    assert ((paint.colours >= 0) & (paint.colours <= 1)).all() and paint.texture.max() < len(paint.textures)


def test_a_lens_shows_the_ball_as_large_as_it_must():
    """The outline of a ball at distance d is at the tangent: 1 / √(d² - 1), in units of the frame's half width."""
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=4)
    look = Look(dodecahedron()[:2], 100, "depth", 1, lens=60.0, distance=2.5)
    images = render(Mesh(np.asarray(ball.vertices), np.asarray(ball.faces)), look)
    radius = 1 / np.sqrt(2.5**2 - 1) / np.tan(np.radians(30)) * 50
    for image in images[:, 0]:
        assert np.abs(np.sqrt((image > 0).sum() / np.pi) - radius) < 0.5
        assert image.max() >= 254


@pytest.mark.parametrize("name", RIGS)
def test_the_published_cameras_see_the_whole_ball(name):
    rig = RIGS[name]
    look = Look(rig.directions, lens=rig.lens, distance=rig.distance)
    assert look.views == (20 if name in ("dodecahedron", "mvcnn-20", "view-gcn") else 12)
    assert not rig.lens or np.degrees(np.arcsin(1 / rig.distance)) < rig.lens / 2


@given(st.integers(0, 99))
def test_the_principal_pose_is_the_same_whatever_turn_a_shape_comes_in(seed):
    rng = np.random.default_rng(seed)
    mesh = Mesh(rng.normal(size=(12, 3)) * [3, 2, 1], np.arange(12).reshape(-1, 3))
    turned = mesh.turned(Rotation.random(rng=rng).as_matrix())
    np.testing.assert_allclose(principal(turned).vertices, principal(mesh).vertices, atol=1e-9)
    look = Look(ring(2), 16, "normals", pose="principal")
    assert np.abs(render(turned, look).astype(int) - render(mesh, look)).max() <= 2


def test_the_principal_pose_does_not_depend_on_how_the_surface_is_divided():
    """A vertex more on every edge leaves the surface, and therefore its axes, as they are."""
    rng = np.random.default_rng(0)
    corners = rng.normal(size=(4, 3, 3)) * [3, 2, 1]
    a, b, c = corners.transpose(1, 0, 2)
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    parts = [np.stack(part, axis=1) for part in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    whole, divided = (
        Mesh(x.reshape(-1, 3), np.arange(3 * len(x)).reshape(-1, 3)) for x in (corners, np.concatenate(parts))
    )
    np.testing.assert_allclose(principal(divided).vertices[:1], principal(whole).vertices[:1], atol=1e-9)
