"""The property suite: strategies that draw the hard points, a fifty-digit oracle, and the laws of the geometry.

Needs the extra `testing` (hypothesis, mpmath).
"""

from geomdml.testing import laws, oracle, strategies

__all__ = ["laws", "oracle", "strategies"]
