"""Search by drawing: sketches and 3D shapes in one space.

    python -m apps.sketch fit --config apps/sketch/configs/pictograms.yaml [--data.root PATH]  # train, then test
    python -m apps.sketch validate|test --ckpt_path FILE  # score the run's sketches
    python -m apps.sketch compare --config apps/sketch/configs/compare.yaml  # run experiments

These commands train nothing and have a --help of their own:

    python -m apps.sketch check --data.root PATH  # what the data hold
    python -m apps.sketch serve --ckpt_path FILE  # a web page to draw and search on
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
    run(SketchToShape, SketchData, results=Results(), studies=studies, about=__doc__, args=words)


if __name__ == "__main__":
    main()
