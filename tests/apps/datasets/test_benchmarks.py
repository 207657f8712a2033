"""The published benchmarks in their exact layouts, and what is said of others."""

import codecs
import pickle
import re
import shutil

import numpy as np
import pytest
from scipy.io import savemat

from apps.datasets import cub, files
from apps.datasets.files import decode
from apps.datasets.registry import BENCHMARKS, guess_images

COUNTS = {
    "cub": {"train": (100, 200), "query": (100, 200)},
    "cars": {"train": (98, 196), "query": (98, 196)},
    "cars folders": {"train": (98, 196), "query": (98, 196)},
    "cars torchvision": {"train": (98, 196), "query": (98, 196)},
    "inshop": {"train": (6, 18), "query": (5, 10), "gallery": (5, 5)},
    "sop": {"train": (6, 18), "query": (5, 15)},
}


@pytest.fixture(scope="module")
def made(layouts, tmp_path_factory):
    """A folder of each layout, made once; tests that change one make their own."""
    roots = {name: tmp_path_factory.mktemp(name.replace(" ", "_")) for name in layouts}
    for name, root in roots.items():
        layouts[name](root)
    return roots


def loaded(name, root, **options):
    return BENCHMARKS[name.split()[0]].load(root, **options)


@pytest.mark.parametrize("name", COUNTS)
def test_every_layout_is_guessed_and_loaded(name, made):
    assert guess_images(made[name]) == name.split()[0]
    split = loaded(name, made[name])
    assert split.counts() == COUNTS[name]
    assert split.validation is None
    assert not set(split.train.classes) & set(split.test.classes)


@pytest.mark.parametrize("name", COUNTS)
def test_images_are_those_of_their_classes(name, made):
    """Every class has a colour of its own."""
    split = loaded(name, made[name])
    for part in (split.train, split.test):
        colours = {}
        for i in range(0, len(part), 7):
            colour = tuple(part.image(i)[:, 2, 2].tolist())
            assert colours.setdefault(part.labels[i], colour) == colour
        assert len(set(colours.values())) == len(colours)


def test_the_published_counts():
    published = {name: benchmark.PUBLISHED for name, benchmark in BENCHMARKS.items()}
    total = {name: sum(part.images for part in parts.values()) for name, parts in published.items()}
    assert total == {"cub": 11_788, "cars": 16_185, "inshop": 52_712, "sop": 120_053}
    classes = {name: parts["train"].classes + parts["query"].classes for name, parts in published.items()}
    assert classes == {"cub": 200, "cars": 196, "inshop": 7_982, "sop": 22_634}


def test_the_first_classes_train(made):
    birds = loaded("cub", made["cub"])
    assert birds.train.classes[0] == "001.Bird_0" and birds.train.classes[-1] == "100.Bird_99"
    assert birds.query.classes[0] == "101.Bird_100"
    assert loaded("cars", made["cars"]).train.classes[-1] == "Make 97 Model 2012"
    assert loaded("cars", made["cars folders"]).train.classes[-1] == "Make 097 Model 2012"


def test_query_and_gallery_share_their_classes(made):
    split = loaded("inshop", made["inshop"])
    assert split.gallery is not None and split.query.classes == split.gallery.classes
    assert split.queries == 10 and len(split.test) == 15
    assert split.test.labels.tolist() == [*split.query.labels, *split.gallery.labels]
    assert all("/02_" in name for name in split.gallery.names)
    assert not any("/02_" in name for name in split.query.names)
    assert split.test.names[10:] == split.gallery.names
    assert split.test.image(12).equal(split.gallery.image(2))
    with pytest.raises(IndexError, match="15 images"):
        split.test.image(15)


@pytest.mark.parametrize("name", COUNTS)
def test_images_are_decoded_once_to_check_them_and_again_when_they_are_asked_for(name, made, monkeypatch):
    asked = []
    monkeypatch.setattr(files, "decode", lambda path, size=None: asked.append(path) or decode(path, size))
    split = loaded(name, made[name])
    assert len(asked) == len(set(asked)) >= len(split.train) + len(split.test)
    asked.clear()
    split.test.image(1)
    assert len(asked) == 1
    assert len(pickle.dumps(split.train)) < 300 * len(split.train) + 10_000  # what a worker gets: paths


@pytest.mark.parametrize(
    ("name", "missing", "message"),
    [
        ("cub", "CUB_200_2011/images.txt", r"CUB_200_2011/images\.txt' is missing: CUB-200-2011 is a folder"),
        (
            "cub",
            "CUB_200_2011/images/001.Bird_0/001.Bird_0_1.jpg",
            r"1 of the 400 images .* missing, first .*0_1\.jpg",
        ),
        ("cars", "cars_annos.mat", r"cars_annos\.mat' is missing: Cars196 is a folder with cars_annos\.mat"),
        (
            "cars torchvision",
            "stanford_cars/cars_test_annos_withlabels.mat",
            r"cars_test_annos_withlabels\.mat' is missing: Cars196 is a folder .* or \(as for torchvision",
        ),
        ("inshop", "Eval/list_eval_partition.txt", r"list_eval_partition\.txt' is missing: In-shop is a folder"),
        ("sop", "Stanford_Online_Products/Ebay_test.txt", r"Ebay_test\.txt' is missing: Stanford Online Products is"),
    ],
)
def test_what_is_missing_is_named_with_the_layout(layouts, tmp_path, name, missing, message):
    layouts[name](tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(ValueError, match=message) as error:
        loaded(name, tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_an_empty_folder_and_no_folder(tmp_path, name):
    benchmark = BENCHMARKS[name]
    with pytest.raises(ValueError, match=rf"is missing: {re.escape(benchmark.LAYOUT)}"):
        benchmark.load(tmp_path)
    with pytest.raises(ValueError, match=r"nowhere' does not exist"):
        benchmark.load(tmp_path / "nowhere")
    assert guess_images(tmp_path) == "folder"


@pytest.mark.parametrize("name", COUNTS)
def test_the_folder_above_is_refused_and_the_right_one_named(name, made, tmp_path):
    shutil.copytree(made[name], tmp_path / "above" / "it")
    (tmp_path / "above" / "__MACOSX").mkdir()
    with pytest.raises(ValueError, match=r"above' lies above .*; give '.*above/it'$"):
        guess_images(tmp_path / "above")


def test_no_folder_is_guessed(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        guess_images(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file"):
        guess_images(tmp_path / "file")


def test_a_broken_image_is_left_out_counted_and_named(layouts, tmp_path, caplog):
    layouts["sop"](tmp_path)
    path = tmp_path / "Stanford_Online_Products/chair_final/000000000008_1.JPG"
    path.write_bytes(path.read_bytes()[:100])
    split = loaded("sop", tmp_path)
    assert split.counts()["query"] == (5, 14) and split.counts()["train"] == (6, 18)
    assert "1 broken" in caplog.text and "000000000008_1.JPG" in caplog.text
    with pytest.raises(ValueError, match=r"1 of 33 images .* broken"):
        loaded("sop", tmp_path, strict=True)


@pytest.mark.parametrize("name", ["../outside.jpg", "/etc/passwd", "chair_final/../../outside.jpg"])
def test_a_listed_path_out_of_the_folder_is_refused(layouts, tmp_path, name):
    layouts["sop"](tmp_path / "root")
    (tmp_path / "outside.jpg").write_bytes(b"private")
    with (tmp_path / "root/Stanford_Online_Products/Ebay_test.txt").open("a") as file:
        file.write(f"99 9 3 {name}\n")
    with pytest.raises(ValueError, match=r"leads out of it"):
        loaded("sop", tmp_path / "root")


@pytest.mark.parametrize("name", ["x" * 300 + ".jpg", "y/" * 3000 + "z.jpg", "x" * 300 + "/z.jpg", "a\0b.jpg"])
def test_a_listed_name_that_no_file_can_have_is_missing(layouts, tmp_path, name):
    layouts["sop"](tmp_path)
    with (tmp_path / "Stanford_Online_Products/Ebay_test.txt").open("a") as file:
        file.write(f"99 9 3 {name}\n")
    with pytest.raises(ValueError, match=r"1 of the \d+ images that are listed .* are missing"):
        loaded("sop", tmp_path)


def test_a_link_out_of_the_folder_is_refused(layouts, tmp_path):
    layouts["sop"](tmp_path / "root")
    path = tmp_path / "root/Stanford_Online_Products/chair_final/000000000008_1.JPG"
    path.rename(tmp_path / "outside.jpg")
    path.symlink_to(tmp_path / "outside.jpg")
    with pytest.raises(ValueError, match=r"8_1\.JPG' is a link that leads out of"):
        loaded("sop", tmp_path / "root")
    folder = path.parent
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="is a link that leads out of"):
        loaded("sop", tmp_path / "root")


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("images.txt", "401", r"line 401 of .*images\.txt' has 1 words; expected 2"),
        ("images.txt", "401 a.jpg", r"image 401 of .* has class '' in image_class_labels"),
    ],
)
def test_lines_that_are_wrong_are_named(layouts, tmp_path, file, line, message):
    layouts["cub"](tmp_path)
    with (tmp_path / "CUB_200_2011" / file).open("a") as written:
        written.write(line + "\n")
    with pytest.raises(ValueError, match=message):
        cub.load(tmp_path)


def test_lists_that_are_no_text_or_too_large(layouts, tmp_path, monkeypatch):
    layouts["inshop"](tmp_path)
    path = tmp_path / "Eval/list_eval_partition.txt"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"query", b"quary"))
    with pytest.raises(ValueError, match="has 'quary' as the part of 'img/"):
        loaded("inshop", tmp_path)
    path.write_bytes(whole + b"\xff\xfe\n")
    with pytest.raises(ValueError, match="cannot be read"):
        loaded("inshop", tmp_path)
    monkeypatch.setattr("apps.datasets.listed.GREATEST_LIST", 10)
    with pytest.raises(ValueError, match="it is no list of a benchmark"):
        loaded("inshop", tmp_path)


def test_hidden_folders_among_the_cars_do_not_change_the_split(layouts, tmp_path):
    layouts["cars folders"](tmp_path)
    expected = loaded("cars", tmp_path)
    for name in ("train/.ipynb_checkpoints", "test/@eaDir", "train/__MACOSX", ".git"):
        (tmp_path / name).mkdir()
    assert guess_images(tmp_path) == "cars"
    split = loaded("cars", tmp_path)
    assert split.train.names == expected.train.names and split.query.classes == expected.query.classes


@pytest.mark.parametrize("name", ["cub", "inshop", "sop"])
def test_a_byte_order_mark_is_no_part_of_a_list(layouts, made, tmp_path, name):
    layouts[name](tmp_path)
    for path in tmp_path.rglob("*.txt"):
        path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    split, expected = loaded(name, tmp_path), loaded(name, made[name])
    assert split.train.names == expected.train.names and split.test.classes == expected.test.classes


def test_annotations_that_are_none(made, tmp_path):
    (tmp_path / "car_ims").mkdir()
    path = tmp_path / "cars_annos.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file, it is not" + bytes(200))
    with pytest.raises(ValueError, match="cannot be read as the annotations of Cars196"):
        loaded("cars", tmp_path)
    savemat(path, {"annotations": np.zeros(3)})
    with pytest.raises(ValueError, match="cannot be read as the annotations of Cars196"):
        loaded("cars", tmp_path)


def test_another_number_of_car_folders(layouts, tmp_path):
    layouts["cars folders"](tmp_path)
    for half in ("train", "test"):
        folder = tmp_path / half / "Make 003 Model 2012"
        (folder / "00001.jpg").unlink()
        folder.rmdir()
    with pytest.raises(ValueError, match="has 195 class folders; expected 196"):
        loaded("cars", tmp_path)
    assert guess_images(tmp_path) == "folder"
