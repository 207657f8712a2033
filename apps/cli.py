"""The command line of every app: LightningCLI, with run folders, plain messages and a test at the end of a fit.

An app that compares declares its studies (`apps.compare.study.Study`), and each is a subcommand under its name.
"""

import contextlib
import io
import logging
import os
import pickle
import re
import sys
import traceback
import warnings
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import lightning as L
import torch
import yaml
from jsonargparse import DefaultHelpFormatter
from jsonargparse.typing import register_type
from lightning.pytorch.callbacks import Callback, ProgressBar, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning_utilities.core.enums import StrEnum

from apps.compare.study import GIVEN, Study, run_study
from apps.io.packages import FetchError
from apps.io.trusted import TRUST, allowed_packages, trusted_class_paths
from apps.training.averaging import checkpoint_to_test
from apps.training.callbacks import writes_predictions
from apps.training.checkpoints import Checkpoints, WholeFiles, newest
from apps.training.distributed import SharedBatchNorm
from apps.training.end_together import EndTogether
from apps.training.given import GivenOptions, check_data, check_options
from apps.training.messages import message, plain_message
from apps.training.module import AppModule
from apps.training.progress import Progress
from apps.training.restore import Saved, misfit, read_checkpoint
from apps.training.run_folder import BesideIt, RunFolder
from apps.training.signals import exit_at_signals
from apps.training.trainer_options import check_trainer, listed

EXPECTED_WARNINGS = (
    r".*does not have many workers which may be a bottleneck.*",
    r".*Found no optimizer.*",
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*smaller than the logging interval.*",
    r".*module\(s\) in eval mode at the start of training.*",  # the frozen part of a backbone
    r".*Total length of `list` across ranks is zero.*",  # no validation, as asked for
    r".*recommended to use `self.log\(.*sync_dist=True.*",  # every process logs the scores of all the data
)

# Arguments of Lightning's callbacks, which a config has to hold.
register_type(torch.device)
yaml.SafeDumper.add_multi_representer(StrEnum, lambda dumper, value: dumper.represent_str(value.value))


class AppHelp(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Leaves the lines of a description as they are."""


class AppParser(LightningArgumentParser):
    """Keeps errors short; says in one line which class may not be imported."""

    def print_usage(self, file: Any = None) -> None:
        """Not beside an error: 150 lines of options would hide it, and its tip names the command that prints them."""
        if file is not sys.stderr:
            super().print_usage(file)

    def error(self, message: str, ex: Exception | None = None) -> Any:
        if denied := re.search(r"Importing '(\S+)' is not allowed", message):
            sys.exit(
                f"error: {denied[1]} is not of {', '.join(allowed_packages())}, and importing it runs it; "
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
        self.options_of_data = model_class.options_of_data
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
        for name in self.options_of_data:
            parser.link_arguments(f"data.{name}", f"model.{name}")
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
        model = {name: value for name, value in saved.settings.items() if name not in self.options_of_data}
        own = {"model": model, "data": saved.data}
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
        of_data = (*self.arguments_from_data, *self.options_of_data)
        check_options(self.model, saved, linked=of_data, resumes=resumes)
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
        check_trainer(given)
        callbacks, loggers, plugins = (listed(given[name]) for name in ("callbacks", "logger", "plugins"))
        if self.subcommand == "predict" and not any(map(writes_predictions, (*self.results, *callbacks))):
            raise ValueError(
                f"{self.app} has no predict: nothing would be written; test writes results.json and report.html. A "
                "callback of yours that writes is one of lightning's BasePredictionWriter, in --trainer.callbacks"
            )
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
            EndTogether(self.checkpoints),
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
        best = checkpoint_to_test(self.trainer, self.checkpoints.best)
        self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=best, verbose=False)


def run(
    model_class: type[AppModule],
    data_class: type,
    *,
    results: Callback,
    predictions: Callback | None = None,
    studies: Mapping[str, Study] = MappingProxyType({}),
    about: str | None = None,
    args: list[str] | None = None,
) -> None:
    """Run an app's command line. A mistake of the user's ends with one line.

    With GEOMDML_TRACEBACK set, the whole traceback is shown instead.

    Args:
        model_class, data_class: the app's modules; both have an argument `seed`, and arguments of the model that have
            no default are properties of the data.
        results: what is done at the end of a test.
        predictions: a callback that writes what `predict` gives; None where `results` does.
        studies: the subcommands that compare, {name: study}.
        about: what the app is and which commands it has, for `--help`.
        args: the command line; None is the process's.
    """
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"  # a checkpoint may come from anyone: it runs no code
    for library in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)
    for expected in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", expected)
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
                parser_kwargs={
                    "prog": f"python -m {model_class.__module__.rsplit('.', 1)[0]}",
                    "description": about,
                    "formatter_class": AppHelp,
                },
            )
    except (ValueError, OSError, FetchError, pickle.UnpicklingError, MisconfigurationException) as error:
        if os.environ.get("GEOMDML_TRACEBACK"):
            raise
        sys.exit(f"error: {message(error)}")
    except RuntimeError as error:
        plain = plain_message(error)
        if plain is None or os.environ.get("GEOMDML_TRACEBACK"):
            raise
        sys.exit(f"error: {plain}")
