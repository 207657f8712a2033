"""`predict`: the embeddings of all images of the data, in files."""

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from apps.chest_vit.checkpoint import fingerprint
from apps.chest_vit.data import RetrievalData
from apps.chest_vit.model import CHEST
from apps.datasets.files import text
from apps.datasets.labelled_images import LabelledImages
from apps.evaluation.embedding_files import Table, Writer
from apps.training.loading import data_of
from geomdml.spaces import Hyperbolic


class Predictions(Callback):
    """Writes the embeddings of a predict into the run folder as they come (`embedding_files.Writer`)."""

    writer: Writer

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.world_size > 1:
            raise ValueError(f"predict with {trainer.world_size} processes; expected --trainer.devices 1")
        assert isinstance(pl_module, CHEST)
        data: RetrievalData = data_of(trainer)
        self.writer = Writer(Path(trainer.log_dir or "."), table(data), about(pl_module, data.everything))

    def on_predict_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any) -> None:
        self.writer.add(E=outputs["E"], H=outputs["H"])

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for path in self.writer.close():
            print(f"embeddings: {path}", flush=True)
        assert isinstance(pl_module, CHEST)
        print(f"output: {pl_module.choice_in_words()}", flush=True)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if hasattr(self, "writer"):
            self.writer.discard()


def table(data: RetrievalData) -> Table:
    """The images of `predict`, in its order, and which part of the data each is of."""
    images = data.everything
    parts = {"train": data.train, "validation": data.split.validation, "query": data.split.query}
    parts["gallery" if data.split.gallery else "test"] = data.split.gallery or parts.pop("query")
    counted = [name for name, part in parts.items() if isinstance(part, LabelledImages) for _ in range(len(part))]
    return Table(images.names, images.labels.tolist(), images.classes, counted)


def about(model: CHEST, images: LabelledImages | None = None) -> dict[str, str]:
    """What the vectors are: the space and chart of H, the network that made them, and where the images are.

    "output" is the one of E and H to use.
    """
    space = model.space
    assert isinstance(space, Hyperbolic)
    return {
        "chart": space.chart,
        "c": repr(space.curvature),
        "output": model.chosen,
        "E": "Euclidean",
        "H": f"hyperbolic, chart {space.chart!r}, curvature -{space.curvature!r}",
        "backbone": str(model.hparams["backbone"]),
        "network": fingerprint(model),
        **({} if images is None or images.root is None else {"root": text(str(images.root.resolve()))}),
    }
