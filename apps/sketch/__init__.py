"""Retrieval of 3D shapes by line drawings."""
