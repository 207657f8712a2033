"""Taxonomies and trees: their closure, how well embeddings hold them, and trees read back from embeddings."""

from geomdml.hierarchy.closure import closure
from geomdml.hierarchy.clustering import dasgupta_cost, decode, dendrogram_purity
from geomdml.hierarchy.distortion import Distortion, distortion
from geomdml.hierarchy.hyperbolicity import Hyperbolicity, delta_hyperbolicity
from geomdml.hierarchy.link_prediction import LinkPrediction, link_prediction
from geomdml.hierarchy.nested_balls import nested_balls
from geomdml.hierarchy.reconstruction import Reconstruction, reconstruction

__all__ = [
    "Distortion",
    "Hyperbolicity",
    "LinkPrediction",
    "Reconstruction",
    "closure",
    "dasgupta_cost",
    "decode",
    "delta_hyperbolicity",
    "dendrogram_purity",
    "distortion",
    "link_prediction",
    "nested_balls",
    "reconstruction",
]
