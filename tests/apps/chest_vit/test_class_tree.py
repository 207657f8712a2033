"""The tree above the classes: from folders, a table, a benchmark; what cannot be one is refused by name."""

from pathlib import Path

import pytest
import torch

from apps.chest_vit import class_csv, class_tree
from apps.chest_vit.__main__ import main
from apps.chest_vit.data import RetrievalData
from apps.datasets import cub, inshop, sop
from geomdml.class_trees import class_labels
from tests.apps.conftest import save_image, write

SPLIT = ("--data.split", "images", "--data.validation", "0")
RAGGED = {
    "birds/owl": ["birds"],
    "birds/ducks/teal": ["birds", "ducks"],
    "birds/ducks/eider": ["birds", "ducks"],
    "cats/lion": ["cats"],
    "lime": [],
}


def folders(root: Path, names=RAGGED, images: int = 2) -> Path:
    for label, name in enumerate(names):
        for index in range(images):
            save_image(root / name / f"{index}.jpg", label, index)
    return root


def data(root: Path, hierarchy, **settings) -> RetrievalData:
    return RetrievalData(str(root), hierarchy=hierarchy, size=8, validation=0.0, split="images", **settings)


def test_nested_folders_are_categories_at_any_depth(tmp_path):
    found = data(folders(tmp_path, images=4), "folders")
    assert found.class_tree == RAGGED
    assert list(found.class_tree)[: found.num_classes] == list(found.train.classes) == sorted(RAGGED)
    assert data(tmp_path, None).train.classes == ("birds", "cats", "lime")
    levels = class_labels(class_tree.parents(RAGGED, list(RAGGED)))
    assert levels.shape == (5, 1 + len(class_tree.levels(RAGGED, list(RAGGED))))
    assert class_tree.sizes(RAGGED) == [len(column.unique()) for column in levels.T[:-1]] == [3, 4]


def test_levels_keep_their_names_where_a_part_of_the_classes_has_fewer():
    ducks = ["birds/ducks/teal", "birds/ducks/eider", "birds/owl"]
    assert class_tree.levels(RAGGED, ducks) == ["level 2"]
    assert class_labels(class_tree.parents(RAGGED, ducks)).shape[1] == 2
    assert class_tree.levels(RAGGED, ducks[:2]) == []


def test_the_option_is_a_table_of_edges_and_a_checkpoint_needs_no_file(tmp_path):
    root = folders(tmp_path / "images", [f"c{i}" for i in range(4)], images=4)
    path = tmp_path / "tree.csv"
    write(path, ["Parent,class,note", "a,c0,x", "a,c1,", "b,c2,", "b,c3,", "top,a,", "top,b,", ",top,"])
    tree = {"c0": ["top", "a"], "c1": ["top", "a"], "c2": ["top", "b"], "c3": ["top", "b"]}
    found = data(root, str(path))
    assert found.class_tree == tree and class_tree.levels(tree, list(tree)) == ["level 1"]
    path.unlink()
    assert RetrievalData(**found.hparams).class_tree == tree


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["c0,a", "c1,b", "c2,b"], "has no place for class 'c3'"),
        (["c0,a", "c1,b", "c2,b", "c3,b", "c4,b"], "has 'c4', which is no class of the data, and is above none"),
        (["c0,a", "c1,b", "c2,b", "c3,b", "a,d", "d,a"], "has a cycle: 'a' is above itself"),
        (["c0,c0", "c1,b", "c2,b", "c3,b"], "has a cycle: 'c0' is above itself"),
        (["c0,a", "c1,b", "c2,b", "c3,b", "c0,b"], r"line 6 of .* puts 'c0' below 'b', and line 2 below 'a'"),
        (["c0,c1", "c1,b", "c2,b", "c3,a"], "has 'c1' above others, and it is a class of the data"),
        (["c0,a", "c1,a", "c2,a", "c3,a"], "no two of the 4 classes are in different categories"),
        ([",a"], "line 2 of .* has no class"),
        ([f"c{i},n0" for i in range(4)] + [f"n{i},n{i + 1}" for i in range(101)], "more than 100 levels above 'c0'"),
    ],
)
def test_a_table_that_is_no_tree_of_the_classes_is_refused_by_name(tmp_path, rows, message):
    root = folders(tmp_path / "images", [f"c{i}" for i in range(4)], images=4)
    write(tmp_path / "tree.csv", ["class,parent", *rows])
    with pytest.raises(ValueError, match=message):
        data(root, str(tmp_path / "tree.csv")).class_tree  # noqa: B018


def test_a_file_that_is_no_table_is_refused(tmp_path, monkeypatch):
    write(tmp_path / "names.csv", ["name,parent", "a,b"])
    (tmp_path / "bytes.csv").write_bytes(b"class,parent\n\xff\xfe,b\n")
    (tmp_path / "tree.txt").write_text("class,parent\n")
    for name, message in (
        ("names.csv", "has no column 'class'"),
        ("bytes.csv", "cannot be read"),
        ("tree.txt", "is of another kind; expected a .csv"),
        ("nowhere.csv", "does not exist"),
    ):
        with pytest.raises(ValueError, match=message):
            class_csv.read(tmp_path / name)
    monkeypatch.setattr(class_csv, "MOST_BYTES", 3)
    with pytest.raises(ValueError, match="has more than"):
        class_csv.read(tmp_path / "names.csv")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["birds", "birds/owl"], "birds' has images of its own and the class folder 'birds/owl' below it"),
        (["train/a", "test/a"], "has test, train alone, which are no categories"),
        (["a", "b"], "--data.hierarchy folders: no two of the 2 classes are in different categories"),
        (["all/a", "all/b"], "no two of the 2 classes are in different categories"),
        (["caf\u00e9/a", "cafe\u0301/b"], "has two folders called"),
    ],
)
def test_folders_that_are_no_tree_are_refused(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        data(folders(tmp_path, names, images=6), "folders").class_tree  # noqa: B018


def test_empty_folders_are_left_out_or_strictly_refused(tmp_path, caplog):
    folders(tmp_path, images=4)
    (tmp_path / "cats/lynx").mkdir()
    assert (
        "cats/lynx" not in data(tmp_path, "folders").class_tree
        and "1 folders without images (cats/lynx)" in caplog.text
    )
    with pytest.raises(ValueError, match="has 1 folders without images"):
        data(tmp_path, "folders", strict=True).class_tree  # noqa: B018


def test_benchmarks_have_their_own(layouts, tmp_path):
    for name in ("sop", "inshop", "cub", "cars"):
        layouts[name](tmp_path / name)
    assert set(sop.categories(tmp_path / "sop").values()) == {("chair",)}
    assert set(inshop.categories(tmp_path / "inshop").values()) == {("WOMEN", "Dresses")}
    assert cub.categories(tmp_path / "cub")["001.Bird_0"] == ("0",)
    birds = RetrievalData(str(tmp_path / "cub"), hierarchy="own", size=8)
    assert len(birds.class_tree) == 200 and birds.class_tree["200.Bird_199"] == ["199"]
    assert "an approximation of genus and family" in birds.facts()["hierarchy"]
    with pytest.raises(ValueError, match=r"--data\.hierarchy own with Cars196, which has no hierarchy of its own"):
        RetrievalData(str(tmp_path / "cars"), hierarchy="own", size=8).class_tree  # noqa: B018
    with pytest.raises(ValueError, match=r"--data\.hierarchy folders with CUB-200-2011; expected a folder"):
        RetrievalData(str(tmp_path / "cub"), hierarchy="folders", size=8).class_tree  # noqa: B018


def test_a_product_of_two_kinds_is_refused(layouts, tmp_path):
    layouts["sop"](tmp_path)
    path = tmp_path / "Stanford_Online_Products/Ebay_test.txt"
    path.write_text(path.read_text() + "16 7 1 sofa_final/7_0.JPG\n")
    with pytest.raises(ValueError, match="has product 7 as sofa and chair"):
        sop.categories(tmp_path)


def test_check_says_how_many_categories_there_are(tmp_path, capsys):
    folders(tmp_path / "images", [f"{'ab'[i % 2]}/{i}" for i in range(8)], images=4)
    main(["check", "--data.root", str(tmp_path / "images"), "--data.hierarchy", "folders", *SPLIT])
    assert "hierarchy: 8 classes, 2 categories at level 1" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"not usable: --data\.hierarchy 'none.csv' does not exist; expected"):
        main(["check", "--data.root", str(tmp_path / "images"), "--data.hierarchy", "none.csv", *SPLIT])


def test_the_tree_is_what_the_library_wants():
    tree = class_tree.parents(RAGGED, list(RAGGED))
    assert torch.equal(tree[:5], torch.tensor([6, 5, 5, 7, -1])) and len(tree) == 8
