"""3D shapes as images and point clouds together: label reshaping and competing methods.

python -m apps.multimodal fit --config apps/multimodal/configs/furniture.yaml                  train, then test
python -m apps.multimodal validate|test|predict --ckpt_path FILE                score or classify the run's shapes
python -m apps.multimodal compare --config apps/multimodal/configs/compare.yaml                run experiments
"""

from apps.cli import run
from apps.compare.study import Study, with_trainer
from apps.multimodal.data import MultimodalData
from apps.multimodal.experiment import MultimodalExperiment
from apps.multimodal.model import Multimodal
from apps.multimodal.results import Results


def main(args: list[str] | None = None) -> None:
    studies = {"compare": Study(with_trainer(MultimodalExperiment))}
    run(Multimodal, MultimodalData, results=Results(), studies=studies, about=__doc__, args=args)


if __name__ == "__main__":
    main()
