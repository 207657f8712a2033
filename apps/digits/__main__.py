"""Batch-wise optimal transport and competing losses on small images: MNIST, Fashion-MNIST, CIFAR10.

python -m apps.digits fit --config apps/digits/configs/mnist.yaml [--data.root PATH]           train, then test
python -m apps.digits validate|test|predict --ckpt_path FILE                    score or embed the run's images
python -m apps.digits compare --config apps/digits/configs/compare.yaml         run experiments
"""

from apps.cli import run
from apps.compare.study import Study, with_trainer
from apps.digits.data import DigitsData
from apps.digits.experiment import DigitsExperiment
from apps.digits.model import Digits
from apps.digits.results import Results


def main(args: list[str] | None = None) -> None:
    studies = {"compare": Study(with_trainer(DigitsExperiment))}
    run(Digits, DigitsData, results=Results(), studies=studies, about=__doc__, args=args)


if __name__ == "__main__":
    main()
