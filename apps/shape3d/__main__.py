"""`python -m apps.shape3d fit|validate|test|compare --config apps/shape3d/configs/furniture.yaml`

`check` says what the data hold, `predict` names the classes of a folder of meshes, `search` finds the shapes that are
most similar to one, `serve` shows a page for that.
"""

from collections.abc import Sequence

from apps.commands import run_command

OWN = ("check", "predict", "search", "serve")
LIGHTNING = ("fit", "validate", "test", "compare")


def main(args: Sequence[str] | None = None) -> None:
    run_command("apps.shape3d", OWN, LIGHTNING, train, args)


def train(words: list[str] | None) -> None:
    from apps.cli import run
    from apps.compare.study import Study, with_trainer
    from apps.shape3d.experiment import ShapeExperiment
    from apps.shape3d.model import Shape3D
    from apps.shape3d.results import Results
    from apps.training.shape_data import ShapeData

    studies = {"compare": Study(with_trainer(ShapeExperiment))}
    run(Shape3D, ShapeData, results=Results(), studies=studies, args=words)


if __name__ == "__main__":
    main()
