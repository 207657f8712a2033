"""Image retrieval with CHEST and other losses.

    python -m apps.chest_vit fit --config apps/chest_vit/configs/emoji.yaml [--data.root PATH]  # train, then test
    python -m apps.chest_vit validate|test|predict --ckpt_path FILE  # score or embed the run's images
    python -m apps.chest_vit ablate|sweep|compare --config apps/chest_vit/configs/study.yaml  # run experiments

These commands train nothing and have a --help of their own:

    python -m apps.chest_vit check --data.root PATH  # what a folder of images holds
    python -m apps.chest_vit predict --ckpt_path FILE --images FOLDER_OR_LIST  # embed new images
    python -m apps.chest_vit search --ckpt_path FILE --query IMAGE  # the images nearest to one
    python -m apps.chest_vit serve --ckpt_path FILE  # a web page to search on
    python -m apps.chest_vit export --ckpt_path FILE --to onnx|torch  # the network for other programs
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

    run(CHEST, RetrievalData, results=Results(), predictions=Predictions(), studies=STUDIES, about=__doc__, args=words)


if __name__ == "__main__":
    main()
