"""Hyperbolic geometry to fifty digits, written from the definitions: the reference of the property suite.

Nothing here shares a formula with the library. Distances in the ball are (2/√c) artanh(√c‖−x ⊕ y‖) with Möbius addition
as printed; a second derivation, in the Lorentz model, is arcosh(−c⟨X, Y⟩)/√c; the depth of the lowest common ancestor is
found in the Klein model, whose geodesics are straight. Derivatives are difference quotients.

Every function takes tensors or sequences of floats, each float for exactly the number it is, and works with as many
digits as leave fifty right ones. Where digits go: 1 − c‖x‖² loses log10 of its reciprocal, which at unit-curvature
distance A from the origin is A/ln 10 in the ball, twice that in the Klein model, and occurs once for each point; and the
difference of two floats, or of a hyperbolic cosine from 1, loses the square of the span from 1 to their last bits. So

    digits = 60 + 2·(Σ A)/ln 10 + 2·(17 + span),        span = log10(1/(√c·smallest entry)),

which at radius 1e-20 is about 140 and at radius 300 about 1200. The tests evaluate with three times as many and see
the same fifty.
"""

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from mpmath import mp, mpf
from torch import Tensor

Vector = list[mpf]
Reference = Callable[..., Any]  # of vectors and the keyword c, to a number or a vector


def fifty_digits(definition: Reference) -> Reference:
    """Evaluate a definition on the exact values of its inputs, with digits enough; `extra` asks for more of them."""

    @wraps(definition)
    def reference(*vectors: Tensor | Sequence[Any], c: Any, extra: int = 0) -> Any:
        with mp.workdps(digits(*vectors, c=c, tangent=definition in IN_TANGENT_CHART) + extra):
            return definition(*map(exact, vectors), c=exact([c])[0])

    return reference


def exact(vector: Tensor | Sequence[Any]) -> Vector:
    """The entries as the numbers they are."""
    values = vector.detach().tolist() if isinstance(vector, Tensor) else vector
    return [mpf(value.item() if isinstance(value, Tensor) else value) for value in values]
