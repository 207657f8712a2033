"""Two processes that share a batch, for `benchmarks.gpu_parts`: what DDP averages beside the gradient of the whole."""

import tempfile
from pathlib import Path

import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from geomdml.distributed import DistributedLoss
from geomdml.losses import PairwiseCrossEntropyLoss
from geomdml.spaces import Hyperbolic


def difference(device: str) -> str:
    """The relative difference of the gradients."""
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_work, (device, folder), nprocs=2)
        return Path(folder, "difference").read_text()


def _work(rank: int, device: str, folder: str) -> None:
    place = torch.device(device, rank) if device == "cuda" else torch.device(device)
    backend = "nccl" if device == "cuda" else "gloo"
    if device == "cuda":
        torch.cuda.set_device(place)
    distributed.init_process_group(backend, init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.manual_seed(0)
    network = nn.Linear(8, 4).to(place)
    x, labels = torch.randn(12, 8, device=place), torch.arange(12, device=place) % 3
    distributed.broadcast(x, 0)
    loss = PairwiseCrossEntropyLoss(space=Hyperbolic(c=0.5))
    (whole,) = torch.autograd.grad(loss(network(x), labels), [network.weight])
    half = slice(6 * rank, 6 * rank + 6)
    shared = DistributedDataParallel(network, device_ids=[rank] if device == "cuda" else None)
    DistributedLoss(loss)(shared(x[half]), labels[half]).backward()
    assert network.weight.grad is not None
    if rank == 0:
        apart = float((network.weight.grad - whole).norm() / whole.norm())
        Path(folder, "difference").write_text(f"{apart:.1e}")
    distributed.barrier()
    distributed.destroy_process_group()
