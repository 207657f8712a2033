"""`predict`: the embeddings of all images of the data, in files."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from apps.chest_vit.checkpoint import fingerprint
from apps.chest_vit.data import RetrievalData
from apps.chest_vit.model import CHEST
from apps.datasets.files import text
from apps.datasets.labelled_images import LabelledImages
from apps.evaluation.embedding_files import Table, Writer
from apps.evaluation.embedding_shards import MANIFEST, Shard, stem, write_manifest
from apps.training.loading import data_of, place, stretch
from geomdml.distributed import gather, rank_and_size
from geomdml.spaces import Hyperbolic


class Predictions(Callback):
    """Writes the embeddings of a predict into the run folder as they come (`embedding_files.Writer`).

    Of several processes each writes those of its images, and the first a manifest.
    """

    writer: Writer
    own: range

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, CHEST)
        data: RetrievalData = data_of(trainer)
        rank, ranks = place(trainer)
        self.own = stretch(len(data.everything), rank, ranks)
        folder, found = Path(trainer.log_dir or "."), about(pl_module, data.everything)
        self.writer = Writer(folder, table(data).of_rows(self.own), found, stem=stem(rank, ranks))

    def on_predict_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *_: Any) -> None:
        self.writer.add(E=outputs["E"], H=outputs["H"])

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        paths, _ = finish(self.writer, Shard(len(self.own), 0))
        assert isinstance(pl_module, CHEST)
        if trainer.is_global_zero:
            print(*(f"embeddings: {path}" for path in paths), sep="\n", flush=True)
            print(f"output: {pl_module.choice_in_words()}", flush=True)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        if hasattr(self, "writer"):
            self.writer.discard()


def finish(writer: Writer, shard: Shard) -> tuple[list[Path], Shard]:
    """Finish the files of this process, once all processes have written theirs, and let the first name them.

    Returns:
        the files to read, those of the one process or the manifest of several, and the counts of all.
    """
    shards = [Shard(*counts) for counts in gather(torch.tensor([shard])).tolist()]
    whole, paths = Shard(*map(sum, zip(*shards, strict=True))), writer.close()
    if len(shards) > 1:
        gather(torch.zeros(1))  # all have their names
        paths = [paths[0].with_name(MANIFEST)]
        if rank_and_size()[0] == 0:
            write_manifest(paths[0], shards)
    return paths, whole


def table(data: RetrievalData) -> Table:
    """The images of `predict`, in its order, and which part of the data each is of."""
    images = data.everything
    parts = {"train": data.train, "validation": data.split.validation, "query": data.split.query}
    parts["gallery" if data.split.gallery else "test"] = data.split.gallery or parts.pop("query")
    counted = [name for name, part in parts.items() if isinstance(part, LabelledImages) for _ in range(len(part))]
    return Table(images.names, images.labels, images.classes, counted)


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
