"""The table of laws, the inputs on which each is asked, and the judgement of an implementation by them.

To add a law, write it in `geomdml.testing.laws` (of dtypes, shapes and refusals: `contracts`), what it is asked on in
`draws`, and give it a line in `table`: `each` asks it of every primitive of every chart, `one` of the functions named.
`python -m geomdml.testing` and our own tests run the table.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import accumulate, chain, takewhile
from random import Random
from typing import Any, NamedTuple

import torch
from hypothesis import Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException, NoSuchExample

from geomdml.testing import contracts, draws, laws, oracle, strategies
from geomdml.testing.draws import Inputs
from geomdml.testing.laws import BALL, EUCLIDEAN, LORENTZ, TANGENT, Broken, Error
from geomdml.testing.primitives import SPHERE, Primitive, relative_error

__all__ = [
    "CHARTS",
    "Implementations",
    "Law",
    "NEAREST",
    "RADII",
    "STEPS",
    "Verdict",
    "each",
    "MANNERS",
    "errors_by_radius",
    "judge",
    "one",
    "table",
]

Implementations = Mapping[str, Any]  # by chart

CHARTS: dict[str, dict[str, Primitive]] = {
    "ball": BALL,
    "tangent": TANGENT,
    "lorentz": LORENTZ,
    "euclidean": EUCLIDEAN,
    "sphere": SPHERE,
}
_LENGTH_AT = {"ball": math.tanh, "tangent": float, "lorentz": lambda radius: math.sinh(2 * radius)}  # times √c
_GIVES_POINTS = {  # of the ball
    *("mobius_add", "mobius_scalar_mul", "mobius_matvec", "expmap0", "expmap", "geodesic", "midpoint", "to_ball")
}
_SYMMETRIC = {"dist", "pairwise_dist", "lca_depth", "inner", "pairwise_inner"}
_WALKS = {"expmap", "geodesic", "mobius_scalar_mul", "mobius_matvec"}  # their slope vanishes far out
_SPOILT = {"pairwise_inner"}  # near points leave their float64 slopes few digits
MANNERS = ("dtypes and shapes", "refusals")  # groups of laws that are promises of geomdml, not mathematics
RADII = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)  # √c‖u‖
NEAREST = 1e-3  # radii, to see how far out a law holds that breaks somewhere
STEPS = (1.0, 2.0, 4.0, 8.0)
_MODERATE = strategies.curvatures(0.01, 100.0)
_SLOPING = 2.5  # the radius from which walks still have a slope, also from a near-duplicate farther out
_OUTSIDE = st.sampled_from(([1.0, 0.0], [0.8, 0.7], [math.inf, 0.0], [math.nan, 0.0])).map(torch.tensor)


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
    group: str = ""

    def inputs(
        self,
        dtype: torch.dtype,
        farthest: float = math.inf,
        *,
        ordinary: bool = False,
        c: st.SearchStrategy[float] | None = None,
    ) -> Inputs:
        """((*vectors, c), keywords), up to a radius.

        Ordinary points lie independently, at `NEAREST` or farther, and on no line, where such would be antipodes.
        """
        options = {"c": c, **self.options}
        if ordinary:
            options["nearest"] = max(NEAREST, options.get("nearest", 0.0))
            options["dimensions"] = [D for D in options.get("dimensions", strategies.DIMENSIONS) if D > 1]
            if "relations" in options:
                options["relations"] = strategies.APART[:1]
        options["farthest"] = max(min(farthest, self.farthest), options.get("nearest", 0.0))
        if options["farthest"] == math.inf:
            del options["farthest"]
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
    """Every law, group by group, and chart by chart in each.

    >>> [law.name for law in table() if "inverts" in law.name]
    ['exp inverts log', 'log inverts exp', 'exp at inverts log at', 'log at inverts exp at']
    """
    pairs: dict[str, Any] = {"relations": strategies.RELATIONS}
    near: dict[str, Any] = {"nearest": 0.1, "farthest": 1.0, "dimensions": (2, 3), "relations": strategies.APART}
    vectors_at_points = partial(strategies.inputs, BALL["parallel_transport"])
    points, point_pairs = draws.near_too(strategies.points), draws.near_too(strategies.point_pairs)
    groups = {
        "values": [
            each(laws.is_exact),
            each(laws.all_pairs_are_exact, where=_is_pairwise, draw=draws.lists, options=_crowded,
                 dimensions=(2, 3, 8, 64)),
        ],
        "geometry": [
            each(laws.is_symmetric, where=lambda f: f.name in _SYMMETRIC),
            each(laws.triangle_inequality, where=_is_distance, draw=draws.with_a_point_between),
            each(laws.scales_with_curvature, where=_has_an_end, exponent=st.integers(-4, 0)),
            each(laws.scales_with_curvature, where=lambda f: not _has_an_end(f), exponent=st.integers(-4, 4)),
            each(laws.commutes_with_rotation, seed=st.integers(0, 999)),
            each(laws.has_flat_limit, where=lambda f: f.flat is not None, farthest=1e-6, c=st.just(1e-12)),
            each(laws.stays_inside, where=_gives_points),
            one(laws.has_identity_and_inverse, strategies.points, "mobius_add"),
            one(laws.left_cancellation, point_pairs, "mobius_add", **pairs),
            one(laws.gyroassociativity, draws.triples, "mobius_add", "gyration", "project", **pairs),
            one(laws.gyrocommutativity, point_pairs, "mobius_add", "gyration", **pairs),
            one(laws.left_loop, vectors_at_points, "mobius_add", "gyration", **pairs),
            one(laws.gyration_rotates, draws.two_vectors, "gyration", **pairs),
            one(laws.translation_is_an_isometry, draws.triples, "mobius_add", "dist", **pairs),
            one(laws.scalars_distribute, draws.after(2, points), "mobius_scalar_mul", "mobius_add", "dist0"),
            one(laws.scalar_multiples_keep_the_line, draws.after(1, points), "mobius_scalar_mul", "dist0"),
            one(laws.exp_inverts_log, strategies.points, "expmap0", "logmap0"),
            one(laws.log_inverts_exp, strategies.tangents, "expmap0", "logmap0", farthest=5.0),
            one(laws.exp_at_inverts_log_at, point_pairs, "expmap", "logmap", "dist", **pairs),
            one(laws.log_at_inverts_exp_at, partial(strategies.inputs, BALL["expmap"]), "expmap", "logmap",
                farthest=draws.CURVED, **pairs),
            one(laws.log_is_as_long_as_the_way, point_pairs, "logmap", "dist", **pairs),
            one(laws.geodesic_has_its_ends_and_speed, draws.and_a_number(point_pairs), "geodesic", "dist", **pairs),
            one(laws.transport_is_an_isometry, vectors_at_points, "parallel_transport", "logmap",
                nearest=1e-10, **pairs),
            one(laws.midpoint_is_in_the_middle, draws.triples, "midpoint", "geodesic", "dist", "mobius_add", **pairs),
            one(laws.projects_inside, draws.anywhere, "project"),
            one(laws.charts_agree, strategies.tangent_pairs, "dist", charts=("ball", "tangent"), farthest=3.0, **pairs),
            one(laws.lorentz_agrees, strategies.tangent_pairs, "dist", "from_tangent", charts=("lorentz", "tangent"),
                farthest=5.0, **pairs),
            one(laws.boost_is_isometry, draws.boosts, "dist", charts=("lorentz",), farthest=3.0, dimensions=(2, 3, 8),
                **pairs),
            one(laws.lies_on_hyperboloid, strategies.lorentz_points, "inner", charts=("lorentz",)),
            one(laws.product_ranks_as_distance, draws.clouds, "pairwise_inner", "pairwise_dist", charts=("lorentz",),
                farthest=LORENTZ["pairwise_inner"].farthest, **pairs),
        ],
        "gradients": [
            each(laws.gradients_are_finite, options=_as_far_as_slopes),
            each(laws.gradient_is_exact, options=_smooth(dtype)),
            each(laws.gradcheck, c=strategies.curvatures(0.2, 5.0), **near),
        ],
        "dtypes and shapes": [
            each(contracts.half_is_float32_of_the_rounded, draw=draws.in_16_bits, options=_told_apart_in_16_bits,
                 nearest=1e-3, c=_MODERATE),
            each(contracts.broadcasts, where=lambda f: not _is_pairwise(f)),
            each(contracts.empty_gives_empty, draw=draws.fixed(), dtype=st.sampled_from((dtype, torch.bfloat16)),
                 farthest=0.0),
        ],
        "refusals": [
            each(contracts.refuses_what_cannot_be, where=_is_curved, draw=draws.fixed(), farthest=0.0),
            each(contracts.refuses_points_outside, where=_takes("point", "points"), draw=draws.fixed(_OUTSIDE, c=1.0),
                 farthest=0.0),
            each(contracts.refuses_vectors_not_finite, where=_takes("vector", "vectors"),
                 draw=draws.fixed(st.sampled_from((math.nan, math.inf))), farthest=0.0),
        ],
    }  # fmt: skip
    order = list(CHARTS).index
    return [
        law._replace(group=group)
        for group, lines in groups.items()
        for law in sorted(chain(*lines), key=lambda law: order(law.charts[0]))
    ]


def each(
    law: Callable[..., float],
    *,
    where: Callable[[Primitive], bool] = lambda f: True,
    draw: Callable[..., Inputs] = strategies.inputs,
    options: Callable[[Primitive], Mapping[str, Any]] = lambda f: {},
    farthest: float = math.inf,
    **others: Any,
) -> Iterator[Law]:
    """The law on every primitive, as far out as that one goes unless `options` says otherwise.

    Other arguments, and `options`, are options of the inputs or, where they are strategies, keywords of the law.
    """
    for chart, primitives in CHARTS.items():
        for f in filter(where, primitives.values()):
            limit = min(farthest, f.farthest)
            chosen = {"relations": strategies.RELATIONS, "farthest": limit, **others, **options(f)}
            chosen = {**chosen, **_defined(f, chosen["relations"])}
            keywords = {k: v for k, v in chosen.items() if k != "c" and isinstance(v, st.SearchStrategy)}
            of_inputs = {k: v for k, v in chosen.items() if k not in keywords}
            name, check = f"{f.name} {_words(law)}", partial(_asked_of, law, f)
            yield Law(name, check, (chart,), (f.name,), partial(draw, f), of_inputs, keywords, f)


def one(
    law: Callable[..., float],
    draw: Callable[..., Inputs],
    *needs: str,
    charts: tuple[str, ...] = ("ball",),
    **options: Any,
) -> Iterator[Law]:
    """The law on the functions that it needs."""
    yield Law(_words(law), law, charts, needs, draw, options, {}, None)


def judge(
    law: Law,
    implementations: Implementations,
    dtype: torch.dtype = torch.float32,
    *,
    examples: int = 100,
    seed: int = 0,
    radius: float = math.inf,
    tolerance: float = 0.0,
    thorough: bool = True,
) -> Verdict:
    """Ask a law of an implementation, `examples` times for points up to `radius`; errors up to `tolerance` are none.

    Where it does not hold, a thorough judge looks for the smallest counter-example, and asks the law again of ordinary
    points, up to each of the `STEPS`.
    """
    asked = [implementations[chart] for chart in law.charts]
    if missing := tuple(name for name in law.needs if not hasattr(asked[0], name)):
        return Verdict(law, missing)

    def search(inputs: Inputs, wanted: Callable[[Error | Broken], Any], *phases: Phase) -> Any:
        options = settings(max_examples=examples, deadline=None, database=None, phases=(Phase.generate, *phases))
        return find(
            inputs, lambda drawn: wanted(_outcome(law, asked, drawn, tolerance)), settings=options, random=Random(seed)
        )

    def worst(inputs: Inputs) -> Error | Broken:
        seen: list[Error | Broken] = [Error(0.0, 0.0)]
        with suppress(NoSuchExample):
            search(inputs, lambda outcome: seen.append(max(outcome, seen.pop(), key=_excess)))
        return seen[0]

    def rounded(c: float) -> float:
        """Most libraries keep c in the dtype of the points, and are not to be blamed for its rounding."""
        return torch.tensor(c, dtype=dtype).item()

    everywhere = law.inputs(dtype, radius, c=strategies.curvatures().map(rounded))
    outcome = worst(everywhere)
    if isinstance(outcome, Error):
        return Verdict(law, error=outcome)
    broken = outcome
    if not thorough:
        return Verdict(law, error=broken.error, broken=broken, holds_up_to=0.0)
    with suppress(HypothesisException):  # such as Flaky: an implementation that is not a function
        found = search(everywhere, lambda outcome: isinstance(outcome, Broken), Phase.shrink)
        smallest = _outcome(law, asked, found, tolerance)
        broken = smallest if isinstance(smallest, Broken) else broken
    limit = min(radius, law.farthest)
    steps = (r for r in sorted({*STEPS, limit}) if NEAREST < r <= limit)
    outcomes = {r: worst(law.inputs(dtype, r, ordinary=True, c=_MODERATE.map(rounded))) for r in steps}
    return Verdict(
        law,
        error=_error(max([outcome, *outcomes.values()], key=_excess)),
        broken=broken,
        by_radius=dict(zip(outcomes, accumulate(map(_error, outcomes.values()), _worse), strict=True)),
        holds_up_to=max(takewhile(lambda r: isinstance(outcomes[r], Error), outcomes), default=0.0),
    )


def errors_by_radius(
    implementation: Any,
    chart: str,
    dim: int,
    *,
    radii: Sequence[float] = RADII,
    pairs: int = 50,
    c: float = 0.5,
    dtype: torch.dtype = torch.float32,
) -> list[float]:
    """The largest relative error of distances between random points, all at one radius, for each radius.

    They are held to the exact distances of the very floats given. Where there is no `dist`, `pairwise_dist` is asked.

    >>> from geomdml import poincare
    >>> max(errors_by_radius(poincare, "ball", 2, radii=(4.0,), pairs=5)) < 2.4e-7
    True
    """
    if chart not in _LENGTH_AT:
        raise ValueError(f"chart = {chart!r}; expected one of {', '.join(map(repr, _LENGTH_AT))}")
    f, errors = CHARTS[chart]["dist"], []
    for radius in radii:
        directions = torch.randn(2, pairs, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        length = _LENGTH_AT[chart](radius) / math.sqrt(c)
        x, y = (length * torch.nn.functional.normalize(directions, dim=-1)).to(dtype)
        if hasattr(implementation, "dist"):
            found = implementation.dist(x, y, c=c)
        else:
            found = implementation.pairwise_dist(x, y, c=c).diagonal()
        errors.append(max(relative_error(d, f.reference(a, b, c=c)) for d, a, b in zip(found, x, y, strict=True)))
    return errors


def _outcome(law: Law, asked: Sequence[Any], drawn: Any, tolerance: float) -> Error | Broken:
    (*vectors, c), keywords = drawn
    try:
        error = law.check(*asked, *vectors, c=c, **keywords)
    except Broken as broken:
        return Error(broken.error, tolerance) if broken.error <= tolerance else broken
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


def _is_curved(f: Primitive) -> bool:
    return f.reference is not oracle.euclidean_dist


def _has_an_end(f: Primitive) -> bool:
    """Does its range end where the floats do? What is longer is no number there."""
    return "lorentz" in f.reference.chart or f is LORENTZ["from_tangent"]


def _gives_points(f: Primitive) -> bool:
    """Of the ball?"""
    return f.name in _GIVES_POINTS and (f.name == "to_ball" or f in BALL.values())


def _takes(*kinds: str) -> Callable[[Primitive], bool]:
    return lambda f: not set(kinds).isdisjoint(f.kinds)


def _defined(f: Primitive, relations: Sequence[str]) -> Mapping[str, Any]:
    """To the antipode on a sphere no way is the shortest."""
    if f in (SPHERE["logmap"], SPHERE["geodesic"]):
        kept = tuple(relation for relation in relations if relation in strategies.ON_TWO_LINES)
        return {"relations": kept, "dimensions": (2, 3, 5)}
    return {}


def _told_apart_in_16_bits(f: Primitive) -> Mapping[str, Any]:
    """On a sphere, where a near-antipode would be rounded to the antipode."""
    apart = tuple(relation for relation in strategies.RELATIONS if relation != "near-antipode")
    return {"relations": apart} if f.reference.chart == "sphere" else {}


def _crowded(f: Primitive) -> Mapping[str, Any]:
    """Where the gradient of a sum of distances still is that, to the digits of its float32 parts."""
    limits = {"ball": 8.0, "tangent": 3.0, "lorentz": 2.0}
    return {"farthest": min(limits.get(f.reference.chart, math.inf), f.farthest)}


def _as_far_as_slopes(f: Primitive) -> Mapping[str, Any]:
    """Beyond the values too; products of the Lorentz model leave float64 there."""
    return {"farthest": 150.0 if f.reference.chart == "lorentz" else math.inf}


def _smooth(dtype: torch.dtype) -> Callable[[Primitive], Mapping[str, Any]]:
    """Where a function has a gradient, and its dtype the digits and the range for it."""
    double = dtype == torch.float64

    def options(f: Primitive) -> Mapping[str, Any]:
        kinds, relations, chart = f.reference.kinds, strategies.DISTINCT, f.reference.chart
        if f.name == "lca_depth":  # it has no gradient where it is 0
            relations = (*strategies.APART, "near-duplicate", "near-antipode")
        if chart == "sphere":
            relations = strategies.APART if f.name == "midpoint" else strategies.ON_TWO_LINES  # its sum may cancel
        if double and f.name in _SPOILT:
            relations = tuple(relation for relation in relations if not relation.startswith("near"))
        walks = f.name in _WALKS and f in BALL.values()
        far = 60.0 if f in TANGENT.values() and chart == "tangent" else math.inf
        farthest = _SLOPING if double or walks else far
        return {
            "farthest": min(farthest, f.farthest),
            "relations": relations,
            # On a line nothing is left of the slope of a gyration but its rounding.
            "dimensions": (2, 3)
            if f.name == "parallel_transport" or chart == "sphere"
            else (2, 1, 3)
            if kinds
            else (2, 1, 3, 5),
            "bar": st.just((1e-8 if walks else 1e-9) if double else 1e-5),
        }

    return options
