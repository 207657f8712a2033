"""Balancing modalities: the labels of each are reshaped until all find them equally hard.

See docs/guides/reshaping.md.
"""

from geomdml.reshaping.functional import Balance, balance, class_relation, difficulty, reshaped_labels
from geomdml.reshaping.label_reshaper import LabelReshaper

__all__ = ["Balance", "LabelReshaper", "balance", "class_relation", "difficulty", "reshaped_labels"]
