"""Does a loss keep its value and its gradients when several processes share the batch?

Each of R processes has its rows of the batch and one copy of the same network, and calls the loss with its own
embeddings and labels. Losses and gradients are averaged over the processes, as DDP averages them. The law: both are
those of one process that has the whole batch. A loss that sums over processes breaks it by a factor R, one that lets
gradients flow through its own rows alone by 1/R or by a direction.
"""

import copy
import datetime
import math
import pickle
import re
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing, nn

__all__ = ["CASES", "LossVerdict", "judge_loss"]

_ROWS, _CLASSES = 12, 4
CASES = ("equal shares", "a sample twice", "a rank without a class", "unequal shares")


@dataclass(frozen=True)
class LossVerdict:
    """What R processes made of a loss, beside one.

    Attributes:
        ranks, case: R, and one of `CASES`.
        loss, gradient: how many times those of one process they are: the ratio, for gradients along that of one.
        error: the largest relative error of loss and gradients, by norm.
        failure: what a process raised; empty where none did.
        holds: whether the error is within the tolerance.
    """

    ranks: int
    case: str
    loss: float
    gradient: float
    error: float
    failure: str
    holds: bool

    def __str__(self) -> str:
        words = f"{self.ranks} process{'es' * (self.ranks > 1)}, {self.case}: "
        if self.failure:
            return words + f"failed, {self.failure}"
        if self.holds:
            return words + f"holds, to {self.error:.0e}"
        return words + f"BROKEN: loss × {self.loss:.4g}, gradient × {self.gradient:.4g}, error {self.error:.1e}"


def judge_loss(
    loss: Callable[[Tensor, Tensor], Tensor],
    ranks: Sequence[int] = (1, 2, 3),
    *,
    in_features: int = 8,
    tolerance: float = 1e-12,
    timeout: float = 60.0,
    quiet: bool = False,
) -> list[LossVerdict]:
    """Ask a loss for the law of processes: R processes of a CPU (gloo) give the loss and gradients of one.

    A batch of 12 samples of 4 classes is shared equally, unequally, with a sample in two processes, and by class so
    that a process lacks some. The network and the loss are in float64; torch is seeded equally before each call.

    Args:
        loss: called with embeddings (B, D) and labels (B,), in each process with its own; as it is to be used where
            several processes train, such as `geomdml.distributed.DistributedLoss(loss)`. A module's parameters are
            judged with the network's. It is pickled, to reach the processes; one in `__main__` needs a file there.
        ranks: numbers of processes R, from 1 to 4. One is a process group of one.
        in_features: dimension D of the embeddings.
        tolerance: largest relative error.
        timeout: seconds after which a process that waits for another gives up.
        quiet: do not print the verdicts.

    Returns:
        A verdict for each of `ranks` and of `CASES`.

    Raises:
        ValueError, TypeError: numbers of processes outside 1…4, a loss that cannot be pickled, or has no gradient.

    Source: the rules of torch.nn.parallel.DistributedDataParallel, which averages gradients.

    In a script, under `if __name__ == "__main__"`, as processes are started:

        judge_loss(DistributedLoss(ContrastiveLoss(temperature=0.1)))
    """
    if not ranks or not all(isinstance(count, int) and 1 <= count <= 4 for count in ranks):
        raise ValueError(f"ranks = {tuple(ranks)}; expected numbers of processes, each from 1 to 4")
    try:
        packed = pickle.dumps(loss)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise TypeError(f"loss {type(loss).__name__} cannot be sent to another process: {reason}") from error
    tasks = [(count, case) for case in CASES for count in (0, *ranks)]  # 0: one process without a group
    with tempfile.TemporaryDirectory() as folder:
        while tasks:  # a library may bring a process down: the others go on without that task
            _run(tasks, packed, in_features, timeout, Path(folder))
            done = [_is_done(Path(folder), *task) for task in tasks]
            tasks = tasks[done.index(False) + 1 :] if False in done else []
        found = [_read(Path(folder), count, case, tolerance) for count in ranks for case in CASES]
    if not quiet:
        print(*found, sep="\n")
    return found


def _run(tasks: Sequence[tuple[int, str]], packed: bytes, in_features: int, timeout: float, folder: Path) -> None:
    """Do the tasks in new processes, until all are done or one of them has died."""
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    most = max(max(count, 1) for count, _ in tasks)
    arguments = (tasks, packed, in_features, timeout, folder)
    workers = [context.Process(target=_work, args=(rank, *arguments)) for rank in range(most)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        time.sleep(0.02)
        if any(worker.exitcode for worker in workers):
            for worker in workers:
                worker.join(1)  # time to say that the other is gone
                worker.kill()
    for worker in workers:
        worker.join()


def _is_done(folder: Path, count: int, case: str) -> bool:
    return all((folder / f"{count} {rank} {case}.pt").exists() for rank in range(max(count, 1)))


def _read(folder: Path, count: int, case: str, tolerance: float) -> LossVerdict:
    """The verdict on what the processes wrote."""
    alone = _load(folder, 0, 0, case)
    failed = "a process crashed"
    if alone is None or "failure" in alone:
        raise ValueError(f"loss fails in one process without a group: {alone['failure'] if alone else failed}")
    norm = alone["gradient"].norm()
    if not 0 < float(norm) < math.inf:
        raise ValueError(f"loss has a gradient of norm {float(norm)} in one process; expected one above 0")
    parts = [_load(folder, count, rank, case) for rank in range(count)]
    failures = {failed if part is None else part["failure"]: None for part in parts if not part or "failure" in part}
    if failures:
        return LossVerdict(count, case, math.nan, math.nan, math.inf, min(failures, key=_closed), False)
    of_loss = [float(part["loss"] / alone["loss"]) for part in parts if part]
    of_gradient = [float(part["gradient"] @ alone["gradient"] / norm**2) for part in parts if part]
    errors = [float((part["gradient"] - alone["gradient"]).norm() / norm) for part in parts if part]
    error = max(*errors, *(abs(ratio - 1) for ratio in of_loss))
    return LossVerdict(count, case, of_loss[0], of_gradient[0], error, "", error <= tolerance)


def _closed(failure: str) -> bool:
    """Whether a failure only says that another process has ended."""
    return any(word in failure for word in ("closed by peer", "Timed out", "reset by peer"))


def _load(folder: Path, count: int, rank: int, case: str) -> dict[str, Any] | None:
    path = folder / f"{count} {rank} {case}.pt"
    return torch.load(path, weights_only=True) if path.exists() else None


def _work(
    rank: int,
    tasks: Sequence[tuple[int, str]],
    packed: bytes,
    in_features: int,
    timeout: float,
    folder: Path,
) -> None:
    """What a process does: its part of every task."""
    warnings.simplefilter("ignore")  # those of the library under judgement
    torch.set_num_threads(1)
    for count, case in tasks:
        if rank < max(count, 1):
            try:
                found: dict[str, Any] = _one(rank, packed, in_features, count, case, timeout, folder)
            # What the library under judgement raises is what there is to say.
            except Exception as error:
                line = re.sub(r"^\[.*?\] ", "", str(error).strip().partition("\n")[0])  # a place in C++
                place = traceback.extract_tb(error.__traceback__)[-1]
                found = {"failure": f"{type(error).__name__}: {line} ({Path(place.filename).name}:{place.lineno})"}
            torch.save(found, path := folder / f"{count} {rank} {case}.pt.part")
            path.rename(path.with_suffix(""))
        while not _is_done(folder, count, case):  # one that failed early does not begin the next task alone
            time.sleep(0.02)


def _one(
    rank: int, packed: bytes, in_features: int, count: int, case: str, timeout: float, folder: Path
) -> dict[str, Tensor]:
    """Loss and gradients of one case, averaged over the processes."""
    x, labels, shares = _batch(case, max(count, 1))
    rows = slice(sum(shares[:rank]), sum(shares[: rank + 1]))
    if count:
        seconds = datetime.timedelta(seconds=timeout)
        meet = f"file://{folder}/meet {count} {case}".replace(" ", "-")
        distributed.init_process_group("gloo", meet, rank=rank, world_size=count, timeout=seconds)
    try:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, in_features)).double()
        loss = copy.deepcopy(pickle.loads(packed))
        parameters = list(network.parameters())
        if isinstance(loss, nn.Module):
            parameters += loss.double().parameters()
        torch.manual_seed(1)
        value = loss(network(x[rows]), labels[rows])
        value.backward()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad.to_dense() for p in parameters]
        gradient = torch.cat([gradient.flatten() for gradient in gradients])
        value = value.detach().clone()
        if count:
            for tensor in (value, gradient):
                distributed.all_reduce(tensor)
                tensor /= count
    finally:
        if count:
            distributed.destroy_process_group()
    return {"loss": value, "gradient": gradient}


def _batch(case: str, count: int) -> tuple[Tensor, Tensor, list[int]]:
    """Inputs (12, 5), their labels, and how many rows each process has."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(_ROWS, 5, dtype=torch.float64, generator=generator)
    labels = torch.arange(_ROWS) % _CLASSES
    shares = [_ROWS // count] * count
    shares[0] += _ROWS - sum(shares)
    if case == "unequal shares" and count > 1:
        shares[0], shares[-1] = shares[0] + shares[-1] - 2, 2
    elif case == "a sample twice":
        x[-_CLASSES:] = x[:_CLASSES]
    elif case == "a rank without a class":
        labels = labels.sort().values
    return x, labels, shares
