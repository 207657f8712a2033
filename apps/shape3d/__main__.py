"""`python -m apps.shape3d fit|validate|test|compare --config apps/shape3d/configs/furniture.yaml`

`check` says what the data hold, `predict` names the classes of a folder of meshes, `search` finds the shapes that are
most similar to one.
"""

import sys
from collections.abc import Sequence

COMMANDS = ("fit", "validate", "test", "compare", "check", "predict", "search")


def main(args: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if args is None else args)
    # Each command imports what it needs: a check need not wait for Lightning.
    if words[:1] == ["check"]:
        from apps.shape3d import check

        check.main(words[1:])
    elif words[:1] == ["predict"]:
        from apps.shape3d import predict

        predict.main(words[1:])
    elif words[:1] == ["search"]:
        from apps.shape3d import search

        search.main(words[1:])
    elif words and (words[0] in COMMANDS or words[0].startswith("-")):
        train(None if args is None else words)
    else:
        sys.exit(
            f"error: no command {words[0] if words else ''!r}: one of {', '.join(COMMANDS)} is wanted, as in "
            "python -m apps.shape3d check --data.root PATH"
        )


def train(words: list[str] | None) -> None:
    from apps.cli import Study, run
    from apps.shape3d.experiment import experiment
    from apps.shape3d.model import Shape3D
    from apps.shape3d.results import Results
    from apps.training.shape_data import ShapeData

    run(
        Shape3D,
        ShapeData,
        results=Results(),
        monitor="val/mAP",
        shown={"validation mAP": "val/mAP", "accuracy": "val/accuracy"},
        links={"classes": "classes"},
        studies={"compare": Study(experiment)},
        args=words,
    )


if __name__ == "__main__":
    main()
