"""Optimal transport: entropic, exact, and the divergence of point clouds that is made of it."""

from geomdml.transport.divergence import sinkhorn_divergence
from geomdml.transport.exact import exact
from geomdml.transport.sinkhorn import Transport, sinkhorn

__all__ = ["Transport", "exact", "sinkhorn", "sinkhorn_divergence"]
