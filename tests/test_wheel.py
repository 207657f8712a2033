"""The wheel holds geomdml alone, and works where nothing but its requirements is installed."""

import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_wheel_in_an_empty_environment(tmp_path: Path) -> None:
    def run(*command: object) -> str:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("geomdml-*.whl")
    tops = {name.split("/")[0].split("-")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops == {"geomdml"}
    assert "geomdml/py.typed" in zipfile.ZipFile(wheel).namelist()

    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "empty")
    python = next(p for p in (tmp_path / "empty/bin/python", tmp_path / "empty/Scripts/python.exe") if p.exists())
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    # The requirements (torch and the like) are lent from this environment as a plain path, which brings neither this
    # clone nor its editable install along.
    (site,) = (tmp_path / "empty").glob("**/site-packages")
    (site / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    program = (
        "import sys, torch, geomdml, importlib.util as u\n"
        "assert geomdml.__file__.startswith(sys.prefix), geomdml.__file__\n"
        "assert u.find_spec('apps') is None\n"
        "assert not {'lightning', 'timm', 'torchvision', 'hypothesis', 'mpmath'} & set(sys.modules)\n"
        "print(float(geomdml.tangent.dist(torch.tensor([3., 4.]), torch.zeros(2), c=1.0)))"
    )
    assert run(python, "-c", program).strip() == "10.0"
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.S)
    assert run(python, "-c", example).startswith("tensor(1199.0198)\n")
