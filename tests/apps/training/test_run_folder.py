"""Each run has a folder of its own."""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from lightning.pytorch.utilities import rank_zero_only

from apps.io.atomic import write_file
from apps.training.run_folder import BesideIt, RunFolder, free_name
from tests.apps.processes import start
from tests.apps.small_data import DATA, command


def test_runs_that_start_at_the_same_moment_get_different_folders(tmp_path):
    """All have listed the folder before any makes its own."""
    runs, listed = [RunFolder(tmp_path) for _ in range(8)], Barrier(8)
    for run in runs:
        run._get_next_version = lambda run=run: (RunFolder._get_next_version(run), listed.wait())[0]
    with ThreadPoolExecutor(8) as threads:
        folders = list(threads.map(lambda run: run.log_dir, runs))
    assert sorted(folders) == [str(tmp_path / f"version_{number}") for number in range(8)]
    assert {str(path) for path in tmp_path.iterdir()} == set(folders)


def test_the_name_stays_and_tensorboard_has_the_same(tmp_path):
    run = RunFolder(tmp_path / "new/runs")
    beside = BesideIt(run)
    assert not (tmp_path / "new").exists()  # nothing is made before it is asked for
    assert beside.log_dir == run.log_dir == run.log_dir == str(tmp_path / "new/runs/version_0")
    assert RunFolder(tmp_path / "new/runs").version == 1


def test_a_file_of_that_name_is_passed_over(tmp_path):
    (tmp_path / "version_0").touch()
    assert RunFolder(tmp_path).version == 1


def test_a_place_where_no_run_can_be_kept_is_named(tmp_path):
    (tmp_path / "file").touch()
    for place in ("file", "file/runs"):
        with pytest.raises(OSError, match=f"no run can be kept in '.*{place}': Not a directory; give .* with --out"):
            RunFolder(tmp_path / place).log_dir  # noqa: B018


def test_a_name_beside_a_run_is_free_and_one_that_a_file_can_have(tmp_path):
    checkpoint = tmp_path / "run/checkpoints/best.ckpt"
    checkpoint.parent.mkdir(parents=True)
    for name in ("search-a.html", "search-a-2.html"):
        found = free_name(checkpoint, "search-a", ".html")
        assert found == tmp_path / "run" / name
        found.touch()
    for stem in (120 * "\u00e9", 250 * "x", os.fsdecode(b"caf\xe9")):
        write_file(free_name(checkpoint, stem, ".html"), lambda part: part.touch())
    assert len(list((tmp_path / "run").glob("*.html"))) == 5 and (tmp_path / "run/caf\\xe9.html").is_file()


def test_of_several_processes_the_first_makes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert RunFolder(tmp_path).version == 0 and not list(tmp_path.iterdir())


def test_a_place_that_is_no_folder_is_an_error(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(OSError, match="runs"):
        RunFolder(tmp_path / "runs").log_dir  # noqa: B018


def test_two_fits_that_are_started_together_keep_apart(tmp_path):
    (tmp_path / "data").mkdir()
    data = DATA["digits"][0](tmp_path / "data")
    words = command("digits", "fit", data, "--trainer.max_epochs", 1, "--out", tmp_path / "runs")
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        runs.append(start(*words, app="digits", folder=tmp_path / name))
    for run in runs:
        run.join(300)
    assert [run.exitcode for run in runs] == [0, 0]
    folders = sorted((tmp_path / "runs").iterdir())
    assert [folder.name for folder in folders] == ["version_0", "version_1"]
    assert all((folder / "results.json").is_file() and (folder / "metrics.csv").is_file() for folder in folders)
