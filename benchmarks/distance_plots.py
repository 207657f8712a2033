"""The two plots of `benchmarks.distances`: error against radius, time against size."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Record = dict[str, Any]

COLOURS = {  # Okabe and Ito
    "matmul": "#999999",
    "torch.cdist": "#000000",
    "geomdml.tangent": "#D55E00",
    "geomdml.tangent, float32 pairs": "#8B4513",
    "geomdml.poincare": "#E69F00",
    "geoopt": "#0072B2",
    "HypLL": "#009E73",
    "Hyp-ViT formula": "#CC79A7",
}
SMALLEST, LARGEST = 1e-9, 10.0  # relative errors that are drawn
HALF_AN_ULP = 2.0**-24


def error_against_radius(records: list[Record], path: Path) -> None:
    """Largest errors, and a cross at the top where NaN or infinity came out."""
    figure, axes = _axes(
        "radius √c‖u‖ of both points", "largest relative error", "Float32 distances, against 50 digits"
    )
    for (name, tf32), line in _lines(records).items():
        usable = [r for r in line if not r["nan"] + r["inf"]]
        broken = [r["radius"] for r in line if r["nan"] + r["inf"]]
        _draw(axes, name, tf32, [r["radius"] for r in usable], [max(r["largest"], SMALLEST) for r in usable])
        axes.plot(broken, [LARGEST / 2] * len(broken), "x", color=COLOURS[name], markersize=8)
    axes.axhline(HALF_AN_ULP, color="#999999", linewidth=1, linestyle=":")
    _remark(axes, max(r["radius"] for r in records), 1.2 * HALF_AN_ULP, "half an ulp", va="bottom")
    axes.set_yscale("log")
    axes.set_ylim(SMALLEST, LARGEST)
    _save(figure, path, "×: NaN or infinity" + _dashed(records))


def time_against_size(records: list[Record], path: Path) -> None:
    """Seconds of forward and backward; what did not run is named above its size."""
    figure, axes = _axes("B × P × D", "milliseconds, forward + backward", "All pairs of distances in float32")
    for (name, tf32), line in _lines(records).items():
        line = sorted(line, key=lambda r: _volume(r["size"]))
        _draw(axes, name, tf32, [_volume(r["size"]) for r in line], [1e3 * r["seconds"] for r in line])
    axes.set(xscale="log", yscale="log")
    axes.margins(0.12)
    sizes = sorted({tuple(r["size"]) for r in records}, key=_volume)
    axes.set_xticks([_volume(size) for size in sizes], [f"{b}×{p}\n×{d}" for b, p, d in sizes])
    axes.set_xticks([], minor=True)
    for size in sizes:
        failed = {f"{r['name']}: {r['failed']}": 0 for r in records if tuple(r["size"]) == size and "failed" in r}
        _remark(axes, _volume(size), 0.99, "\n".join(failed), va="top", transform=axes.get_xaxis_transform())
    _save(figure, path, _dashed(records).strip())


def _axes(x: str, y: str, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(xlabel=x, ylabel=y, title=title)
    axes.grid(color="#e5e5e5", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _lines(records: list[Record]) -> dict[tuple[str, bool], list[Record]]:
    measured = [r for r in records if "failed" not in r]
    keys = dict.fromkeys((r["name"], r["tf32"]) for r in measured)
    return {key: [r for r in measured if (r["name"], r["tf32"]) == key] for key in keys}


def _draw(axes: Axes, name: str, tf32: bool, x: list[float], y: list[float]) -> None:
    ours = name.startswith("geomdml")
    axes.plot(
        x,
        y,
        color=COLOURS[name],
        label=None if tf32 else name,
        marker="o",
        markersize=4,
        linestyle="--" if tf32 else "-",
        linewidth=2.5 if ours else 1.3,
        zorder=3 if ours else 2,
    )


def _volume(size: tuple[int, int, int]) -> int:
    b, p, d = size
    return b * p * d


def _dashed(records: list[Record]) -> str:
    return "\n- - : with TF32" if any(r["tf32"] for r in records) else ""


def _remark(axes: Axes, x: float, y: float, text: str, **options: Any) -> None:
    axes.text(x, y, text, color="#666666", fontsize=7.5, ha="right", **options)


def _save(figure: Figure, path: Path, note: str) -> None:
    figure.legend(loc="outside right upper", frameon=False, title=note or None, alignment="left")
    figure.savefig(path, dpi=150)
