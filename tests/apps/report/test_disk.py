"""The Poincaré disk of a report: whole classes, inside the disk, around its centre, neighbours together."""

import numpy as np
import torch

from apps.report.disk import disk_sample, project_to_disk


def test_the_disk_shows_whole_classes() -> None:
    labels = torch.arange(4000) // 7
    sample, coloured = disk_sample(labels, seed=0)
    counts = torch.bincount(labels[sample], minlength=600)[labels.unique()]
    assert 1490 <= len(sample) == len(sample.unique()) <= 1500 and len(coloured) == 12
    assert all(count in (0, whole) for count, whole in zip(counts, torch.bincount(labels), strict=True))
    for positions in coloured:
        assert len(labels[sample[positions]].unique()) == 1


def test_the_disk_shows_some_of_each_of_few_large_classes() -> None:
    labels = torch.arange(10_000) % 10
    sample, coloured = disk_sample(labels, seed=0)
    assert torch.bincount(labels[sample]).tolist() == [125] * 10 and len(coloured) == 10


def test_the_layout_lies_in_the_disk_around_its_centre_and_keeps_clusters() -> None:
    import open3d  # noqa: F401  # a report of shapes has it, and with it a TBB of which numba warns

    cluster = np.repeat(np.arange(6), 20)
    corners = 50 * np.concatenate([np.eye(3), -np.eye(3)])
    x = corners[cluster] + np.random.default_rng(0).normal(size=(120, 3))
    z = project_to_disk(np.linalg.norm(x[:, None] - x[None], axis=-1), seed=0)
    assert z.shape == (120,) and (abs(z) < 1).all()
    lorentz = (1 + abs(z) ** 2) / (1 - abs(z) ** 2)
    assert abs((2 * z / (1 - abs(z) ** 2)).sum() / lorentz.sum()) < 1e-6
    apart = abs((z[:, None] - z) / (1 - z[:, None].conj() * z)) + np.eye(120)  # tanh of half the distance
    assert (cluster[apart.argmin(1)] == cluster).mean() > 0.9  # by chance 0.16
