"""Optimal transport: entropic (`sinkhorn`), exact (`exact`), and the divergence between point clouds made of it."""

from geomdml.transport.sinkhorn import Transport, sinkhorn

__all__ = ["Transport", "sinkhorn"]
