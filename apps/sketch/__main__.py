"""`python -m apps.sketch fit|validate|test|compare --config apps/sketch/configs/pictograms.yaml`

`check` says what the data hold; `serve` shows a page on which one draws, and the nearest shapes appear.
"""

from collections.abc import Sequence

from apps.commands import run_command

OWN = ("check", "serve", "draw")
LIGHTNING = ("fit", "validate", "test", "compare")


def main(args: Sequence[str] | None = None) -> None:
    run_command("apps.sketch", OWN, LIGHTNING, train, args)


def train(words: list[str] | None) -> None:
    from apps.cli import run
    from apps.compare.study import Study, with_trainer
    from apps.sketch.data import SketchData
    from apps.sketch.experiment import SketchExperiment
    from apps.sketch.model import SketchToShape
    from apps.sketch.results import Results

    studies = {"compare": Study(with_trainer(SketchExperiment))}
    run(SketchToShape, SketchData, results=Results(), studies=studies, args=words)


if __name__ == "__main__":
    main()
