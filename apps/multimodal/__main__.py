"""`python -m apps.multimodal fit|validate|test|predict|compare --config apps/multimodal/configs/furniture.yaml`"""

from apps.cli import run
from apps.compare.study import Study, with_trainer
from apps.multimodal.data import MultimodalData
from apps.multimodal.experiment import MultimodalExperiment
from apps.multimodal.model import Multimodal
from apps.multimodal.results import Results


def main(args: list[str] | None = None) -> None:
    studies = {"compare": Study(with_trainer(MultimodalExperiment))}
    run(Multimodal, MultimodalData, results=Results(), studies=studies, args=args)


if __name__ == "__main__":
    main()
