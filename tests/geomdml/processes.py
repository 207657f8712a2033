"""Processes that work together, each given its part of a tensor."""

import datetime
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed

SERVER = multiprocessing.get_context("forkserver")


def run_together(count: int, work: Callable[..., Any], folder: Path, *arguments: object) -> list[Any]:
    """What `work(rank, count, *arguments)` returns in each of so many processes of one gloo group."""
    folder.mkdir(exist_ok=True)
    processes = [
        SERVER.Process(target=_work, args=(rank, count, work, folder, *arguments), daemon=True) for rank in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [0] * count
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(count)]


def _work(rank: int, count: int, work: Callable[..., Any], folder: Path, *arguments: object) -> None:
    torch.set_num_threads(1)
    meet, seconds = f"file://{folder}/meet", datetime.timedelta(seconds=100)
    distributed.init_process_group("gloo", meet, rank=rank, world_size=count, timeout=seconds)
    torch.save(work(rank, count, *arguments), folder / f"{rank}.pt")
    distributed.destroy_process_group()
