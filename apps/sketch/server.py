"""The page on which one draws, and its three addresses: /, /search and /shapes/ROW.png. It reads no other file."""

import logging
import re
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, jsonify, request
from waitress.server import create_server
from werkzeug.exceptions import HTTPException

from apps.sketch.search import Searcher, decode_png

PAGE = {name: Path(__file__).with_name(name).read_bytes() for name in ("page.html", "page.js")}
MOST_BYTES = 2**20  # of an upload
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
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES

    @app.before_request
    def known_host() -> None:
        if hosts is not None and re.sub(r":\d+$", "", request.host) not in hosts:
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


def listening(app: Flask, host: str, port: int) -> Any:
    """A waitress server that is bound and waits for `run()`; port 0 takes a free one (`effective_port`).

    Raises:
        OSError: the port is taken, or the host not this machine's.
    """
    limits = {"threads": 4, "connection_limit": 100, "channel_timeout": 30, "max_request_body_size": 8 * MOST_BYTES}
    return create_server(app, host=host, port=port, ident=None, **limits)
