"""Embeddings of a taxonomy in files: safetensors, Parquet, and the TSV pair that embedding projectors read."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import save_file
from torch import Tensor

from apps.datasets.taxonomies.taxonomy import Taxonomy
from apps.io.atomic import write_file
from geomdml.spaces import Hyperbolic, Space


def export(folder: Path, embeddings: Tensor, taxonomy: Taxonomy, space: Space) -> list[Path]:
    """Write embeddings.safetensors, embeddings.parquet, vectors.tsv and metadata.tsv; give their paths.

    The safetensors file holds `embeddings` (N, D), `edges` (E, 2) of node numbers and, as JSON, the `names`.
    """
    about = {"taxonomy": taxonomy.title, "space": str(space)}
    if isinstance(space, Hyperbolic):
        about |= {"c": repr(space.curvature), "chart": space.chart}
    tensors = {"embeddings": embeddings.contiguous(), "edges": taxonomy.edges.contiguous()}
    depths, below = taxonomy.depths.tolist(), taxonomy.below.tolist()
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.numpy().reshape(-1)), embeddings.shape[1])
    columns = {"name": list(taxonomy.names), "depth": depths, "nodes_below": below, "embedding": vectors}
    table = pa.table(columns, metadata=about)
    lines = ["\t".join(map(repr, row)) for row in embeddings.tolist()]
    rows = zip(taxonomy.names, depths, below, strict=True)
    metadata = ["name\tdepth\tnodes_below", *(f"{name}\t{depth}\t{count}" for name, depth, count in rows)]
    named = about | {"names": json.dumps(taxonomy.names)}
    paths = [folder / name for name in ("embeddings.safetensors", "embeddings.parquet", "vectors.tsv", "metadata.tsv")]
    write_file(paths[0], lambda part: save_file(tensors, part, named))
    write_file(paths[1], lambda part: pq.write_table(table, part))
    write_file(paths[2], lambda part: part.write_text("\n".join(lines) + "\n", encoding="utf-8"))
    write_file(paths[3], lambda part: part.write_text("\n".join(metadata) + "\n", encoding="utf-8"))
    return paths
