"""Compiles the kernels in C when the package is installed; `python geomdml/_native/build.py` does it in a clone.

Without a compiler the library does the same in torch, slower for small inputs.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zlib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
LIBRARY = "kernels.so"
FLAGS = ["-O3", "-std=gnu11", "-fPIC", "-shared", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math"]


def mark_of_sources() -> int:
    """A number that tells by which sources a library was made."""
    mark = 0
    for path in sorted([*FOLDER.glob("*.c"), *FOLDER.glob("*.h")]):
        mark = zlib.crc32(path.read_bytes(), mark)
    return mark


def build() -> Path:
    """The compiled library, put into this folder whole or not at all.

    Raises: OSError, subprocess.CalledProcessError: no compiler, or one that fails.
    """
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if shutil.which(compiler[0]) is None:
        compiler = ["cc"]
    with tempfile.TemporaryDirectory(dir=FOLDER) as room:
        made = Path(room, LIBRARY)
        sources, mark = map(str, FOLDER.glob("*.c")), f"-DSOURCES={mark_of_sources()}"
        command = [*compiler, *FLAGS, mark, *sources, "-o", str(made), "-lm"]
        subprocess.run(command, check=True, capture_output=True, text=True)
        os.replace(made, FOLDER / LIBRARY)
    return FOLDER / LIBRARY


def _tell(error: OSError | subprocess.CalledProcessError) -> str:
    said = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
    return f"geomdml: kernels in C were not compiled; the library does without them. {said}"


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # in use, not being installed
    pass
else:

    class KernelBuild(BuildHookInterface):
        """For hatchling: pyproject.toml names this file."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            try:
                library = build()
            except (OSError, subprocess.CalledProcessError) as error:
                self.app.display_warning(_tell(error))
                return
            build_data["artifacts"].append(f"/geomdml/_native/{library.name}")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


if __name__ == "__main__":
    try:
        print(build())
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(_tell(error))
