"""Classifiers on embeddings whose answer is known."""

import pytest
import torch

from apps.evaluation.classifiers import classification


def corners(count, seed, spread):
    labels = torch.arange(count) % 3
    return 3 * torch.eye(3)[labels] + spread * torch.randn(
        count, 3, generator=torch.Generator().manual_seed(seed)
    ), labels


def test_classes_apart_are_told_apart_at_any_scale():
    for scale in (1e-6, 1.0, 1e6):
        (train, train_labels), (test, labels) = corners(60, 0, 0.1), corners(30, 1, 0.1)
        assert classification(scale * train, train_labels, scale * test, labels) == {"kNN": 100.0, "SVM": 100.0}


def test_labels_that_mean_nothing_are_guessed():
    train, test = (
        torch.randn(600, 3, generator=torch.Generator().manual_seed(0)),
        torch.randn(300, 3, generator=torch.Generator().manual_seed(1)),
    )
    found = classification(train, torch.arange(600) % 3, test, torch.arange(300) % 3)
    assert all(20 < value < 47 for value in found.values())


def test_the_neighbours_vote():
    line = torch.arange(7.0)[:, None]
    labels = torch.tensor([0, 0, 0, 1, 0, 0, 0])
    test = torch.tensor([[3.0]])
    assert classification(line, labels, test, torch.tensor([1]), k=1)["kNN"] == 100
    assert classification(line, labels, test, torch.tensor([1]), k=3)["kNN"] == 0


def test_all_zero_embeddings_are_no_error():
    found = classification(torch.zeros(6, 2), torch.arange(6) % 2, torch.zeros(4, 2), torch.arange(4) % 2)
    assert found["kNN"] == pytest.approx(50)
