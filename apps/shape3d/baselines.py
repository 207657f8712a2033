"""What the pretrained backbone gives without training: frozen features, and a linear probe on them."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from torch import Tensor

from apps.networks.view_backbone import ViewBackbone
from apps.shape3d.model import side_by_side

COSTS = (1.0, 10.0, 100.0)  # inverse strengths of the probe's penalty, from which cross-validation chooses
FOLDS = 3


class Probe(NamedTuple):
    """Logits (Q, C) of a linear probe, and the cost that was chosen."""

    logits: Float[Tensor, "Q C"]
    cost: float


@torch.no_grad()
def frozen_features(
    backbone: ViewBackbone, maps: list[Float[Tensor, "V ..."]], shadings: int = 1
) -> Float[Tensor, "N F"]:
    """Mean features of the views of each shape, at unit norm, from what the backbone's frozen part made of them.

    Those of several shadings of a camera are side by side.
    """
    backbone.eval()
    means = torch.stack([side_by_side(backbone.late(views.float()), shadings).mean(0) for views in maps])
    return torch.nn.functional.normalize(means)


def linear_probe(
    train: Float[Tensor, "N F"], labels: Int64[Tensor, " N"], test: Float[Tensor, "Q F"], num_classes: int
) -> Probe:
    """Logistic regression on unit features; its penalty is chosen by cross-validation on the training shapes.

    Classes without a training shape have the logit −∞.

    >>> corners = torch.eye(3).repeat(4, 1)
    >>> linear_probe(corners, torch.arange(12) % 3, corners[:3], 3).logits.argmax(1)
    tensor([0, 1, 2])
    """
    x, y = train.numpy(), labels.numpy()
    smallest = int(np.bincount(y)[np.unique(y)].min())
    cost = COSTS[1]
    if smallest >= FOLDS:
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
        cost = max(COSTS, key=lambda c: float(cross_val_score(_regression(c), x, y, cv=folds).mean()))
    probe = _regression(cost).fit(x, y)
    found = np.full((len(test), num_classes), -np.inf)
    found[:, probe.classes_] = np.log(np.maximum(probe.predict_proba(test.numpy()), np.finfo(np.float64).tiny))
    return Probe(torch.from_numpy(found).float(), cost)


def _regression(cost: float) -> LogisticRegression:
    return LogisticRegression(C=cost, max_iter=500)
