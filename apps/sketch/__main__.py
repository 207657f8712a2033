"""`python -m apps.sketch fit|validate|test|compare --config apps/sketch/configs/pictograms.yaml`

`check` says what the data hold; `draw` serves a page on which one draws, and the nearest shapes appear.
"""

import sys
from collections.abc import Sequence

COMMANDS = ("fit", "validate", "test", "compare", "check", "draw")


def main(args: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if args is None else args)
    # Each command imports what it needs: a check need not wait for Lightning.
    if words[:1] == ["check"]:
        from apps.sketch import check

        check.main(words[1:])
    elif words[:1] == ["draw"]:
        from apps.sketch import draw

        draw.main(words[1:])
    elif words and (words[0] in COMMANDS or words[0].startswith("-")):
        train(None if args is None else words)
    else:
        sys.exit(
            f"error: no command {words[0] if words else ''!r}: one of {', '.join(COMMANDS)} is wanted, as in "
            "python -m apps.sketch check --data.root PATH"
        )


def train(words: list[str] | None) -> None:
    from apps.cli import Study, run
    from apps.sketch.data import SketchData
    from apps.sketch.experiment import experiment
    from apps.sketch.model import SketchToShape
    from apps.sketch.results import Results

    run(
        SketchToShape,
        SketchData,
        results=Results(),
        monitor="val/mAP",
        shown={"validation mAP": "val/mAP", "NN": "val/NN"},
        links={"classes": "classes"},
        studies={"compare": Study(experiment)},
        args=words,
    )


if __name__ == "__main__":
    main()
