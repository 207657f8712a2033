# %% [markdown]
# # The mammals of WordNet in the hyperbolic plane
# 1,182 kinds of mammals, each below what it is a kind of. In the plane there is room for all of them, so that each is
# nearer to its ancestors than to any other, provided that the plane is hyperbolic. WordNet comes with the apps: run
# this in a clone, `PYTHONPATH=. python docs/examples/mammals.py`.

# %%
import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from apps.datasets.taxonomies import wordnet
from geomdml.hierarchy import nested_balls, reconstruction
from geomdml.spaces import Hyperbolic

mammals = wordnet.load("nouns").subtree("mammal.n.01")
space = Hyperbolic(c=1.0)
points = nested_balls(mammals.edges, 2, c=1.0)  # (1182, 2), placed by construction
found = reconstruction(points, mammals.ancestors, space=space)
print(f"{len(mammals)} nodes, {len(mammals.ancestors)} pairs: MAP {found.map:.2%}, mean rank {found.mean_rank:.2f}")

# %% [markdown]
# It is not quite 100 %: one node has two parents, and is placed below one of them, far from the other.

# %%
parents = torch.bincount(mammals.edges[:, 0], minlength=len(mammals))
print("two parents:", [mammals.names[node] for node in torch.nonzero(parents > 1)[:, 0]])
assert found.map > 0.99

# %% [markdown]
# The picture. Most points are so far out that the Poincaré disk would show them all on its edge. So the radii are
# scaled, and of the angles only the order is kept: that shows the branches, not the distances.

# %%
order = torch.atan2(points[:, 1], points[:, 0]).argsort().argsort()
turn = order * (2 * torch.pi / len(points))
radius = (2.5 * points.norm(dim=1) / points.norm(dim=1).max()).tanh()
place = torch.stack([radius * turn.cos(), radius * turn.sin()], 1).numpy()

figure = Figure(figsize=(8, 8))
axes = figure.add_axes((0, 0, 1, 1))
axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05))
axes.axis("off")
axes.add_collection(LineCollection(place[mammals.edges.numpy()], colors="0.7", linewidths=0.4))
axes.scatter(*place.T, s=4 + 3 * np.sqrt(mammals.below.numpy()), c=mammals.depths.numpy(), cmap="viridis", zorder=2)
for node in mammals.below.argsort(descending=True)[:15].tolist():
    axes.annotate(mammals.names[node].split(".")[0].replace("_", " "), place[node], fontsize=8)
figure.savefig("mammals.png", dpi=120)
