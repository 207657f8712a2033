"""Shapes as images and as point clouds at once: learning from two modalities in balance."""
