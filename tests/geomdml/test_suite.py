"""`python -m geomdml.testing` passes what is right, and finds where what is wrong goes wrong."""

import importlib.util
import inspect
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geomdml import poincare, tangent
from geomdml.testing import __main__ as runner
from geomdml.testing import contracts, laws, peers, report, strategies, suite
from geomdml.testing.laws import BALL

ROOT = Path(__file__).parents[2]
SHAKY = """
from types import SimpleNamespace
import torch
from geomdml import poincare

def dist(x, y, *, c):
    far = 0.5 * c**0.5 * torch.maximum(poincare.dist0(x, c=c), poincare.dist0(y, c=c)) > 3
    return poincare.dist(x, y, c=c) * torch.where(far, 1.001, 1.0)

ball = SimpleNamespace(dist=dist, dist0=poincare.dist0)
"""
PEERS = [
    pytest.param(adapter, marks=pytest.mark.skipif(not importlib.util.find_spec(name), reason=f"no {name}"), id=name)
    for name, adapter in {"geoopt": peers.Geoopt, "hypll": peers.hypll}.items()
]


def law(name):
    return next(law for law in suite.table() if law.name == name)


def off_far_out(x, y, *, c):
    distance = poincare.dist(x, y, c=c)
    return distance * (1.001 if c**0.5 * max(poincare.dist0(z, c=c) for z in (x, y)) > 6.0 else 1.0)


def test_geomdml_keeps_every_law(capsys, tmp_path):
    assert runner.main(["--examples", "2", "--markdown", str(tmp_path / "laws.md")]) == 0
    said, page = capsys.readouterr().out, (tmp_path / "laws.md").read_text(encoding="utf-8")
    assert "BREAKS" not in said + page and "not offered" not in said + page
    told = [law.name for law in suite.table() if law.charts[0] in runner.OWN]
    for name in [*told, "tangent, D = 64", "lorentz, D = 8"]:
        assert name in said and f"| {name} |" in page
    for group in report.GROUPS:
        assert f"\n## {group.capitalize()}\n" in page and re.search(rf"laws hold: .*{group} (\d+) of \1\b", said)


def test_every_law_and_every_primitive_has_a_line():
    asked = {law.check.args[0] if law.f else law.check for law in suite.table()}
    written = {f for module in (laws, contracts) for f in vars(module).values() if is_law(module, f)}
    assert written == asked
    assert {(law.charts[0], law.f.name) for law in suite.table() if law.f} == {
        (chart, name) for chart, primitives in suite.CHARTS.items() for name in primitives
    }


def is_law(module, function):
    """Every function of a module of laws is one, but for what they share."""
    own = inspect.isfunction(function) and function.__module__ == module.__name__
    return own and not function.__name__.startswith("_") and function not in (laws.hold, laws.gradient_of)


def test_what_is_wrong_is_found_in_a_process_of_its_own(tmp_path):
    (tmp_path / "shaky.py").write_text(SHAKY)
    options = ["--implementation", "shaky:ball", "--laws", "dist is ex?ct", "--examples", "40", "--thorough"]
    command = [sys.executable, "-m", "geomdml.testing", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "BREAKS      dist is exact                                0.001    (bar 2.4e-07)" in done.stdout
    assert "holds for ordinary points up to radius 2; errors 1: " in done.stdout and "4: 0.001" in done.stdout
    assert "c = 1: error 0.001 > 2.4e-07; dist is " in done.stdout and ", truly " in done.stdout
    assert "0 of 1 laws hold" in done.stdout


def test_the_counter_example_breaks_the_law_and_is_small():
    wrong = SimpleNamespace(dist=off_far_out)
    verdict = suite.judge(law("dist is exact"), {"ball": wrong}, examples=40)
    assert verdict.holds_up_to == 2 and verdict.error == pytest.approx(1e-3, rel=1e-3)
    assert verdict.by_radius[2.0] < 2.4e-7 < verdict.by_radius[4.0] <= verdict.by_radius[torch.inf]
    assert verdict.broken.c == 1 and all(len(x) == 2 for x in verdict.broken.vectors)
    with pytest.raises(laws.Broken, match="dist is exact"):
        laws.is_exact(wrong, BALL["dist"], *verdict.broken.vectors, c=verdict.broken.c)
    assert suite.judge(law("dist is exact"), {"ball": wrong}, radius=1.9, examples=20).broken is None


def test_a_law_about_no_points_has_no_radius(capsys, monkeypatch):
    monkeypatch.setitem(runner.OWN, "ball", SimpleNamespace(dist=lambda x, y, *, c: (x - y).norm(dim=-1)))
    assert runner.main(["--laws", "dist refuses what cannot be", "--examples", "5"]) == 32  # manners alone
    said = capsys.readouterr().out
    assert "raises ValueError about ['c = ']: it did not" in said and "radius" not in said


def test_the_exit_status_says_which_groups_break(monkeypatch):
    class Crooked(torch.autograd.Function):
        """1.001 times a distance, whose gradient is off by more."""

        @staticmethod
        def forward(ctx, d):
            return 1.001 * d

        @staticmethod
        def backward(ctx, gradient):
            return 1.1 * gradient

    wrong = SimpleNamespace(dist=lambda x, y, *, c: Crooked.apply(poincare.dist(x, y, c=abs(c))))
    monkeypatch.setitem(runner.OWN, "ball", wrong)
    laws_of = ["dist is exact", "dist has flat limit", "dist gradient is exact", "dist refuses what cannot be"]
    status = {name: runner.main(["--laws", name, "--examples", "5"]) for name in laws_of}
    assert list(status.values()) == [4, 8, 16, 32]
    assert runner.main(["--laws", *laws_of, "--examples", "5"]) == 4 + 8 + 16 + 32
    assert runner.main(["--laws", *laws_of, "--examples", "5", "--skip", "mathematics"]) == 32


def test_judging_twice_is_the_same():
    first, second = (suite.judge(law("mobius_add is exact"), {"ball": poincare}, examples=9, seed=5) for _ in "12")
    assert first.error == second.error > 0


def test_what_an_implementation_raises_is_reported(capsys, monkeypatch):
    def dist(x, y, *, c):
        raise RuntimeError("no luck\ntoday")

    monkeypatch.setitem(runner.OWN, "ball", SimpleNamespace(dist=dist))
    assert runner.main(["--laws", "dist0 is exact", "--examples", "1"]) == 0
    assert "not offered" in capsys.readouterr().out
    assert runner.main(["--laws", "dist has flat limit", "--examples", "2"]) == 8  # geometry
    assert "raises RuntimeError: no luck\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--implementation", "nothing"], "expected geomdml, geoopt, hypll, hypercore, meru or module:attribute"),
        (["--implementation", "no_such_module:ball"], "No module named 'no_such_module'"),
        (["--implementation", "geomdml.poincare:nothing"], "has no attribute 'nothing'"),
        (["--implementation", "geomdml:__version__"], "has none of the functions dist, "),
        (["--implementation", "hypll", "--chart", "lorentz"], "hypll has no chart 'lorentz'; expected ball"),
        (["--implementation", "geomdml.geoopt:PoincareBall"], "is a class; expected an object with functions"),
        (["--implementation", "geomdml.euclidean:"], "dist(x: "),
        (["--implementation", "geomdml.poincare:", "--convention", "geoopt"], "is no class; expected one of manifolds"),
        (["--implementation", "geomdml.cones:", "--convention", "meru"], "has none of MERU's functions pairwise_dist"),
        (["--laws", "no such law"], "no law has a name like 'no such law'"),
        (["--markdown", "no/such/folder/laws.md"], "there is no folder"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments, line, capsys):
    assert runner.main(arguments) == 2
    said = capsys.readouterr()
    assert line in said.err and said.err.count("\n") == 1 and not said.out


def test_a_library_that_is_not_installed_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "hypll", None)
    monkeypatch.setitem(sys.modules, "hypll.manifolds.poincare_ball.math", None)
    assert runner.main(["--implementation", "hypll"]) == 2
    assert capsys.readouterr().err.endswith("pip install hypll==0.1.1\n")


def test_a_reader_that_has_read_enough_ends_it_quietly():
    command = [sys.executable, "-m", "geomdml.testing", "--laws", "dist is exact", "--examples", "1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        running.stdout.close()
        assert running.stderr.read() == "" and running.wait() == 141


def test_an_interruption_keeps_what_is_done(capsys, monkeypatch, tmp_path):
    def judge(law, *args, **options):
        if law.name == "dist0 is exact":
            raise KeyboardInterrupt
        return suite.Verdict(law)

    monkeypatch.setattr(suite, "judge", judge)
    assert runner.main(["--markdown", str(tmp_path / "laws.md")]) == 130
    assert "2 of 2 laws hold: values 2 of 2; interrupted, " in capsys.readouterr().out
    assert "| pairwise_dist is exact |" in (tmp_path / "laws.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("peer", PEERS)
@given(st.data())
def test_peers_are_asked_for_the_same_functions(peer, data):
    """Where floating point is easy they agree, so that what breaks far out is not a convention."""
    easy = {"nearest": 0.1, "farthest": 0.5, "dimensions": (3,), "c": strategies.curvatures(0.5, 2.0)}
    implementation = peer()
    for f in BALL.values():
        if hasattr(implementation, f.name):
            *vectors, c = data.draw(strategies.inputs(f, torch.float64, relations=["independent"], **easy))
            laws.is_exact(implementation, f, *vectors, c=c, bar=1e-9)


@pytest.mark.parametrize("peer", PEERS)
def test_peers_break_down_far_out(peer):
    verdict = suite.judge(law("dist is exact"), {"ball": peer()}, examples=5)
    assert verdict.broken and verdict.error > 1e-2


def test_errors_by_radius_tell_right_from_wrong():
    wrong = SimpleNamespace(dist=lambda x, y, *, c: 1.001 * poincare.dist(x, y, c=c))
    for space, chart in ((poincare, "ball"), (tangent, "tangent")):
        assert max(suite.errors_by_radius(space, chart, 8, pairs=5)) < 2.4e-7
    assert suite.errors_by_radius(wrong, "ball", 8, pairs=5) == pytest.approx([1e-3] * len(suite.RADII), rel=1e-3)


@pytest.mark.parametrize("name", sorted(suite._WALKS))
def test_the_radius_to_which_walks_are_held_is_in_their_docstrings(name):
    assert f"tanh({suite._SLOPING})/√c = {math.tanh(suite._SLOPING):.3f}/√c" in getattr(poincare, name).__doc__


def far_out(x, y, *, c):
    """Off by a thousandth everywhere."""
    return 1.001 * poincare.dist(x, y, c=c)


def test_laws_are_chosen_and_skipped_by_patterns_and_groups(capsys, monkeypatch):
    monkeypatch.setitem(runner.OWN, "ball", SimpleNamespace(dist=far_out))
    ball = ["--laws", "dist is exact", "dist is symmetric", "refusals", "--examples", "5"]
    assert runner.main([*ball, "--skip", "refusals", "pairwise", "dist0"]) == 4  # values
    said = capsys.readouterr().out
    assert "BREAKS      dist is exact" in said and "dist is symmetric" in said and "refuses" not in said
    assert runner.main([*ball, "--skip", "refusals", "is exact"]) == 0
    assert runner.main(["--laws", "dist is exact", "--skip", "values"]) == 2
    assert "that --skip leaves (values)" in capsys.readouterr().err


def test_errors_within_a_tolerance_break_no_law(monkeypatch):
    monkeypatch.setitem(runner.OWN, "ball", SimpleNamespace(dist=far_out))
    chosen = ["--laws", "dist is exact", "--skip", "pairwise", "dist0", "--examples", "5"]
    assert runner.main([*chosen, "--tolerance", "0.002"]) == 0
    assert runner.main([*chosen, "--tolerance", "0.0005"]) == 4


def test_only_what_is_worse_than_a_baseline_counts(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(runner.OWN, "ball", SimpleNamespace(dist=far_out))
    chosen = ["--laws", "dist is exact", "--skip", "pairwise", "dist0", "--examples", "5"]
    baseline = str(tmp_path / "laws.json")
    assert runner.main([*chosen, "--json", baseline]) == 4
    held = json.loads(Path(baseline).read_text(encoding="utf-8"))["laws"]
    assert held["ball: values: dist is exact"]["holds"] is False
    assert held["ball: values: dist is exact"]["error"] == pytest.approx(1e-3, rel=1e-3)
    assert runner.main([*chosen, "--baseline", baseline]) == 0
    monkeypatch.setitem(runner.OWN, "ball", SimpleNamespace(dist=lambda x, y, *, c: 3 * far_out(x, y, c=c)))
    capsys.readouterr()
    assert runner.main([*chosen, "--baseline", baseline]) == 4
    assert f"1 of {len(held)} laws are worse than in" in capsys.readouterr().out
    Path(baseline).write_text("[]")
    assert runner.main([*chosen, "--baseline", baseline]) == 2
    assert "expected a file that --json wrote" in capsys.readouterr().err


def test_the_laws_are_tests_of_pytest(tmp_path):
    (tmp_path / "shaky.py").write_text(SHAKY)
    command = [sys.executable, "-m", "pytest", "-p", "geomdml.testing.pytest_plugin", "-p", "no:dash", "-q"]
    command += ["-p", "no:cacheprovider", "--geomdml-examples", "8", "-k", "values and dist"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "PYTHONIOENCODING": "utf-8"}

    def run(implementation, *options):
        return subprocess.run(
            [*command, "--geomdml-laws", implementation, *options], cwd=tmp_path, env=environment, capture_output=True,
            text=True, encoding="utf-8",
        )  # fmt: skip

    done = run("shaky:ball")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BREAKS      dist is exact" in done.stdout and "1 failed" in done.stdout and "skipped" in done.stdout
    assert "expected geomdml, geoopt, hypll, hypercore, meru or module:attribute" in run("nothing").stderr
    if importlib.util.find_spec("geoopt"):  # whose convention geomdml.geoopt keeps
        done = run("geomdml.geoopt:Lorentz", "--geomdml-convention", "geoopt")
        assert done.returncode == 0 and "failed" not in done.stdout and "passed" in done.stdout, done.stdout
