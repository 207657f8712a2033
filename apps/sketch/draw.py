"""`python -m apps.sketch draw --checkpoint best.ckpt`: a page on which one draws, and the nearest shapes appear."""

import argparse
import logging
import sys
from collections.abc import Sequence

from apps.io.packages import FetchError


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m apps.sketch draw", description=__doc__)
    parser.add_argument("--checkpoint", required=True, help="checkpoint of a fit, such as checkpoints/best.ckpt")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets the network in")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on; 0 takes a free one")
    parser.add_argument("--k", type=int, default=12, help="how many shapes a drawing finds")
    chosen = parser.parse_args(args)
    try:
        if not 0 <= chosen.port < 2**16 or chosen.k < 1:
            raise ValueError(f"--port {chosen.port}, --k {chosen.k}; expected 0 to 65535, and at least 1")
        serve(chosen.checkpoint, chosen.host, chosen.port, chosen.k)
    except (ValueError, OSError, ImportError, FetchError) as error:
        sys.exit(f"error: {error}")


def serve(checkpoint: str, host: str, port: int, k: int) -> None:
    """Embed the shapes, then serve the page until the process is stopped."""
    from apps.sketch.search import Searcher
    from apps.sketch.server import application, listening, names_of

    hosts = names_of(host)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it warns of requests that wait a moment
    print("reading the checkpoint and embedding the shapes ...", flush=True)
    searcher = Searcher(checkpoint)
    server = listening(application(searcher, k=k, hosts=hosts), host, port)
    shown = f"[{host}]" if ":" in host else host
    print(f"{len(searcher.embeddings)} shapes; draw at http://{shown}:{server.effective_port}/", flush=True)
    try:
        server.run()
    except KeyboardInterrupt:
        pass
    finally:
        server.close()
