"""`python -m apps.NAME serve --ckpt_path best.ckpt`: a page on which one drops, draws or names what to search for."""

import argparse
import logging
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any, get_args

from apps.io.packages import FetchError
from apps.serve.gallery import Index
from apps.serve.searcher import Searcher
from apps.serve.server import MOST_FOUND, application, listening, names_of


def arguments(app: str) -> argparse.ArgumentParser:
    """The options of `serve` that all apps have."""
    parser = argparse.ArgumentParser(prog=f"python -m apps.{app} serve", description=__doc__)
    parser.add_argument("--ckpt_path", "--checkpoint", required=True, help="checkpoint of a fit: checkpoints/best.ckpt")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets the network in")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on; 0 takes a free one")
    parser.add_argument("--k", type=int, default=12, help="how many a search finds")
    parser.add_argument(
        "--index",
        choices=get_args(Index),
        default="exact",
        help="exact distances from all, or an index of hyperbolic space (geomdml.search.HyperbolicIndex)",
    )
    return parser


def serve(
    open_searcher: Callable[[argparse.Namespace], Searcher],
    parser: argparse.ArgumentParser,
    args: Sequence[str] | None,
) -> None:
    """Embed what is searched in, then serve the page until the process is stopped.

    Args:
        open_searcher: makes it of the options.

    Raises:
        SystemExit: with one line, where something is wrong.
    """
    chosen = parser.parse_args(args)
    try:
        if not 0 <= chosen.port < 2**16 or not 1 <= chosen.k <= MOST_FOUND:
            raise ValueError(f"--port {chosen.port}, --k {chosen.k}; expected 0 to 65535, and 1 to {MOST_FOUND}")
        hosts = names_of(chosen.host)
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # it warns of requests that wait a moment
        print("reading the checkpoint and embedding what is searched in ...", flush=True)
        searcher = open_searcher(chosen)
        server: Any = listening(application(searcher, k=chosen.k, hosts=hosts), chosen.host, chosen.port)
    except (ValueError, OSError, ImportError, FetchError, pickle.UnpicklingError) as error:
        sys.exit(f"error: {error}")
    shown = f"[{chosen.host}]" if ":" in chosen.host else chosen.host
    print(f"{len(searcher.gallery)} items; search at http://{shown}:{server.effective_port}/", flush=True)
    try:
        server.run()
    except KeyboardInterrupt:
        pass
    finally:
        server.close()
