"""What a GPU makes of it, in at most 8 minutes: `make gpu`, or `python -m benchmarks.gpu`.

Accuracy with and without TF32, every public function beside the CPU, Triton's kernels, distances beside MERU's and
geoopt's formulas, losses, bf16, torch.compile, the training of a ViT-S/16, two processes if there are two GPUs. Each
part has a process of its own and a time limit: one that fails is reported, and the rest goes on. The page goes to
`--out`, after every part. Where there is no GPU, a line says so.
"""

import argparse
import datetime
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_parts import PARTS
from benchmarks.machine import machine
from benchmarks.measuring import in_own_process

SECONDS = 460  # of all parts; with what is around them, 8 minutes
PAGE = Path("docs/reports/gpu.md")
PACKAGES = ("torch", "triton", "geoopt", "timm")


def card() -> str:
    """Name, memory and compute capability of the GPU, and how many there are."""
    about = torch.cuda.get_device_properties(0)
    return (
        f"{about.name}, {about.total_memory / 2**30:.0f} GiB, compute capability {about.major}.{about.minor}, "
        f"{torch.cuda.device_count()} of them, CUDA {torch.version.cuda}"
    )


def run(names: list[str], device: str, *, tiny: bool, seconds: float, out: Path, gpu: str) -> dict[str, Any]:
    """The tables of the parts, written to `out` as they come; a part that fails has a line in place of its table."""
    end, found = time.monotonic() + seconds, {}
    for name in names:
        left = end - time.monotonic()
        limit = min(PARTS[name][1], left)
        arguments = {"part": name, "device": device, "tiny": tiny}
        start = time.monotonic()
        table = in_own_process("benchmarks.gpu_parts", arguments, limit) if left > 0 else {"failed": "no time was left"}
        found[name] = table | {"seconds": time.monotonic() - start}
        print(f"{name}: {table.get('failed', 'done')}, {found[name]['seconds']:.0f} s", flush=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page(found, gpu), encoding="utf-8")
    return found


def page(found: dict[str, Any], gpu: str) -> str:
    failed = [name for name, table in found.items() if "failed" in table]
    facts = {"GPU": gpu} | machine(torch.get_num_threads(), PACKAGES) | {"date": f"{datetime.date.today()}"}
    parts = [
        f"# On {gpu.split(',')[0]}",
        "Written by `make gpu`. " + (f"Failed: {', '.join(failed)}." if failed else "No part failed."),
        "\n".join(f"- {key}: {value}" for key, value in facts.items()),
    ]
    for name, table in found.items():
        doc = (PARTS[name][0].__doc__ or "").strip().splitlines()[0]
        parts += [f"## {name.replace('_', ' ').capitalize()}", doc]
        parts += [f"Failed: {table['failed']}"] if "failed" in table else [markdown(table)]
    return "\n\n".join(parts) + "\n"


def markdown(table: dict[str, Any]) -> str:
    lines = [table["header"], ["---", *(len(table["header"]) - 1) * ["---:"]], *table["rows"]]
    shown = "\n".join("| " + " | ".join(cells) + " |" for cells in lines) if table["rows"] else ""
    return "\n\n".join(part for part in (shown, table.get("note", "")) if part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--tiny", action="store_true", help="on the CPU, at tiny sizes: to see whether it works")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of all parts together ({SECONDS})")
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args()
    if not options.tiny and not torch.cuda.is_available():
        print("torch finds no GPU here; run `make gpu` on a machine that has one (--tiny tries the parts on the CPU)")
        return
    gpu = "the CPU, at tiny sizes" if options.tiny else card()
    device = "cpu" if options.tiny else "cuda"
    run(options.only, device, tiny=options.tiny, seconds=options.seconds, out=options.out, gpu=gpu)
    print(f"The page: {options.out}")


if __name__ == "__main__":
    main()
