"""The colours of a glTF file's primitives: base colour, its texture, vertex colours and alpha (section 3.9)."""

from urllib.parse import unquote

import numpy as np
from jaxtyping import Float64, Int64

from apps.shapes.beside import Beside
from apps.shapes.gltf_file import Content, Object, objects
from apps.shapes.paint import Paint, Texture, Wrap, as_uvs, white
from apps.shapes.textures import Images, Pixels, read_near

SPECULAR = "KHR_materials_pbrSpecularGlossiness"
TRANSFORM = "KHR_texture_transform"
WEBP = "EXT_texture_webp"
WRAPS: dict[object, Wrap] = {10497: "repeat", 33071: "clamp", 33648: "mirror"}


def image_files(content: Object) -> list[str]:
    """The files that hold its images, as paths from its folder.

    >>> image_files({"images": [{"uri": "a.png"}, {"uri": "data:image/png;base64,AAAA"}, {"bufferView": 0}]})
    ['a.png']
    """
    uris = [str(image.get("uri", "")) for image in objects(content, "images")]
    return [unquote(uri) for uri in uris if uri and not uri.startswith("data:")]


class Painter:
    """Paints the triangles of primitives.

    Args:
        content: of the file.
        beside: where the images are that it names.
    """

    def __init__(self, content: Content, beside: Beside) -> None:
        self.content, self.beside, self.images = content, beside, Images(beside)
        self.textures: dict[tuple, Texture | None] = {}

    @property
    def missing(self) -> tuple[str, ...]:
        """A line for each image that could not be read."""
        return tuple(self.images.missing.values())

    def paint(self, primitive: Object, triangles: Int64[np.ndarray, "F 3"], vertices: int) -> Paint:
        """The colours of the triangles of a primitive; white where it has no material.

        Raises:
            ValueError: materials, textures or numbers that the file does not have.
        """
        found = white(len(triangles))
        attributes = primitive.get("attributes", {})
        colours = found.colours
        if "COLOR_0" in attributes:
            kind = self.content.at("accessors", attributes["COLOR_0"]).get("type")
            rows = self._of_vertices(primitive, "COLOR_0", "VEC4" if kind == "VEC4" else "VEC3", vertices)
            rows = np.hstack([displayed(rows[:, :3]), rows[:, 3:] if kind == "VEC4" else np.ones((vertices, 1))])
            colours = rows.astype(np.float32)[triangles]
        if "material" not in primitive:
            return found._replace(colours=colours)
        material = self.content.at("materials", primitive["material"])
        pbr = material.get("pbrMetallicRoughness", {})
        factor, texture = pbr.get("baseColorFactor", [1] * 4), pbr.get("baseColorTexture")
        if specular := material.get("extensions", {}).get(SPECULAR):
            factor, texture = specular.get("diffuseFactor", [1] * 4), specular.get("diffuseTexture")
        base = np.array(factor, np.float64)
        if base.shape != (4,) or not np.isfinite(base).all():
            raise ValueError(f"it has the colour {str(factor)[:60]}: expected 4 numbers")
        base[:3] = displayed(base[:3])
        mode = material.get("alphaMode", "OPAQUE")
        cutoff = float(material.get("alphaCutoff", 0.5))
        covering = None if texture is None else self._texture(texture, mode, cutoff, float(base[3]))
        base[3] = _alpha(base[3:], mode, cutoff)[0] if covering is None else base[3] if mode == "BLEND" else 1
        if mode != "BLEND":
            colours = np.dstack([colours[..., :3], np.ones_like(colours[..., 3])])
        colours = colours * base.astype(np.float32)
        if covering is None or texture is None or (uvs := self._uvs(primitive, texture, vertices)) is None:
            return found._replace(colours=colours)
        return Paint(colours, as_uvs(uvs)[triangles], np.zeros(len(triangles), np.int64), (covering,))

    def _of_vertices(self, primitive: Object, name: str, kind: str, vertices: int) -> Float64[np.ndarray, "V W"]:
        rows = self.content.numbers(primitive["attributes"][name], kind, primitive)
        if len(rows) != vertices:
            raise ValueError(f"{name} has {len(rows)} rows: expected {vertices}")
        return rows

    def _uvs(self, primitive: Object, texture: Object, vertices: int) -> Float64[np.ndarray, "V 2"] | None:
        """The place of each vertex in a texture, if it has one; KHR_texture_transform scales, turns and moves it."""
        moved = texture.get("extensions", {}).get(TRANSFORM, {})
        name = f"TEXCOORD_{moved.get('texCoord', texture.get('texCoord', 0))}"
        if name not in primitive.get("attributes", {}):
            self.images.missing[name] = f"a texture, which has no places of vertices in it ({name})"
            return None
        uvs = self._of_vertices(primitive, name, "VEC2", vertices) * _pair(moved, "scale", 1)
        angle = float(moved.get("rotation", 0))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return uvs @ turn.T + _pair(moved, "offset", 0)

    def _texture(self, reference: Object, mode: str, cutoff: float, alpha: float) -> Texture | None:
        """A texture with the alpha that it has in a material; None where its image cannot be read."""
        found = self.content.at("textures", reference.get("index"))
        index = found.get("extensions", {}).get(WEBP, {}).get("source", found.get("source"))
        sampler = self.content.at("samplers", found["sampler"]) if "sampler" in found else {}
        wrap = (WRAPS.get(sampler.get("wrapS"), "repeat"), WRAPS.get(sampler.get("wrapT"), "repeat"))
        key = (index, wrap, *((mode, cutoff, alpha) if mode == "MASK" else (mode == "OPAQUE",)))
        if key not in self.textures:
            pixels = self._image(index)
            self.textures[key] = None if pixels is None else Texture(_masked(pixels, mode, cutoff, alpha), wrap)
        return self.textures[key]

    def _image(self, index: object) -> Pixels | None:
        if index is None:
            self.images.missing["no image"] = "a texture, which names no image that can be read"
            return None
        image = self.content.at("images", index)
        uri = str(image.get("uri", ""))
        if uri and not uri.startswith("data:"):
            return self.images.decoded(uri, lambda: read_near(self.beside, unquote(uri)))
        return self.images.decoded(f"image {index}", lambda: self.content.image(image))


def displayed(linear: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
    """Amounts of light, 0 to 1, as the values that a display shows them by (sRGB).

    Source: IEC 61966-2-1.

    >>> displayed(np.array([0.0, 0.21404114, 1.0])).round(6).tolist()
    [0.0, 0.5, 1.0]
    """
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _alpha(alpha: np.ndarray, mode: str, cutoff: float) -> np.ndarray:
    """What a material makes of alpha, 0 to 1: nothing, all or none, or coverage (section 3.9.4)."""
    return np.ones_like(alpha) if mode == "OPAQUE" else np.where(alpha >= cutoff, 1.0, 0.0) if mode == "MASK" else alpha


def _masked(pixels: Pixels, mode: str, cutoff: float, alpha: float) -> Pixels:
    if mode == "BLEND":
        return pixels
    covered = _alpha(pixels[..., 3:] / 255 * alpha, mode, cutoff)
    return np.concatenate([pixels[..., :3], np.rint(255 * covered).astype(np.uint8)], axis=2)


def _pair(values: Object, name: str, default: float) -> Float64[np.ndarray, "2"]:
    found = np.array(values.get(name, [default, default]), np.float64)
    if found.shape != (2,):
        raise ValueError(f"it has the {name} {str(values[name])[:60]} of a texture: expected 2 numbers")
    return found
