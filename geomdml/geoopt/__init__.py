"""geoopt's hyperbolic manifolds with the numbers of this library: change the import, keep the rest (extra `geoopt`).

    from geomdml.geoopt import Lorentz, PoincareBall  # in place of geoopt's

Parameters, optimisers and layers of geoopt work as before. All that these manifolds compute is computed by
`geomdml.poincare` and `geomdml.lorentz`, at every radius that floats have: points of the ball go to the last float
inside, where geoopt stops at 1 − 4·10⁻³ in float32.
"""

from geomdml.geoopt.hyperboloid import Lorentz
from geomdml.geoopt.poincare_ball import PoincareBall

__all__ = ["Lorentz", "PoincareBall"]
