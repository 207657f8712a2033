"""The Poincaré disk of a report: which embeddings it shows, and where."""

import warnings

import numpy as np
import torch
from jaxtyping import Complex, Float, Integer
from numpy import ndarray
from torch import Tensor

from apps.report.figures import MOST_CLASSES

MOST_POINTS = 1_500


def disk_sample(labels: Integer[Tensor, " n"], seed: int) -> tuple[Integer[Tensor, " m"], list[Integer[Tensor, " _"]]]:
    """Indices of the images to show, and, for each class to colour, the positions of its images among them.

    Whole classes, in an order drawn with the seed, while they fit; of a class larger than its share of a disk of
    twelve classes, its share. The first twelve that have two images are coloured.
    """
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(labels), generator=generator)
    present = labels.unique()
    chosen: list[Tensor] = []
    for c in present[torch.randperm(len(present), generator=generator)]:
        members = shuffled[labels[shuffled] == c][: MOST_POINTS // MOST_CLASSES]
        if sum(map(len, chosen)) + len(members) > MOST_POINTS:
            break
        chosen.append(members)
    sample = torch.cat(chosen)
    positions = torch.arange(len(sample)).split([len(members) for members in chosen])
    return sample, [part for part in positions if len(part) > 1][:MOST_CLASSES]


def project_to_disk(distance: Float[ndarray, "n n"], *, seed: int) -> Complex[ndarray, " n"]:
    """Points of the Poincaré disk, as complex numbers, laid out by UMAP (arXiv 1802.03426) from distances, n ≥ 4.

    The layout lives on the hyperboloid; an isometry moves its midpoint to the centre of the disk.
    Raises `ImportError` where umap-learn is missing.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        warnings.filterwarnings("ignore", "using precomputed metric", UserWarning)
        warnings.filterwarnings("ignore", "Graph is not fully connected", UserWarning)  # of where clusters start
        warnings.filterwarnings("ignore", ".*TBB threading layer requires")  # open3d brings an older one
        from umap import UMAP  # with numba it takes seconds to import: only who draws a disk waits

        reducer = UMAP(
            n_neighbors=min(15, len(distance) - 2),
            metric="precomputed",
            output_metric="hyperboloid",
            random_state=seed,
            n_jobs=1,
        )
        space = np.asarray(reducer.fit_transform(distance), float)
    time = np.sqrt(1 + (space**2).sum(1))
    z = space @ (1, 1j) / (1 + time)
    midpoint = space.sum(0) @ (1, 1j)  # on the hyperboloid: the sum of the points, scaled back onto it
    midpoint /= time.sum() + np.sqrt(time.sum() ** 2 - abs(midpoint) ** 2)
    return (z - midpoint) / (1 - midpoint.conjugate() * z)
