"""Labels of every integer dtype are class indices, and the momentum is not rounded."""

import pytest
import torch

from geomdml.losses.proxies import Proxies
from geomdml.reshaping import LabelReshaper, reshaped_labels

INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_labels_of_every_integer_dtype_are_indices(dtype: torch.dtype):
    relation, labels = torch.tensor([[0.75, 0.25], [0.25, 0.75]]), torch.tensor([1, 1])
    expected = torch.tensor([[[0.1, 0.9], [0.1, 0.9]]], dtype=torch.float64)
    torch.testing.assert_close(reshaped_labels(labels.to(dtype), torch.tensor([0.4]), relation), expected)
    logits = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    assert torch.equal(LabelReshaper(2, 1)(logits, labels.to(dtype)), LabelReshaper(2, 1)(logits, labels))
    proxies = Proxies(2, 3, centers_per_class=1, radius=1.0)
    proxies.start_at(torch.tensor([[1.0, 2, 3], [3.0, 2, 1]]), labels.to(dtype), spread=0.0)
    assert torch.equal(proxies.vectors[1, 0], torch.tensor([2.0, 2, 2]))


def test_momentum_is_not_rounded():
    reshaper, logits, labels = LabelReshaper(2, 1, 0.1), torch.zeros(1, 1, 2), torch.tensor([0])
    reshaper.observe(logits, labels)
    reshaper.observe(logits, labels)
    assert reshaper.counts[0].item() == 1.1
