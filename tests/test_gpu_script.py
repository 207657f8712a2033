"""The parts of `make gpu` run on the CPU at tiny sizes, so that none breaks on its first real run."""

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_parts import PARTS
from benchmarks.measuring import in_own_process

APART = {"kernels", "processes"}  # need a process of their own: Triton's interpreter, two processes


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # geoopt's
@pytest.mark.parametrize("name", [name for name in PARTS if name not in APART])
def test_a_part_makes_a_table(name):
    torch.manual_seed(0)
    try:
        table = PARTS[name][0]("cpu", True)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert table["rows"] or table["note"] == "8 of 8 agree."
    assert all(len(row) == len(table["header"]) for row in table["rows"])
    assert table["header"][0] in gpu.markdown(table) or not table["rows"]


def test_accuracy_tells_right_from_wrong():
    rows = {row[0]: row for row in PARTS["accuracy"][0]("cpu", True)["rows"]}
    torch.set_float32_matmul_precision("highest")
    assert all(float(error) <= 2.4e-7 for name in ("tangent", "Lorentz", "ball") for error in rows[name][2:])
    assert float(rows["MERU"][-1]) > 0.1  # near pairs have no digits in one float32 product


def test_a_page_is_written_and_what_fails_is_named(tmp_path, capsys, monkeypatch):
    """Kernels through the interpreter; a part that needs longer than it may; parts that no time is left for."""
    page = tmp_path / "reports" / "gpu.md"
    monkeypatch.setitem(PARTS, "kernels", (PARTS["kernels"][0], 600))  # this machine may be busy
    found = gpu.run(["kernels"], "cpu", tiny=True, seconds=600, out=page, gpu="Pretended, 1 GiB")
    assert float(found["kernels"]["rows"][0][-1]) <= 1e-6
    found = gpu.run(["accuracy", "losses"], "cpu", tiny=True, seconds=0.2, out=page, gpu="Pretended, 1 GiB")
    assert (
        found["accuracy"]["failed"] == "not done within 0 seconds" and found["losses"]["failed"] == "no time was left"
    )
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# On Pretended\n") and "Failed: accuracy, losses." in text
    assert "accuracy: not done within 0 seconds" in capsys.readouterr().out


def test_two_processes_give_the_gradient_of_one():
    table = in_own_process("benchmarks.gpu_parts", {"part": "processes", "device": "cpu", "tiny": True})
    assert float(table["rows"][0][1]) <= 1e-6, table


def test_the_parts_take_less_than_eight_minutes():
    assert gpu.SECONDS < 480 and all(limit <= 90 for _, limit in PARTS.values())


def test_without_a_gpu_a_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.main()
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("torch finds no GPU here; run `make gpu` on a machine that has one")
