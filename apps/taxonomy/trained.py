"""A trained embedding and its taxonomy, from a checkpoint."""

from pathlib import Path

from apps.datasets.taxonomies.taxonomy import Taxonomy
from apps.taxonomy.data import TaxonomyData
from apps.taxonomy.model import TaxonomyEmbedding
from apps.training.restore import restore


def trained(path: str | Path) -> tuple[TaxonomyEmbedding, Taxonomy]:
    """The embedding of a checkpoint, and the taxonomy that it was trained on, from where that was then.

    Raises:
        ValueError: no checkpoint of this app, or a taxonomy of another size than it had. No code in it is run.
    """
    model, _, of_data = restore(path, TaxonomyEmbedding)
    taxonomy = TaxonomyData(**of_data).taxonomy
    if len(taxonomy) != model.hparams["nodes"]:
        raise ValueError(
            f"{str(path)!r} has {model.hparams['nodes']:,} nodes, and {taxonomy.title} has {len(taxonomy):,} now; "
            "expected the taxonomy that it was trained on"
        )
    return model, taxonomy
