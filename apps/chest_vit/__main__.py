"""`python -m apps.chest_vit fit|validate|test|predict --config apps/chest_vit/configs/emoji.yaml`

`python -m apps.chest_vit predict --ckpt_path FILE --images FOLDER_OR_LIST` embeds new images,
`python -m apps.chest_vit check --data.root PATH` says what a folder holds,
`python -m apps.chest_vit search --checkpoint FILE --query IMAGE` finds the images nearest to one,
`python -m apps.chest_vit serve --ckpt_path FILE` shows a page for that,
`python -m apps.chest_vit ablate|sweep|compare --config apps/chest_vit/configs/study.yaml` trains the rows of the
paper's ablation, settings, or rival losses from the same seeds,
`python -m apps.chest_vit export --checkpoint FILE --to onnx|torch` writes the network for other programs.
"""

import sys
from collections.abc import Sequence

from apps.commands import run_command

OWN = ("check", "search", "serve", "export")
LIGHTNING = ("fit", "validate", "test", "predict", "ablate", "sweep", "compare")


def main(args: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if args is None else args)
    if words[:1] == ["predict"] and any(word.partition("=")[0] == "--images" for word in words):
        run_command("apps.chest_vit", ("embed",), (), train, ["embed", *words[1:]])
    else:
        run_command("apps.chest_vit", OWN, LIGHTNING, train, args)


def train(words: list[str] | None) -> None:
    from apps.chest_vit.data import RetrievalData
    from apps.chest_vit.model import CHEST
    from apps.chest_vit.predict import Predictions
    from apps.chest_vit.results import Results
    from apps.chest_vit.studies.commands import STUDIES
    from apps.cli import run

    run(CHEST, RetrievalData, results=Results(), predictions=Predictions(), studies=STUDIES, args=words)


if __name__ == "__main__":
    main()
