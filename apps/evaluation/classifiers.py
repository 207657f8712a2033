"""How well simple classifiers do on embeddings: nearest neighbours, and a linear support vector machine."""

import warnings

import torch
from jaxtyping import Float, Int64
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from torch import Tensor


def classification(
    train: Float[Tensor, "N D"],
    train_labels: Int64[Tensor, " N"],
    test: Float[Tensor, "Q D"],
    test_labels: Int64[Tensor, " Q"],
    *,
    k: int = 5,
    c: float = 1.0,
) -> dict[str, float]:
    """Accuracy in percent of "kNN" (Euclidean, k neighbours) and "SVM" (linear, one against the rest, cost c).

    The embeddings are brought to unit mean square norm for the SVM, whose cost has a scale. It is stopped after
    200 sweeps.

    >>> corners = torch.eye(2).repeat(10, 1)
    >>> classification(corners, torch.arange(20) % 2, corners[:2], torch.tensor([0, 0]))
    {'kNN': 50.0, 'SVM': 50.0}
    """
    scale = train.square().sum(-1).mean().sqrt().clamp_min(torch.finfo(train.dtype).tiny)
    nearest = KNeighborsClassifier(min(k, len(train))).fit(train.numpy(), train_labels.numpy())
    machine = LinearSVC(C=c, max_iter=200, random_state=0, dual=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine.fit((train / scale).numpy(), train_labels.numpy())
    return {
        "kNN": 100 * float((nearest.predict(test.numpy()) == test_labels.numpy()).mean()),
        "SVM": 100 * float((machine.predict((test / scale).numpy()) == test_labels.numpy()).mean()),
    }
