"""The spaces of `--model.space`, and their products."""

from typing import Literal, TypeGuard, get_args

from geomdml.spaces import Chart, Euclidean, Hyperbolic, Product, Space

Single = Chart | Literal["euclidean"]
SINGLE: tuple[Single, ...] = (*get_args(Chart), "euclidean")


def make_space(text: str, dim: int, *, c: float = 1.0, learn_c: bool = False) -> Space:
    """A chart of hyperbolic space, Euclidean space, or a product such as tangent+euclidean or tangent:3+euclidean:2.

    Without numbers the factors of a product share the dimensions as evenly as can be, the first having one more. Each
    hyperbolic factor starts from c, and learns its own.

    Raises:
        ValueError: another text, numbers that do not add up to `dim`, a ball in a product.

    >>> make_space("tangent+euclidean", 5)
    Product(Hyperbolic(c=1, chart='tangent')^3 × Euclidean()^2)
    """
    if _is_single(text):
        return _single(text, c, learn_c)
    factors, _, numbers = zip(*(factor.partition(":") for factor in text.split("+")), strict=True)
    names = [factor for factor in factors if _is_single(factor)]
    if not 2 <= len(names) == len(factors) or not (all(map(str.isdecimal, numbers)) or not any(numbers)):
        raise ValueError(
            f"--model.space {text}; expected {', '.join(SINGLE)}, or a product such as tangent+euclidean or "
            "tangent:3+euclidean:2"
        )
    if "ball" in names:
        raise ValueError(f"--model.space {text}; expected the tangent chart in a product: steps leave the ball")
    shares = [dim // len(names) + (place < dim % len(names)) for place in range(len(names))]
    dims = [int(number) for number in numbers] if any(numbers) else shares
    if sum(dims) != dim or min(dims) < 1:
        raise ValueError(
            f"--model.space {text} with --model.dim {dim}; expected dimensions of at least 1 that add up to it"
        )
    return Product([_single(name, c, learn_c) for name in names], dims)


def _is_single(text: str) -> TypeGuard[Single]:
    return text in SINGLE


def _single(name: Single, c: float, learn_c: bool) -> Space:
    return Euclidean() if name == "euclidean" else Hyperbolic(c, chart=name, learnable=learn_c)
