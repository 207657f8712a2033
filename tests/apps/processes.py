"""Runs of the app in processes of their own that are struck down at a step, or are several that work together."""

import multiprocessing
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch.distributed.fsdp import FullyShardedDataParallel

# Forked from one process that has imported everything, and has run nothing.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["apps.chest_vit.data", "apps.chest_vit.model", "apps.chest_vit.results", __name__])


class ShardedOnCPU(FSDPStrategy):
    """Lightning refuses its own FSDPStrategy on a CPU; torch does not, if told that the device is one."""

    def _setup_model(self, model):
        return FullyShardedDataParallel(model, device_id=torch.device("cpu"), **self.kwargs)


def kill_workers() -> None:
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGKILL)


def fill_disk() -> None:
    """No file can grow beyond 20 kB: less than a checkpoint, more than a log."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


STRIKES: dict[str, Callable[[], None]] = {
    **{name: lambda name=name: os.kill(os.getpid(), signal.Signals[name]) for name in ("SIGKILL", "SIGTERM", "SIGINT")},
    "workers": kill_workers,
    "disk": fill_disk,
}


def start(
    *arguments: object, folder: Path, strike: str = "", step: int = 0, environment: Mapping[str, str] | None = None
) -> multiprocessing.Process:
    """A process of the app; `strike` befalls it in the midst of optimiser step `step`, the first being 1."""
    words = [str(argument) for argument in arguments]
    process = FORKS.Process(target=_app, args=(words, folder, strike, step, dict(environment or {})))
    process.start()
    return process


def run(*arguments: object, folder: Path, **kwargs) -> tuple[int, str]:
    """The exit code of a process of the app, and what it printed."""
    process = start(*arguments, folder=folder, **kwargs)
    process.join(300)
    return process.exitcode, (folder / "output.txt").read_text()


def finish(*arguments: object, folder: Path) -> Path:
    """The run's folder, after a process of the app in which nothing failed."""
    code, output = run(*arguments, folder=folder)
    assert code == 0, output
    return folder / "runs/version_0"


def ranks(count: int) -> list[dict[str, str]]:
    """The environments of so many processes that work together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0"} for rank in range(count)]


def _app(words: list[str], folder: Path, strike: str, step: int, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    os.chdir(folder)
    first = environment.get("RANK", "0") == "0"
    output = os.open("output.txt" if first else os.devnull, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts its background jobs with it ignored
    sys.argv = ["app"]
    torch.set_num_threads(1)
    if strike:
        counted, update = iter(range(1, 10**6)), torch.optim.AdamW.step

        def struck(self, *args, **kwargs):
            if next(counted) == step:
                STRIKES[strike]()
            return update(self, *args, **kwargs)

        torch.optim.AdamW.step = struck
    from apps.chest_vit.__main__ import main

    main(words)
