"""The table of laws, the inputs on which each is asked, and the judgement of an implementation by them.

To add a law, write it in `geomdml.testing.laws` and give it a line in `table`: `each` asks it of every primitive of
every chart, `one` of the functions named. `python -m geomdml.testing` runs the table.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import accumulate, takewhile
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException, NoSuchExample

from geomdml.testing import laws, strategies
from geomdml.testing.laws import BALL, TANGENT, Broken, Error
from geomdml.testing.primitives import Primitive, relative_error

Inputs = st.SearchStrategy[Any]  # (*vectors, c)
Implementations = Mapping[str, Any]  # by chart

CHARTS: dict[str, dict[str, Primitive]] = {"ball": BALL, "tangent": TANGENT}
LENGTH_AT = {"ball": math.tanh, "tangent": float, "lorentz": lambda radius: math.sinh(2 * radius)}  # times √c
GIVES_POINTS = {"mobius_add", "mobius_scalar_mul", "mobius_matvec", "expmap0", "expmap", "geodesic", "midpoint"}
SYMMETRIC = {"dist", "pairwise_dist", "lca_depth", "inner", "pairwise_inner"}
RADII = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)  # √c‖u‖
NEAREST, STEPS = 1e-3, (1.0, 2.0, 4.0, 8.0)  # to see how far out a law holds that breaks somewhere
# Most libraries keep c in the dtype of the points, and are not to be blamed for its rounding.
CURVATURES = strategies.curvatures().map(lambda c: float(np.float32(c)))
MODERATE = strategies.curvatures(0.01, 100.0)
OUTSIDE = st.sampled_from(([1.0, 0.0], [0.8, 0.7], [math.inf, 0.0], [math.nan, 0.0])).map(torch.tensor)


class Law(NamedTuple):
    """A law as it is asked: `check(*implementations of the charts, *vectors, c=c, **keywords)`."""

    name: str
    check: Callable[..., float]
    charts: tuple[str, ...]
    needs: tuple[str, ...]  # functions of the first chart
    draw: Callable[..., Inputs]  # (dtype, farthest=…, c=…, …)
    options: Mapping[str, Any]
    keywords: Mapping[str, st.SearchStrategy[Any]]
    f: Primitive | None

    def inputs(self, dtype: torch.dtype, farthest: float = math.inf, *, ordinary: bool = False) -> Inputs:
        """((*vectors, c), keywords), up to a radius; ordinary points lie independently, at `NEAREST` or farther."""
        options = dict(self.options)
        if ordinary:
            options["nearest"] = max(NEAREST, options.get("nearest", 0.0))
            if "relations" in options:
                options["relations"] = strategies.APART[:1]
        if (farthest := min(farthest, self.farthest)) < math.inf:
            options["farthest"] = max(farthest, options.get("nearest", 0.0))
        return st.tuples(self.draw(dtype, **options), st.fixed_dictionaries(dict(self.keywords)))

    @property
    def farthest(self) -> float:
        """The radius up to which it is asked; infinite: as far as points go; 0: it is about no points."""
        return float(self.options.get("farthest", math.inf))


class Verdict(NamedTuple):
    """What became of a law: functions missing, the worst error, the smallest counter-example, and how far it holds."""

    law: Law
    missing: tuple[str, ...] = ()
    error: Error = Error(0.0, 0.0)
    broken: Broken | None = None
    by_radius: Mapping[float, Error] = {}  # where it is broken: the worst of ordinary points up to each radius
    holds_up_to: float = math.inf


def table(dtype: torch.dtype = torch.float32) -> list[Law]:
    """Every law, chart by chart.

    >>> [law.name for law in table() if "inverts" in law.name]
    ['exp inverts log', 'log inverts exp']
    """
    near: dict[str, Any] = {"nearest": 0.1, "farthest": 1.0, "dimensions": (2, 3), "relations": strategies.APART}
    lines = [
        *each(laws.is_exact),
        *each(laws.is_symmetric, where=lambda f: f.name in SYMMETRIC),
        *each(laws.triangle_inequality, where=_is_distance, draw=_with_a_point_between),
        *each(laws.all_pairs_are_exact, where=_is_pairwise, draw=_lists, farthest=3.0),
        *each(laws.scales_with_curvature, exponent=st.integers(-4, 4)),
        *each(laws.commutes_with_rotation, seed=st.integers(0, 999)),
        *each(laws.has_flat_limit, where=lambda f: f.flat is not None, farthest=1e-6, c=st.just(1e-12)),
        *each(laws.stays_inside, where=lambda f: f.name in GIVES_POINTS),
        *one(laws.has_identity_and_inverse, strategies.points, "mobius_add"),
        *one(laws.left_cancellation, strategies.point_pairs, "mobius_add", relations=strategies.RELATIONS),
        *one(laws.exp_inverts_log, strategies.points, "expmap0", "logmap0"),
        *one(laws.log_inverts_exp, strategies.tangents, "expmap0", "logmap0", farthest=5.0),
        *one(laws.projects_inside, _anywhere, "project"),
        *one(laws.charts_agree, strategies.tangent_pairs, "dist", charts=("ball", "tangent"), farthest=3.0),
        *each(laws.gradients_are_finite),
        *each(laws.gradient_is_exact, options=_smooth(dtype), bar=st.just(1e-5 if dtype == torch.float32 else 1e-8)),
        *each(laws.gradcheck, c=strategies.curvatures(0.2, 5.0), **near),
        *each(laws.half_is_float32_of_the_rounded, draw=_in_16_bits, nearest=1e-3, farthest=3.0, c=MODERATE),
        *each(laws.broadcasts, where=lambda f: not _is_pairwise(f)),
        *each(laws.empty_gives_empty, draw=_fixed(), dtype=st.just(dtype), farthest=0),
        *each(laws.refuses_what_cannot_be, draw=_fixed(), farthest=0),
        *each(laws.refuses_points_outside, where=_takes_points, draw=_fixed(OUTSIDE, c=1.0), farthest=0),
        *each(
            laws.refuses_vectors_not_finite,
            where=lambda f: not _takes_points(f),
            draw=_fixed(st.sampled_from((math.nan, math.inf))),
            farthest=0,
        ),
    ]
    return sorted(lines, key=lambda law: list(CHARTS).index(law.charts[0]))


def each(
    law: Callable[..., float],
    *,
    where: Callable[[Primitive], bool] = lambda f: True,
    draw: Callable[..., Inputs] = strategies.inputs,
    options: Callable[[Primitive], Mapping[str, Any]] = lambda f: {},
    **others: Any,
) -> Iterator[Law]:
    """The law on every primitive; other arguments are options of the inputs or, as strategies, keywords of the law."""
    keywords = {name: value for name, value in others.items() if name != "c" and isinstance(value, st.SearchStrategy)}
    common = {name: value for name, value in others.items() if name not in keywords}
    for chart, primitives in CHARTS.items():
        for f in filter(where, primitives.values()):
            name, check = f"{f.name} {_words(law)}", partial(_asked_of, law, f)
            chosen = {"c": CURVATURES, "relations": strategies.RELATIONS, **common, **options(f)}
            yield Law(name, check, (chart,), (f.name,), partial(draw, f), chosen, keywords, f)


def one(
    law: Callable[..., float],
    draw: Callable[..., Inputs],
    *needs: str,
    charts: tuple[str, ...] = ("ball",),
    **options: Any,
) -> Iterator[Law]:
    """The law on the functions that it needs."""
    yield Law(_words(law), law, charts, needs, draw, {"c": CURVATURES} | options, {}, None)


def judge(
    law: Law,
    implementations: Implementations,
    dtype: torch.dtype = torch.float32,
    *,
    examples: int = 100,
    seed: int = 0,
    radius: float = math.inf,
) -> Verdict:
    """Ask a law of an implementation, `examples` times for points up to `radius`.

    Where it does not hold, the smallest counter-example is looked for, and the law is asked again of ordinary points,
    up to each of the `STEPS`.
    """
    asked = [implementations[chart] for chart in law.charts]
    if missing := tuple(name for name in law.needs if not hasattr(asked[0], name)):
        return Verdict(law, missing)

    def search(inputs: Inputs, wanted: Callable[[Error | Broken], Any], *phases: Phase) -> Any:
        options = settings(max_examples=examples, deadline=None, database=None, phases=(Phase.generate, *phases))
        return find(inputs, lambda drawn: wanted(_outcome(law, asked, drawn)), settings=options, random=Random(seed))

    def worst(inputs: Inputs) -> Error | Broken:
        seen: list[Error | Broken] = [Error(0.0, 0.0)]
        with suppress(NoSuchExample):
            search(inputs, lambda outcome: seen.append(max(outcome, seen.pop(), key=_excess)))
        return seen[0]

    everywhere = law.inputs(dtype, radius)
    outcome = worst(everywhere)
    if isinstance(outcome, Error):
        return Verdict(law, error=outcome)
    broken = outcome
    with suppress(HypothesisException):  # such as Flaky: an implementation that is not a function
        smallest = _outcome(law, asked, search(everywhere, lambda outcome: isinstance(outcome, Broken), Phase.shrink))
        broken = smallest if isinstance(smallest, Broken) else broken
    limit = min(radius, law.farthest)
    outcomes = {r: worst(law.inputs(dtype, r, ordinary=True)) for r in sorted({*STEPS, limit}) if NEAREST < r <= limit}
    return Verdict(
        law,
        error=_error(max([outcome, *outcomes.values()], key=_excess)),
        broken=broken,
        by_radius=dict(zip(outcomes, accumulate(map(_error, outcomes.values()), _worse), strict=True)),
        holds_up_to=max(takewhile(lambda r: isinstance(outcomes[r], Error), outcomes), default=0.0),
    )


def errors_by_radius(
    implementation: Any, chart: str, dim: int, *, radii: Sequence[float] = RADII, pairs: int = 50, c: float = 0.5
) -> list[float]:
    """The largest relative error of float32 distances between random points, all at one radius, for each radius.

    They are held to the exact distances of the very floats given.

    >>> from geomdml import poincare
    >>> max(errors_by_radius(poincare, "ball", 2, radii=(4.0,), pairs=5)) < 2.4e-7
    True
    """
    f, errors = CHARTS[chart]["dist"], []
    for radius in radii:
        directions = torch.randn(2, pairs, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        length = LENGTH_AT[chart](radius) / math.sqrt(c)
        x, y = (length * torch.nn.functional.normalize(directions, dim=-1)).float()
        found = f(implementation, x, y, c=c)
        errors.append(max(relative_error(d, f.reference(a, b, c=c)) for d, a, b in zip(found, x, y, strict=True)))
    return errors


def _outcome(law: Law, asked: Sequence[Any], drawn: Any) -> Error | Broken:
    (*vectors, c), keywords = drawn
    try:
        error = law.check(*asked, *vectors, c=c, **keywords)
    except Broken as broken:
        return broken
    except Exception as raised:  # what a peer may raise is not ours to say
        said = (str(raised).strip().splitlines() or [""])[0]
        return Broken(law.name, f"raises {type(raised).__name__}: {said}", filter(torch.is_tensor, vectors), c)
    return error if isinstance(error, Error) else Error(error, 0.0)


def _worse(a: Error, b: Error) -> Error:
    return max(b, a, key=_excess)


def _error(outcome: Error | Broken) -> Error:
    return outcome.error if isinstance(outcome, Broken) else outcome


def _excess(outcome: Error | Broken) -> float:
    error = _error(outcome)
    return math.inf if math.isnan(error) else error / (error.bar or 1.0)


def _words(law: Callable[..., float]) -> str:
    return law.__name__.replace("_", " ")


def _asked_of(law: Callable[..., float], f: Primitive, implementation: Any, *vectors: Any, **keywords: Any) -> float:
    return law(implementation, f, *vectors, **keywords)


def _is_distance(f: Primitive) -> bool:
    return f.name in ("dist", "pairwise_dist")


def _is_pairwise(f: Primitive) -> bool:
    return f.name.startswith("pairwise")


def _takes_points(f: Primitive) -> bool:
    return f.reference.chart == "ball"


def _smooth(dtype: torch.dtype) -> Callable[[Primitive], Mapping[str, Any]]:
    """Where a function has a gradient, and its dtype the digits and the range for it."""

    def options(f: Primitive) -> Mapping[str, Any]:
        relations = [relation for relation in strategies.DISTINCT if f.name != "lca_depth" or relation in _DEPTH]
        if dtype == torch.float64:
            relations = [relation for relation in relations if relation != "near-duplicate"]
            return {"farthest": 3.0, "dimensions": (2, 3, 5), "relations": relations}
        far = {} if _takes_points(f) else {"farthest": 60.0}
        return {"dimensions": (2, 3, 5), "relations": relations, **far}

    return options


_DEPTH = (*strategies.APART, "near-duplicate", "near-antipode")  # a depth has no gradient where it is 0


def _fixed(*values: st.SearchStrategy[Any], c: float = 0.5) -> Callable[..., Inputs]:
    return lambda *args, **options: st.tuples(*values, st.just(c))


def _in_16_bits(f: Primitive, dtype: torch.dtype, **options: Any) -> Inputs:
    return st.sampled_from((torch.bfloat16, torch.float16)).flatmap(lambda half: strategies.inputs(f, half, **options))


def _anywhere(dtype: torch.dtype, **options: Any) -> Inputs:
    return st.one_of(strategies.points(dtype, **options), strategies.tangents(dtype, **options))


def _lists(f: Primitive, dtype: torch.dtype, **options: Any) -> Inputs:
    pairs: Inputs = strategies.inputs(f, dtype, **options)
    return pairs.map(lambda pair: (torch.stack([pair.x, pair.y, -pair.x]), torch.stack([pair.y, pair.x]), pair.c))


def _with_a_point_between(f: Primitive, dtype: torch.dtype, **options: Any) -> Inputs:
    """(x, y, z, c), y on the line through the origin and x, or half-way between x and z."""
    shares = st.one_of(st.tuples(st.floats(-1, 1), st.just(0.0)), st.just((0.5, 0.5)))
    return st.builds(
        lambda pair, share: (pair.x, share[0] * pair.x + share[1] * pair.y, pair.y, pair.c),
        strategies.inputs(f, dtype, **options),
        shares,
    )
