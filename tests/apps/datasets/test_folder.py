import logging
import os
import pickle

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
    (root / "robin" / "notes.txt").write_text("no image")
    save(root / ".hidden" / "1.png")
    save(root / "wren" / ".c.png")
    return root


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


def test_a_class_without_images_is_named(birds):
    (birds / "dodo").mkdir()
    (birds / "moa").mkdir()
    (birds / "dodo" / "gone.txt").touch()
    with pytest.raises(ValueError, match=r"dodo' and 1 more have no images that can be used"):
        load(birds)


def test_a_size_of_nothing_is_refused(birds):
    with pytest.raises(ValueError, match="size is 0"):
        load(birds, size=0)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "gif"])
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
