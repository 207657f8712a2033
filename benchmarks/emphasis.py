"""What sharpness and regularisation make of the transport plan: the table of docs/guides/batch-transport.md.

python -m benchmarks.emphasis
"""

from statistics import fmean

import torch
from scipy.stats import spearmanr

from geomdml.euclidean import pairwise_dist
from geomdml.metric_matrix import importance_weights, metric_matrix, same_class

SCALES = (0.1, 1.0, 10.0)
SETTINGS = (("relative", 0.2), ("relative", 0.05), ("relative", 0.01), (10.0, 0.05), (10.0, 100.0))
SEEDS = range(5)


def emphasis(seed: int, scale: float, sharpness: float | str, reg: float) -> tuple[float, float, float, float]:
    """Two batches of 64 from ten overlapping classes, the mean distance `scale`, the margin its square.

    Returns the mean of M under T by its plain mean; the entropy of T, 1 where uniform; its mass on pairs of one class
    by their share; the rank correlation of T and M in the hard half.
    """
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (128,), generator=draw)
    x = torch.randn(10, 64, generator=draw)[labels] + torch.randn(128, 64, generator=draw)
    dist, same = pairwise_dist(x[:64], x[64:]), same_class(labels[:64], labels[64:])
    matrix = metric_matrix(scale * dist / dist.mean(), same, margin=scale**2)
    plan = importance_weights(matrix, sharpness=sharpness, reg=reg).plan
    hard = matrix > matrix[matrix > 0].median()
    return (
        float((plan * matrix).sum() / matrix.mean()),
        float(torch.special.entr(plan).sum() / torch.tensor(float(plan.numel())).log()),
        float(plan[same].sum() / same.float().mean()),
        float(spearmanr(plan[hard], matrix[hard]).statistic),
    )


def main() -> None:
    print("| mean distance | sharpness | reg | M under T | entropy | mass on positives | rank correlation |")
    print("|---|---|---|---|---|---|---|")
    for scale in SCALES:
        for sharpness, reg in SETTINGS:
            columns = zip(*(emphasis(seed, scale, sharpness, reg) for seed in SEEDS), strict=True)
            ratio, entropy, positives, rank = map(fmean, columns)
            print(f"| {scale:g} | {sharpness} | {reg:g} | {ratio:.2f} | {entropy:.3f} | {positives:.1f} | {rank:.2f} |")


if __name__ == "__main__":
    main()
