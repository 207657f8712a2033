"""`python -m apps.multimodal fit|validate|test|compare --config apps/multimodal/configs/furniture.yaml`"""

from apps.cli import run
from apps.compare.study import Study, with_trainer
from apps.multimodal.data import MultimodalData
from apps.multimodal.experiment import MultimodalExperiment
from apps.multimodal.model import Multimodal
from apps.multimodal.results import Results


def main(args: list[str] | None = None) -> None:
    run(
        Multimodal,
        MultimodalData,
        results=Results(),
        monitor="val/fused",
        shown={"validation accuracy fused": "val/fused", "views": "val/views", "points": "val/points"},
        links={"classes": "classes"},
        fixed=("classes",),
        studies={"compare": Study(with_trainer(MultimodalExperiment))},
        args=args,
    )


if __name__ == "__main__":
    main()
