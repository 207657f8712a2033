"""The spaces that losses, heads, scores and search are written against, one a file.

A space knows the distance between embeddings as they are stored (`dist`, one to one, and `pairwise_dist`, all pairs),
the chart they are stored in, and how to move them to another chart.
"""

from geomdml.spaces.euclidean import Euclidean
from geomdml.spaces.hyperbolic import GEOMETRY, Chart, Hyperbolic, in_tangent_chart, in_unbounded_chart
from geomdml.spaces.product import Product
from geomdml.spaces.space import Space
from geomdml.spaces.sphere import Sphere

__all__ = [
    "Chart",
    "Euclidean",
    "GEOMETRY",
    "Hyperbolic",
    "Product",
    "Space",
    "Sphere",
    "in_tangent_chart",
    "in_unbounded_chart",
]


def __dir__() -> list[str]:
    return __all__
