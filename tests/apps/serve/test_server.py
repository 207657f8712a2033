"""The server of the page: asked by a real client, on a gallery of colours that needs no network."""

import contextlib
import io
import json
import re
import resource
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from apps.serve import command, uploads
from apps.serve.gallery import Gallery
from apps.serve.searcher import Query, Searcher
from apps.serve.server import HEADERS, MOST_BYTES, MOST_OPEN, application, names_of
from apps.shapes.cameras import ring
from apps.shapes.rendering import Look, render
from geomdml.spaces import Euclidean, Hyperbolic
from tests.apps.serving import Browser, ask, served
from tests.apps.shapes.painted import coloured_cube

K = 5
COUNT = 24


def png(*strokes: list[tuple[int, int]], size: tuple[int, int] = (120, 120), mode: str = "RGB") -> bytes:
    image = Image.new(mode, size, (255,) * len(mode) if mode != "RGBA" else (0, 0, 0, 0))
    for stroke in strokes:
        ImageDraw.Draw(image).line(stroke, fill=(0, 0, 0, 255)[: len(mode)], width=4)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


SKETCH = png([(30, 10), (30, 110)], [(30, 60), (80, 60), (80, 110)])


def colours() -> Searcher:
    """Squares of colours, searched by their mean colour with images, drawings and meshes."""
    drawn = np.random.default_rng(0).integers(0, 255, (COUNT, 3), np.uint8)
    images = torch.from_numpy(drawn)[:, :, None, None].expand(-1, -1, 16, 16)

    def of_image(content: bytes, name: str) -> Query:
        pixels = uploads.image(content, name)
        if bool((pixels == 255).all()):
            raise ValueError("nothing is drawn")
        return Query(pixels.float().mean((1, 2)), pixels[:, :16, :16])

    def of_mesh(content: bytes, name: str) -> Query:
        mesh = uploads.mesh(content, name, painted=True, up="y")
        seen = torch.from_numpy(render(mesh, Look(ring(2), 16, "albedo", 1)))
        return Query(seen.float().mean((0, 2, 3)), seen[0])

    gallery = Gallery(
        images.float().mean((2, 3)),
        [f"colour {i}" for i in range(COUNT)],
        [("red", "green", "blue")[i] for i in drawn.argmax(1)],
        Euclidean(),
        image=lambda row: images[row],
    )
    return Searcher("Colours", "Draw.", gallery, {"drawing": of_image, "image": of_image, "mesh": of_mesh})


@pytest.fixture(scope="module")
def searcher() -> Searcher:
    return colours()


@pytest.fixture(scope="module")
def address(searcher):
    with served(searcher, K) as found:
        yield found


SEARCH = "api/search?kind=drawing"


def results(answer) -> list[dict]:
    assert answer[0] == 200, answer
    return json.loads(answer[2])["results"]


def test_it_answers_where_more_than_1024_files_are_open(address):
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed[0] < 1400:
        pytest.skip("this machine allows fewer open files")
    with contextlib.ExitStack() as stack:
        for _ in range(1100):
            stack.enter_context(Path("/dev/null").open("rb"))
        assert ask(f"{address}/")[0] == 200


def test_transparent_paper_is_white(address):
    strokes = [(30, 10), (30, 110)], [(30, 60), (80, 60), (80, 110)]
    assert ask(f"{address}/{SEARCH}", png(*strokes, mode="RGBA"))[2] == ask(f"{address}/{SEARCH}", png(*strokes))[2]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "no image that can be read"),
        (b"hello", 400, "no image that can be read"),
        (SKETCH[:60], 400, "no image that can be read"),
        (png(), 400, "nothing is drawn"),
        (png(mode="RGBA"), 400, "nothing is drawn"),
        (png(size=(9000, 9000), mode="L"), 400, "9000 × 9000 pixels: 16,777,216 is the most"),
        (bytes(MOST_BYTES + 1), 413, "more than 32 MB"),
    ],
)
def test_a_bad_upload_gets_one_sentence(address, body, status, message):
    found, headers, answer = ask(f"{address}/{SEARCH}", body)
    assert found == status and headers["Content-Type"] == "application/json"
    error = json.loads(answer)
    assert set(error) == {"error"} and message in error["error"] and "\n" not in error["error"]


def test_a_huge_upload_is_refused_before_it_is_read(address):
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(f"POST /{SEARCH} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {10**12}\r\n\r\n".encode())
        answer = client.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 413") and "Traceback" not in answer


@pytest.mark.parametrize(
    "path",
    [
        *("/../../etc/passwd", "//etc/passwd", "/server.py", "/page.html", "/static/page.js", "/images/../page.html"),
        *("/images/%2e%2e/server.py", "/images/-1.png", "/images/999.png", "/images/0.png/.."),
        "/images/" + "9" * 5000 + ".png",
    ],
)
def test_no_other_file_can_be_read(address, path):
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:  # a client would tidy the path
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(65536), b"")).decode(errors="replace")
    assert re.match(r"HTTP/1\.1 (404|308|400)", answer), answer[:200]
    assert "root:" not in answer and "import" not in answer and "Traceback" not in answer


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "LOCALHOST", "::1", "127.1"])
def test_a_page_for_this_machine_has_no_other_names(searcher, host):
    client = application(searcher, k=K, hosts=names_of(host)).test_client()
    own = f"[{host}]" if ":" in host else host
    for name in ("localhost", "LocalHost:80", "localhost.", "127.0.0.1:8000", "[::1]:8000", own, f"{own}:8000"):
        assert client.get("/", headers={"Host": name}).status_code == 200, name
    for name in (
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.example:8000",
        "localhost:x",
    ):
        assert client.get("/", headers={"Host": name}).status_code in (400, 403), name


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "*"])
def test_a_page_for_the_network_is_called_by_any_name(searcher, host):
    client = application(searcher, k=K, hosts=names_of(host)).test_client()
    assert client.get("/", headers={"Host": "mine.example:8000"}).status_code == 200


def test_a_host_that_is_unknown_is_named():
    with pytest.raises(ValueError, match=r"--host 'no\.such\.invalid' is not known"):
        names_of("no.such.invalid")


def test_connections_that_drip_keep_nobody_out(address):
    """As many as ever are open, each with a request that never ends, a byte at a time."""
    host, port = address.removeprefix("http://").split(":")
    clients: list[socket.socket] = []
    finished = threading.Event()

    def drip() -> None:
        while not finished.wait(0.2):
            for client in [*clients]:
                with contextlib.suppress(OSError):  # the server has closed it
                    client.send(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        for _ in range(3 * MOST_OPEN):
            client = socket.create_connection((host, int(port)), timeout=30)
            clients.append(client)
            client.sendall(f"POST /{SEARCH} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100000\r\n\r\nx".encode())
        for _ in range(3):
            assert ask(f"{address}/{SEARCH}", SKETCH)[0] == 200
    finally:
        finished.set()
        thread.join()
        for client in clients:
            client.close()


def test_a_browser_that_asks_for_an_icon_gets_no_error(address):
    status, *_ = ask(f"{address}/favicon.ico")
    assert status == 204


def test_many_at_once_get_what_one_gets(address):
    alone = ask(f"{address}/{SEARCH}", SKETCH)[2]
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: ask(f"{address}/{SEARCH}", SKETCH), range(120)))
    assert {(status, body) for status, _, body in answers} == {(200, alone)}


def test_a_search_finds_items_with_their_images(address, searcher):
    found = results(ask(f"{address}/api/search?kind=image", colour_png((250, 10, 10))))
    distances = [one["distance"] for one in found]
    assert len(found) == K and distances == sorted(distances) and found[0]["class"] == "red"
    for one in found:
        assert one["name"] == f"colour {one['row']}" and one["detail"] == ""
        status, headers, body = ask(f"{address}/{one['image']}")
        assert status == 200 and headers["Content-Type"] == "image/png"
        with Image.open(io.BytesIO(body)) as image:
            assert image.size == (16, 16)


def colour_png(colour) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("query", ["name=colour%203", "row=3"])
def test_a_program_searches_by_name_or_place(address, query, searcher):
    answer = ask(f"{address}/api/search?{query}&k=7")
    found, asked = results(answer), json.loads(answer[2])["query"]
    points = searcher.gallery.embeddings
    nearest = (points - points[3]).norm(dim=1).argsort()[1:8].tolist()
    assert [one["row"] for one in found] == nearest and asked["name"] == "colour 3" and asked["row"] == 3


@pytest.mark.parametrize("index", ["exact", "flat"])
def test_a_class_alone_is_searched_and_an_index_finds_what_exact_search_does(searcher, index):
    space, gallery = Hyperbolic(c=1.0), searcher.gallery
    points = gallery.embeddings / 200
    own = Gallery(points, gallery.names, gallery.classes, space, index=index)
    distances = space.pairwise_dist(points[:1], points)[0]
    expected = distances.argsort(stable=True).tolist()
    assert [row for row, _ in own.nearest(points[0], 6)] == expected[:6]
    green = [row for row in expected if gallery.classes[row] == "green"]
    assert [row for row, _ in own.nearest(points[0], 99, of_class="green", without=green[0])] == green[1:]


def test_an_index_of_another_space_is_refused(searcher):
    gallery = searcher.gallery
    with pytest.raises(ValueError, match="--index graph is of hyperbolic space"):
        Gallery(gallery.embeddings, gallery.names, gallery.classes, Euclidean(), index="graph")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "expected one of row and name"),
        ("row=1&name=a", "expected one of row and name"),
        ("row=24", "row is '24'; expected 0 to 23"),
        ("row=-1", "row is '-1'; expected 0 to 23"),
        ("row=0&k=0", "k is '0'; expected 1 to 100"),
        ("row=0&k=1e3", "k is '1e3'"),
        ("row=0&class=pink", "there is no class 'pink'"),
        ("name=colour", "there is no 'colour'; there are colour 0, colour 1"),
        ("name=%00", "there is no"),
    ],
)
def test_a_wrong_search_gets_one_sentence(address, query, message):
    status, _, body = ask(f"{address}/api/search?{query}")
    assert status == 400 and message in json.loads(body)["error"] and "\n" not in json.loads(body)["error"]


def test_a_mesh_is_searched_for_in_its_colours(address, tmp_path):
    cube = coloured_cube("glb", tmp_path).read_bytes()
    answer = ask(f"{address}/api/search?kind=mesh&file=a%20cube.GLB", cube)
    assert len(results(answer)) == K and json.loads(answer[2])["query"]["image"].startswith("data:image/png;base64,")
    for name, content, message in (
        ("cube.exe", cube, "expected a name that ends in one of .glb"),
        ("cube.obj", cube, "the mesh cannot be read"),
        ("../../cube.off", b"OFF\n0 0 0\n", "the mesh has no surface"),
        ("a.gltf", b'{"buffers": [{"uri": "/etc/passwd", "byteLength": 1}]}', "the mesh has no surface"),
    ):
        status, _, body = ask(f"{address}/api/search?kind=mesh&file={name}", content)
        assert status == 400 and message in json.loads(body)["error"]
    status, _, body = ask(f"{address}/api/search?kind=video", cube)
    assert status == 400 and "takes no 'video'; expected one of drawing, image, mesh" in json.loads(body)["error"]


def test_names_are_suggested(address):
    status, _, body = ask(f"{address}/api/names?part=R%202")
    assert status == 200 and json.loads(body)["names"] == [
        "colour 2",
        "colour 20",
        "colour 21",
        "colour 22",
        "colour 23",
    ]


def test_other_methods_and_other_hosts_are_refused(address):
    assert ask(f"{address}/api/about", b"x")[0] == 405
    status, _, body = ask(f"{address}/", Host="evil.example")
    assert status == 403 and "see --host" in json.loads(body)["error"]


def test_the_page_asks_nobody_else_and_holds_no_script_or_style_of_its_own(address):
    status, headers, page = ask(f"{address}/")
    assert status == 200 and HEADERS.items() <= headers.items()
    files = [ask(f"{address}/page.{suffix}") for suffix in ("js", "css")]
    assert all(file[0] == 200 for file in files) and b"http" not in page + files[0][2] + files[1][2]
    assert b"style=" not in page and b"onclick" not in page and "unsafe" not in headers["Content-Security-Policy"]


def test_what_fails_inside_is_not_shown(searcher, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("secret")

    monkeypatch.setattr(searcher.gallery, "nearest", fails)
    answer = application(searcher, k=K, hosts=None).test_client().post(SEARCH, data=SKETCH)
    assert answer.status_code == 500 and b"secret" not in answer.data and "error" in answer.get_json()


def test_105_slow_uploads_keep_nobody_out(address):
    """Clients that have said how much they send, and send no more than a part of it."""
    host, port = address.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        for _ in range(105):
            client = stack.enter_context(socket.create_connection((host, int(port)), timeout=30))
            head = f"POST /{SEARCH} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(SKETCH)}\r\n\r\n".encode()
            client.sendall(head + SKETCH[:50])
        for _ in range(5):
            assert len(results(ask(f"{address}/{SEARCH}", SKETCH))) == K
            assert len(results(ask(f"{address}/api/search?row=0"))) == K


def resident() -> float:
    """The memory of this process, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read as Linux tells it")
def test_500_searches_leave_memory_flat(address, tmp_path):
    cube = coloured_cube("glb", tmp_path).read_bytes()

    def search(count: int) -> None:
        for i in range(count):
            kind, body = (("drawing", SKETCH), ("mesh", cube))[i % 2]
            assert len(results(ask(f"{address}/api/search?kind={kind}&file=a.glb", body))) == K

    search(50)
    before = resident()
    search(500)
    assert resident() - before < 20


def parser(args: list[str]) -> None:
    command.serve(lambda chosen: colours(), command.arguments("nothing"), args)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--ckpt_path", "a", "--k", "0"], "error: --port 8000, --k 0; expected 0 to 65535, and 1 to 100"),
        (["--ckpt_path", "a", "--port", "70000"], "error: --port 70000"),
        (["--ckpt_path", "a", "--host", "no.such.invalid"], "error: --host 'no.such.invalid' is not known"),
    ],
)
def test_a_mistake_gets_one_clear_line(args, message):
    with pytest.raises(SystemExit) as exit:
        parser(args)
    assert str(exit.value).startswith(message) and "\n" not in str(exit.value)


def test_it_listens_on_this_machine_alone_unless_told(monkeypatch):
    asked = []
    monkeypatch.setattr(command, "listening", lambda app, host, port: asked.append((host, port)) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        parser(["--checkpoint", "a"])
    assert asked == [("127.0.0.1", 8000)]


def test_dropped_on_and_filtered_in_a_browser(address, tmp_path):
    with Browser(address, tmp_path / "profile") as page:
        assert page.run("return document.title") == "Colours"
        found = page.drop("red.png", colour_png((250, 10, 10)))
        assert len(found) == K and found[0].startswith("red") and not page.find("#query").get_property("hidden")
        page.drop("a cube.glb", coloured_cube("glb", tmp_path).read_bytes())
        assert "nearest to a cube.glb" in page.status
        page.drop("notes.txt", b"no image")
        assert "is no image that can be read" in page.status
        page.drop("red.png", colour_png((250, 10, 10)))
        page.run("document.getElementById('class').value = 'blue';"
                 "document.getElementById('class').dispatchEvent(new Event('change'))")  # fmt: skip
        assert all(text.startswith("blue") for text in page.found())
        page.screenshot(tmp_path / "page.png")
        page.find("#results button").click()
        assert all(text.startswith("blue") for text in page.found()) and "nearest to colour" in page.status


def test_by_keyboard_alone_and_on_a_phone(address, tmp_path):
    from selenium.webdriver import ActionChains, Keys

    with Browser(address, tmp_path / "profile", size=(500, 800)) as page:
        assert len(page.name("colour 7")) == K and "nearest to colour 7" in page.status
        first = page.find("#results button").get_property("title")
        keys = ActionChains(page.chrome)
        for _ in range(8):
            keys = keys.send_keys(Keys.TAB)
            keys.perform()
            keys = ActionChains(page.chrome)
            if page.run("return document.activeElement.dataset.row"):
                break
        assert page.run("return document.activeElement.title") == first
        keys.send_keys(Keys.ENTER).perform()
        page.until("return wanted.address.includes('row')")
        assert len(page.found()) == K and f"nearest to {first}" in page.status
        assert page.run("return document.documentElement.scrollWidth <= window.innerWidth")
        low = page.run("return Math.min(...[...document.querySelectorAll('button, input, select')]"
                       ".filter(e => e.offsetParent).map(e => e.offsetHeight))")  # fmt: skip
        assert low >= 44
        page.screenshot(tmp_path / "phone.png")
