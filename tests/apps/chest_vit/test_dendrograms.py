"""The figure of the given tree beside the tree of the proxies."""

import base64

import pytest
import torch

from apps.chest_vit.class_tree import categories
from apps.chest_vit.dendrograms import SHOWN, _choose, _given, _read, dendrograms
from apps.report.figures import MOST_CLASSES


def tree(groups: int, each: int) -> dict[str, list[str]]:
    return {f"class <{g}.{i}>": [f"group {g}"] for g in range(groups) for i in range(each)}


def apart(above: dict[str, list[str]]) -> torch.Tensor:
    """Proxies of a group in a direction of its own, far from the origin."""
    kinds = categories(above, list(above))
    own = torch.eye(len(set(kinds)))[[sorted(set(kinds)).index(kind) for kind in kinds]]
    return 3 * own + 0.01 * torch.randn(own.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("groups", "each"), [(2, 1), (3, 5), (20, 40)])
def test_groups_far_apart_are_read_back(groups, each):
    above = tree(groups, each)
    found = dendrograms(above, list(above), apart(above), c=0.5)
    shown = [mark.text for mark in found.legend if mark.glyph]
    kinds = [mark.text for mark in found.legend if not mark.glyph]
    assert len(kinds) == min(groups, MOST_CLASSES) and len(set(shown)) == len(shown) <= SHOWN
    assert set(categories(above, shown)) == set(kinds)
    assert (len(shown) == len(above)) == (len(above) <= SHOWN)
    if each > 1:
        assert found.caption.endswith(f"of all {len(above):,}: 1.00.")
    drawn = base64.b64decode(found.image.partition(",")[2])
    assert drawn.lstrip().startswith(b"<?xml") and b"class &lt;" not in drawn and b"group" not in drawn


def test_proxies_of_no_order_are_not_read_back():
    above = tree(4, 8)
    points = torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
    purity = float(dendrograms(above, list(above), points, c=0.5).caption.rstrip(".").rpartition(" ")[2])
    assert purity < 0.6


def test_the_given_tree_has_its_levels_and_the_read_one_its_heights():
    paths = [("a", "x", "1"), ("a", "x", "2"), ("a", "3"), ("4",)]
    given = _given([0, 1, 2, 3], paths)
    assert [child.leaves for child in given.children] == [[0, 1, 2], [3]] and given.height == 3
    assert [child.leaves for child in given.children[0].children] == [[0, 1], [2]]
    read = _read(torch.tensor([[2.0, 3, 0.5, 2], [0, 1, 1, 2], [4, 5, 2, 4]]).numpy())
    assert read.leaves == [0, 1, 2, 3] and [child.height for child in read.children] == [1.0, 0.5]


def test_each_of_the_largest_categories_has_its_share():
    kinds = [kind for kind, count in (("a", 90), ("b", 6), ("c", 200)) for _ in range(count)]
    chosen = [kinds[i] for i in _choose(kinds)]
    assert [chosen.count(kind) for kind in "abc"] == [14, 1, 32]
    assert _choose(list("abca")) == [0, 1, 2, 3]
