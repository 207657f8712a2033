"""The page of a trained network, drawn on and dropped on in a real browser."""

import re

import numpy as np
import pytest
from PIL import Image

from apps.serve.searcher import Searcher
from apps.sketch import draw, serve
from tests.apps.serving import Browser, chosen, served

pytestmark = pytest.mark.filterwarnings("ignore")
K = 5
CHAIR = [[(150, 60), (150, 420)], [(150, 250), (330, 250), (330, 420)], [(150, 60), (170, 250)]]
DARK = "return pen.getImageData(0, 0, 480, 480).data.filter((v, i) => i % 4 == 0 && v < 99).length"


@pytest.fixture(scope="module")
def searcher(finished) -> Searcher:
    return serve.searcher(chosen(finished))


def stroke(page: Browser, points: list[tuple[int, int]]) -> None:
    from selenium.webdriver import ActionChains

    canvas, chain = page.find("#canvas"), ActionChains(page.chrome, duration=20)
    side = canvas.size["width"]
    places = [(round((x / 480 - 0.5) * side), round((y / 480 - 0.5) * side)) for x, y in points]
    chain.move_to_element_with_offset(canvas, *places[0]).click_and_hold()
    for x, y in places[1:]:
        chain.move_to_element_with_offset(canvas, x, y)
    chain.release().perform()


def test_a_chair_drawn_and_a_mesh_dropped_in_a_browser_find_shapes(searcher, root, tmp_path):
    with served(searcher, K) as address, Browser(address, tmp_path / "profile") as page:
        page.find("#canvas").click()  # a dot is a drawing too: a stroke begins as one
        assert len(page.found()) == K and "nearest first" in page.status
        page.find("#undo").click()
        assert page.found() == []
        for points in CHAIR:
            stroke(page, points)
        found = page.found()
        assert len(found) == K and all(re.fullmatch(r"(plate|stick|tower)\n\d+\.\d{3}", text) for text in found)
        assert page.run(DARK) > 4000
        page.screenshot(tmp_path / "page.png")
        page.find("#undo").click()
        assert page.run("return strokes.length") == len(CHAIR) - 1
        page.find("#clear").click()
        assert page.found() == [] and page.run(DARK) == 0
        mesh = next(root.glob("**/m1.off"))
        own = page.drop(mesh.name, mesh.read_bytes())[0].splitlines()
        assert own[0] == "plate" and float(own[1]) < 1e-3  # itself
    with Image.open(tmp_path / "page.png") as image:
        assert np.asarray(image.convert("L")).std() > 10


def test_the_earlier_name_of_the_command_opens_the_same_page():
    assert draw.main is serve.main
    with pytest.raises(SystemExit, match=r"error: 'nowhere\.ckpt' does not exist"):
        draw.main(["--checkpoint", "nowhere.ckpt"])
