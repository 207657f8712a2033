"""Recognition and retrieval of 3D shapes from their views (MVCNN)."""
