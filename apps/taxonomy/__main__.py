"""`python -m apps.taxonomy fit|validate|test|predict --config apps/taxonomy/configs/mammals.yaml`

`check` says what is in a taxonomy, `search` finds the neighbours and ancestors of a node.
"""

from collections.abc import Sequence

from apps.commands import run_command

OWN = ("check", "search")
LIGHTNING = ("fit", "validate", "test", "predict")


def main(args: Sequence[str] | None = None) -> None:
    run_command("apps.taxonomy", OWN, LIGHTNING, train, args)


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
        fixed=("nodes",),
        args=words,
    )


if __name__ == "__main__":
    main()
