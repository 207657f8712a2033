"""How a checkpoint's tensors fit a network: under which prefix, and by which filter."""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

State = Mapping[str, Tensor]
Filter = Callable[[dict[str, Tensor], nn.Module], Mapping[str, Any]]

CHUNK = re.compile(r"^blocks\.\d+\.(\d+\.)")  # DINOv2 divides its blocks for FSDP: blocks.0.3.norm1 is blocks.3.norm1
AVERAGED = ("teacher", "ema")  # of two networks in a file, the better
OF_VIEWS = re.compile(r"(^|\.)(first|last)\.")  # of apps.networks.view_backbone, in the order of its layers

log = logging.getLogger(__name__)


class Fit(NamedTuple):
    """What a checkpoint has for a network.

    Args:
        state: the tensors that fit by name and shape.
        share: of the network's numbers, how many these are.
        missing, misshapen, unexpected: the names of the other tensors, with their shapes.
    """

    state: dict[str, Tensor]
    share: float
    missing: list[str]
    misshapen: list[str]
    unexpected: list[str]


def best_fit(model: nn.Module, state: State, convert: Filter | None = None) -> Fit:
    """The most of a network's tensors that a checkpoint has.

    Tried are its names as they are and without the prefix that most of them share with the network's, each also after
    `convert`. The first of the best counts, so that what fits as it is stays as it is.

    Args:
        convert: timm's filter of checkpoints for this network. It need not know the checkpoint.

    >>> best_fit(nn.Linear(2, 1), {"module.weight": Tensor([[1, 2]]), "loss": Tensor([3])}).missing
    ['bias (1,)']
    """
    expected = model.state_dict()
    fits = [_fit(expected, *candidate) for candidate in _candidates(model, expected, state, convert)]
    return max(fits, key=lambda fit: fit.share)


def _candidates(
    model: nn.Module, expected: State, state: State, convert: Filter | None
) -> Iterator[tuple[State, State]]:
    """The checkpoint's tensors under new names, and those that are dropped."""
    plain = [dict(state), _without_prefix(expected, state)]
    plain.append({CHUNK.sub(r"blocks.\1", key): value for key, value in plain[1].items()})
    for names in plain:
        yield names, {}
    yield _by_order(expected, state), {}
    if convert is None:
        return
    for names in plain:
        try:
            found = {key: value for key, value in convert(dict(names), model).items() if isinstance(value, Tensor)}
        # A filter meets a checkpoint that it was not made for.
        except Exception as error:
            log.debug("timm's filter cannot take this checkpoint: %r", error)
            continue
        taken = {id(value) for value in found.values()}
        yield found, {key: value for key, value in names.items() if key not in found and id(value) not in taken}


def _without_prefix(expected: State, state: State) -> dict[str, Tensor]:
    """The tensors below the prefix, such as "module.backbone.", that stands before most names of the network."""
    counts = Counter[str]()
    for key in state:
        words = key.split(".")
        for start in range(len(words)):
            if ".".join(words[start:]) in expected:
                counts[".".join(words[:start])] += 1
    if not counts:
        return dict(state)
    prefix = max(counts, key=lambda name: (counts[name], any(word in name for word in AVERAGED), -len(name)))
    front = f"{prefix}." if prefix else ""
    return {key.removeprefix(front) if key.startswith(front) else f"/{key}": value for key, value in state.items()}


def _by_order(expected: State, state: State) -> State:
    """The tensors of a backbone over views, whose parts number the layers, under the names of the network."""
    found = [value for key, value in state.items() if OF_VIEWS.search(key)]
    if [value.shape for value in found] != [value.shape for value in expected.values()]:
        return {}
    return dict(zip(expected, found, strict=True))


def _fit(expected: State, state: State, dropped: State) -> Fit:
    fitting = {key: state[key] for key in expected if key in state and state[key].shape == expected[key].shape}
    others = {**state, **dropped}
    whole = sum(value.numel() for value in expected.values())
    return Fit(
        fitting,
        sum(value.numel() for value in fitting.values()) / max(1, whole),
        [_named(key, expected[key]) for key in expected if key not in state],
        [
            f"{_named(key, state[key])} for {tuple(expected[key].shape)}"
            for key in expected
            if key in state and key not in fitting
        ],
        [_named(key.removeprefix("/"), value) for key, value in others.items() if key not in expected],
    )


def _named(key: str, tensor: Tensor) -> str:
    return f"{key} {tuple(tensor.shape)}"
