"""The page: a real server asked by a real client, and once drawn upon in a real browser."""

import contextlib
import io
import json
import re
import resource
import shutil
import socket
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from apps.sketch import draw
from apps.sketch.search import Searcher
from apps.sketch.server import HEADERS, MOST_BYTES, MOST_OPEN, application, listening, names_of

pytestmark = pytest.mark.filterwarnings("ignore")
K = 5


def png(*strokes: list[tuple[int, int]], size: tuple[int, int] = (120, 120), mode: str = "RGB") -> bytes:
    image = Image.new(mode, size, (255,) * len(mode) if mode != "RGBA" else (0, 0, 0, 0))
    for stroke in strokes:
        ImageDraw.Draw(image).line(stroke, fill=(0, 0, 0, 255)[: len(mode)], width=4)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


SKETCH = png([(30, 10), (30, 110)], [(30, 60), (80, 60), (80, 110)])


@pytest.fixture(scope="module")
def searcher(finished) -> Searcher:
    return Searcher(finished / "checkpoints/best.ckpt")


@pytest.fixture(scope="module")
def address(searcher):
    server = listening(application(searcher, k=K), "127.0.0.1", 0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.effective_port}"
    server.trigger.pull_trigger(server.close)  # in its own thread
    thread.join(30)
    assert not thread.is_alive()


def ask(url: str, body: bytes | None = None, **headers: str) -> tuple[int, dict, bytes]:
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def test_it_answers_where_more_than_1024_files_are_open(address):
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed[0] < 1400:
        pytest.skip("this machine allows fewer open files")
    with contextlib.ExitStack() as stack:
        for _ in range(1100):
            stack.enter_context(Path("/dev/null").open("rb"))
        assert ask(f"{address}/")[0] == 200


def test_a_drawing_finds_shapes_with_their_images(address, searcher):
    status, headers, body = ask(f"{address}/search", SKETCH)
    shapes = json.loads(body)["shapes"]
    assert status == 200 and len(shapes) == K and headers["Content-Type"] == "application/json"
    distances = [shape["distance"] for shape in shapes]
    assert distances == sorted(distances) and distances[0] >= 0
    assert {shape["class"] for shape in shapes} <= set(searcher.data.classes)
    for shape in shapes:
        status, headers, body = ask(f"{address}/{shape['image']}")
        assert status == 200 and headers["Content-Type"] == "image/png"
        with Image.open(io.BytesIO(body)) as image:
            assert image.size == (32, 32)


def test_transparent_paper_is_white(address):
    strokes = [(30, 10), (30, 110)], [(30, 60), (80, 60), (80, 110)]
    assert ask(f"{address}/search", png(*strokes, mode="RGBA"))[2] == ask(f"{address}/search", png(*strokes))[2]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "no PNG image that can be read"),
        (b"hello", 400, "no PNG image that can be read"),
        (SKETCH[:60], 400, "no PNG image that can be read"),
        (png(), 400, "nothing is drawn"),
        (png(mode="RGBA"), 400, "nothing is drawn"),
        (png(size=(3000, 4)), 400, "3000 × 4 pixels: at most 2048 a side"),
        (bytes(MOST_BYTES + 1), 413, "more than 1 MB"),
    ],
)
def test_a_bad_upload_gets_one_sentence(address, body, status, message):
    found, headers, answer = ask(f"{address}/search", body)
    assert found == status and headers["Content-Type"] == "application/json"
    error = json.loads(answer)
    assert set(error) == {"error"} and message in error["error"] and "\n" not in error["error"]


def test_an_image_in_another_format_is_refused(address):
    buffer = io.BytesIO()
    Image.new("RGB", (50, 50)).save(buffer, "GIF")
    assert ask(f"{address}/search", buffer.getvalue())[0] == 400


def test_a_huge_upload_is_refused_before_it_is_read(address):
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(f"POST /search HTTP/1.1\r\nHost: {host}\r\nContent-Length: {10**12}\r\n\r\n".encode())
        answer = client.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 413") and "Traceback" not in answer


@pytest.mark.parametrize(
    "path",
    [
        *("/../../etc/passwd", "//etc/passwd", "/server.py", "/page.html", "/static/page.js", "/shapes/../page.html"),
        *("/shapes/%2e%2e/server.py", "/shapes/-1.png", "/shapes/999.png", "/shapes/0.png/.."),
        "/shapes/" + "9" * 5000 + ".png",
    ],
)
def test_no_other_file_can_be_read(address, path):
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:  # a client would tidy the path
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(65536), b"")).decode(errors="replace")
    assert re.match(r"HTTP/1\.1 (404|308|400)", answer), answer[:200]
    assert "root:" not in answer and "import" not in answer and "Traceback" not in answer


def test_wrong_methods_and_other_hosts_are_refused(address):
    assert ask(f"{address}/search")[0] == 405
    status, _, body = ask(f"{address}/", Host="evil.example")
    assert status == 403 and "see --host" in json.loads(body)["error"]


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
            client.sendall(f"POST /search HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100000\r\n\r\nx".encode())
        for _ in range(3):
            assert ask(f"{address}/search", SKETCH)[0] == 200
    finally:
        finished.set()
        thread.join()
        for client in clients:
            client.close()


def test_the_page_asks_nobody_else(address):
    status, headers, page = ask(f"{address}/")
    assert status == 200 and HEADERS.items() <= headers.items()
    script = ask(f"{address}/page.js")
    assert script[0] == 200 and b"http" not in page + script[2]


def test_a_browser_that_asks_for_an_icon_gets_no_error(address):
    status, *_ = ask(f"{address}/favicon.ico")
    assert status == 204


def test_many_at_once_get_what_one_gets(address):
    alone = ask(f"{address}/search", SKETCH)[2]
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: ask(f"{address}/search", SKETCH), range(120)))
    assert {(status, body) for status, _, body in answers} == {(200, alone)}


def test_what_fails_inside_is_not_shown(searcher, monkeypatch):
    def fails(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(searcher, "nearest", fails)
    answer = application(searcher, k=K, hosts=None).test_client().post("/search", data=SKETCH)
    assert answer.status_code == 500 and b"secret" not in answer.data and "error" in answer.get_json()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoint", "nowhere.ckpt"], "error: 'nowhere.ckpt' does not exist"),
        (["--checkpoint", "nowhere.ckpt", "--k", "0"], "error: --port 8000, --k 0"),
    ],
)
def test_a_mistake_gets_one_clear_line(arguments, message):
    with pytest.raises(SystemExit, match=message) as exit:
        draw.main(arguments)
    assert "\n" not in str(exit.value)


def test_it_listens_on_this_machine_alone_unless_told(finished, monkeypatch):
    asked = []
    monkeypatch.setattr("apps.sketch.server.listening", lambda app, host, port: asked.append((host, port)) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        draw.main(["--checkpoint", str(finished / "checkpoints/best.ckpt")])
    assert asked == [("127.0.0.1", 8000)]


CHAIR = [[(150, 60), (150, 420)], [(150, 250), (330, 250), (330, 420)], [(150, 60), (170, 250)]]


def browser(folder: Path):
    """Chromium under selenium, as Debian packages them."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    paths = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in paths:
        pytest.skip("chromium and chromedriver are wanted (on Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1100,900"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={folder}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(paths[1]))


def drawn_in_a_browser(address: str, folder: Path, screenshot: Path) -> list[str]:
    """Draw a chair, wait for what it finds, undo and clear; the texts of what was found."""
    chrome = browser(folder)
    try:
        from selenium.webdriver import ActionChains
        from selenium.webdriver.common.by import By
        from selenium.webdriver.support.ui import WebDriverWait

        wait = WebDriverWait(chrome, 120)
        chrome.get(address)
        canvas = chrome.find_element(By.ID, "canvas")
        side = canvas.size["width"]
        idle, loaded = "return !searching && !changed", "return [...document.images].filter(i => i.naturalWidth).length"
        canvas.click()  # a dot is a drawing too: a stroke begins as one
        wait.until(lambda _: chrome.execute_script(idle) and chrome.execute_script(loaded) > 1)
        assert "nearest first" in chrome.find_element(By.ID, "status").text
        chrome.find_element(By.ID, "undo").click()
        wait.until(lambda _: not chrome.find_elements(By.CSS_SELECTOR, "#shapes li"))
        for stroke in CHAIR:
            chain = ActionChains(chrome, duration=20)
            points = [((x / 480 - 0.5) * side, (y / 480 - 0.5) * side) for x, y in stroke]
            chain.move_to_element_with_offset(canvas, *map(round, points[0])).click_and_hold()
            for x, y in points[1:]:
                chain.move_to_element_with_offset(canvas, round(x), round(y))
            chain.release().perform()
        wait.until(lambda _: chrome.execute_script(idle) and chrome.execute_script(loaded) > 1)
        dark = "return pen.getImageData(0, 0, 480, 480).data.filter((v, i) => i % 4 == 0 && v < 99).length"
        assert chrome.execute_script(dark) > 4000
        found = [item.text for item in chrome.find_elements(By.CSS_SELECTOR, "#shapes li")]
        assert "nearest first" in chrome.find_element(By.ID, "status").text
        chrome.save_screenshot(str(screenshot))
        chrome.find_element(By.ID, "undo").click()
        assert chrome.execute_script("return strokes.length") == len(CHAIR) - 1
        chrome.find_element(By.ID, "clear").click()
        wait.until(lambda _: not chrome.find_elements(By.CSS_SELECTOR, "#shapes li"))
        assert chrome.execute_script(dark) == 0
        severe = [entry for entry in chrome.get_log("browser") if entry["level"] == "SEVERE"]
        assert not [entry for entry in severe if "favicon" not in entry["message"]]
        return found
    finally:
        chrome.quit()


def test_a_chair_drawn_in_a_browser_finds_shapes(address, tmp_path):
    found = drawn_in_a_browser(address, tmp_path / "profile", tmp_path / "page.png")
    assert len(found) == K and all(re.fullmatch(r"(plate|stick|tower) \d+\.\d{3}", text) for text in found)
    with Image.open(tmp_path / "page.png") as image:
        assert np.asarray(image.convert("L")).std() > 10
