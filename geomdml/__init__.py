"""Geometry-first deep metric learning: hyperbolic space, losses and scores that are right in floating point."""

from geomdml import (
    class_trees,
    cones,
    distributed,
    euclidean,
    hierarchy,
    hyperplanes,
    lorentz,
    losses,
    metric_matrix,
    metrics,
    nn,
    optim,
    poincare,
    reshaping,
    sampling,
    search,
    spaces,
    sphere,
    statistics,
    tangent,
    transport,
)
from geomdml._core.checks import validation
from geomdml.euclidean import clip_norm

__version__ = "0.2.0"

__all__ = [
    "class_trees",
    "clip_norm",
    "cones",
    "distributed",
    "euclidean",
    "hierarchy",
    "hyperplanes",
    "lorentz",
    "losses",
    "metric_matrix",
    "metrics",
    "nn",
    "optim",
    "poincare",
    "sampling",
    "search",
    "reshaping",
    "spaces",
    "sphere",
    "statistics",
    "tangent",
    "transport",
    "validation",
]
