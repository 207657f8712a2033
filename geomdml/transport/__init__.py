"""Optimal transport: entropic, exact, partial, of clouds of points, and the divergence and barycentres made of it."""

from geomdml.transport.barycentre import Barycentre, barycentre
from geomdml.transport.divergence import sinkhorn_divergence
from geomdml.transport.exact import exact
from geomdml.transport.partial import partial
from geomdml.transport.points import Plan, sinkhorn_points
from geomdml.transport.sinkhorn import Transport, sinkhorn

__all__ = [
    "Barycentre",
    "Plan",
    "Transport",
    "barycentre",
    "exact",
    "partial",
    "sinkhorn",
    "sinkhorn_divergence",
    "sinkhorn_points",
]
