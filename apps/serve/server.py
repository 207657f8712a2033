"""The page of a searcher and what it asks for; it reads no other file.

| address | answer |
|---|---|
| `GET /`, `/page.js`, `/page.css` | the page |
| `GET /api/about` | what can be searched: title, hint, kinds of upload, classes, how many items |
| `GET /api/search?name=NAME` or `?row=ROW` | the items nearest to one of them; `&k=12&class=CLASS` |
| `POST /api/search?kind=mesh&file=chair.glb` | the items nearest to an upload, which is the body |
| `GET /api/names?part=TEXT` | names of items that have a text in them |
| `GET /images/ROW.png` | an item |
"""

import base64
import io
import ipaddress
import logging
import re
import socket
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, jsonify, request
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor
from waitress.channel import HTTPChannel
from waitress.server import create_server
from werkzeug.exceptions import HTTPException

from apps.serve.gallery import Found
from apps.serve.searcher import Query, Searcher

TYPES = {"page.html": "text/html", "page.js": "text/javascript", "page.css": "text/css"}
PAGE = {name: Path(__file__).with_name(name).read_bytes() for name in TYPES}
MOST_BYTES = 2**25  # of an upload
MOST_FOUND = 100
MOST_OPEN = 64  # connections
LOCAL = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; connect-src 'self'; script-src 'self'; "
    "style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

log = logging.getLogger(__name__)


def application(searcher: Searcher, *, k: int, hosts: tuple[str, ...] | None = LOCAL) -> Flask:
    """The page as a WSGI application; whatever goes wrong is answered by {"error": "one sentence"}.

    Args:
        k: how many items a search finds, where it does not say.
        hosts: the names by which it may be called; other sites' pages cannot then reach it under a name of their own.
            None takes all.
    """
    known = None if hosts is None else frozenset(map(_name, hosts))
    gallery = searcher.gallery
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

    @app.get("/", defaults={"file": "page.html"})
    @app.get("/<any('page.js', 'page.css'):file>")
    def page(file: str) -> Response:
        return Response(PAGE[file], mimetype=TYPES[file])

    @app.get("/favicon.ico")
    def icon() -> Response:
        return Response(status=204)  # there is none, and a browser asks for it

    @app.get("/images/<int:row>.png")
    def image(row: int) -> Response:
        try:
            if gallery.image is None or row >= len(gallery):
                raise ValueError(f"there is no image {row}")
            return Response(_png(gallery.image(row)), mimetype="image/png")
        except ValueError as error:
            abort(404, str(error))

    @app.get("/api/about")
    def about() -> Response:
        return jsonify(
            title=searcher.title,
            hint=searcher.hint,
            takes=list(searcher.takes),
            classes=gallery.class_names,
            items=len(gallery),
            k=k,
        )

    @app.get("/api/names")
    def names() -> Response:
        return jsonify(names=gallery.suggest(request.args.get("part", "")))

    @app.get("/api/search")
    def search() -> Response:
        try:
            given = [key for key in ("row", "name") if key in request.args]
            if len(given) != 1:
                raise ValueError("expected one of row and name, as in /api/search?row=0; POST searches for an upload")
            row = _number("row", len(gallery) - 1, 0) if given == ["row"] else gallery.row(request.args["name"])
            found = gallery.nearest(gallery.embeddings[row], **options(), without=row)
        except ValueError as error:
            abort(400, str(error))
        return jsonify(query=item(row), results=[result(each) for each in found])

    @app.post("/api/search")
    def search_upload() -> Response:
        kind, name = request.args.get("kind", ""), request.args.get("file", "")
        try:
            chosen = options()
            query = searcher.query(kind, request.get_data(cache=False), name)
            found = gallery.nearest(query.embedding, **chosen)
        except ValueError as error:
            abort(400, str(error))
        return jsonify(query={"kind": kind, "name": name, "image": _address(query)}, results=[*map(result, found)])

    def options() -> dict[str, Any]:
        return {"k": _number("k", MOST_FOUND, 1, k), "of_class": request.args.get("class") or None}

    def item(row: int) -> dict[str, Any]:
        address = None if gallery.image is None else f"images/{row}.png"
        about = {"row": row, "name": gallery.names[row], "class": gallery.classes[row], "image": address}
        return about | {"detail": gallery.detail(row)}

    def result(found: Found) -> dict[str, Any]:
        return item(found.row) | {"distance": found.distance}

    return app


def _number(name: str, most: int, least: int, default: int | None = None) -> int:
    text = request.args.get(name)
    if text is None and default is not None:
        return min(default, most)
    if text is None or not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise ValueError(f"{name} is {str(text)[:20]!r}; expected {least} to {most}")
    return int(text)


def _png(image: UInt8[Tensor, "3 H W"]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def _address(query: Query) -> str | None:
    return None if query.image is None else "data:image/png;base64," + base64.b64encode(_png(query.image)).decode()


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
    limits = {"threads": 4, "connection_limit": 2 * MOST_OPEN, "max_request_body_size": MOST_BYTES + 2**20}
    # by poll: select fails, and the server stands still, in a process with more than 1,024 files open
    limits |= {"channel_timeout": 30, "asyncore_use_poll": True}
    sockets: dict[int, Any] = {}
    server = create_server(app, sockets, host=host, port=port, ident=None, **limits)
    for one in sockets.values():
        if hasattr(one, "channel_class"):
            one.channel_class = _Channel
    return server
