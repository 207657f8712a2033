"""The page on which one draws, and its three addresses: /, /search and /shapes/ROW.png. It reads no other file."""

import ipaddress
import logging
import re
import socket
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, jsonify, request
from waitress.channel import HTTPChannel
from waitress.server import create_server
from werkzeug.exceptions import HTTPException

from apps.sketch.search import Searcher, decode_png

PAGE = {name: Path(__file__).with_name(name).read_bytes() for name in ("page.html", "page.js")}
MOST_BYTES = 2**20  # of an upload
MOST_OPEN = 64  # connections
LOCAL = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; connect-src 'self'; script-src 'self'; "
    "style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

log = logging.getLogger(__name__)


def application(searcher: Searcher, *, k: int, hosts: tuple[str, ...] | None = LOCAL) -> Flask:
    """The page as a WSGI application; whatever goes wrong is answered by {"error": "one sentence"}.

    Args:
        k: how many shapes a search finds.
        hosts: the names by which it may be called; other sites' pages cannot then reach it under a name of their own.
            None takes all.
    """
    known = None if hosts is None else frozenset(map(_name, hosts))
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES

    @app.before_request
    def known_host() -> None:
        if known is not None and _name(request.host) not in known:
            abort(403, "this page is only served under the name of this machine itself; see --host")

    @app.after_request
    def with_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> tuple[Response, int]:
        return jsonify(error=error.description), error.code or 500

    @app.errorhandler(413)
    def too_long(error: HTTPException) -> tuple[Response, int]:
        return jsonify(error=f"the upload has more than {MOST_BYTES >> 20} MB"), 413

    @app.errorhandler(Exception)
    def broken(error: Exception) -> tuple[Response, int]:
        log.error("a request failed", exc_info=error)
        return jsonify(error="the search failed; the terminal of the server says why"), 500

    @app.get("/")
    def page() -> Response:
        return Response(PAGE["page.html"], mimetype="text/html")

    @app.get("/page.js")
    def script() -> Response:
        return Response(PAGE["page.js"], mimetype="text/javascript")

    @app.get("/favicon.ico")
    def icon() -> Response:
        return Response(status=204)  # there is none, and a browser asks for it

    @app.get("/shapes/<int:row>.png")
    def shape(row: int) -> Response:
        try:
            return Response(searcher.image(row), mimetype="image/png")
        except IndexError:
            abort(404, f"there is no shape {row}")

    @app.post("/search")
    def search() -> Response:
        try:
            found = searcher.nearest(decode_png(request.get_data()), k)
        except ValueError as error:
            abort(400, str(error))
        return jsonify(
            shapes=[
                {"image": f"shapes/{one.row}.png", "name": one.name, "class": one.of_class, "distance": one.distance}
                for one in found
            ]
        )

    return app


def names_of(host: str) -> tuple[str, ...] | None:
    """The names by which a page that listens on `host` may be called; None, which is all, where others can reach it.

    Raises:
        ValueError: no such host.

    >>> names_of("127.0.0.2"), names_of("0.0.0.0")
    (('127.0.0.1', 'localhost', '[::1]', '127.0.0.2'), None)
    """
    try:
        found = socket.getaddrinfo(None if host == "*" else host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ValueError(f"--host {host!r} is not known ({error}); expected an address of this machine") from error
    if not all(ipaddress.ip_address(str(place[0]).partition("%")[0]).is_loopback for *_, place in found):
        return None
    return (*LOCAL, f"[{host}]" if ":" in host else host)


def _name(host: str) -> str:
    """A host as names are compared, without its port: "LOCALHOST.:8000" is "localhost"."""
    return re.sub(r":\d+$", "", host).lower().removesuffix(".")


class _Channel(HTTPChannel):
    """A connection; where there are too many, the one that has been open longest without a whole request is closed.

    Clients that send their requests byte by byte, or never read the answers, thus keep nobody else out.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        others = [one for one in self._map.values() if isinstance(one, _Channel) and one is not self]
        waiting = [one for one in others if not one.requests]
        if len(others) >= MOST_OPEN and waiting:
            min(waiting, key=lambda one: one.creation_time).handle_close()


def listening(app: Flask, host: str, port: int) -> Any:
    """A waitress server that is bound and waits for `run()`; port 0 takes a free one (`effective_port`).

    Raises:
        OSError: the port is taken, or the host not this machine's.
    """
    limits = {"threads": 4, "connection_limit": 2 * MOST_OPEN, "max_request_body_size": 8 * MOST_BYTES}
    # by poll: select fails, and the server stands still, in a process with more than 1,024 files open
    limits |= {"channel_timeout": 30, "asyncore_use_poll": True}
    sockets: dict[int, Any] = {}
    server = create_server(app, sockets, host=host, port=port, ident=None, **limits)
    for one in sockets.values():
        if hasattr(one, "channel_class"):
            one.channel_class = _Channel
    return server
