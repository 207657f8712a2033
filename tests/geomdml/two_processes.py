"""Two processes that work together, as torch.distributed starts them."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import torch


def run_two(program: str, folder: Path) -> list[Any]:
    """What two processes of a program saved as 0.pt and 1.pt; their arguments are their rank and the folder."""
    command = [sys.executable, "-c", textwrap.dedent(program)]
    running = [
        subprocess.Popen([*command, str(rank), str(folder)], stderr=subprocess.PIPE, text=True) for rank in (0, 1)
    ]
    for process in running:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
