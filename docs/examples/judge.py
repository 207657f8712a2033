# %% [markdown]
# # Judge your own implementation
# The laws by which this library is tested judge any other. Here is the distance of the Poincaré ball as it stands in
# textbooks, in float32 as it is often used.

# %%
import torch

from geomdml.testing import report, suite


class Textbook:
    """arcosh(1 + 2c‖x − y‖² / ((1 − c‖x‖²)(1 − c‖y‖²))) / √c"""

    @staticmethod
    def dist(x, y, *, c):
        gap_x, gap_y = (1 - c * z.square().sum(-1) for z in (x, y))
        return torch.acosh(1 + 2 * c * (x - y).square().sum(-1) / (gap_x * gap_y)) / c**0.5


# %% [markdown]
# `suite.table()` has every law; we ask those about values and geometry that speak of `dist`. Each is asked on hard
# points: the origin, duplicates, near-duplicates, antipodes, the last floats inside the ball. `tolerance` forgives
# small errors.


# %%
def judge(implementation, tolerance=0.0):
    laws = [
        law
        for law in suite.table()
        if law.charts == ("ball",) and law.needs == ("dist",) and law.group in ("values", "geometry")
    ]
    return {
        law.name: suite.judge(law, {"ball": implementation}, examples=30, tolerance=tolerance, thorough=False)
        for law in laws
    }


verdicts = judge(Textbook, tolerance=1e-3)
for verdict in verdicts.values():
    print(*report.lines(verdict, {"ball": Textbook}), sep="\n")
assert verdicts["dist is exact"].broken

# %% [markdown]
# There are two reasons. For near-duplicates the argument of arcosh rounds to 1, so that the distance becomes 0;
# arsinh has its digits there. Near the boundary 1 − c‖x‖² has few digits left in float32; in float64 it has enough.


# %%
class Better:
    """2 arsinh(√c‖x − y‖ / √((1 − c‖x‖²)(1 − c‖y‖²))) / √c, in float64"""

    @staticmethod
    def dist(x, y, *, c):
        u, v = x.double(), y.double()
        gap_u, gap_v = (1 - c * z.square().sum(-1) for z in (u, v))
        return (2 * torch.asinh(c**0.5 * (u - v).norm(dim=-1) / (gap_u * gap_v).sqrt()) / c**0.5).to(x.dtype)


verdicts = judge(Better)
for verdict in verdicts.values():
    print(*report.lines(verdict, {"ball": Better}), sep="\n")
assert not any(verdict.broken for verdict in verdicts.values())
