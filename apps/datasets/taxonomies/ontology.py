"""Ontologies in OBO or OWL, read by pronto, which is installed by whoever has one."""

import warnings
from pathlib import Path

from apps.datasets.taxonomies.taxonomy import Mending, Taxonomy, taxonomy

MOST_BYTES = 2**30


def load(path: Path, *, mending: Mending = Mending()) -> Taxonomy:
    """The terms that are not obsolete and their is-a relations; imports of other ontologies are not followed.

    A node is named by the term's name and its identifier.

    Raises:
        ValueError: no pronto, a file that is too large, or one that pronto cannot read.
    """
    try:
        import pronto
    except ImportError:
        raise ValueError(f"{str(path)!r} is read by pronto, which is not installed here: pip install pronto") from None
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{str(path)!r} has more than {MOST_BYTES >> 20} MB; expected a smaller ontology")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pronto's remarks on the writer's style
            terms = [
                term for term in pronto.Ontology(str(path), import_depth=0, threads=1).terms() if not term.obsolete
            ]
            parents = {term.id: [each.id for each in term.superclasses(distance=1, with_self=False)] for term in terms}
    except Exception as error:  # pronto raises whatever a broken file leads it to
        raise ValueError(f"pronto cannot read {str(path)!r}: {error or type(error).__name__}") from error
    names = {term.id: f"{term.name} ({term.id})" if term.name else term.id for term in terms}
    edges = ((names[child], names.get(parent, parent)) for child, above in parents.items() for parent in above)
    return taxonomy(path.name, edges, known=names.values(), mending=mending)
