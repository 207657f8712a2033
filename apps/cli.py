"""The command line of every app: LightningCLI, with run folders, plain messages and a test at the end of a fit.

An app that can compare losses hands in what, and gets the subcommands `compare`, `ablate` or `sweep`.
"""

import logging
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import lightning as L
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.strategies import FSDPStrategy

from apps.compare.harness import Comparison, Experiment, compare
from apps.compare.tables import Titled, write_comparison
from apps.io.packages import FetchError
from apps.training.checkpoints import Checkpoints, WholeFiles, newest
from apps.training.distributed import SharedBatchNorm
from apps.training.progress import Progress

EXPECTED_WARNINGS = (
    r".*does not have many workers which may be a bottleneck.*",
    r".*Found no optimizer.*",
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*smaller than the logging interval.*",
    r".*module\(s\) in eval mode at the start of training.*",  # the frozen part of a backbone
    r".*Total length of `list` across ranks is zero.*",  # no validation, as asked for
    r".*your dataloader is not resumable.*",  # it is: apps.training.loading
    r".*recommended to use `self.log\(.*sync_dist=True.*",  # every process logs the scores of all the data
)
# What other libraries say in many lines, in one.
PLAIN = {
    "DataLoader worker": "a process that prepares images died (killed for its memory, perhaps): lower --data.workers",
    "PytorchStreamReader": "the checkpoint is damaged, or no checkpoint",
}


MakeExperiment = Callable[[Any, Any, L.Trainer, Collection[str] | None], Experiment]


class Study(NamedTuple):
    """A subcommand that compares: `make` makes the experiment from model, data, trainer and the candidates wanted.

    tables: what it shows beside the tables of every comparison. tested: whether final runs are scored on test data.
    images: further files, put into the folder by the experiment that was compared, from a seed; gives their paths.
    """

    make: MakeExperiment
    tables: Callable[[Comparison], list[Titled]] = lambda comparison: []
    tested: bool = True
    images: Callable[[Any, Path, int], list[Path]] = lambda experiment, folder, seed: []


class ComparingTrainer(L.Trainer):
    """Lightning's trainer, with the options of the subcommands that compare."""

    def compare(
        self,
        model: L.LightningModule,
        datamodule: L.LightningDataModule,
        folder: str = "runs/compare",
        candidates: list[str] | None = None,
        seeds: int = 3,
        budget: int = 8,
        search_steps: int | None = 150,
        finalists: int = 1,
        moments: tuple[int, ...] = (20, 60, 150),
        reference: str | None = None,
    ) -> None:
        """Train rival losses from the same seeds with the same search budget; tables, CSV and a figure at the end.

        Args:
            folder: Where finished trials are kept, from which a stopped comparison goes on, and the tables are put.
            candidates: What to compare; without it all that the app has.
            seeds: Final runs of each candidate, seeded from seed_everything on.
            budget: Settings that each candidate may try on validation data.
            search_steps: Steps of each of these trials.
            finalists: The best of these that train to the end on validation data, to choose among; 1 takes the best.
            moments: Steps after which to score, beside the end of every epoch.
            reference: A candidate from which the others' differences are shown, seed by seed.
        """
        raise NotImplementedError("AppCLI does it")

    ablate = sweep = compare


class AppCLI(LightningCLI):
    """Adds to LightningCLI: one seed for all, links from data to model, a folder a run, loggers, checkpoints, compare.

    A fit ends with a test of the best checkpoint, unless the network is in parts (FSDP). A run never writes into the
    folder of an earlier one.
    """

    def __init__(
        self,
        *args: Any,
        results: Callback,
        monitor: str,
        predictions: Callback | None = None,
        shown: Mapping[str, str] = MappingProxyType({}),
        links: Mapping[str, str] = MappingProxyType({}),
        studies: Mapping[str, Study] = MappingProxyType({}),
        **kwargs: Any,
    ) -> None:
        self.monitor, self.shown, self.links, self.studies = monitor, shown, links, studies
        self.results = [results] if predictions is None else [results, predictions]
        super().__init__(*args, **kwargs)

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # Lightning asks the instance
        return {**LightningCLI.subcommands(), **{name: {"model", "datamodule"} for name in self.studies}}

    def compare(
        self, model: L.LightningModule, datamodule: L.LightningDataModule, folder: str, seeds: int, **options: Any
    ) -> None:
        """The subcommands that compare; the options are `ComparingTrainer.compare`'s."""
        study = self.studies[self.config["subcommand"]]
        first = int(self._get(self.config, "seed_everything") or 0)
        candidates, reference = options.pop("candidates"), options.pop("reference")
        experiment = study.make(model, datamodule, self.trainer, candidates)
        comparison = compare(experiment, folder, seeds=range(first, first + seeds), tested=study.tested, **options)
        for path in write_comparison(comparison, folder, reference=reference, more=study.tables(comparison)):
            print(path, flush=True)
        for path in study.images(experiment, Path(folder), first):
            print(path, flush=True)

    ablate = sweep = compare

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--out", type=str, default="runs", help="Folder in which each run gets a folder of its own."
        )
        parser.add_argument(
            "--checkpoint_every", type=int, default=200, help="Steps between two checkpoints within an epoch."
        )
        for source, target in self.links.items():
            parser.link_arguments(f"data.{source}", f"model.{target}", apply_on="instantiate")
        parser.link_arguments("seed_everything", "model.seed")
        parser.link_arguments("seed_everything", "data.seed")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        super().parse_arguments(parser, args)
        command = self.config.get("subcommand")  # None where the command line is read and not run
        chosen = self.config[command] if command else {}
        if chosen.get("ckpt_path") == "last":
            chosen["ckpt_path"] = str(newest(Path(chosen["out"])))

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        out = Path(self._get(self.config, "out"))
        log = CSVLogger(out, name="")
        kwargs["logger"] = [log, TensorBoardLogger(out, name="", version=log.version)]
        # Without validation there is nothing to choose by: the last checkpoint is the best.
        monitor = self.monitor if getattr(self.datamodule, "validates", True) else None
        self.checkpoints = Checkpoints(monitor=monitor, every=self._get(self.config, "checkpoint_every"))
        progress = [RichProgressBar()] if sys.stdout.isatty() else []
        kwargs["callbacks"] = [
            *progress,
            Progress(shown=self.shown),
            self.checkpoints,
            *self.results,
        ]
        kwargs["plugins"] = [WholeFiles()]
        if self._get(self.config, "trainer.sync_batchnorm"):
            kwargs["plugins"].append(SharedBatchNorm())
            kwargs["sync_batchnorm"] = False
        return super().instantiate_trainer(**kwargs)

    def before_predict(self) -> None:
        self.config_init["predict"]["return_predictions"] = False  # a callback writes them; memory may not hold all

    def after_fit(self) -> None:
        if isinstance(self.trainer.strategy, FSDPStrategy):  # each process has a part of the network
            if self.trainer.is_global_zero:
                folder = self.checkpoints.folder.parent
                print(
                    f"now test it with one process: test --config {folder}/config.yaml --trainer.strategy auto "
                    f"--trainer.devices 1 --ckpt_path {self.checkpoints.best}",
                    flush=True,
                )
            return
        self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=self.checkpoints.best, verbose=False)


def run(
    model_class: type,
    data_class: type,
    *,
    results: Callback,
    predictions: Callback | None = None,
    monitor: str,
    shown: Mapping[str, str],
    links: Mapping[str, str],
    studies: Mapping[str, Study] = MappingProxyType({}),
    args: list[str] | None = None,
) -> None:
    """Run an app's command line. A mistake of the user's ends with one line.

    With GEOMDML_TRACEBACK set, the whole traceback is shown instead.

    Args:
        model_class, data_class: the app's modules; both have an argument `seed`.
        results: what is done at the end of a test.
        monitor: the logged validation score, higher is better, that chooses the best checkpoint.
        shown: what a line an epoch says, {its words: the name of a logged value}.
        links: properties of the data that are arguments of the model, {property: argument}.
        studies: the subcommands that compare, among `compare`, `ablate` and `sweep`.
        args: the command line; None is the process's.
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
            trainer_class=ComparingTrainer,
            results=results,
            predictions=predictions,
            monitor=monitor,
            shown=shown,
            links=links,
            studies=studies,
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
        if isinstance(error, ConnectionResetError):  # how a death shows that hits a worker while it hands over a batch
            error = ValueError(f"{PLAIN['DataLoader worker']} ({error})")
        if os.environ.get("GEOMDML_TRACEBACK"):
            raise
        sys.exit(f"error: {_first(error)}")
    except RuntimeError as error:
        plain = next((plain for name, plain in PLAIN.items() if name in str(error)), None)
        if plain is None or os.environ.get("GEOMDML_TRACEBACK"):
            raise
        sys.exit(f"error: {plain} ({str(error).partition(chr(10))[0]})")


def _first(error: BaseException) -> BaseException:
    """What went wrong first: on a full disk, what is done at the end of a failed run fails too."""
    while error.__cause__ is None and isinstance(error.__context__, OSError):
        error = error.__context__
    return error
