# %% [markdown]
# # Transport matching with a dustbin
# Two views of a scene: most points are in both, some are in one alone. Nearest neighbours match every point to
# something. Optimal transport with a *dustbin*, one more row and column for points without a partner, matches one to
# one and leaves the rest alone. As in SuperGlue (Sarlin et al., 2020), the price of the dustbin is learned.

# %%
import torch
from torch.nn.functional import pad

from geomdml.euclidean import pairwise_dist
from geomdml.transport import sinkhorn

torch.manual_seed(0)
COMMON, ALONE = 20, 6  # points in both views, and in each alone


def views():
    """(26, 8) descriptors of each view, and for each point of the first its place in the second, or 26, the dustbin."""
    scene = torch.randn(COMMON + 2 * ALONE, 8)
    second = torch.cat([torch.arange(COMMON), COMMON + ALONE + torch.arange(ALONE)])
    second = second[torch.randperm(len(second))]
    place = torch.full((len(scene),), len(second))
    place[second] = torch.arange(len(second))
    first = scene[: COMMON + ALONE]
    seen = scene[second]
    return first + 0.25 * torch.randn_like(first), seen + 0.25 * torch.randn_like(seen), place[: len(first)]


# %% [markdown]
# A point has the mass 1, and a dustbin can take all points of the other view.


# %%
def match(first, second, price, grad="none"):
    """(27, 27) plan; the last row and column are the dustbins."""
    cost = pad(pairwise_dist(first, second), (0, 1, 0, 1))
    bins = torch.ones(cost.shape, dtype=torch.bool)
    bins[:-1, :-1] = False
    a, b = torch.ones(len(cost)), torch.ones(cost.shape[1])
    a[-1], b[-1] = len(second), len(first)
    return sinkhorn(torch.where(bins, price, cost), 0.1, a, b, grad=grad, tol=1e-4).plan


# %% [markdown]
# The loss is minus the log of the mass at the true places. `grad="implicit"` sends its gradient through the
# solution, not through the iterations.

# %%
price = torch.tensor(1.0, requires_grad=True)
optimizer = torch.optim.Adam([price], lr=0.1)
for _ in range(25):
    first, second, place = views()
    plan = match(first, second, price, grad="implicit")
    mass = plan[torch.arange(len(place)), place]
    loss = -mass.clamp(min=1e-6).log().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"a point without a partner costs {price.item():.2f}")

# %%
right = {"nearest neighbour": [], "transport": []}
for _ in range(10):
    first, second, place = views()
    right["nearest neighbour"].append(pairwise_dist(first, second).argmin(1) == place)
    right["transport"].append(match(first, second, price.detach())[:-1].argmax(1) == place)
shares = {name: float(torch.cat(hits).float().mean()) for name, hits in right.items()}
print({name: f"{share:.1%} right" for name, share in shares.items()})
assert shares["transport"] > 0.9 > 0.8 > shares["nearest neighbour"]
