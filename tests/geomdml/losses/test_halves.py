"""CHEST with other losses in its places, and how much memory it takes."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from geomdml.euclidean import clip_norm
from geomdml.losses import CHESTLoss, HIERLoss, PairwiseCrossEntropyLoss, SoftTripleLoss
from geomdml.nn import HyperbolicHead
from geomdml.spaces import Euclidean, Hyperbolic

C, D, H, B = 4, 6, 5, 8
LABELS = torch.arange(B) % C


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def make_head(learnable: bool = False) -> HyperbolicHead:
    return HyperbolicHead(D, H, space=Hyperbolic(0.5, learnable=learnable), clip=0.9)


class Spy(nn.Module):
    """A loss that keeps what it is called with, and is the sum of it."""

    def forward(self, embeddings, labels):
        self.called = embeddings, labels
        return embeddings.sum()


@pytest.mark.parametrize("eta_h", [0.0, 0.7])
def test_each_half_gets_the_embeddings_of_its_space(eta_h):
    """Without the hyperbolic half the Euclidean one gets the head's output, before clipping and the exp map."""
    head, x = make_head(), 9 * torch.randn(B, D)
    h, e, r = Spy(), Spy(), Spy()
    loss = CHESTLoss(C, D, eta_h=eta_h, eta_e=1.3, tau=0.2, hyperbolic=h, euclidean=e, regulariser=r)
    terms = loss.terms(x, LABELS, head=head)
    assert loss.proxies is None
    torch.testing.assert_close(e.called[0], x if eta_h else head.tangent(x))
    torch.testing.assert_close(r.called[0], clip_norm(head.tangent(x), 0.9))
    expected = 1.3 * e.called[0].sum() + 0.2 * r.called[0].sum()
    if eta_h:
        assert torch.equal(h.called[0], head(x)) and torch.equal(h.called[1], LABELS)
        expected = expected + eta_h * h.called[0].sum()
    else:
        assert not hasattr(h, "called") and terms.hyperbolic is None
    torch.testing.assert_close(terms.total, expected)


def test_one_half_replaced_leaves_the_other_as_it_is():
    head, x = make_head(), torch.randn(B, D)
    plain = CHESTLoss(C, D, tau=0.3)
    for half in ("hyperbolic", "euclidean"):
        other = CHESTLoss(C, D, tau=0.3, **{half: Spy()})
        other.proxies.load_state_dict(plain.proxies.state_dict())
        for loss in (plain, other):
            torch.manual_seed(1)
            loss.found = loss.terms(x, LABELS, head=head)
        kept = "euclidean" if half == "hyperbolic" else "hyperbolic"
        assert torch.equal(getattr(other.found, kept), getattr(plain.found, kept))
        assert torch.equal(other.found.regulariser, plain.found.regulariser)
        assert not torch.equal(getattr(other.found, half), getattr(plain.found, half))


def test_the_halves_of_chest_are_soft_triple_losses():
    """With a head that changes nothing, the halves with proxies of their own are those with the shared ones."""
    head, x = make_head(), 0.2 * torch.randn(B, D)
    head.norm, head.linear, head.clip = nn.Identity(), nn.Identity(), float("inf")
    h, e = (SoftTripleLoss(C, D, space=space) for space in (head.space, Euclidean()))
    replaced = CHESTLoss(C, D, tau=0.0, hyperbolic=h, euclidean=e)
    chest = CHESTLoss(C, D, tau=0.0)
    for half in (h, e):
        half.proxies.load_state_dict(chest.proxies.state_dict())
    torch.testing.assert_close(replaced(x, LABELS, head=head), chest(x, LABELS, head=head))


def test_gradients_reach_everything():
    head = make_head(learnable=True)
    loss = CHESTLoss(
        C,
        D,
        hyperbolic=PairwiseCrossEntropyLoss(space=head.space),
        euclidean=SoftTripleLoss(C, D),
        regulariser=HIERLoss(H, space=head.space, num_proxies=8, neighbors=3),
    )
    x = torch.randn(B, D, requires_grad=True)
    loss(x, LABELS, head=head).backward()
    for tensor in (x, *head.parameters(), *loss.parameters()):
        assert tensor.grad is not None and tensor.grad.isfinite().all() and tensor.grad.any()


def test_proxies_of_any_loss_have_their_own_rate_and_the_curvature_is_the_heads():
    head = make_head(learnable=True)

    class Scaled(PairwiseCrossEntropyLoss):
        def __init__(self):
            super().__init__(space=head.space)
            self.scale = nn.Parameter(torch.ones(()))

    loss = CHESTLoss(C, D, hyperbolic=Scaled(), regulariser=HIERLoss(H, space=head.space, num_proxies=8))
    proxies, others = loss.parameter_groups(1e-3, 1e-1)
    assert proxies["lr"] == 1e-1 and proxies["weight_decay"] == 0 and others["lr"] == 1e-3
    assert {id(p) for p in proxies["params"]} == {id(loss.proxies.vectors), id(loss.regulariser.proxies)}
    assert [id(p) for p in others["params"]] == [id(loss.hyperbolic.scale)]
    torch.optim.AdamW([{"params": list(head.parameters())}, proxies, others])  # none is in two groups
    bare = CHESTLoss(C, D, tau=0.0, hyperbolic=Spy(), euclidean=Spy())
    assert bare.parameter_groups(1e-3, 1e-1) == []


def test_hyphc_without_proxies_is_refused():
    with pytest.raises(ValueError, match=r"τ = 0\.5 and neither half is SoftTriple"):
        CHESTLoss(C, D, hyperbolic=Spy(), euclidean=Spy())
    with pytest.raises(ValueError, match="neither half is SoftTriple"):
        CHESTLoss(C, D, eta_h=0.0, euclidean=Spy())
    CHESTLoss(C, D, hyperbolic=Spy(), euclidean=Spy(), regulariser=Spy())
    CHESTLoss(C, D, centers_per_class=1, regulariser=Spy())  # HypHC alone needs two proxies of a class


class Largest(TorchDispatchMode):
    """The most numbers that any tensor has that is made meanwhile."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)]
        self.most = max([self.most, *sizes])
        return made


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("shape", [(32, 40, 3, 64), (4, 400, 2, 48)])
def test_no_tensor_has_batch_times_proxies_times_dimension_numbers(shape, relative):
    """Memory O(B·C·K), and O(C·K·D) for the proxies themselves, in forward and backward; In-shop and SOP need it."""
    batch, classes, centers, dim = shape
    head = HyperbolicHead(dim, dim, space=Hyperbolic())
    loss = CHESTLoss(classes, dim, centers_per_class=centers, relative=relative)
    x, labels = torch.randn(batch, dim, requires_grad=True), torch.arange(batch) % classes
    with Largest() as largest:
        loss(x, labels, head=head).backward()
    assert x.grad is not None
    assert classes * centers * max(batch, dim) <= largest.most <= 2 * classes * centers * max(batch, dim)
    assert largest.most < batch * classes * centers * dim / 2
