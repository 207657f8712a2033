"""The command line of every app: LightningCLI, with run folders, plain messages and a test at the end of a fit.

An app that compares declares its studies (`apps.compare.study.Study`), and each is a subcommand under its name.
"""

import contextlib
import errno
import io
import logging
import os
import pickle
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import lightning as L
import torch
from jsonargparse.typing import register_type
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import (
    Callback,
    ProgressBar,
    RichProgressBar,
    StochasticWeightAveraging,
    WeightAveraging,
)
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from apps.compare.study import GIVEN, Study, run_study
from apps.io.packages import NO_HOME, FetchError
from apps.training.checkpoints import Checkpoints, WholeFiles, newest
from apps.training.distributed import SharedBatchNorm
from apps.training.given import GivenOptions, check_data, check_options
from apps.training.module import AppModule
from apps.training.progress import Progress
from apps.training.restore import Saved, misfit, read_checkpoint
from apps.training.run_folder import BesideIt, RunFolder
from apps.training.signals import exit_at_signals
from apps.training.trusted import TRUST, trusted_class_paths, trusted_packages

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
    "Early stopping conditioned on metric": "trainer.callbacks: EarlyStopping watches a value that is not logged",
    NO_HOME: "a path begins with ~ and there is no home folder; expected a whole path",
}

register_type(torch.device)  # an argument of Lightning's callbacks, which a config has to hold


class AppParser(LightningArgumentParser):
    """Says in one line which class may not be imported."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        if denied := re.search(r"Importing '(\S+)' is not allowed", message):
            sys.exit(
                f"error: {denied[1]} is not of {', '.join(trusted_packages())} or lightning, and importing it runs it; "
                f"if you trust it, name its package in the variable {TRUST}, else take it out of the config"
            )
        return super().error(message, ex)


class AppCLI(LightningCLI):
    """Adds to LightningCLI: one seed for all, links from data to model, a folder a run, loggers, checkpoints, studies.

    A fit ends with a test of the best checkpoint, unless the network is in parts (FSDP). A run never writes into the
    folder of an earlier one. Beside a checkpoint an option is, in this order, what the command line says, or the
    config, or the checkpoint.
    """

    def __init__(
        self,
        model_class: type[AppModule],
        *args: Any,
        results: Callback,
        predictions: Callback | None = None,
        studies: Mapping[str, Study] = MappingProxyType({}),
        **kwargs: Any,
    ) -> None:
        self.arguments_from_data, self.studies = model_class.arguments_from_data(), studies
        self.saved: Saved | None = None
        self.of_data: dict[str, Any] = {}  # the values of these arguments
        self.results = [results] if predictions is None else [results, predictions]
        super().__init__(model_class, *args, **kwargs)

    @property
    def app(self) -> str:
        """The package of the app."""
        return self._model_class.__module__.rpartition(".")[0]

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
            try:
                super()._run_subcommand(subcommand)
            except (KeyError, TypeError, AttributeError) as error:
                steps = traceback.extract_tb(error.__traceback__)
                if not any(step.filename.endswith("checkpoint_connector.py") for step in steps):
                    raise
                path = self._get(self.config, "ckpt_path")
                raise ValueError(f"{path!r} cannot be restored: {type(error).__name__} {error}") from error
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
        for name in self.arguments_from_data:
            parser.link_arguments(f"data.{name}", f"model.{name}", self._linked(name), apply_on="instantiate")
        parser.link_arguments("seed_everything", "model.seed")
        parser.link_arguments("seed_everything", "data.seed")

    def _linked(self, name: str) -> Callable[[Any], Any]:
        """What the model gets of its data; where it does not train, what the checkpoint's got of those it has seen."""

        def of_training(value: Any) -> Any:
            self.of_data[name] = value
            trained = self.saved is not None and self.config["subcommand"] != "fit"
            return self.saved.settings.get(name, value) if self.saved and trained else value

        return of_training

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse twice: the first time says which checkpoint it is whose options are the defaults of the second."""
        words = list(sys.argv[1:] if args is None else args)
        config = parser.parse_args([word for word in words if not word.startswith("--print_config")])
        command = config.get("subcommand")  # None where the command line is read and not run
        chosen = config[command] if command else {}
        path = chosen.get("ckpt_path")
        if path == "last":
            path = str(newest(Path(chosen["out"])))
        if path is None:
            super().parse_arguments(parser, args)
            return
        self.saved = read_checkpoint(path, self.app)
        if command == "fit" and not chosen.get("config"):
            print("no config: the trainer has its own defaults, such as max_epochs; a run's are in its config.yaml")
        own, defaults = self._subcommand_parsers[command], self._defaults(self.saved)
        if unknown := defaults.keys() - own.get_defaults().keys():
            raise ValueError(f"{misfit(self.saved, self.app)}: it has --{min(unknown)}, which {command} has not")
        errors = io.StringIO()
        try:
            own.set_defaults(defaults)
            with contextlib.redirect_stderr(errors):
                super().parse_arguments(parser, args)
        except SystemExit as end:
            if not end.code:  # as --print_config ends
                raise
            reason = errors.getvalue().strip().rpartition("error: ")[2].partition("\n")[0]
            raise ValueError(f"{misfit(self.saved, self.app)}: {reason}") from end
        self.config[command]["ckpt_path"] = path

    def _defaults(self, saved: Saved) -> dict[str, Any]:
        """The options of a checkpoint by their names on the command line."""
        linked = {"seed", *self.arguments_from_data}
        own = {"model": saved.settings, "data": saved.data}
        found = {f"{of}.{name}": own[of][name] for of in own for name in own[of] if name not in linked}
        return found | ({"seed_everything": saved.settings["seed"]} if "seed" in saved.settings else {})

    def _parse_ckpt_path(self) -> None:
        """Lightning would put the options of the checkpoint in place of those that are given."""

    def _check_checkpoint(self, saved: Saved) -> None:
        """Refuse a checkpoint that what is given does not fit, before anything is written."""
        resumes = self.subcommand == "fit"
        if resumes and not saved.groups:
            raise ValueError(
                f"{str(saved.path)!r} has weights and no state of a training to go on from; expected a last.ckpt"
            )
        check_options(self.model, saved, linked=self.arguments_from_data, resumes=resumes)
        check_data({name: self.of_data[name] for name in self.model.fixed}, saved)

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except (TypeError, KeyError, AttributeError, RuntimeError) as error:
            if self.saved is None:  # there is none, or it is checked: something else is wrong
                raise
            raise ValueError(f"{misfit(self.saved, self.app)}: {error}") from error

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        if self.saved is not None:
            self._check_checkpoint(self.saved)
            self.saved = None  # its weights need no memory any more
        given = self._get(self.config_init, "trainer")
        callbacks, loggers, plugins = (_listed(given[name]) for name in ("callbacks", "logger", "plugins"))
        _check_trainer(given, plugins)
        out = Path(self._get(self.config, "out"))
        folder = RunFolder(out)
        # Ours come first: the folder of a run is that of its first logger.
        kwargs["logger"] = [folder, BesideIt(folder), *loggers]
        # Without validation scores the last checkpoint is the best.
        monitor = self.model.monitor if getattr(self.datamodule, "validates", True) else None
        self.checkpoints = Checkpoints(monitor=monitor, every=self._get(self.config, "checkpoint_every"))
        bars: list[Callback] = [each for each in callbacks if isinstance(each, ProgressBar)]
        kwargs["enable_progress_bar"] = bool(bars) or given["enable_progress_bar"]
        kwargs["callbacks"] = [
            *([RichProgressBar()] if sys.stdout.isatty() and given["enable_progress_bar"] and not bars else []),
            Progress(shown=self.model.shown),
            GivenOptions(),
            self.checkpoints,
            *self.results,
            *callbacks,
        ]
        kwargs["plugins"] = [WholeFiles(), *plugins]
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
        for each in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(each, WeightAveraging):
                each._average_model = None  # it would load the last step's weights instead of the checkpoint's mean
        best = self.checkpoints.best
        if _averaged(self.trainer):
            best = best.with_name("averaged.ckpt")
            self.trainer.save_checkpoint(best)
            if self.trainer.is_global_zero:
                print(f"averaged weights: {best}; the test is theirs", flush=True)
        self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=best, verbose=False)


def run(
    model_class: type[AppModule],
    data_class: type,
    *,
    results: Callback,
    predictions: Callback | None = None,
    studies: Mapping[str, Study] = MappingProxyType({}),
    args: list[str] | None = None,
) -> None:
    """Run an app's command line. A mistake of the user's ends with one line.

    With GEOMDML_TRACEBACK set, the whole traceback is shown instead.

    Args:
        model_class, data_class: the app's modules; both have an argument `seed`, and arguments of the model that have
            no default are properties of the data.
        results: what is done at the end of a test.
        studies: the subcommands that compare, {name: study}.
        args: the command line; None is the process's.
    """
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"  # a checkpoint may come from anyone: it runs no code
    for library in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)
    words = sys.argv[1:] if args is None else args
    trains = bool(words) and words[0] in ("fit", *studies)  # then a config is what it is: code
    try:
        with exit_at_signals(), contextlib.nullcontext() if trains else trusted_class_paths():
            AppCLI(
                model_class,
                data_class,
                results=results,
                predictions=predictions,
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
                parser_class=AppParser,
                parser_kwargs={"prog": f"python -m {model_class.__module__.rsplit('.', 1)[0]}"},
            )
    except (ValueError, OSError, FetchError, pickle.UnpicklingError, MisconfigurationException) as error:
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
    """What to say of an error.

    Of a full disk, which names no file, what to do too; where jsonargparse lists all that a class might have been, the
    line on the one given.
    """
    if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
        return f"a file could not be written: {error.strerror}; make room, or name another place with --out"
    found = re.search(r"Problem with given class_path '(\S+)':\s+(?:- )?([^\n]+)", str(error))
    return f"{found[1]}: {found[2]}" if found else str(error)


def _listed(value: Any) -> list[Any]:
    """The values of an option of the trainer that takes one, several or none."""
    return list(value) if isinstance(value, list | tuple) else [] if value in (None, True) else [value]


def _averaged(trainer: L.Trainer) -> bool:
    """Whether the weights are those of a stochastic weight averaging that came to its end: no score chose them."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return any(
        isinstance(each, StochasticWeightAveraging) and each.n_averaged and trainer.current_epoch > each.swa_end
        for each in callbacks
    )


def _check_trainer(given: Mapping[str, Any], plugins: list[Any]) -> None:
    """Refuse options of the trainer that a run cannot do with: its folder, logs and checkpoints are its own."""
    if given["default_root_dir"] is not None:
        raise ValueError(
            f"--trainer.default_root_dir {given['default_root_dir']}: expected --out, the folder of all runs"
        )
    if given["logger"] is False:
        raise ValueError("--trainer.logger false: the log is the folder of the run; leave it out")
    if given["enable_checkpointing"] is False:
        raise ValueError("--trainer.enable_checkpointing false: a fit is tested from a checkpoint; leave it out")
    if given["fast_dev_run"]:
        raise ValueError(
            "--trainer.fast_dev_run: it has no folder for its report; expected --trainer.max_epochs 1 "
            "--trainer.limit_train_batches 2 --trainer.limit_val_batches 2 --trainer.limit_test_batches 2"
        )
    for plugin in plugins:
        if isinstance(plugin, CheckpointIO):
            raise ValueError(
                f"--trainer.plugins {type(plugin).__name__}: checkpoints are written by apps.training.checkpoints, "
                "whole or not at all; leave it out"
            )


def _first(error: BaseException) -> BaseException:
    """What went wrong first: on a full disk, what is done at the end of a failed run fails too."""
    while error.__cause__ is None and isinstance(error.__context__, OSError):
        error = error.__context__
    return error
