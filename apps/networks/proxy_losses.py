"""CHEST as one of the losses of an app, with errors that name the option."""

from typing import Any

from geomdml.losses import CHESTLoss
from geomdml.spaces import Hyperbolic, Space


def chest_loss(num_classes: int, in_features: int, space: Space, **settings: Any) -> CHESTLoss:
    """CHEST with its own defaults for what `settings` leave out.

    Args:
        num_classes, in_features: classes, and the dimension of the features before the hyperbolic head.
        space: where the embeddings live.

    Raises:
        ValueError: a space that is not hyperbolic, or a setting that `CHESTLoss` does not have.
    """
    if not isinstance(space, Hyperbolic):
        raise ValueError(
            f"loss 'chest' does not work in {space}; expected a hyperbolic space (--model.space hyperbolic)"
        )
    try:
        return CHESTLoss(num_classes, in_features, **settings)
    except TypeError as error:
        raise ValueError(f"loss 'chest' with {settings}: {error}") from error
