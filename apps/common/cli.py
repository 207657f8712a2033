"""The command line of every app: LightningCLI, with run folders, plain messages and a test at the end of a fit."""

import logging
import os
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from apps.common.packages import FetchError
from apps.common.progress import Progress

EXPECTED_WARNINGS = (
    r".*does not have many workers which may be a bottleneck.*",
    r".*Found no optimizer.*",
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*smaller than the logging interval.*",
    r".*module\(s\) in eval mode at the start of training.*",  # the frozen part of a backbone
    r".*Total length of `list` across ranks is zero.*",  # no validation, as asked for
)


class AppCLI(LightningCLI):
    """Adds to LightningCLI: one seed for all, the classes counted from the data, a folder a run, loggers, checkpoints.

    A fit ends with a test of the best checkpoint. A run never writes into the folder of an earlier one.
    """

    def __init__(
        self, *args: Any, results: Callback, predictions: Callback | None = None, monitor: str, **kwargs: Any
    ) -> None:
        self.monitor = monitor
        self.results = [results] if predictions is None else [results, predictions]
        super().__init__(*args, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--out", type=str, default="runs", help="Folder in which each run gets a folder of its own."
        )
        parser.link_arguments("data.num_classes", "model.num_classes", apply_on="instantiate")
        parser.link_arguments("seed_everything", "model.seed")
        parser.link_arguments("seed_everything", "data.seed")

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        out = Path(self._get(self.config, "out"))
        log = CSVLogger(out, name="")
        self.folder = Path(log.log_dir)
        kwargs["logger"] = [log, TensorBoardLogger(out, name="", version=log.version)]
        checkpoints = self.folder / "checkpoints"
        # Without validation there is nothing to choose by: the last checkpoint is the best.
        monitor = self.monitor if getattr(self.datamodule, "validates", True) else None
        progress = [RichProgressBar()] if sys.stdout.isatty() else []
        kwargs["callbacks"] = [
            *progress,
            Progress(monitor=self.monitor),
            ModelCheckpoint(checkpoints, filename="best", monitor=monitor, mode="max", save_last=True),
            *self.results,
        ]
        return super().instantiate_trainer(**kwargs)

    def before_predict(self) -> None:
        self.config_init["predict"]["return_predictions"] = False  # a callback writes them; memory may not hold all

    def after_fit(self) -> None:
        self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path="best", verbose=False)


def run(
    model_class: type,
    data_class: type,
    *,
    results: Callback,
    predictions: Callback | None = None,
    monitor: str,
    args: list[str] | None = None,
) -> None:
    """Run an app's command line. A mistake of the user's ends with one line.

    With GEOMDML_TRACEBACK set, the whole traceback is shown instead.
    """
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"  # a checkpoint may come from anyone: it runs no code
    for library in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    try:
        AppCLI(
            model_class,
            data_class,
            results=results,
            predictions=predictions,
            monitor=monitor,
            args=args,
            seed_everything_default=0,
            trainer_defaults={
                "num_sanity_val_steps": 0,
                "log_every_n_steps": 10,
                "enable_model_summary": False,
                "enable_progress_bar": sys.stdout.isatty(),
                "use_distributed_sampler": False,
            },
            parser_kwargs={"prog": f"python -m {model_class.__module__.rsplit('.', 1)[0]}"},
        )
    except (ValueError, OSError, FetchError, pickle.UnpicklingError) as error:
        if os.environ.get("GEOMDML_TRACEBACK"):
            raise
        sys.exit(f"error: {error}")
