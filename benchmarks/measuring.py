"""One measurement of time and memory, in a process of its own: nothing that ran before can help or harm it."""

import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

MOST_CALLS = 1000
STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def in_own_process(module: str, arguments: dict[str, Any], limit: float | None = None) -> dict[str, Any]:
    """What `python -m module` prints, a line of JSON, when it is given the arguments as JSON; or why there is none.

    After `limit` seconds it is ended.
    """
    command = [sys.executable, "-m", module, json.dumps(arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=limit)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)  # it, and what it has started
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return {"failed": f"not done within {limit:.0f} seconds"}
    if process.returncode == 0:
        return json.loads(output.splitlines()[-1])
    last = (errors.strip().splitlines() or [""])[-1]
    memory = process.returncode == -9 or "OutOfMemory" in last or "not enough memory" in last
    return {"failed": "out of memory" if memory else "not installed" if "ModuleNotFound" in last else last[:200]}


def measure(step: Callable[[], object], *, device: str, seconds: float) -> dict[str, float]:
    """Median and least seconds of a call after one to warm up, and the bytes that the calls added at their peak.

    Calls go on for `seconds`; at least three, unless these would take ten times as long.
    """
    before = forget_peak(device)
    step()
    times: list[float] = []
    while not times or (len(times) < MOST_CALLS and sum(times) < (seconds if len(times) >= 3 else 10 * seconds)):
        _wait(device)
        start = time.perf_counter()
        step()
        _wait(device)
        times.append(time.perf_counter() - start)
    return {
        "seconds": statistics.median(times),
        "fastest": min(times),
        "calls": len(times),
        "bytes": peak(device) - before,
    }


def available(device: str) -> int:
    """Bytes that may still be asked for."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    meminfo = Path("/proc/meminfo")
    return _kilobytes(meminfo, "MemAvailable") if meminfo.exists() else sys.maxsize


def yield_memory_first() -> None:
    """Where memory runs out after all, this process is to be killed and no other (Linux)."""
    adjustment = Path("/proc/self/oom_score_adj")
    if adjustment.exists():
        adjustment.write_text("1000")


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def forget_peak(device: str) -> int:
    """The bytes in use, which are the peak from now on."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    if not FORGET.exists():
        return peak(device)
    FORGET.write_text("5")
    return _kilobytes(STATUS, "VmRSS")


def peak(device: str) -> int:
    """The peak since `forget_peak`; elsewhere than on Linux, that of the process.

    Linux hands ru_maxrss on from the parent to the child, so it is not what is asked for here.
    """
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    if STATUS.exists():
        return _kilobytes(STATUS, "VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _kilobytes(file: Path, key: str) -> int:
    return next(1024 * int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith(key + ":"))
