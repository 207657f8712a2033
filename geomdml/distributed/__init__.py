"""Losses of several processes that are those of one, without rescaling, whatever the number of processes."""

from geomdml._core.processes import broadcast, gather, rank_and_size, total
from geomdml.distributed.loss import DistributedLoss
from geomdml.distributed.memory import CrossBatchMemory
from geomdml.distributed.parameters import own_parameters
from geomdml.losses.sharded_proxies import ShardedProxies

__all__ = [
    "broadcast",
    "CrossBatchMemory",
    "DistributedLoss",
    "gather",
    "own_parameters",
    "rank_and_size",
    "ShardedProxies",
    "total",
]
