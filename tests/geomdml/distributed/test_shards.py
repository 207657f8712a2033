"""Classes divided among processes: the loss and the gradients of one process that has them all."""

import pytest
import torch
from torch import Tensor, distributed, nn

from geomdml.distributed import DistributedLoss, ShardedProxies, own_parameters
from geomdml.losses import CHESTLoss, MultiProxyAnchorLoss, SoftTripleLoss
from geomdml.nn import HyperbolicHead
from geomdml.spaces import Hyperbolic
from tests.geomdml.processes import run_together

C, D = 7, 5  # not to be divided evenly
LABELS = torch.tensor([0, 0, 6, 3, 3, 1, 6, 0])  # some processes have no class of the batch's
SHARES = {1: [8], 2: [5, 3], 3: [1, 4, 3]}
ALL = 0.999  # a share that takes all classes, by way of the choice


class Soft(nn.Module):
    """A loss of embeddings, behind a layer."""

    def __init__(self, make, **options) -> None:
        super().__init__()
        self.network = nn.Linear(4, D)
        self.loss = DistributedLoss(make(C, D, centers_per_class=2, **options))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.loss(self.network(x), labels)


class Chest(nn.Module):
    """CHEST with its head, a learned curvature and HypHC."""

    def __init__(self, **options) -> None:
        super().__init__()
        self.network = nn.Linear(4, D)
        self.head = HyperbolicHead(D, 3, space=Hyperbolic(c=0.7, learnable=True))
        self.loss = DistributedLoss(CHESTLoss(C, D, centers_per_class=2, triplets=20, **options))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.loss(self.network(x), labels, head=self.head)


def soft_triple(**options):
    return Soft(SoftTripleLoss, **options)


def raw_in_hyperbolic_space(**options):
    return Soft(SoftTripleLoss, space=Hyperbolic(c=0.5, learnable=True), relative=False, **options)


def summed(**options):
    return Soft(SoftTripleLoss, reduction="sum", **options)


def proxy_anchor(**options):
    return Soft(MultiProxyAnchorLoss, **options)


CASES = [soft_triple, raw_in_hyperbolic_space, summed, proxy_anchor, Chest]
# the nearest classes are chosen without random numbers: HypHC draws the same triplets
OPTIONS = [{}, {"sample": ALL, "others": "random"}, {"sample": ALL, "others": "nearest"}]
USED = [
    (case, options) for case in CASES for options in OPTIONS if case is not Chest or "random" not in options.values()
]


def outcome(model: nn.Module, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
    torch.manual_seed(1)
    loss = model(x, labels)
    loss.backward()
    return {"loss": loss.detach()} | {name: p.grad.to_dense() for name, p in model.named_parameters()}


def batch() -> Tensor:
    return torch.randn(8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def whole(case, **options) -> nn.Module:
    torch.manual_seed(0)
    return case(**options).double()


def work(rank: int, count: int) -> list[dict[str, Tensor]]:
    found = []
    for case, options in USED:
        state = whole(case).state_dict()
        model = whole(case, shards=True, **options)
        loaded = model.load_state_dict(state, strict=False)
        assert all("sampler" in name for name in loaded.missing_keys) and not loaded.unexpected_keys
        index = ["sampler.means"] if "nearest" in options.values() else []
        own = ["vectors", *index] if options or count > 1 else []
        assert own_parameters(model) == [f"loss.loss.proxies.{name}" for name in own]
        ours = outcome(model, batch().split(SHARES[count])[rank], LABELS.split(SHARES[count])[rank])
        proxies = model.loss.loss.proxies
        for name, tensor in ours.items():
            if name.endswith("proxies.vectors"):
                ours[name] = proxies.whole(tensor)
            else:
                distributed.all_reduce(tensor)
                tensor /= count
        again = model.state_dict()
        ours["state is whole"] = torch.tensor(all(torch.equal(again[name], state[name]) for name in state))
        found.append(ours)
    return found


@pytest.mark.parametrize("count", [1, 2, 3])
def test_loss_and_gradients_are_those_of_one_process_with_all_classes(count, tmp_path):
    """In float64, to 1e-12 of the norm; exact, and sampled with all classes."""
    for found in run_together(count, work, tmp_path):
        for (case, _), ours in zip(USED, found, strict=True):
            theirs = outcome(whole(case), batch(), LABELS)
            assert bool(ours.pop("state is whole")) and ours.keys() == theirs.keys()
            for name, tensor in theirs.items():
                assert float((ours[name] - tensor).norm()) <= 1e-12 * float(tensor.norm()), (case.__name__, name)


def starts(rank: int, count: int) -> dict[str, Tensor]:
    torch.manual_seed(4)
    proxies = ShardedProxies(C, D, centers_per_class=2)
    random = proxies.state_dict()["vectors"]
    proxies.start_at(torch.arange(40.0).reshape(8, 5), LABELS)
    loss = SoftTripleLoss(C, D, shards=distributed.group.WORLD)
    with pytest.raises(ValueError, match=r"expected \(B,\) class indices, as only a part"):
        loss(torch.zeros(2, D), torch.full((2, C), 1 / C))
    logits = loss.eval().logits(torch.ones(2, D))
    with pytest.raises(ValueError, match="num_classes = 1 for 2 processes"):
        ShardedProxies(1, D, centers_per_class=2)
    return {"random": random, "start": proxies.state_dict()["vectors"], "logits": logits}


def test_they_start_as_those_of_one_process(tmp_path):
    torch.manual_seed(4)
    proxies = ShardedProxies(C, D, centers_per_class=2)
    random = proxies.vectors.detach().clone()
    proxies.start_at(torch.arange(40.0).reshape(8, 5), LABELS)
    logits = SoftTripleLoss(C, D).eval().logits(torch.ones(2, D))
    for ours in run_together(2, starts, tmp_path):
        assert torch.equal(ours["random"], random)
        assert torch.equal(ours["start"], proxies.vectors)
        torch.testing.assert_close(ours["logits"], logits)
