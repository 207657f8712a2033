"""`python -m apps.taxonomy fit|validate|test|predict|compare|sweep --config apps/taxonomy/configs/mammals.yaml`

`check` says what is in a taxonomy, `search` finds the neighbours and ancestors of a node, `serve` shows a page
for that.
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
    run(TaxonomyEmbedding, TaxonomyData, results=Results(), studies=studies, args=words)


if __name__ == "__main__":
    main()
