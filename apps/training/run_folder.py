"""The folder of a run, in which its logs and all that it writes lie: no two runs have the same."""

import os
from itertools import count
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from apps.datasets.files import text

LONGEST_STEM = 180  # bytes: a file's name has 255 at most, and the part that is written aside has more than the file


class RunFolder(CSVLogger):
    """Writes metrics.csv into the folder of a run, `version_N` in `out`.

    The folder is made when its name is first asked for, and by making it a run has it: of runs that start at the same
    moment each gets its own. A command that writes nothing makes none. Of several processes the first makes it; the
    others are told by `Trainer.log_dir`.

    Raises:
        OSError: from what asks for the folder first, where it cannot be made.
    """

    def __init__(self, out: Path) -> None:
        super().__init__(out, name="")

    @property
    def version(self) -> int:
        if self._version is None:
            number = self._get_next_version()
            while getattr(rank_zero_only, "rank", 0) == 0 and not _made(Path(self.root_dir) / f"version_{number}"):
                number += 1
            self._version = number
        return int(self._version)


class BesideIt(TensorBoardLogger):
    """Writes for TensorBoard into the same folder."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder.save_dir, name="")
        self.folder = folder

    @property
    def version(self) -> int:
        return self.folder.version


def _made(folder: Path) -> bool:
    """Whether this process has made it: another one, or a file of this name, may have been first."""
    try:
        os.makedirs(folder)
    except OSError as error:
        if isinstance(error, FileExistsError) and folder.parent.is_dir():
            return False
        reason = error.strerror or error
        raise OSError(
            f"no run can be kept in {str(folder.parent)!r}: {reason}; give another folder with --out"
        ) from error
    return True


def free_name(checkpoint: Path, stem: str, suffix: str) -> Path:
    """A name in the folder of a checkpoint's run, that no file has yet: STEM.SUFFIX, STEM-2.SUFFIX, ...

    A long stem is cut, and bytes in it that are no text are written out.
    """
    stem = text(stem).encode()[:LONGEST_STEM].decode(errors="ignore")
    folder = checkpoint.resolve().parent
    folder = folder.parent if folder.name == "checkpoints" else folder
    names = (f"{stem}{'' if number == 1 else f'-{number}'}{suffix}" for number in count(1))
    return next(path for name in names if not (path := folder / name).exists())
