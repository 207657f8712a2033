"""`python -m apps.digits fit|validate|test|predict|compare --config apps/digits/configs/mnist.yaml`"""

from apps.cli import run
from apps.compare.study import Study, with_trainer
from apps.digits.data import DigitsData
from apps.digits.experiment import DigitsExperiment
from apps.digits.model import Digits
from apps.digits.results import Results


def main(args: list[str] | None = None) -> None:
    studies = {"compare": Study(with_trainer(DigitsExperiment))}
    run(Digits, DigitsData, results=Results(), studies=studies, args=args)


if __name__ == "__main__":
    main()
