"""Small data: meshes, and copies of the published benchmarks in their exact layouts (6 px images, a colour a class)."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from apps.io import workers
from tests.apps.boxes import box
from tests.apps.small_data import DATA, meshes


@pytest.fixture(scope="module")
def root(request, tmp_path_factory) -> Path:
    """The small data set of the module's app; where it names none a folder of meshes in three classes, one broken."""
    app = getattr(request.module, "app", None)
    write = DATA[app.name][0] if app else meshes
    return write(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """An empty cache folder, and work in this process alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOMDML_DATA", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(workers, "cores", lambda: 1)
        yield


@pytest.fixture
def four_boxes(tmp_path, monkeypatch) -> Path:
    """A folder of four meshes in two classes, with an empty cache and work in this process alone."""
    monkeypatch.setenv("GEOMDML_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(workers, "cores", lambda: 1)
    for i in range(4):
        box(tmp_path / "set" / "ab"[i % 2] / f"{i}.off", (1, 2, 3 + i))
    return tmp_path / "set"


@pytest.fixture(scope="module")
def finished(request, root, tmp_path_factory) -> Path:
    """The folder of a small run of the module's `app`."""
    app, folder = request.module.app, tmp_path_factory.mktemp("runs")
    app("fit", root, folder, *app.options)
    return folder / "version_0"


def save_image(path: Path, label: int, index: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    colour = np.random.default_rng((label, 7)).integers(0, 255, 3).tolist()
    Image.new("RGB", (6 + index % 2, 6), tuple(colour)).save(buffer, "jpeg")
    path.write_bytes(buffer.getvalue())


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def cub(root: Path) -> None:
    """200 classes of 2 images."""
    base = root / "CUB_200_2011"
    names = [f"{label + 1:03}.Bird_{label}" for label in range(200)]
    images = [f"{name}/{name}_{index}.jpg" for name in names for index in range(2)]
    write(base / "classes.txt", [f"{label + 1} {name}" for label, name in enumerate(names)])
    write(base / "images.txt", [f"{number + 1} {image}" for number, image in enumerate(images)])
    write(base / "image_class_labels.txt", [f"{number + 1} {number // 2 + 1}" for number in range(400)])
    write(base / "train_test_split.txt", ["1 1"])  # of another task: not read
    for number, image in enumerate(images):
        save_image(base / "images" / image, number // 2, number)


def cars(root: Path) -> None:
    """196 classes of 2 images, in the one folder car_ims; the images in no order of classes."""
    kinds = [(name, "O") for name in ("relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test")]
    annotations = np.zeros((1, 392), dtype=kinds)
    for number in range(392):
        label = (number * 5) % 196
        name = f"car_ims/{number + 1:06}.jpg"
        annotations[0, number] = (name, 1, 1, 5, 5, label + 1, number % 2)
        save_image(root / name, label, number)
    names = np.array([f"Make {label} Model 2012" for label in range(196)], dtype=object)
    savemat(root / "cars_annos.mat", {"annotations": annotations, "class_names": names.reshape(1, -1)})


def cars_folders(root: Path) -> None:
    """196 class folders in train/ and again in test/, as on Kaggle."""
    for label in range(196):
        for half in ("train", "test"):
            save_image(root / half / f"Make {label:03} Model 2012" / "00001.jpg", label)


def cars_torchvision(root: Path) -> None:
    """196 classes of an image in cars_train/ and one in cars_test/, as torchvision's StanfordCars reads them."""
    base = root / "stanford_cars"
    for half, file in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        kinds = [(name, "O") for name in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")]
        annotations = np.zeros((1, 196), dtype=kinds)
        for number in range(196):
            label = (number * 5) % 196
            annotations[0, number] = (1, 1, 5, 5, label + 1, f"{number + 1:05}.jpg")
            save_image(base / f"cars_{half}" / f"{number + 1:05}.jpg", label, number)
        (base / file).parent.mkdir(exist_ok=True)
        savemat(base / file, {"annotations": annotations})
    names = np.array([f"Make {label} Model 2012" for label in range(196)], dtype=object)
    savemat(base / "devkit/cars_meta.mat", {"class_names": names.reshape(1, -1)})


def inshop(root: Path) -> None:
    """6 items to train with 3 images each; 5 to test with 2 queries and 1 gallery image each."""
    rows = []
    for item in range(11):
        for index in range(3):
            part = "train" if item < 6 else "query" if index < 2 else "gallery"
            name = f"img/WOMEN/Dresses/id_{item:08}/0{index}_1_front.jpg"
            rows.append(f"{name}      id_{item:08} {part}")
            save_image(root / "Img" / name, item, index)
    head = [str(len(rows)), "image_name item_id evaluation_status"]
    write(root / "Eval" / "list_eval_partition.txt", [*head, *rows])


def sop(root: Path) -> None:
    """6 products to train and 5 to test, 3 images each."""
    for part, products in (("train", range(1, 7)), ("test", range(7, 12))):
        rows = ["image_id class_id super_class_id path"]
        for product in products:
            for index in range(3):
                name = f"chair_final/{product:012}_{index}.JPG"
                rows.append(f"{len(rows)} {product} 3 {name}")
                save_image(root / "Stanford_Online_Products" / name, product, index)
        write(root / "Stanford_Online_Products" / f"Ebay_{part}.txt", rows)


@pytest.fixture(scope="session")
def layouts() -> dict[str, Callable[[Path], None]]:
    """What writes each benchmark into an empty folder."""
    return {
        "cub": cub,
        "cars": cars,
        "cars folders": cars_folders,
        "cars torchvision": cars_torchvision,
        "inshop": inshop,
        "sop": sop,
    }
