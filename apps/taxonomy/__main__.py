"""Taxonomies embedded in hyperbolic space.

    python -m apps.taxonomy fit --config apps/taxonomy/configs/mammals.yaml [--data.root FILE]  # train, then test
    python -m apps.taxonomy validate|test|predict --ckpt_path FILE  # score or write the embeddings
    python -m apps.taxonomy compare|sweep --config apps/taxonomy/configs/study.yaml  # run experiments

These commands train nothing and have a --help of their own:

    python -m apps.taxonomy check --data.root FILE  # what a taxonomy holds
    python -m apps.taxonomy search --ckpt_path FILE --node NAME  # neighbours and ancestors of a node
    python -m apps.taxonomy serve --ckpt_path FILE  # a web page to search on
"""

from collections.abc import Sequence

from apps.commands import run_command

ABOUT = "Train in several spaces, from several starts, with the same search budget; write tables, a CSV and a figure."
OWN = ("check", "search", "serve")
SWEPT = "Train in other dimensions, curvatures and floats, and with pairs held out; write tables, a CSV and a figure."
LIGHTNING = ("fit", "validate", "test", "predict", "compare", "sweep")


def main(args: Sequence[str] | None = None) -> None:
    run_command("apps.taxonomy", OWN, LIGHTNING, train, args)


def train(words: list[str] | None) -> None:
    from apps.cli import run
    from apps.compare.study import Study, with_trainer
    from apps.taxonomy.data import TaxonomyData
    from apps.taxonomy.experiment import TaxonomyExperiment, TaxonomySweep, before_training
    from apps.taxonomy.model import TaxonomyEmbedding
    from apps.taxonomy.results import Results

    studies = {
        "compare": Study(with_trainer(TaxonomyExperiment), about=ABOUT, tables=before_training),
        "sweep": Study(with_trainer(TaxonomySweep), about=SWEPT, tables=before_training),
    }
    run(TaxonomyEmbedding, TaxonomyData, results=Results(), studies=studies, about=__doc__, args=words)


if __name__ == "__main__":
    main()
