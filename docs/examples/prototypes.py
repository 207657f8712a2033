# %% [markdown]
# # Hyperbolic prototypical networks
# A prototypical network (Snell et al., 2017) classifies by a few examples of each class: the prototype of a class is
# the mean of its examples, and a query belongs to the nearest prototype. In hyperbolic space the mean is the Fréchet
# mean. The data are scikit-learn's handwritten digits, 8 × 8 pixels.

# %%
import torch
from sklearn.datasets import load_digits
from torch import nn

from geomdml.nn import HyperbolicHead
from geomdml.spaces import Hyperbolic
from geomdml.statistics import frechet_mean

torch.manual_seed(0)
space = Hyperbolic(c=0.5)
digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32) / 16
labels = torch.tensor(digits.target)
training = torch.rand(len(labels)) < 0.5

# %% [markdown]
# An episode is a small task: of each digit some examples (the support) and other images to classify (the queries).


# %%
def episode(among, shots=3, queries=10):
    """(10, shots, 64) support and (10, queries, 64) queries, drawn at random."""
    rows = [torch.nonzero(among & (labels == digit))[:, 0] for digit in range(10)]
    rows = torch.stack([row[torch.randperm(len(row))[: shots + queries]] for row in rows])
    return images[rows[:, :shots]], images[rows[:, shots:]]


target = torch.arange(10).repeat_interleave(10)
embed = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), HyperbolicHead(64, 16, space=space))
optimizer = torch.optim.Adam(embed.parameters(), lr=0.01)
for _ in range(40):
    support, queries = episode(training)
    prototypes = frechet_mean(embed(support), c=space.c)  # (10, 16)
    logits = -space.pairwise_dist(embed(queries).flatten(0, 1), prototypes)  # (100, 10)
    loss = nn.functional.cross_entropy(logits, target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %% [markdown]
# The test: three examples of each digit and ten queries, none of them seen in training, 10 times. Beside it the same
# with the pixels themselves and their means.

# %%
right = torch.zeros(2)
with torch.no_grad():
    for _ in range(10):
        support, queries = episode(~training)
        prototypes = frechet_mean(embed(support), c=space.c)
        ours = space.pairwise_dist(embed(queries).flatten(0, 1), prototypes).argmin(1)
        pixels = torch.cdist(queries.flatten(0, 1), support.mean(1)).argmin(1)
        right += torch.tensor([float((answer == target).float().mean()) for answer in (ours, pixels)]) / 10
print(f"right: {right[0]:.1%} by the network, {right[1]:.1%} by pixels")
assert right[0] > right[1] + 0.03
