"""Studies of apps.shape3d, reported in docs/reports."""
