"""MTL, the materials of an OBJ file: colours, alpha and textures. http://paulbourke.net/dataformats/mtl/"""

from dataclasses import dataclass, replace

from apps.shapes.limits import lines

MOST_MATERIALS = 100_000
# Options of a map and how many words follow each; of "-s" and its like, up to three numbers.
NUMBERED = {b"-o", b"-s", b"-t"}
FOLLOWED = {b"-blendu": 1, b"-blendv": 1, b"-boost": 1, b"-mm": 2, b"-texres": 1, b"-clamp": 1, b"-bm": 1,
            b"-imfchan": 1, b"-type": 1, b"-cc": 1}  # fmt: skip


@dataclass(frozen=True)
class Map:
    """A texture by name: u and v are scaled and moved, and beyond the unit square it repeats, or its edge goes on."""

    name: str
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    clamp: bool = False


@dataclass(frozen=True)
class Material:
    """The colour of a surface, 0 to 1, its alpha, and the textures that they are multiplied by."""

    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    alpha: float = 1.0
    texture: Map | None = None
    alpha_texture: Map | None = None


def parse(data: bytes) -> dict[str, Material]:
    """The materials of a library, by name. What does not say a colour (Ka, Ks, bumps, ...) is passed over.

    Raises:
        ValueError: a colour, an alpha or an option that is no number; more than 100,000 materials.

    >>> found = parse(b"newmtl oak\\nKd 1 0.5 0\\nd 0.5\\nmap_Kd -s 2 2 1 old wood.png\\n")["oak"]
    >>> found.colour, found.alpha, found.texture
    ((1.0, 0.5, 0.0), 0.5, Map(name='old wood.png', scale=(2.0, 2.0), offset=(0.0, 0.0), clamp=False))
    """
    materials: dict[str, Material] = {}
    name = None
    for line in lines(data.removeprefix(b"\xef\xbb\xbf")):
        keyword, *rest = line.strip().split(None, 1) or [b""]
        words = rest[0] if rest else b""
        keyword = keyword.lower()
        if keyword == b"newmtl":
            name = words.decode(errors="replace")
            materials[name] = Material()
            if len(materials) > MOST_MATERIALS:
                raise ValueError(f"it has more than {MOST_MATERIALS:,} materials, which is the most that is read")
        elif name is not None:
            materials[name] = _with(materials[name], keyword, words)
    return materials


def files(data: bytes) -> list[str]:
    """The textures that the materials of a library name; none of one that is broken."""
    try:
        maps = [of for material in parse(data).values() for of in (material.texture, material.alpha_texture) if of]
    except ValueError:
        return []
    return [each.name for each in maps]


def _with(material: Material, keyword: bytes, words: bytes) -> Material:
    match keyword:
        case b"kd":
            r, *others = _shares(words)
            g, b = others if len(others) == 2 else (r, r)
            return replace(material, colour=(r, g, b))
        case b"d":
            return replace(material, alpha=_shares(words.removeprefix(b"-halo"))[0])
        case b"tr":
            return replace(material, alpha=1 - _shares(words)[0])
        case b"map_kd":
            return replace(material, texture=_map(words))
        case b"map_d":
            return replace(material, alpha_texture=_map(words))
    return material


def _shares(words: bytes) -> list[float]:
    """Numbers of a colour, brought between 0 and 1."""
    try:
        found = [min(max(float(word), 0.0), 1.0) for word in words.split()[:3]]
        if not found or any(number != number for number in found):
            raise ValueError
    except ValueError as error:
        raise ValueError(f"it has the colour {words[:40]!r}: expected numbers from 0 to 1") from error
    return found


def _map(words: bytes) -> Map:
    """A file's name, which may have spaces, behind options."""
    options: dict[bytes, list[bytes]] = {}
    while words.startswith(b"-"):
        option, _, words = words.partition(b" ")
        option = option.lower()
        if option not in NUMBERED and option not in FOLLOWED:
            raise ValueError(f"it has the option {option[:20]!r} of a map, which is not known")
        count = FOLLOWED.get(option, 3)
        found = options.setdefault(option, [])
        while len(found) < count and words:
            first, _, rest = words.lstrip().partition(b" ")
            if option in NUMBERED and not _is_number(first):
                break
            found.append(first)
            words = rest
        words = words.lstrip()
    scale, offset = (
        tuple(map(float, [*options.get(name, []), *2 * [default]][:2]))
        for name, default in ((b"-s", b"1"), (b"-o", b"0"))
    )
    clamp = options.get(b"-clamp", [b"off"])[:1] == [b"on"]
    return Map(words.decode(errors="replace").strip().strip('"'), (scale[0], scale[1]), (offset[0], offset[1]), clamp)


def _is_number(word: bytes) -> bool:
    try:
        return abs(float(word)) < 1e6
    except ValueError:
        return False
