"""Optimal transport: entropic (`sinkhorn`), exact (`exact`), and a divergence of point clouds (`sinkhorn_divergence`)."""

from geomdml.transport.divergence import sinkhorn_divergence
from geomdml.transport.exact import exact
from geomdml.transport.sinkhorn import Transport, sinkhorn

__all__ = ["Transport", "exact", "sinkhorn", "sinkhorn_divergence"]
