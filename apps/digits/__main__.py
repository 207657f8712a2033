"""`python -m apps.digits fit|validate|test|predict|compare --config apps/digits/configs/mnist.yaml`"""

from apps.cli import run
from apps.compare.study import Study, with_trainer
from apps.digits.data import DigitsData
from apps.digits.experiment import DigitsExperiment
from apps.digits.model import Digits
from apps.digits.results import Results


def main(args: list[str] | None = None) -> None:
    run(
        Digits,
        DigitsData,
        results=Results(),
        monitor="val/mAP",
        shown={"validation mAP": "val/mAP", "Recall@1": "val/Recall@1"},
        links={"shape": "shape", "mean": "mean", "std": "std"},
        fixed=("shape",),
        studies={"compare": Study(with_trainer(DigitsExperiment))},
        args=args,
    )


if __name__ == "__main__":
    main()
