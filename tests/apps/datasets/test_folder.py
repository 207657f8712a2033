import io
import logging
import os
import pickle
import shutil
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from apps.datasets.files import SHOWN, decode
from apps.datasets.folder import load

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(path, colour=RED, size=(8, 6), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)
    return path


def truncate(path, fraction=0.5):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    return path


def noise(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def birds(tmp_path):
    """Three robins, one of them deeper, and two wrens in a folder of their own each; files of other kinds."""
    root = tmp_path / "birds"
    for name in ("robin/2.png", "robin/10.PNG", "robin/more/1.bmp"):
        save(root / name, RED)
    for name in ("wren/a.webp", "wren/b.gif"):
        save(root / name, GREEN, lossless=True)
    return root


@pytest.fixture
def cluttered(birds):
    """The same with what is not data: notes, tables, and what archivers and desktops leave behind."""
    for name in ("notes.txt", "more/TABLE.XLSX", "README", ".DS_Store"):
        (birds / "robin" / name).write_text("no image")
    for name in (".hidden/1.png", "__MACOSX/robin/._1.png", "@eaDir/1.png", "wren/.c.png", "wren/._a.webp"):
        (birds / name).parent.mkdir(parents=True, exist_ok=True)
        (birds / name).write_bytes(b"no image")
    return birds


def test_folders_are_classes_and_both_are_sorted(birds):
    images = load(birds)
    assert images.classes == ("robin", "wren")
    assert images.names == ("robin/10.PNG", "robin/2.png", "robin/more/1.bmp", "wren/a.webp", "wren/b.gif")
    assert images.labels.tolist() == [0, 0, 0, 1, 1]
    assert images.labels.dtype == np.int64
    assert len(images) == 5
    for i, label in enumerate(images.labels):
        image = images.image(i)
        assert image.dtype == torch.uint8 and image.shape == (3, 6, 8)
        assert image[:, 3, 4].tolist() == list((RED, GREEN)[label])


def test_a_whole_set_is_silent(birds, caplog):
    load(birds, strict=True)
    assert not caplog.records


def test_what_is_passed_over_is_counted_by_its_suffix(cluttered, caplog):
    assert load(cluttered, strict=True).names == (
        "robin/10.PNG",
        "robin/2.png",
        "robin/more/1.bmp",
        "wren/a.webp",
        "wren/b.gif",
    )
    (record,) = caplog.records
    for said in ("3 folders that hold no data (.hidden, @eaDir, __MACOSX)", "3 hidden", "1 .txt", "1 .xlsx"):
        assert said in record.getMessage()
    assert "1 without a suffix" in record.getMessage()


def test_a_second_reading_does_not_say_it_again(cluttered, caplog):
    load(cluttered)
    load(cluttered)
    assert len(caplog.records) == 1


def test_images_travel_to_workers(birds):
    images = load(birds, size=4)
    travelled = pickle.loads(pickle.dumps(images))
    assert travelled.names == images.names
    assert torch.equal(travelled.image(4), images.image(4))


def test_of_classes_keeps_the_order_and_renumbers(tmp_path):
    for name, colour in (("a/1", RED), ("b/1", GREEN), ("c/1", BLUE), ("c/2", BLUE)):
        save(tmp_path / f"{name}.png", colour)
    chosen = load(tmp_path).of_classes([2, 0])
    assert chosen.classes == ("c", "a")
    assert chosen.names == ("a/1.png", "c/1.png", "c/2.png")
    assert chosen.labels.tolist() == [1, 0, 0]
    assert chosen.image(0)[:, 0, 0].tolist() == list(RED)
    again = chosen.of_classes([0])
    assert again.names == ("c/1.png", "c/2.png") and again.image(1)[:, 0, 0].tolist() == list(BLUE)
    assert len(chosen.of_classes([])) == 0
    for wrong in ([2], [-1], [0, 0]):
        with pytest.raises(ValueError, match="class"):
            chosen.of_classes(wrong)


@pytest.mark.parametrize("size", [None, 4])
def test_size_scales_the_shorter_side_and_keeps_the_middle(tmp_path, size):
    stripes = np.repeat(np.array([RED, GREEN, BLUE], dtype=np.uint8), [8, 16, 8], axis=0)
    (tmp_path / "flags").mkdir()
    Image.fromarray(np.broadcast_to(stripes, (16, 32, 3))).save(tmp_path / "flags" / "1.png")
    image = load(tmp_path, size=size).image(0)
    assert image.shape == ((3, 16, 32) if size is None else (3, 4, 4))
    assert image[:, 2, 2].tolist() == list(RED if size is None else GREEN)


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (lambda root: None, "does not exist"),
        (lambda root: root.write_text("x"), "is a file"),
        (lambda root: root.mkdir(), "has no class folders"),
        (lambda root: save(root / "1.png"), "has 1 images directly in it, no class folders"),
    ],
)
def test_another_layout_is_told_the_path_and_the_layout_wanted(tmp_path, prepare, expected):
    prepare(tmp_path / "birds")
    with pytest.raises(ValueError, match=rf"birds' {expected}: .*ROOT/robin/1\.jpg"):
        load(tmp_path / "birds")


def test_classes_without_images_are_left_out_and_all_named(birds, caplog):
    for name in ("dodo", "great auk", "moa"):
        (birds / name).mkdir()
    (birds / "dodo" / "gone.txt").touch()
    assert load(birds).classes == ("robin", "wren")
    (record,) = caplog.records
    assert "3 class folders without images (dodo, great auk, moa)" in record.getMessage()
    with pytest.raises(ValueError, match=r"3 class folders without images \(dodo, great auk, moa\); put some in"):
        load(birds, strict=True)


def test_two_folders_of_one_name_are_not_two_classes(birds):
    """As of an archive made on macOS beside one made elsewhere."""
    for name in ("caf\u00e9", "cafe\u0301"):
        save(birds / name / "0.png", (9, 9, 9))
    with pytest.raises(ValueError, match=r"two class folders called .* as 'cafe\\u0301' and 'caf\\xe9'; put their"):
        load(birds)


def test_a_folder_of_empty_classes_is_an_error(tmp_path):
    (tmp_path / "dodo").mkdir()
    with pytest.raises(ValueError, match=r"1 class folders without images \(dodo\)"):
        load(tmp_path)


@pytest.mark.parametrize("above", [("birds",), ("train", "test"), ("Train", "val")])
def test_a_folder_above_the_class_folders_is_not_its_classes(birds, tmp_path, above):
    for name in above:
        shutil.copytree(birds, tmp_path / "above" / name)
    with pytest.raises(ValueError, match=rf"seems to lie above the class folders: .* give '.*{min(above)}'"):
        load(tmp_path / "above")


def test_classes_with_folders_of_their_own_stay_classes(tmp_path):
    for name in ("robin/2023/1.png", "robin/2024/1.png", "wren/2024/1.png", "tit/2024/1.png"):
        save(tmp_path / name)
    assert load(tmp_path).classes == ("robin", "tit", "wren")


def test_class_folders_that_are_links_are_said_to_be(birds, tmp_path):
    (tmp_path / "links").mkdir()
    for name in ("robin", "wren"):
        (tmp_path / "links" / name).symlink_to(birds / name)
    with pytest.raises(ValueError, match=r"has 2 class folders that are links \(robin, wren\), which are not followed"):
        load(tmp_path / "links")


def test_a_size_of_nothing_is_refused(birds):
    with pytest.raises(ValueError, match="size is 0"):
        load(birds, size=0)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "gif", "tif"])
def test_a_truncated_image_is_left_out_counted_and_named(birds, caplog, suffix):
    broken = truncate(noise(birds / "wren" / f"half.{suffix}"))
    images = load(birds)
    assert len(images) == 5
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "1 broken" in record.getMessage() and str(broken) in record.getMessage()
    with pytest.raises(ValueError, match=rf"1 of 6 images .* broken: .*half\.{suffix}"):
        load(birds, strict=True)


def test_a_jpeg_with_more_after_its_end_is_whole(birds, caplog):
    path = noise(birds / "wren" / "long.jpg")
    path.write_bytes(path.read_bytes() + b"a film, say")
    assert len(load(birds, strict=True)) == 6
    assert not caplog.records


def test_many_broken_images_are_one_line(birds, caplog):
    for i in range(9):
        (birds / "wren" / f"empty{i}.jpg").touch()
    load(birds)
    (record,) = caplog.records
    assert "9 broken" in record.getMessage()
    assert record.getMessage().count("empty") == 2 * SHOWN
    assert "\n" not in record.getMessage()


def test_a_class_of_broken_images_is_no_class(birds):
    save(birds / "moa" / "1.png").write_bytes(b"none")
    assert load(birds).classes == ("robin", "wren")


def test_a_set_of_broken_images_is_an_error(tmp_path):
    save(tmp_path / "moa" / "1.png").write_bytes(b"none")
    with pytest.raises(ValueError, match=r"1 of 1 images .*moa.1\.png"):
        load(tmp_path)


@pytest.mark.parametrize("damage", [truncate, os.remove])
def test_an_image_that_breaks_later_is_named(birds, damage):
    noise(birds / "robin" / "0.jpg")
    images = load(birds)
    damage(birds / "robin" / "0.jpg")
    with pytest.raises(ValueError, match=r"robin.0\.jpg' cannot be decoded"):
        images.image(0)


def test_links_out_of_the_folder_are_left_out_and_counted(birds, tmp_path, caplog):
    outside = save(tmp_path / "secrets" / "1.png")
    (birds / "robin" / "out.png").symlink_to(outside)
    (birds / "robin" / "in.png").symlink_to(birds / "wren" / "a.webp")
    (birds / "robin" / "folder").symlink_to(outside.parent)
    (birds / "crow").symlink_to(outside.parent)
    (birds / "wren" / "loop").symlink_to(birds)
    images = load(birds)
    assert len(images) == 6 and "robin/in.png" in images.names
    assert images.classes == ("robin", "wren")
    (record,) = caplog.records
    assert "4 links" in record.getMessage()


def test_the_folder_itself_may_be_a_link(birds, tmp_path):
    (tmp_path / "link").symlink_to(birds)
    assert load(tmp_path / "link").names == load(birds).names


def test_images_beside_the_class_folders_are_counted(birds, caplog):
    save(birds / "cover.png")
    assert len(load(birds)) == 5
    (record,) = caplog.records
    assert "1 in no class folder" in record.getMessage()


def test_names_that_are_not_text_stay_apart_and_printable(birds):
    for name in (b"caf\xe8", b"caf\xe9"):
        save(birds / os.fsdecode(name) / "1.png")
    classes = load(birds).classes
    assert classes == ("caf\\xe8", "caf\\xe9", "robin", "wren")


@pytest.mark.parametrize("pixels", [(10_000, 9_000), (20_000, 9_000)])
def test_an_image_beyond_pillows_limit_is_broken(birds, pixels, caplog):
    Image.new("1", pixels).save(birds / "wren" / "huge.png")
    assert len(load(birds)) == 5
    assert "huge.png' is too large" in caplog.text


def test_a_pipe_is_not_waited_for(birds, caplog):
    os.mkfifo(birds / "wren" / "pipe.png")
    assert len(load(birds)) == 5
    assert "pipe.png" in caplog.text


def test_other_formats_are_not_opened_whatever_their_name(birds, caplog):
    Image.new("RGB", (4, 4)).save(birds / "wren" / "print.png", format="EPS")
    assert len(load(birds)) == 5
    assert "print.png" in caplog.text


def saved(image, path, **options):
    image.save(path, **options)
    return decode(path)


def test_cmyk_becomes_rgb(tmp_path):
    cyan = saved(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), tmp_path / "a.jpg", quality=100)
    assert cyan[:, 4, 4].tolist() == [0, 255, 255]


def test_sixteen_bits_are_rounded_to_eight(tmp_path):
    values = np.array([[0, 128, 129, 257], [0x8080, 65406, 65407, 65535]], dtype=np.uint16)
    grey = saved(Image.fromarray(values), tmp_path / "a.png")
    assert grey[0].tolist() == [[0, 0, 1, 1], [128, 254, 255, 255]]
    assert torch.equal(grey[0], grey[1]) and torch.equal(grey[0], grey[2])


def test_tiffs_are_images(birds):
    save(birds / "wren" / "x.tif", GREEN, compression="tiff_lzw")
    save(birds / "wren" / "y.TIFF", BLUE)
    save(birds / "wren" / "z.jfif", RED, format="JPEG")
    images = load(birds, strict=True)
    assert images.names[5:] == ("wren/x.tif", "wren/y.TIFF", "wren/z.jfif")
    assert [images.image(i)[:, 3, 4].tolist() for i in (5, 6)] == [list(GREEN), list(BLUE)]


@pytest.mark.parametrize("compression", [None, "tiff_deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_tiffs_of_every_compression(tmp_path, compression, mode):
    white = saved(Image.new("RGB", (16, 16), "white").convert(mode), tmp_path / "a.tif", compression=compression)
    assert white.shape == (3, 16, 16) and (white == 255).all()


def test_a_tiff_of_sixteen_bits_is_rounded_and_of_several_pages_its_first(tmp_path):
    values = np.array([[0, 128, 129, 65535]], dtype=np.uint16)
    assert saved(Image.fromarray(values), tmp_path / "a.tif")[0].tolist() == [[0, 0, 1, 255]]
    pages = [Image.new("RGB", (2, 2), colour) for colour in (RED, GREEN)]
    image = saved(pages[0], tmp_path / "b.tif", save_all=True, append_images=pages[1:])
    assert image[:, 0, 0].tolist() == list(RED)


@pytest.mark.parametrize(("dtype", "message"), [(np.float32, "floating-point"), (np.int32, "more than 16 bits")])
def test_a_tiff_whose_range_is_not_known_is_refused(tmp_path, dtype, message):
    Image.fromarray(np.array([[0, 70_000]], dtype=dtype)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=rf"a\.tif' cannot be decoded: its pixels .*{message}"):
        decode(tmp_path / "a.tif")


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_and_palettes_become_rgb(tmp_path, mode):
    white = saved(Image.new("RGB", (2, 2), "white").convert(mode), tmp_path / "a.png")
    assert white.shape == (3, 2, 2) and (white == 255).all()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGBA", (2, 2), (255, 0, 0, 0)), [255, 255, 255]),
        (Image.new("RGBA", (2, 2), (255, 0, 0, 51)), [255, 204, 204]),
        (Image.new("LA", (2, 2), (0, 0)), [255, 255, 255]),
        (Image.new("RGBA", (2, 2), (0, 0, 0, 255)), [0, 0, 0]),
    ],
)
def test_transparency_is_laid_over_white(tmp_path, image, expected):
    assert saved(image, tmp_path / "a.png")[:, 1, 1].tolist() == expected


def test_a_palettes_transparent_colour_is_white(tmp_path):
    image = Image.new("P", (2, 2), 0)
    image.putpalette([*RED, *GREEN])
    image.putpixel((1, 1), 1)
    image = saved(image, tmp_path / "a.gif", transparency=0)
    assert image[:, 0, 0].tolist() == [255, 255, 255] and image[:, 1, 1].tolist() == list(GREEN)


def test_the_first_frame_of_a_film_is_the_image(tmp_path):
    frames = [Image.new("RGB", (2, 2), colour) for colour in (RED, GREEN)]
    image = saved(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert image[:, 0, 0].tolist() == list(RED)


@pytest.mark.parametrize(
    ("orientation", "corner"), [(1, (0, 0)), (2, (0, -1)), (3, (-1, -1)), (4, (-1, 0)), (6, (0, -1)), (8, (-1, 0))]
)
@pytest.mark.parametrize("mode", ["RGB", "I;16"])
def test_exif_orientation_is_applied(tmp_path, orientation, corner, mode):
    pixels = np.zeros((4, 6), dtype=np.uint16)
    pixels[0, 0] = 65535
    image = Image.fromarray(pixels) if mode == "I;16" else Image.fromarray((pixels >> 8).astype(np.uint8)).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = saved(image, tmp_path / "a.png", exif=exif)
    assert image.shape == ((3, 6, 4) if orientation in (6, 8) else (3, 4, 6))
    assert image[0][corner] == 255 and image.sum() == 3 * 255


def chunks(image):
    """The chunks of an image saved as PNG."""
    file = io.BytesIO()
    image.save(file, "PNG")
    content, found = file.getvalue()[8:], []
    while content:
        length = int.from_bytes(content[:4])
        found.append((content[4:8], content[8 : 8 + length]))
        content = content[12 + length :]
    return found


def png(chunks):
    """A PNG of chunks, with their checksums."""
    parts = (len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def noisy(**options):
    """An image of noise, and its bytes as JPEG."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8))
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return image, file.getvalue()


def segment_without(jpeg, marker):
    at = jpeg.index(marker)
    return jpeg[:at] + jpeg[at + 2 + int.from_bytes(jpeg[at + 2 : at + 4]) :]


def overwrite(content, at, new):
    return content[:at] + new + content[at + len(new) :]


IMAGE, JPEG = noisy()
TABLE, FRAME, QUANTISED = b"\xff\xc4", b"\xff\xc0", b"\xff\xdb"


def with_pixels(change):
    return png([(kind, change(data) if kind == b"IDAT" else data) for kind, data in chunks(IMAGE)])


def deflated(change):
    return with_pixels(lambda data: zlib.compress(change(zlib.decompress(data))))


DAMAGED = {
    "no Huffman table that can be.jpg": overwrite(JPEG, JPEG.index(TABLE) + 5, b"\xff" * 16),
    "no quantisation tables.jpg": segment_without(segment_without(JPEG, QUANTISED), QUANTISED),
    "lossless frame.jpg": JPEG.replace(FRAME, b"\xff\xc3"),
    "no sampling factors.jpg": overwrite(JPEG, JPEG.index(FRAME) + 11, b"\0"),
    "sampling factors of 5.jpg": overwrite(JPEG, JPEG.index(FRAME) + 11, b"\x55"),
    "no scan.jpg": JPEG[: JPEG.index(b"\xff\xda")] + b"\xff\xd9",
    "hierarchical frame.jpg": JPEG.replace(FRAME, b"\xff\xc5"),
    "half a stream.png": with_pixels(lambda data: data[: len(data) // 2]),
    "no stream.png": with_pixels(lambda data: bytes(len(data))),
    "no checksum of the stream.png": with_pixels(lambda data: data[:-4] + bytes(4)),
    "no pixels.png": png([chunk for chunk in chunks(IMAGE) if chunk[0] != b"IDAT"]),
    "an unknown filter.png": deflated(lambda data: b"\x09" + data[1:]),
    "a pixel less.png": deflated(lambda data: data[:-1]),
    "more alphas than colours.png": png(
        [*(palette := chunks(IMAGE.quantize(16)))[:2], (b"tRNS", bytes(300)), *palette[2:]]
    ),
    "a byte changed.png": (lambda content: overwrite(content, 500, bytes([content[500] ^ 1])))(png(chunks(IMAGE))),
}


@pytest.mark.filterwarnings("ignore:.*(EXIF|Truncated)")
@pytest.mark.parametrize("seed", range(40))
def test_a_small_image_is_decoded_where_a_large_one_is(tmp_path, seed):
    """What `whole` decodes, of files with some bytes overwritten."""
    draw = np.random.default_rng(seed)
    content = (JPEG, noisy(progressive=True)[1], noisy(subsampling=0)[1], png(chunks(IMAGE)))[seed % 4]
    at, count = draw.integers(2, 900), draw.choice([1, 16, 200])
    (tmp_path / "a").write_bytes(overwrite(content, at, draw.bytes(count)))
    outcomes = []
    for size in (None, 1):
        try:
            decode(tmp_path / "a", size)
            outcomes.append(True)
        except ValueError:
            outcomes.append(False)
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_not_left_out_can_be_decoded(birds, name, caplog):
    path = birds / "wren" / name
    path.write_bytes(DAMAGED[name])
    with pytest.raises(ValueError, match="cannot be decoded"):
        decode(path)  # at full size, while the check decodes a small one
    assert len(load(birds)) == 5
    (record,) = caplog.records
    assert "1 broken" in record.getMessage() and name in record.getMessage()


def grey(bits, *values):
    """A PNG of one row of grey samples, the first of which is the transparent one."""
    depth = sum(value << bits * (len(values) - 1 - i) for i, value in enumerate(values))
    row = depth.to_bytes(len(values) * bits // 8)
    return one_row(len(values), bits, 0, row, values[:1])


def one_row(width, bits, kind, row, transparent):
    header = width.to_bytes(4) + (1).to_bytes(4) + bytes([bits, kind, 0, 0, 0])
    colour = b"".join(value.to_bytes(2) for value in transparent)
    parts = {b"IHDR": header, b"tRNS": colour, b"IDAT": zlib.compress(b"\0" + row), b"IEND": b""}
    return png(parts.items())


@pytest.mark.parametrize(
    ("bits", "values", "expected"),
    [
        (16, (0, 1, 257, 65535), [255, 0, 1, 255]),
        (16, (257, 256, 0, 258), [255, 1, 0, 1]),
        (16, (65535, 65534, 0, 1), [255, 255, 0, 0]),
        (8, (0, 1, 128, 255), [255, 1, 128, 255]),
        (8, (128, 127, 0, 255), [255, 127, 0, 255]),
        (4, (1, 0, 15, 14), [255, 0, 255, 238]),
        (4, (0, 1, 15, 14), [255, 17, 255, 238]),
        (2, (1, 0, 2, 3), [255, 0, 170, 255]),
        (2, (0, 1, 2, 3), [255, 85, 170, 255]),
        (1, (0, 0, 0, 0, 0, 0, 0, 0), [255] * 8),
        (1, (1, 0, 1, 0, 1, 0, 1, 0), [255, 0] * 4),
    ],
)
def test_the_transparent_grey_of_a_png_is_white(tmp_path, bits, values, expected):
    (tmp_path / "a.png").write_bytes(grey(bits, *values))
    image = decode(tmp_path / "a.png")
    assert image[0, 0].tolist() == expected
    assert torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])


@pytest.mark.parametrize("colour", [(0x0100, 0, 0), (0, 0x0102, 0xFFFF), (0, 0, 0x1234)])
def test_the_transparent_colour_of_sixteen_bits_is_white(tmp_path, colour):
    row = b"".join(value.to_bytes(2) for value in (*colour, 0xFF00, 0xFF00, 0))
    (tmp_path / "a.png").write_bytes(one_row(2, 16, 2, row, colour))
    assert decode(tmp_path / "a.png")[:, 0].T.tolist() == [[255, 255, 255], [255, 255, 0]]


def test_a_transparent_grey_is_white_after_a_turn_as_well(tmp_path):
    image = Image.fromarray(np.array([[0, 300, 65535]], np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    image = saved(image, tmp_path / "a.png", exif=exif, transparency=300)
    assert image[0, :, 0].tolist() == [0, 255, 255]
