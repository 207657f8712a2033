"""`python -m apps.sketch draw --checkpoint best.ckpt`: an earlier name of `serve`, whose page takes drawings too."""

from apps.sketch.serve import main

__all__ = ["main"]
