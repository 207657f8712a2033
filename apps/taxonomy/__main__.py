"""`python -m apps.taxonomy fit|validate|test|predict --config apps/taxonomy/configs/mammals.yaml`

`check` says what is in a taxonomy, `search` finds the neighbours and ancestors of a node.
"""

import sys
from collections.abc import Sequence

COMMANDS = ("fit", "validate", "test", "predict", "check", "search")


def main(args: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if args is None else args)
    if words[:1] == ["check"]:
        from apps.taxonomy import check

        check.main(words[1:])
    elif words[:1] == ["search"]:
        from apps.taxonomy import search

        search.main(words[1:])
    elif words and (words[0] in COMMANDS or words[0].startswith("-")):
        train(None if args is None else words)
    else:
        sys.exit(
            f"error: no command {words[0] if words else ''!r}; expected one of {', '.join(COMMANDS)}, as in "
            "python -m apps.taxonomy fit --config apps/taxonomy/configs/mammals.yaml"
        )


def train(words: list[str] | None) -> None:
    from apps.cli import run
    from apps.taxonomy.data import TaxonomyData
    from apps.taxonomy.model import TaxonomyEmbedding
    from apps.taxonomy.results import Results

    run(
        TaxonomyEmbedding,
        TaxonomyData,
        results=Results(),
        monitor="val/MAP",
        shown={"MAP of a sample": "val/MAP", "mean rank": "val/mean_rank"},
        links={"nodes": "nodes"},
        args=words,
    )


if __name__ == "__main__":
    main()
