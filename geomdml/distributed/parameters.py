"""What of a module is of one process, so that DDP must leave it alone."""

from torch import nn

from geomdml.losses.proxies import Proxies

__all__ = ["own_parameters"]


def own_parameters(module: nn.Module) -> list[str]:
    """The names of proxies, and of the index of sampled ones, that DDP must leave alone.

    Each process has its own, or their gradient is sparse. Sampled proxies that every process has get the same gradient
    in all. Before DDP wraps a module:

        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, own_parameters(module))

    >>> from geomdml.losses import SoftTripleLoss
    >>> own_parameters(SoftTripleLoss(10, 8, sample=0.5)), own_parameters(SoftTripleLoss(10, 8))
    (['proxies.vectors'], [])
    """
    return [
        f"{name}.{own}".lstrip(".")
        for name, part in module.named_modules()
        if isinstance(part, Proxies) and (part.sampler.share < 1 or part.group is not None)
        for own in ("vectors", *(["sampler.means"] if hasattr(part.sampler, "means") else []))
    ]
