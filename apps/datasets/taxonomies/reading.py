"""A taxonomy by where it is: a packaged one, a folder, or a file by its suffix."""

from pathlib import Path

from apps.datasets.taxonomies import edge_list, folders, newick, ontology, wordnet
from apps.datasets.taxonomies.taxonomy import Mending, Taxonomy

READERS = {
    **dict.fromkeys((".csv", ".tsv", ".parquet"), edge_list.load),
    **dict.fromkeys((".nwk", ".newick", ".tree"), newick.load),
    **dict.fromkeys((".obo", ".owl"), ontology.load),
}


def read(root: str | Path | None, part: wordnet.Part, mending: Mending) -> Taxonomy:
    """WordNet's `part` from its package (root = None) or folder, the tree of another folder, or a file.

    Raises:
        ValueError: there is nothing, or a file of a kind that is not read; and what the readers raise.
        FetchError: the package cannot be had.
    """
    if root is None:
        return wordnet.load(part, mending=mending)
    path = Path(root).expanduser()
    if path.is_dir():
        is_wordnet = (path / f"data.{part.removesuffix('s')}").is_file()
        return wordnet.load(part, path, mending=mending) if is_wordnet else folders.load(path, mending=mending)
    if not path.is_file():
        raise ValueError(f"--data.root {str(path)!r} does not exist; expected a folder, or a file of a taxonomy")
    if path.suffix.lower() not in READERS:
        raise ValueError(f"--data.root {str(path)!r} is of no kind that is read; expected {', '.join(READERS)}")
    return READERS[path.suffix.lower()](path, mending=mending)
