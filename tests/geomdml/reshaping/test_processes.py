"""Two processes with half the samples each keep the state of one with all of them."""

import torch
from torch.testing import assert_close

from geomdml.reshaping import LabelReshaper
from tests.geomdml.two_processes import run_two

PROCESS = """
    import datetime, sys
    import torch
    from torch import distributed
    from geomdml.reshaping import LabelReshaper

    rank, folder = int(sys.argv[1]), sys.argv[2]
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=datetime.timedelta(seconds=300)
    )
    reshaper, targets = LabelReshaper(3, 2), []
    for logits, labels, parts in torch.load(f"{folder}/batches.pt", weights_only=True):
        here = slice(0, parts) if rank == 0 else slice(parts, None)
        targets.append(reshaper([part[here] for part in logits], labels[here]))
    torch.save((reshaper.state_dict(), targets), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()
"""


def test_two_processes_are_one(tmp_path):
    generator = torch.Generator().manual_seed(0)
    batches = []
    for split in (4, 0, 7):  # of 8: equal halves, nothing for the first, nearly all for it
        logits = [s * torch.randn(8, 3, generator=generator) for s in (3.0, 1.0)]
        batches.append((logits, torch.randint(3, (8,), generator=generator), split))
    torch.save(batches, tmp_path / "batches.pt")
    (first, targets_first), (second, targets_second) = run_two(PROCESS, tmp_path)
    for name in ("sums", "counts"):
        assert torch.equal(first[name], second[name])
    alone = LabelReshaper(3, 2)
    for (logits, labels, _), at_first, at_second in zip(batches, targets_first, targets_second, strict=True):
        assert_close(torch.cat([at_first, at_second], 1), alone(logits, labels))
    assert_close(dict(alone.state_dict()), dict(first), rtol=1e-12, atol=0)
