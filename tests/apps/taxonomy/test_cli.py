"""The app through its command line: real fits of seconds on a small tree."""

import csv
import json
import re
import shutil
import signal

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from apps.taxonomy import plots, serve
from apps.taxonomy.__main__ import main
from apps.taxonomy.model import TaxonomyEmbedding
from geomdml.search.__main__ import read_space
from geomdml.spaces import Hyperbolic
from tests.apps.command_line import App, assert_complete, results
from tests.apps.options import assert_options_win
from tests.apps.serving import Browser, chosen, served

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's; a user's process shows or hides them by its own rules
SMALL = ("--data.root_synset", "null", "--data.validated", "30", "--data.batch_size", "32")
app = App("taxonomy", fit=(*SMALL, "--data.steps", "200", "--model.lr", "0.1"))


def test_a_run_leaves_its_scores_report_and_checkpoints(finished):
    assert_complete(finished)
    found = results(finished)
    trained, placed, euclidean = found["scores"].values()
    assert list(found["scores"]) == [
        "trained embedding, 2-d",
        "placed by construction, 2-d, not trained",
        "Euclidean, 2-d, 20 steps",
    ]
    assert placed["map"] == pytest.approx(100) and placed["mean_rank"] == 1  # the data are a tree
    assert trained["map"] > 98 > 40 > euclidean["map"] and trained["mean_rank"] < 1.1 < 10 < euclidean["mean_rank"]
    assert 0 < trained["distortion"] < 1 and 0.5 < trained["correlation"] <= 1
    assert found["facts"]["size"].startswith("63 nodes, 62 edges, 258 pairs")
    with (finished / "metrics.csv").open() as file:
        assert {"loss", "val/MAP", "val/mean_rank", "radius/depth_0", "radius/depth_5"} <= set(next(csv.reader(file)))


def test_the_report_shows_the_tree_and_needs_no_network(finished):
    page = (finished / "report.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    data = json.loads(re.search(r'id="data">(.*?)</script>', page).group(1))
    assert len(data["points"]) == len(data["names"]) == len(data["depths"]) == 63
    assert len(data["edges"]) == 62 and data["names"][0] == "n1"  # the most general is the first to be labelled
    assert all(x**2 + y**2 < 1 for x, y in data["points"])
    for title in ("Poincaré disk", "From a leaf to the root", "Nearest neighbours", "Worst ranked nodes", "Over time"):
        assert f"<h2>{title}</h2>" in page


def test_names_cannot_leave_the_page_they_are_shown_in(tmp_path):
    root = tmp_path / "evil.csv"
    root.write_text(
        "".join(f"</script><img src=x>{node},<b>{node // 2}\n<b>{node},</script><img src=x>1\n" for node in range(2, 9))
    )
    app("fit", root, tmp_path, *SMALL, "--trainer.max_epochs", "1", "--data.steps", "2")
    page = (tmp_path / "version_0/report.html").read_text()
    assert page.count("</script>") == 2 and "<img src=x>" not in page and "<b>" not in page


def test_options_beside_a_checkpoint_win_or_are_refused(finished, tmp_path):
    assert_options_win(main, finished, tmp_path, "--model.dim", "24")


@pytest.mark.parametrize("command", ["test", "predict", "fit"])
def test_points_of_one_chart_are_not_taken_for_those_of_another(finished, tmp_path, command):
    which = "last" if command == "fit" else "best"
    checkpoint = str(finished / f"checkpoints/{which}.ckpt")
    with pytest.raises(
        SystemExit, match=r"--model.space ball \(the checkpoint has tangent\): the weights .* do not fit"
    ):
        main([command, "--ckpt_path", checkpoint, "--model.space", "ball", "--out", str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_tests_to_the_same_scores(finished, tmp_path):
    app.assert_tests_to_the_same_scores(finished, tmp_path)


def test_predict_writes_every_form(finished, tmp_path):
    app.after("predict", finished, tmp_path)
    folder = tmp_path / "version_0"
    wanted = torch.load(finished / "checkpoints/best.ckpt", weights_only=True)["state_dict"]["points.weight"]
    with safe_open(folder / "embeddings.safetensors", "pt") as file:
        assert torch.equal(file.get_tensor("embeddings"), wanted)
        assert file.get_tensor("edges").shape == (62, 2)
        names = json.loads(file.metadata()["names"])
    spaces = [read_space(folder / f"embeddings.{suffix}") for suffix in ("safetensors", "parquet")]
    assert [repr(space) for space in spaces] == [repr(Hyperbolic(1.0))] * 2
    table = pq.read_table(folder / "embeddings.parquet").to_pydict()
    assert table["name"] == names and torch.equal(torch.tensor(table["embedding"]), wanted)
    assert table["nodes_below"][names.index("n1")] == 62
    vectors, metadata = ((folder / name).read_text().splitlines() for name in ("vectors.tsv", "metadata.tsv"))
    assert torch.equal(torch.tensor([list(map(float, line.split("\t"))) for line in vectors]), wanted)
    assert metadata[0] == "name\tdepth\tnodes_below" and len(metadata) == len(vectors) + 1


def test_a_run_that_is_stopped_goes_on_to_the_numbers_of_an_unbroken_one(root, tmp_path, monkeypatch):
    app("fit", root, tmp_path, *SMALL)
    step = TaxonomyEmbedding.training_step

    def stopped(self, batch, batch_idx):
        if self.global_step == 26:
            signal.raise_signal(signal.SIGTERM)
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(TaxonomyEmbedding, "training_step", stopped)
        app("fit", root, tmp_path, *SMALL)
    assert stop.value.code == 128 + signal.SIGTERM
    app("fit", root, tmp_path, *SMALL, "--ckpt_path", str(tmp_path / "version_1/checkpoints/last.ckpt"))
    whole, part, resumed = (
        torch.load(tmp_path / f"version_{n}/checkpoints/last.ckpt", weights_only=True) for n in range(3)
    )
    assert [each["global_step"] for each in (whole, part, resumed)] == [40, 27, 40]
    assert torch.equal(whole["state_dict"]["points.weight"], resumed["state_dict"]["points.weight"])  # bitwise
    first, second = (tmp_path / f"version_{n}/results.json" for n in (0, 2))
    assert first.read_text() == second.read_text()


@pytest.mark.parametrize(
    "options",
    [
        ("--model.space", "ball", "--model.lr", "0.02"),
        ("--model.space", "lorentz", "--model.lr", "0.1"),
        ("--model.space", "euclidean"),
        ("--model.space", "tangent:3+euclidean:2", "--model.learn_c", "true", "--model.dim", "5"),
        ("--model.learn_c", "true"),
        ("--model.optimizer", "adagrad"),
        ("--model.optimizer", "sgd", "--model.lr", "1", "--model.burn_in", "5"),
        ("--model.initial", "random", "--model.optimizer", "adam", "--model.lr", "0.3", "--data.relatives", "0"),
        ("--model.dim", "3", "--data.power", "0"),
        ("--model.dim", "1"),
    ],
    ids=lambda options: " ".join(options),
)
def test_spaces_and_optimizers_learn(root, tmp_path, options):
    app("fit", root, tmp_path, *SMALL, "--model.euclidean_steps", "0", *options)
    with (tmp_path / "version_0/metrics.csv").open() as file:
        scores = [float(row["val/MAP"]) for row in csv.DictReader(file) if row["val/MAP"]]
    assert scores[-1] > 15  # of random points: 11
    assert (tmp_path / "version_0/report.html").stat().st_size > 0


def test_search_prints_neighbours_and_ancestors(finished, capsys):
    checkpoint = str(finished / "checkpoints/best.ckpt")
    main(["search", "--ckpt_path", checkpoint, "--node", "n40", "--k", "3"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "nearest to n40:" and lines[4] == "ancestors of n40:"
    assert {line.split()[1] for line in lines[5:]} == {"n20", "n10", "n5", "n2", "n1"}
    assert all(re.search(r"rank \d+$", line) for line in lines[5:])
    for arguments, message in (
        (("--node", "m1"), "no node 'm1'"),
        (("--node", "n1", "--k", "0"), "--k 0"),
        (("--node", "n1", "--ckpt_path", "none.ckpt"), "does not exist"),
    ):
        with pytest.raises(SystemExit, match=message):
            main(["search", "--ckpt_path", checkpoint, *arguments])


def test_check_says_what_is_there(root, capsys, tmp_path):
    main(["check", "--data.root", str(root)])
    said = capsys.readouterr().out
    assert "63 nodes, 62 edges, 258 pairs" in said and "nodes by depth: 0: 1, 1: 2, 2: 4" in said
    assert "most general: n1 (62 below)" in said
    with pytest.raises(SystemExit, match=r"error: --data\.root"):
        main(["check", "--data.root", str(tmp_path / "none.csv")])


def test_a_run_starts_from_the_points_of_another(finished, root, tmp_path):
    earlier = str(finished / "checkpoints/best.ckpt")
    tiny = (
        *SMALL,
        "--data.steps",
        "1",
        "--trainer.max_epochs",
        "1",
        "--model.lr",
        "1e-9",
        "--model.euclidean_steps",
        "0",
    )
    app("fit", root, tmp_path, *tiny, "--model.initial", earlier)
    first, second = (
        torch.load(folder / "checkpoints/best.ckpt", weights_only=True)["state_dict"]["points.weight"]
        for folder in (finished, tmp_path / "version_0")
    )
    torch.testing.assert_close(first, second, rtol=0, atol=1e-6)
    with pytest.raises(SystemExit, match=r"has c = 1; expected --model\.c 1"):
        app("fit", root, tmp_path, *tiny, "--model.initial", earlier, "--model.c", "2")
    with pytest.raises(SystemExit, match="has dim 2, and this run 3; expected a checkpoint of the same taxonomy"):
        app("fit", root, tmp_path, *tiny, "--model.initial", earlier, "--model.dim", "3")


def test_held_out_edges_are_asked_for(root, tmp_path):
    app("fit", root, tmp_path, *SMALL, "--data.held_out", "0.2", "--data.steps", "50", "--model.euclidean_steps", "50")
    found = results(tmp_path / "version_0")
    trained, placed, euclidean = found["scores"].values()
    assert found["facts"]["held out"] == "52 of these pairs"
    for ours in (trained, placed):
        assert ours["held_out_map"] > 60 > 40 > euclidean["held_out_map"]
        assert ours["held_out_rank"] < euclidean["held_out_rank"]
    assert "held-out mean rank" in (tmp_path / "version_0/report.html").read_text()


def test_a_run_resumes_without_the_run_that_it_started_from(finished, root, tmp_path):
    earlier = tmp_path / "earlier.ckpt"
    shutil.copy(finished / "checkpoints/best.ckpt", earlier)
    tiny = (*SMALL, "--data.steps", "2", "--model.euclidean_steps", "0", "--model.initial", str(earlier))
    app("fit", root, tmp_path, *tiny, "--trainer.max_epochs", "1")
    earlier.unlink()
    last = str(tmp_path / "version_0/checkpoints/last.ckpt")
    app("fit", root, tmp_path, *tiny, "--trainer.max_epochs", "2", "--ckpt_path", last)
    resumed = torch.load(tmp_path / "version_1/checkpoints/last.ckpt", weights_only=True)
    assert resumed["global_step"] == 4


def test_compare_trains_in_every_space_with_the_same_budget(root, tmp_path):
    few = (
        "--candidates",
        "['nested balls', 'ball', 'euclidean']",
        "--seeds",
        "1",
        "--budget",
        "2",
        "--search_steps",
        "3",
    )
    app("compare", root, tmp_path, *SMALL, *few, "--folder", str(tmp_path / "compare"))
    with (tmp_path / "compare/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["candidate"] for row in rows} == {"nested balls", "ball", "euclidean"}
    assert (tmp_path / "compare/table.md").read_text().count("nested balls") >= 2


def test_a_sweep_varies_dimensions_floats_and_the_pairs_held_out_and_scores_before_training(root, tmp_path):
    swept = "['nested balls, 20% held out', 'nested balls, float64', 'euclidean, 5-d']"
    few = ("--seeds", "2", "--budget", "1", "--search_steps", "3", "--trainer.max_epochs", "1", "--moments", "[0]")
    app("sweep", root, tmp_path, *SMALL, "--candidates", swept, *few, "--folder", str(tmp_path / "sweep"))
    with (tmp_path / "sweep/results.csv").open() as file:
        found = {(r["candidate"], r["seed"], r["step"], r["score"]): float(r["value"]) for r in csv.DictReader(file)}
    assert found["nested balls, float64", "0", "0", "MAP"] == pytest.approx(100)  # the data are a tree
    assert found["euclidean, 5-d", "0", "0", "MAP"] < 30 < found["nested balls, 20% held out", "0", "0", "held-out MAP"]
    assert ("euclidean, 5-d", "0", "20", "held-out MAP") not in found
    first, second = (found["nested balls, 20% held out", seed, "20", "held-out mean rank"] for seed in "01")
    assert first != second  # each seed holds out others
    assert "**Before training**" in (tmp_path / "sweep/table.md").read_text()


def test_the_figure_of_a_run_is_drawn(finished, tmp_path):
    plots.main([str(finished / "checkpoints/best.ckpt"), "--out", str(tmp_path)])
    with Image.open(tmp_path / "taxonomy-disk.png") as figure:
        assert figure.size == (plots.PIXELS, plots.PIXELS)
        assert len(figure.convert("RGB").getcolors()) > 10  # something is drawn
    with pytest.raises(SystemExit, match=r"error: .*none\.ckpt"):
        plots.main([str(tmp_path / "none.ckpt"), "--out", str(tmp_path)])


def test_mistakes_end_with_one_line(root, tmp_path):
    for arguments, message in (
        (("--data.steps", "0"), r"error: --data\.steps = 0"),
        (("--model.lr", "-1"), r"error: --model\.lr = -1"),
        (("--model.space", "euclidean", "--model.learn_c", "true"), "expected a hyperbolic space"),
        (
            ("--model.space", "sphere"),
            r"--model\.space sphere; expected tangent, ball, lorentz, euclidean, or a product",
        ),
        (("--model.space", "tangent+ball"), "expected the tangent chart in a product"),
        (
            ("--model.space", "tangent:3+euclidean:2", "--model.dim", "4"),
            "expected dimensions of at least 1 that add up",
        ),
        (("--data.root_synset", "n99"), "no node 'n99'"),
        (("--data.power", "3"), r"--data\.power = 3"),
        (("--data.held_out", "1"), r"--data\.held_out = 1"),
        (("--data.relatives", "2"), r"--data\.relatives = 2"),
        (("--model.space", "ball", "--model.optimizer", "polar"), "expected the tangent chart"),
        (("--model.initial", "balls", "--model.dim", "1"), "expected a hyperbolic space of two dimensions or more"),
        (("--model.euclidean_lr", "-1"), r"--model\.euclidean_lr = -1"),
        (("--model.initial", "nowhere.ckpt"), "'nowhere.ckpt' does not exist"),
    ):
        with pytest.raises(SystemExit, match=message):
            app("fit", root, tmp_path, *SMALL, *arguments)
    with pytest.raises(SystemExit, match="no command 'train': one of fit"):
        main(["train"])


def test_a_node_named_in_a_browser_finds_its_neighbours(finished, tmp_path):
    """The ways down to the nodes, and the branches to filter by, are those of the tree."""
    with served(serve.searcher(chosen(finished)), 4) as address, Browser(address, tmp_path / "profile") as page:
        found = [text.splitlines() for text in page.name("n8")]
        assert {lines[0] for lines in found} & {"n4", "n16", "n17"}  # its parent and its children
        for name, _, _, *way in found:
            number, up = int(name[1:]), []
            while number > 1:
                number //= 2
                up.append(f"n{number}")
            assert "".join(way) == " › ".join(reversed(up))
        page.run("document.getElementById('class').value = 'n3';"
                 "document.getElementById('class').dispatchEvent(new Event('change'))")  # fmt: skip
        assert all(text.splitlines()[1] == "n3" for text in page.found())
        page.name("no such node")
        assert page.status.startswith("no node 'no such node' in ")
        page.screenshot(tmp_path / "page.png")
