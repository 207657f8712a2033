"""The command line of every app: LightningCLI, with run folders, plain messages and a test at the end of a fit.

An app that compares declares its studies (`apps.compare.study.Study`), and each is a subcommand under its name.
"""

import errno
import logging
import os
import pickle
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.strategies import FSDPStrategy

from apps.compare.study import GIVEN, Study, run_study
from apps.io.packages import NO_HOME, FetchError
from apps.training.checkpoints import Checkpoints, WholeFiles, newest
from apps.training.distributed import SharedBatchNorm
from apps.training.progress import Progress
from apps.training.run_folder import BesideIt, RunFolder
from apps.training.signals import exit_at_signals

EXPECTED_WARNINGS = (
    r".*does not have many workers which may be a bottleneck.*",
    r".*Found no optimizer.*",
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*smaller than the logging interval.*",
    r".*module\(s\) in eval mode at the start of training.*",  # the frozen part of a backbone
    r".*Total length of `list` across ranks is zero.*",  # no validation, as asked for
    r".*recommended to use `self.log\(.*sync_dist=True.*",  # every process logs the scores of all the data
)
# What other libraries say in many lines, in one.
PLAIN = {
    "DataLoader worker": "a process that prepares images died (killed for its memory, perhaps): lower --data.workers",
    "PytorchStreamReader": "the checkpoint is damaged, or no checkpoint",
    NO_HOME: "a path begins with ~ and there is no home folder; expected a whole path",
}


class AppCLI(LightningCLI):
    """Adds to LightningCLI: one seed for all, links from data to model, a folder a run, loggers, checkpoints, studies.

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

    def _add_subcommands(self, parser: LightningArgumentParser, **kwargs: Any) -> None:
        """Lightning makes a subcommand of a method of its trainer; a study is one by the options of `run_study`."""
        super()._add_subcommands(parser, **kwargs)
        subcommands = parser._subcommands_action
        assert subcommands is not None  # Lightning has just made it
        for name, study in self.studies.items():
            of_study = self._subcommand_parsers[name] = self.init_parser(description=study.about)
            self._add_arguments(of_study)
            options = of_study.add_function_arguments(run_study, skip=GIVEN)
            self._subcommand_method_arguments[name] = options
            subcommands.add_subcommand(name, of_study, help=study.about)

    def _run_subcommand(self, subcommand: str) -> None:
        if subcommand not in self.studies:
            super()._run_subcommand(subcommand)
            return
        run_study(
            self.studies[subcommand],
            trainer=self.trainer,
            first_seed=int(self._get(self.config, "seed_everything") or 0),
            **self._prepare_subcommand_kwargs(subcommand),
        )

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
        folder = RunFolder(out)
        kwargs["logger"] = [folder, BesideIt(folder)]
        # Without validation scores the last checkpoint is the best.
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
        studies: the subcommands that compare, {name: study}.
        args: the command line; None is the process's.
    """
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"  # a checkpoint may come from anyone: it runs no code
    for library in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    try:
        with exit_at_signals():
            AppCLI(
                model_class,
                data_class,
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
        sys.exit(f"error: {_in_words(_first(error))}")
    except RuntimeError as error:
        plain = next((plain for name, plain in PLAIN.items() if name in str(error)), None)
        if plain is None or os.environ.get("GEOMDML_TRACEBACK"):
            raise
        sys.exit(f"error: {plain} ({str(error).partition(chr(10))[0]})")


def _in_words(error: BaseException) -> str:
    """What an error says; of a full disk, which names no file, what to do too."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
        return f"a file could not be written: {error.strerror}; make room, or name another place with --out"
    return str(error)


def _first(error: BaseException) -> BaseException:
    """What went wrong first: on a full disk, what is done at the end of a failed run fails too."""
    while error.__cause__ is None and isinstance(error.__context__, OSError):
        error = error.__context__
    return error
