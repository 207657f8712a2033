"""An index of your own embeddings, from the shell.

    python -m geomdml.search build embeddings.safetensors --out index
    python -m geomdml.search query index --file embeddings.safetensors --rows 0 17 --k 5
    python -m geomdml.search bench embeddings.safetensors --out runs/search

Files are safetensors or Parquet, with points in one tensor or column (`--vectors`); the id of a point is its row.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from geomdml.search.index import SMALL, HyperbolicIndex, least_effort
from geomdml.spaces import Chart, Hyperbolic

_EFFORTS = (16, 32, 64, 128, 256, 512)
_ENOUGH = 0.95  # of the true neighbours


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m geomdml.search", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="build|query|bench")
    build = commands.add_parser("build", help="make an index of a file")
    query = commands.add_parser("query", help="the neighbours of rows of a file, in an index")
    bench = commands.add_parser("bench", help="recall against queries a second, on your own points")
    for command in (build, bench):
        command.add_argument("file", type=Path)
        command.add_argument("--c", type=float, help="absolute curvature; else what the file says, else 0.5")
        command.add_argument("--chart", choices=get_args(Chart), help="else what the file says, else tangent")
        command.add_argument("--out", type=Path, required=True, help="folder, which is made")
    build.add_argument("--kind", default="auto", choices=["auto", "flat", "graph"])
    build.add_argument("--labels", help="name of the labels' tensor or column")
    query.add_argument("index", type=Path, help="folder that build made")
    query.add_argument("--file", type=Path, required=True)
    query.add_argument("--rows", type=int, nargs="+", required=True, help="rows of the file that ask")
    query.add_argument("--label", type=int, nargs="+", help="search among points with one of these labels")
    query.add_argument("--effort", type=int, default=64)
    for command in (query, bench):
        command.add_argument("--k", type=int, default=10)
    bench.add_argument("--queries", type=int, default=500, help="points that ask, drawn from the file")
    bench.add_argument("--unseen", action="store_true", help="leave these out of the index, as new queries are")
    for command in (build, query, bench):
        command.add_argument("--vectors", help="name of the points' tensor or column; not needed where there is one")
        command.add_argument("--threads", type=int)
    build.set_defaults(run=_build)
    query.set_defaults(run=_query)
    bench.set_defaults(run=_bench)
    chosen = parser.parse_args(args)
    try:
        chosen.run(chosen)
    except (ValueError, TypeError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")


def _build(chosen: argparse.Namespace) -> None:
    points = read(chosen.file, chosen.vectors)
    labels = read_labels(chosen.file, chosen.labels) if chosen.labels else None
    space = read_space(chosen.file, chosen.c, chosen.chart)
    index = HyperbolicIndex(space, points.shape[1], kind=chosen.kind, threads=chosen.threads)
    index.add(points, labels=labels)
    index.save(chosen.out)
    print(f"{chosen.out}: {len(index):,} points, {'graph' if index.has_graph else 'flat'}, {space}")


def _query(chosen: argparse.Namespace) -> None:
    index = HyperbolicIndex.load(chosen.index, mmap=True, threads=chosen.threads)
    points = read(chosen.file, chosen.vectors)
    if not all(0 <= row < len(points) for row in chosen.rows):
        raise ValueError(f"--rows {chosen.rows}; expected rows 0 to {len(points) - 1}")
    labels = None if chosen.label is None else torch.tensor(chosen.label)
    found = index.search(points[chosen.rows], chosen.k, effort=chosen.effort, labels=labels)
    for row, ids, distances in zip(chosen.rows, found.indices.tolist(), found.distances.tolist(), strict=True):
        near = "  ".join(f"{i} ({d:.4g})" for i, d in zip(ids, distances, strict=True) if i >= 0)
        print(f"{row}: {near}")


def _bench(chosen: argparse.Namespace) -> None:
    points, space = read(chosen.file, chosen.vectors), read_space(chosen.file, chosen.c, chosen.chart)
    draw = torch.Generator().manual_seed(0)
    if chosen.queries < 1 or chosen.k < 1 or len(points) <= chosen.queries * chosen.unseen:
        raise ValueError(f"--queries {chosen.queries} --k {chosen.k}; expected at least 1, and fewer than points")
    asking, others = torch.randperm(len(points), generator=draw).tensor_split([chosen.queries])
    query = points[asking]
    points = points[others.sort().values] if chosen.unseen else points
    rows: list[tuple[str, int, float, float]] = []
    true = None
    for kind in ("flat", "graph"):
        index = HyperbolicIndex(space, points.shape[1], kind=kind, threads=chosen.threads)
        start = time.perf_counter()
        index.add(points)
        print(f"{kind}: built in {time.perf_counter() - start:.1f} s")
        index.search(query[:1], chosen.k)
        efforts = sorted({max(effort, least_effort(chosen.k)) for effort in _EFFORTS})
        for effort in efforts if kind == "graph" else (1,):
            start = time.perf_counter()
            distances = index.search(query, chosen.k, effort=effort).distances
            rate = len(query) / (time.perf_counter() - start)
            true = distances if true is None else true
            recall = float((distances <= true[:, -1:] * (1 + 1e-6)).double().mean())
            rows.append((kind, effort, recall, rate))
            print(f"{kind:6} effort {effort:4}  recall@{chosen.k} {recall:.4f}  {rate:10,.0f} queries/s")
    chosen.out.mkdir(parents=True, exist_ok=True)
    lines = ["kind,effort,recall,queries_per_second", *(f"{k},{e},{r},{q}" for k, e, r, q in rows)]
    (chosen.out / "search.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    threads = chosen.threads or torch.get_num_threads()
    of = f"{len(points):,} points in {points.shape[1]} dimensions, {threads} thread{'s' * (threads > 1)}"
    _plot(rows, chosen.k, of, chosen.out / "search.png")
    print(advice(rows, len(points)))


def advice(rows: Sequence[tuple[str, int, float, float]], count: int) -> str:
    """One line: what to use.

    >>> advice([("flat", 1, 1.0, 100.0), ("graph", 16, 0.9, 9e3), ("graph", 64, 0.97, 4e3)], 50_000)
    'use kind="graph" with effort=64: recall 0.970 at 40 × the queries a second of exact search'
    """
    exact = rows[0][3]
    good = [(rate, effort, recall) for kind, effort, recall, rate in rows if kind == "graph" and recall >= _ENOUGH]
    if good and max(good)[0] > exact:
        rate, effort, recall = max(good)
        times = f"{rate / exact:.{0 if rate > 10 * exact else 1}f} × the queries a second of exact search"
        return f'use kind="graph" with effort={effort}: recall {recall:.3f} at {times}'
    reason = "the graph is no faster here" if good else "the graph finds less than 95 % up to effort 512"
    return f'use kind="flat", which is exact: {reason}' + (" (few points)" if count <= SMALL else "")


def read(path: Path, name: str | None) -> Tensor:
    """Points (N, D) of a safetensors or Parquet file."""
    columns = _columns(path)
    if name is None and len(columns) == 1:
        name = next(iter(columns))
    if name not in columns:
        given = "" if name is None else f"--vectors {name}: "
        raise ValueError(f"{given}{str(path)!r} has points in {sorted(columns)}; name one with --vectors")
    return columns[name]()


def read_space(path: Path, c: float | None = None, chart: Chart | None = None) -> Hyperbolic:
    """The space of a file's points: what is given, else what `predict` wrote into the file, else c = 0.5, tangent."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        metadata = pq.read_schema(path).metadata or {}
        about = {key.decode(): value.decode() for key, value in metadata.items() if key in (b"c", b"chart")}
    else:
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
    told: Any = chart or about.get("chart", "tangent")
    return Hyperbolic(float(about.get("c", 0.5)) if c is None else c, chart=told)


def read_labels(path: Path, name: str) -> Tensor:
    """Whole numbers (N,) of a safetensors or Parquet file."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        if name not in pq.read_schema(path).names:
            raise ValueError(f"--labels {name}: {str(path)!r} has no such column")
        return torch.from_numpy(pq.read_table(path, columns=[name])[name].to_numpy().copy())
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        if name not in {*file.keys()}:
            raise ValueError(f"--labels {name}: {str(path)!r} has no such tensor")
        return file.get_tensor(name)


def _columns(path: Path) -> dict[str, Any]:
    """What reads each tensor or column of a file that may hold points."""
    if not path.is_file():
        raise ValueError(f"{str(path)!r} does not exist; expected a .safetensors or .parquet file")
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        def column(name: str, width: int) -> Tensor:
            chunks = pq.read_table(path, columns=[name])[name].combine_chunks()
            return torch.from_numpy(chunks.flatten().to_numpy().copy()).view(-1, width)

        try:
            schema = pq.read_schema(path)
        except pa.ArrowInvalid as error:
            raise ValueError(f"{str(path)!r} is no Parquet file ({error})") from None
        lists = [field for field in schema if pa.types.is_fixed_size_list(field.type)]
        return {field.name: lambda field=field: column(field.name, field.type.list_size) for field in lists}
    from safetensors import SafetensorError, safe_open

    def tensor(name: str) -> Tensor:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(name)

    try:
        with safe_open(path, framework="pt") as file:
            slices = {key: file.get_slice(key) for key in [*file.keys()]}
            two = [k for k, s in slices.items() if len(s.get_shape()) == 2 and "F" in s.get_dtype()]
    except SafetensorError as error:
        raise ValueError(f"{str(path)!r} is neither a .parquet nor a .safetensors file ({error})") from None
    return {name: lambda name=name: tensor(name) for name in two}


def _plot(rows: Sequence[tuple[str, int, float, float]], k: int, title: str, path: Path) -> None:
    """Recall against queries a second, each point of the graph with its effort; without matplotlib there is none."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter
    except ModuleNotFoundError:
        return
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    for kind in ("flat", "graph"):
        some = [row for row in rows if row[0] == kind]
        axes.semilogy(
            [row[2] for row in some],
            [row[3] for row in some],
            "o-",
            label=f"{kind}, by effort" if kind == "graph" else kind,
        )
        for _, effort, recall, rate in some * (kind == "graph"):
            axes.annotate(
                str(effort), (recall, rate), xytext=(-6, -6), textcoords="offset points", ha="right", va="top"
            )
    least = min(_ENOUGH, *(row[2] for row in rows))
    axes.axvline(_ENOUGH, color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel=f"recall@{k}", ylabel="queries a second", title=title, xlim=(least - 0.15 * (1 - least), 1.005))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.margins(y=0.12)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
