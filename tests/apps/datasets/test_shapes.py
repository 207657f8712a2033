"""Data sets of shapes: folders, ModelNet, SHREC lists, and furniture from packages in the form of the real ones."""

import codecs
import os
import shutil
import zipfile

import numpy as np
import pytest

from apps.datasets import furniture, mesh_folder, modelnet, shrec
from apps.datasets.registry import load_shapes as shapes_of
from apps.io.packages import FetchError
from apps.shapes.labelled_shapes import Shapes, mark_test
from apps.shapes.meshes import MeshError

OFF = "OFF3 1 0\n0 0 0\n1 0 0\n0 {} 1\n3 0 1 2\n"
OBJ = "v 0 0 0\nv 1 0 0\nv 0 0 {}\nf 1 2 3\n"


def write(path, height=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((OFF if path.suffix == ".off" else OBJ).format(height))


@pytest.fixture
def folder(tmp_path):
    for name in ("chair", "bed"):
        for i in range(10):
            write(tmp_path / "set" / name / f"{i}.off", i + 1)
    return tmp_path / "set"


def test_a_folder_of_classes(folder):
    shapes = mesh_folder.load(folder, up="z")
    assert shapes.classes == ("bed", "chair") and len(shapes) == 20
    assert shapes.names[:2] == ("bed/0.off", "bed/1.off")
    assert np.bincount(shapes.labels[shapes.test]).tolist() == [3, 3]
    assert shapes.sources[4].read().vertices[2].tolist() == [0, 1, -5]
    assert shapes.title.startswith("set-")


@pytest.mark.parametrize("up", ["y", "z"])
def test_the_app_recognises_a_folder(folder, up):
    assert shapes_of(str(folder), up=up).sources == mesh_folder.load(folder, up=up).sources


def test_a_folder_that_is_not_one(tmp_path, folder, caplog):
    with pytest.raises(ValueError, match=r"nowhere' does not exist: .* as in ROOT/chair/1\.off"):
        mesh_folder.load(tmp_path / "nowhere")
    for name in ("empty", "__MACOSX"):
        (folder / name).mkdir()
    with pytest.raises(ValueError, match=r"1 class folders without meshes \(empty\); put some in"):
        shapes_of(str(folder), strict=True)
    write(folder / "loose.off")
    (folder / "chair" / "out.off").symlink_to("/etc/hostname")
    (folder / "chair" / "._0.off").write_bytes(b"no mesh")
    for name in ("1.step", "2.STEP", "3.3mf", "4.fbx"):
        (folder / "bed" / name).write_bytes(b"not read")
    assert len(mesh_folder.load(folder)) == 20
    (record,) = caplog.records
    for said in ("(empty)", "(__MACOSX)", "1 links", "1 hidden", "1 .3mf", "1 .fbx", "2 .step", "1 in no class folder"):
        assert said in record.getMessage()
    write(folder / "stool" / "1.off")
    with pytest.raises(ValueError, match=r"21 shapes cannot be split into 0\.7 and 0\.3: "):
        mesh_folder.load(folder)


def test_the_split_is_stratified_and_of_the_seed():
    labels = np.repeat(np.arange(5), [40, 30, 20, 10, 10])
    test = mark_test(labels)
    assert test.sum() == 33 and np.bincount(labels[test]).tolist() == [12, 9, 6, 3, 3]
    assert np.array_equal(test, mark_test(labels, seed=0)) and not np.array_equal(test, mark_test(labels, seed=1))


def test_what_does_not_fit_together_is_refused(folder):
    whole = mesh_folder.load(folder)
    arguments = {name: getattr(whole, name) for name in ("title", "labels", "classes", "names", "test", "sources")}
    for name, wrong in {"sources": whole.sources[1:], "test": whole.test[1:], "labels": whole.labels + 1}.items():
        with pytest.raises(ValueError):
            Shapes(**{**arguments, name: wrong})
    with pytest.raises(TypeError, match="test is int64"):
        Shapes(**{**arguments, "test": whole.test.astype(np.int64)})


def test_rows_can_be_chosen(folder):
    chosen = mesh_folder.load(folder).of_rows([13, 2])
    assert chosen.names == ("chair/3.off", "bed/2.off") and chosen.labels.tolist() == [1, 0]
    assert chosen.sources[0].path.name == "3.off" and chosen.classes == ("bed", "chair")


@pytest.fixture
def model_net(tmp_path):
    for name in ("night_stand", "bed"):
        for i in range(3):
            write(tmp_path / "net" / name / ("test" if i == 2 else "train") / f"{name}_{i:04}.off", i + 1)
    return tmp_path / "net"


def test_modelnet_has_its_own_split(model_net):
    shapes = shapes_of(str(model_net))
    assert shapes.classes == ("bed", "night_stand")
    assert [name for name, test in zip(shapes.names, shapes.test, strict=True) if test] == [
        "bed/test/bed_0002.off",
        "night_stand/test/night_stand_0002.off",
    ]
    assert shapes.sources[1].read().vertices[2].tolist() == [0, 1, -1]  # z is up


def test_what_is_not_modelnet_is_said(model_net):
    write(model_net / "bed" / "bed_0009.off")
    with pytest.raises(ValueError, match=r"bed_0009\.off' is in neither .* as in ROOT/chair/train/chair_0001\.off"):
        modelnet.load(model_net)
    (model_net / "bed" / "bed_0009.off").unlink()
    (model_net / "bed" / "test" / "bed_0002.off").unlink()
    with pytest.raises(ValueError, match=r"test' has no meshes: expected ModelNet's layout"):
        modelnet.load(model_net)


def test_the_folder_above_modelnet(model_net, tmp_path):
    shutil.copytree(model_net, tmp_path / "above" / "ModelNet10")
    (tmp_path / "above" / "__MACOSX" / "ModelNet10").mkdir(parents=True)
    (tmp_path / "above" / "README.txt").touch()
    (tmp_path / "above" / "ModelNet10" / "bed" / "train" / "more.step").touch()
    shapes, direct = shapes_of(str(tmp_path / "above")), shapes_of(str(model_net))
    assert shapes.names == direct.names and shapes.classes == ("bed", "night_stand")
    assert np.array_equal(shapes.test, direct.test)
    shutil.copytree(model_net, tmp_path / "above" / "ModelNet40")
    with pytest.raises(ValueError, match=r"holds ModelNet 2 times; give .*ModelNet10 or .*ModelNet40"):
        shapes_of(str(tmp_path / "above"))


def test_what_modelnet_does_not_read_is_counted(model_net, caplog):
    for name in ("README.txt", "bed/train/1.step", "bed/.off.swp"):
        (model_net / name).touch()
    shapes_of(str(model_net))
    (record,) = caplog.records
    assert "1 .step" in record.getMessage() and "1 .txt" in record.getMessage() and "1 hidden" in record.getMessage()


def test_the_folder_above_a_folder_of_classes(folder, tmp_path):
    (tmp_path / "far/above").mkdir(parents=True)
    folder = folder.rename(tmp_path / "far/above/set")
    for root in (folder.parent, tmp_path / "far"):
        with pytest.raises(ValueError, match=r"seems to lie above the class folders: .*; give '.*far/above/set', or"):
            shapes_of(str(root))


def test_one_class_alone_is_refused(folder, model_net):
    shutil.rmtree(folder / "bed")
    with pytest.raises(ValueError, match=r"set' has one class, 'chair'; expected at least two"):
        shapes_of(str(folder))
    with pytest.raises(ValueError, match=r"bed' has test, train alone, which are no classes"):
        shapes_of(str(model_net / "bed"))


CLA = "PSB 1\n{} {}\n\nbed 0 2\n1\n2\n\ntable\t0 0\n\nround table 2\n3\n4\n"


@pytest.fixture
def contest(tmp_path):
    for name in ("m1.off", "2.off", "M3.off", "deeper/m4.obj"):
        write(tmp_path / "models" / name)
    (tmp_path / "models" / "all.cla").write_text(CLA.format(3, 4))
    return tmp_path / "models"


def test_a_class_list(contest):
    expected = {"bed": ("1", "2"), "table/round": ("3", "4")}
    assert shrec.read_list(contest / "all.cla") == expected
    (contest / "all.cla").write_bytes(CLA.format(2, 4).replace("\n", "\r\n").encode() + b"\r\n")
    assert shrec.read_list(contest / "all.cla") == expected
    (contest / "all.cla").write_bytes(codecs.BOM_UTF8 + CLA.format(3, 4).encode())
    assert shrec.read_list(contest / "all.cla") == expected


def test_shapes_of_one_class_list(contest):
    shapes = shrec.load((contest / "all.cla",), contest, test=0.5)
    assert shapes.classes == ("bed", "table/round")
    assert shapes.names == ("m1.off", "2.off", "M3.off", "deeper/m4.obj")
    assert np.bincount(shapes.labels[shapes.test]).tolist() == [1, 1]
    assert shapes_of(str(contest), test=0.5).names == shapes.names


def test_what_archivers_leave_is_no_class_list(contest):
    expected = shapes_of(str(contest), test=0.5).names
    (contest / "._all.cla").write_bytes(b"\x00\x05\x16\x07")
    (contest / "__MACOSX").mkdir()
    (contest / "__MACOSX" / "m1.off").touch()
    assert shapes_of(str(contest), test=0.5).names == expected


def test_shapes_of_two_class_lists(contest):
    (contest / "all.cla").unlink()
    (contest / "a-test.cla").write_text("PSB 1\n2 2\nround table 1\n4\nbed 0 1\n1\n".replace("table", "0"))
    (contest / "b-train.cla").write_text("PSB 1\n2 2\nbed 0 1\n2\nround 0 1\n3\n")
    shapes = shapes_of(str(contest))
    assert shapes.names == ("2.off", "M3.off", "deeper/m4.obj", "m1.off")
    assert shapes.test.tolist() == [False, False, True, True]
    assert [shapes.classes[label] for label in shapes.labels] == ["bed", "round", "round", "bed"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "does not begin with PSB"),
        ("OFF\n", "does not begin with PSB"),
        ("PSB 1\n", "its second line is ''; expected the numbers of classes and models"),
        ("PSB 1\na b\n", "second line is 'a b'; expected"),
        ("PSB 1\n1 1\nbed 0\n1\n", "line 3 is 'bed 0'; expected 'name parent count'"),
        ("PSB 1\n1 1\nbed 0 -1\n", "line 3 is 'bed 0 -1'"),
        ("PSB 1\n1 2\n\nbed 0 2\n1\n", r"class 'bed' \(line 4\) does not have the 2 models"),
        ("PSB 1\n2 2\nbed 0 99999999999\n1\n", "does not have the 99999999999 models"),
        ("PSB 1\n2 3\nbed 0 2\n1\nsofa 0 1\n3\n", "does not have the 2 models"),
        ("PSB 1\n2 2\nbed 0 1\n1\nbed 0 1\n2\n", r"class 'bed' comes twice \(line 5\)"),
        ("PSB 1\n1 9\nbed 0 1\n1\n", "it says 1 classes and 9 models but has 1 and 1"),
    ],
)
def test_a_broken_class_list_is_refused(tmp_path, content, message):
    (tmp_path / "a.cla").write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        shrec.read_list(tmp_path / "a.cla")
    assert "a.cla' is no class list" in str(error.value)


def test_models_that_are_missing_or_there_twice_are_named(contest):
    write(contest / "other" / "m1.off")
    with pytest.raises(ValueError, match=r"models' has 2 meshes 1, which .*all\.cla' names"):
        shrec.load((contest / "all.cla",), contest)
    os.remove(contest / "other" / "m1.off")
    os.remove(contest / "m1.off")
    with pytest.raises(ValueError, match=r"models' has no mesh 1, which .*all\.cla' names"):
        shrec.load((contest / "all.cla",), contest)
    with pytest.raises(ValueError, match=r"gone\.cla' is no file"):
        shrec.read_list(contest / "gone.cla")


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Two small packages in the form of the real ones, and a list of five models of them."""
    folders = {name: tmp_path / name / "usr/share/sweethome3d" for name in furniture.PACKAGES}
    for folder in folders.values():
        folder.mkdir(parents=True)
    (folders["sweethome3d-furniture"] / "furniture").mkdir()
    libraries = {
        folders["sweethome3d-furniture"] / "furniture" / "Maker.sh3f": "PluginFurnitureCatalog.properties",
        folders["sweethome3d"] / "sweethome3d.jar": "com/eteks/sweethome3d/io/DefaultFurnitureCatalog.properties",
    }
    for library, name in libraries.items():
        with zipfile.ZipFile(library, "w") as archive:
            entries = [f"name#{i}=Caf\xe9 {i}\nmodel#{i}=/m/{i}.obj" for i in range(1, 4)]
            turned = "modelRotation#2=0 0 1 0 1 0 -1 0 0"
            archive.writestr(name, "\n".join([*entries, turned]).encode("latin-1"))
            for i in range(1, 4):
                archive.writestr(f"m/{i}.obj", OBJ.format(i) if i < 3 else "")
    rows = ["bed,Maker,1", "bed,Maker,2", "bed,base,1", "sofa,base,2", "sofa,base,3"]
    (tmp_path / "list.csv").write_text("class,library,index\n" + "\n".join(rows) + "\n")
    monkeypatch.setattr(furniture, "LIST", tmp_path / "list.csv")
    monkeypatch.setattr(furniture, "debian_package", lambda name, *pin: tmp_path / name)
    return tmp_path


def test_furniture_is_read_from_its_libraries(packages):
    shapes = furniture.load(test=0.4)
    assert shapes.names == ("bed/Maker-1", "bed/Maker-2", "bed/base-1", "sofa/base-2", "sofa/base-3")
    assert shapes.sources[0].read().vertices.tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 1]]
    assert shapes.sources[1].read().vertices.tolist() == [[0, 0, 0], [0, 0, -1], [2, 0, 0]]  # turned
    assert len({source.key() for source in shapes.sources}) == 5
    with pytest.raises(MeshError, match=r"sweethome3d\.jar/m/3\.obj' has no surface"):
        shapes.sources[4].read()


def test_another_package_than_expected_is_said(packages):
    (packages / "list.csv").write_text("class,library,index\nbed,Maker,1\nbed,Maker,4\n")
    with pytest.raises(FetchError, match=r"Maker\.sh3f has no model 4"):
        furniture.load()
    (packages / "list.csv").write_text("class,library,index\nbed,Other,1\n")
    with pytest.raises(FetchError, match=r"Other\.sh3f cannot be read"):
        furniture.load()


def test_the_list_of_furniture():
    rows = furniture.LIST.read_text().splitlines()
    assert rows[0] == "class,library,index" and len(rows) == 542 == len(set(rows))
    counts = np.unique([row.split(",")[0] for row in rows[1:]], return_counts=True)[1]
    assert len(counts) == 24 and counts.min() >= 10
    assert mark_test(np.repeat(np.arange(24), counts)).sum() == 163
