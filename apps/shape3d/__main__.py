"""Retrieval and classification of 3D shapes by multi-view rendering.

    python -m apps.shape3d fit --config apps/shape3d/configs/furniture.yaml [--data.root PATH]  # train, then test
    python -m apps.shape3d validate|test --ckpt_path FILE  # score the run's shapes
    python -m apps.shape3d compare --config apps/shape3d/configs/compare.yaml  # run experiments

These commands train nothing and have a --help of their own:

    python -m apps.shape3d check --data.root PATH  # what a folder of meshes holds
    python -m apps.shape3d predict --ckpt_path FILE --meshes FOLDER  # the classes of new meshes
    python -m apps.shape3d search --ckpt_path FILE --mesh MESH  # the shapes nearest to one
    python -m apps.shape3d serve --ckpt_path FILE  # a web page to search on
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
    run(Shape3D, ShapeData, results=Results(), studies=studies, about=__doc__, args=words)


if __name__ == "__main__":
    main()
