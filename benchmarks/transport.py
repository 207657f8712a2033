"""Is entropic transport solved, and how fast? `python -m benchmarks.transport`

geomdml beside POT, OTT and geomloss, float64 on a CPU: squared distances of clouds in 2 and 64 dimensions, and random
costs; n = 64 to 2048 and a batch of 64 problems of 64×64; reg from 0.1 to 0.002 of the largest cost; all to a marginal
error of 1e-6 in L1, which is checked on the plan. Tables show the fastest of the calls, which others on the machine
disturb least; the files have the median too. What is not there after `--limit` seconds is shown so, and not asked
for a smaller reg. Each solver has a process of its own, kind and size by kind and size. Writes transport.json,
transport.csv and transport.md to `--out`, also when the run is broken off.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.distance_report import figure
from benchmarks.machine import machine
from benchmarks.transport_solvers import OURS, PLAIN, SOLVERS

Record = dict[str, Any]
PACKAGES = ("torch", "POT", "ott-jax", "jax", "geomloss")
KINDS = ["2-d", "64-d", "uniform"]
SIZES = [(1, 64), (1, 256), (1, 1024), (1, 2048), (64, 64)]  # problems, n
SHARES = [0.1, 0.01, 0.002]  # reg over the largest cost


def measured(name: str, kind: str, batch: int, n: int, options: argparse.Namespace) -> list[Record]:
    """A record for each reg, from the largest to the smallest."""
    arguments = {"name": name, "kind": kind, "batch": batch, "n": n, "shares": options.shares}
    arguments |= {"seconds": options.seconds, "limit": options.limit, "threads": options.threads}
    command = [sys.executable, "-m", "benchmarks.one_transport", json.dumps(arguments)]
    threads = {key: str(options.threads) for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    if options.threads == 1:  # XLA takes no number, but may be kept from having threads
        threads["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    key, records = {"name": name, "kind": kind, "batch": batch, "n": n}, []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **threads}
    ) as process:
        try:  # the solver stops itself but while it is in compiled code
            out, err = process.communicate(timeout=60 + 3 * options.limit * len(options.shares))
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()[0] or "", ""
    for line in out.splitlines():
        if line.startswith("{"):
            records.append({**key, **json.loads(line)})
    too_long = process.returncode == -9 or (records and records[-1].get("failed", "").startswith(">"))
    reason = f"> {options.limit:g} s" if too_long else (err.strip().splitlines() or ["?"])[-1][:100]
    return records + [{**key, "share": share, "failed": reason} for share in options.shares[len(records) :]]


def problems(size: str) -> tuple[int, int]:
    """(problems, n) of "N" or "BxN"."""
    *batch, n = map(int, size.split("x"))
    return (batch[0] if batch else 1), n


def rows(records: list[Record]) -> tuple[list[str], list[list[str]]]:
    """A row for each problem: milliseconds and iterations of each solver, and how ours compares."""
    names = [name for name in SOLVERS if any(r["name"] == name for r in records)]
    head, cells = ["costs", "n", "reg / max C", *names, "of the fastest peer", f"of {PLAIN}"], []
    for kind, batch, n, share in dict.fromkeys((r["kind"], r["batch"], r["n"], r["share"]) for r in records):
        found = {
            r["name"]: r for r in records if (r["kind"], r["batch"], r["n"], r["share"]) == (kind, batch, n, share)
        }
        line = [kind, f"{n}" if batch == 1 else f"{batch} of {n}", f"{share:g}"]
        line += [cell(found[name]) if name in found else "" for name in names]
        ours, peers = found.get(OURS, {}), {k: r["fastest"] for k, r in found.items() if k != OURS and "fastest" in r}
        for other in (min(peers.values(), default=None), peers.get(PLAIN)):
            line.append(f"{ours['fastest'] / other:.2f}" if other and "fastest" in ours else "–")
        cells.append(line)
    return head, cells


def cell(record: Record) -> str:
    if "failed" in record:
        return record["failed"]
    iterations = f" ({record['iterations']:.0f})" if record["iterations"] else ""
    return f"{figure(1e3 * record['fastest'])}{iterations}"


def save(results: Record, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "transport.json").write_text(json.dumps(results, indent=1, ensure_ascii=False), encoding="utf-8")
    fields = ["kind", "batch", "n", "share", "name", "seconds", "fastest", "calls", "iterations", "error", "failed"]
    with (out / "transport.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(results["records"])
    head, cells = rows(results["records"])
    lines = [f"- {key}: {value}" for key, value in results["machine"].items()]
    lines += ["", "Milliseconds (iterations) to a marginal error of 1e-6 in L1:", ""]
    lines += ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *cells)]
    (out / "transport.md").write_text("# Entropic transport\n\n" + "\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, little patience: to see whether it works")
    parser.add_argument("--only", nargs="+", choices=list(SOLVERS), default=list(SOLVERS))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--sizes", nargs="+", type=problems, help="N, or BxN for a batch of B problems, such as 64x64")
    parser.add_argument("--shares", nargs="+", type=float, default=SHARES, help="reg over the largest cost")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, help="how long each measurement is repeated")
    parser.add_argument("--limit", type=float, help="seconds after which a solver has failed")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    options.shares = sorted(options.shares, reverse=True)
    options.seconds = options.seconds or (0.05 if options.quick else 1.0)
    options.limit = options.limit or (5 if options.quick else 60)
    sizes = options.sizes or ([(1, 64), (8, 16)] if options.quick else SIZES)

    console = Console(width=None if sys.stdout.isatty() else 240)
    results: Record = {
        "machine": machine(options.threads, PACKAGES),
        "records": [],
    }
    try:
        for batch, n in sizes:
            for kind in options.kinds:
                for name in options.only:
                    if name == "POT solve_batch" and batch == 1:
                        continue
                    for record in measured(name, kind, batch, n, options):
                        results["records"].append(record)
                        line = f"{kind} {batch}×{n} reg {record['share']:g} {name}: {cell(record)}"
                        console.print(line, highlight=False)
                    save(results, options.out)
    except KeyboardInterrupt:
        console.print("Stopped; what was measured is kept.")
    head, cells = rows(results["records"])
    table = Table(*head, title="Milliseconds (iterations) to a marginal error of 1e-6 in L1, float64")
    for line in cells:
        table.add_row(*line)
    console.print(table)
    console.print(f"Tables: {options.out}")


if __name__ == "__main__":
    main()
