# %% [markdown]
# # Search in Milvus Lite
# `MilvusIndex` keeps hyperbolic embeddings in the vector database Milvus. Milvus Lite is a file; with the address of
# a server the same lines use a cluster. Install with `pip install "geomdml[milvus]"`.

# %%
import tempfile
from pathlib import Path

import torch

from geomdml.sampling import uniform_in_ball
from geomdml.search import MilvusIndex, knn
from geomdml.spaces import Hyperbolic

# %% [markdown]
# 500 embeddings with a category each. They lie within a distance of 3 from the origin; Milvus computes in float32,
# and beyond 4 `MilvusIndex` warns that it may miss neighbours. (`HyperbolicIndex` has no such limit.)

# %%
space = Hyperbolic(c=1.0)
generator = torch.Generator().manual_seed(0)
points = uniform_in_ball(500, 8, 3.0, c=1.0, generator=generator)
queries = uniform_in_ball(5, 8, 3.0, c=1.0, generator=generator)
ids, categories = 1000 + torch.arange(500), torch.arange(500) % 4

folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "embeddings.db"
with MilvusIndex(space, 8, uri=path) as index:
    index.add(points, ids=ids, labels=categories)
    found = index.search(queries, k=10)

# %% [markdown]
# The neighbours are those of the exact search.

# %%
exact = knn(queries, points, 10, space=space)
print(found.indices[0].tolist())
assert torch.equal(found.indices, ids[exact.indices])
assert torch.allclose(found.distances, exact.distances, atol=1e-6)

# %% [markdown]
# The file holds what was added. Open it again, search in one category, and put a point elsewhere by adding its id
# once more.

# %%
with MilvusIndex(space, 8, uri=path) as index:
    among = index.search(queries, k=10, labels=torch.tensor([2]))
    assert (categories[among.indices - 1000] == 2).all()
    index.add(queries[:1], ids=torch.tensor([1000]))
    assert index.search(queries[:1], k=1).indices.item() == 1000
folder.cleanup()
