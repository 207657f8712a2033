"""Runs of an app in processes of their own that are struck down at a step, or are several that work together."""

import functools
import itertools
import multiprocessing
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.optim.optimizer import register_optimizer_step_pre_hook

from apps.io import workers

# Forked from one process that has imported everything, and has run nothing.
FORKS = multiprocessing.get_context("forkserver")
APPS = ("chest_vit", "digits", "multimodal", "shape3d", "sketch", "taxonomy")
FORKS.set_forkserver_preload([*(f"apps.{app}.{part}" for app in APPS for part in ("model", "results")), __name__])


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
    "sleep": lambda: time.sleep(600),
}


def start(
    *arguments: object,
    folder: Path,
    app: str = "chest_vit",
    strike: str = "",
    step: int = 0,
    within: str = "",
    environment: Mapping[str, str] | None = None,
) -> multiprocessing.Process:
    """A process of an app; `strike` befalls it at the start of a call, the first being number 1.

    Args:
        step: the number of the call.
        within: what is called, such as "apps.io.atomic:write_file"; without it a step of an optimiser.
    """
    words = [str(argument) for argument in arguments]
    process = FORKS.Process(target=_app, args=(app, words, folder, strike, step, within, dict(environment or {})))
    process.start()
    return process


def run(*arguments: object, folder: Path, **kwargs) -> tuple[int, str]:
    """The exit code of a process of an app, and what it printed."""
    process = start(*arguments, folder=folder, **kwargs)
    process.join(300)
    return process.exitcode, (folder / "output.txt").read_text()


def finish(*arguments: object, folder: Path, **kwargs) -> Path:
    """The run's folder, after a process of an app in which nothing failed."""
    code, output = run(*arguments, folder=folder, **kwargs)
    assert code == 0, output
    return folder / "runs/version_0"


def ranks(count: int) -> list[dict[str, str]]:
    """The environments of so many processes that work together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "NODE_RANK": "0"} for rank in range(count)]


def _app(
    app: str, words: list[str], folder: Path, strike: str, step: int, within: str, environment: dict[str, str]
) -> None:
    os.environ.update(environment)
    os.chdir(folder)
    rank = environment.get("RANK", "0")
    output = os.open("output.txt" if rank == "0" else f"output-{rank}.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts its background jobs with it ignored
    sys.argv = ["app"]
    torch.set_num_threads(1)
    workers.cores = lambda: 1
    if strike:
        counted = itertools.count(1)

        def count(*_) -> None:
            if next(counted) == step:
                STRIKES[strike]()

        _before(within, count) if within else register_optimizer_step_pre_hook(count)
    import_module(f"apps.{app}.__main__").main(words)


def _before(place: str, called: Callable[[], None]) -> None:
    """Call a function before each call of what is at "module:name" or "module:Class.name"."""
    module, _, name = place.partition(":")
    *owners, name = name.split(".")
    owner = functools.reduce(getattr, owners, import_module(module))
    original = getattr(owner, name)

    def first(*args, **kwargs):
        called()
        return original(*args, **kwargs)

    setattr(owner, name, first)
