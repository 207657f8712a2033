"""The property suite: strategies that draw the hard points, a fifty-digit oracle, and the laws of the geometry.

Needs the extra `testing` (hypothesis, mpmath).
"""

from geomdml.testing import laws, oracle, strategies
from geomdml.testing.processes import LossVerdict, judge_loss

__all__ = ["LossVerdict", "judge_loss", "laws", "oracle", "strategies"]
