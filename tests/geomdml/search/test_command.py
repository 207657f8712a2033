"""`python -m geomdml.search` on files as people have them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from geomdml.search import HyperbolicIndex, knn
from geomdml.search.__main__ import advice, main
from geomdml.spaces import Hyperbolic


@pytest.fixture
def points() -> torch.Tensor:
    return torch.randn(300, 4, generator=torch.Generator().manual_seed(0))


def test_build_and_query(tmp_path, capsys, points):
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(points.numpy().reshape(-1)), 4)
    pq.write_table(pa.table({"H": vectors, "label": np.arange(300) % 2}), tmp_path / "e.parquet")
    save_file({"E": points.clone(), "H": points, "labels": torch.arange(300) % 2}, tmp_path / "e.safetensors")
    for file, labels in (("e.parquet", "label"), ("e.safetensors", "labels")):
        path, out = str(tmp_path / file), str(tmp_path / "index")
        main(["build", path, "--vectors", "H", "--labels", labels, "--out", out, "--kind", "graph"])
        assert "300 points, graph" in capsys.readouterr().out
        main(["query", out, "--file", path, "--vectors", "H", "--rows", "7", "12", "--k", "2", "--label", "1"])
        found = [[int(part.split("(")[0]) for part in line.split(": ")[1].split("  ")] for line in _lines(capsys)]
        odd = knn(points[[7, 12]], points[1::2], 2, space=Hyperbolic(0.5)).indices
        assert found == (2 * odd + 1).tolist()


@pytest.mark.parametrize("unseen", [[], ["--unseen"]])
def test_bench(tmp_path, capsys, points, unseen):
    save_file({"H": points}, tmp_path / "e.safetensors")
    main(["bench", str(tmp_path / "e.safetensors"), "--out", str(tmp_path / "out"), "--queries", "20", *unseen])
    assert _lines(capsys)[-1].startswith("use kind=")
    header, *rows = (tmp_path / "out" / "search.csv").read_text().splitlines()
    assert header == "kind,effort,recall,queries_per_second" and len(rows) == 7
    assert [int(row.split(",")[1]) for row in rows] == [1, 20, 32, 64, 128, 256, 512]
    assert rows[0].startswith("flat,1,1.0,") and (tmp_path / "out" / "search.png").stat().st_size > 1000


def test_the_space_is_what_the_file_says_unless_it_is_given(tmp_path, capsys, points):
    about, out = {"c": "1.25", "chart": "ball"}, ["--out", str(tmp_path / "index")]
    inside = Hyperbolic(1.25).to("ball", points)
    save_file({"H": inside}, tmp_path / "e.safetensors", metadata=about)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(inside.numpy().reshape(-1)), 4)
    pq.write_table(pa.table({"H": vectors}, metadata=about), tmp_path / "e.parquet")
    for name in ("e.safetensors", "e.parquet"):
        main(["build", str(tmp_path / name), *out])
        assert repr(HyperbolicIndex.load(tmp_path / "index").space) == repr(Hyperbolic(1.25, chart="ball"))
        main(["build", str(tmp_path / name), *out, "--c", "0.5", "--chart", "tangent"])
        assert repr(HyperbolicIndex.load(tmp_path / "index").space) == repr(Hyperbolic(0.5))


def test_advice():
    slow = [("flat", 1, 1.0, 100.0), ("graph", 512, 0.99, 90.0)]
    assert advice(slow, 500) == 'use kind="flat", which is exact: the graph is no faster here (few points)'
    poor = [("flat", 1, 1.0, 100.0), ("graph", 512, 0.6, 900.0)]
    assert "finds less than 95 %" in advice(poor, 10**6)


def test_a_mistake_ends_in_one_line(tmp_path, points):
    save_file({"E": points, "H": points.clone()}, tmp_path / "two.safetensors")
    (tmp_path / "text.parquet").write_text("no")
    (tmp_path / "text.txt").write_text("no")
    out = ["--out", str(tmp_path / "out")]
    for arguments, message in (
        (["build", str(tmp_path / "none.parquet"), *out], "does not exist"),
        (["build", str(tmp_path / "two.safetensors"), *out], r"has points in \['E', 'H'\]; name one"),
        (["build", str(tmp_path / "two.safetensors"), "--vectors", "X", *out], "--vectors X"),
        (["build", str(tmp_path / "two.safetensors"), "--vectors", "E", "--labels", "y", *out], "no such tensor"),
        (["build", str(tmp_path / "text.parquet"), *out], "is no Parquet file"),
        (["build", str(tmp_path / "text.txt"), *out], "neither a .parquet nor a .safetensors"),
        (["bench", str(tmp_path / "two.safetensors"), "--vectors", "E", "--unseen", *out], "--queries 500 --k 10"),
        (["query", str(tmp_path), "--file", "x", "--rows", "1"], "index.json is missing"),
    ):
        with pytest.raises(SystemExit, match=f"error: .*{message}"):
            main(arguments)


def _lines(capsys) -> list[str]:
    return capsys.readouterr().out.splitlines()
