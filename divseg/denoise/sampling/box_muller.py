"""Two random words to two normal numbers, in operations that every processor rounds alike.

Box and Muller, "A note on the generation of random normal deviates", Ann. Math. Statist. 29 (1958): with u and v
uniform, sqrt(-2 ln u) times the cosine and the sine of 2 pi v. Logarithm, cosine and sine are polynomials here, in
sums, products, a quotient and a root of float32, each rounded alone as IEEE 754 says, so that the numbers are the same
to the bit on CPUs and CUDA GPUs, whichever generator makes them.

- u is (word + 1/2) / 2**32, so the farthest normal number is at 6.76. With u = m 2**e, m from sqrt(1/2) to sqrt(2),
  and s = (m - 1) / (m + 1), ln m = 2 atanh(s), so -2 ln u = s LOG(s**2) - 2 e ln 2.
- With x = word / 2**31 - 1, from -1 to 1, s = sqrt(2) sin(pi x / 2) = x SIN(x**2) and c = sqrt(2) cos(pi x / 2) =
  COS(x**2), the cosine of pi x is 1 - s**2, its sine s c.

The polynomials interpolate at Chebyshev nodes; they are off by at most 1e-7, the numbers by 8e-7 times the radius.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOG = (-4.0, -1.333336353302002, -0.799496054649353, -0.5985090732574463)
SIN = (2.2214415073394775, -0.913530707359314, 0.11269856989383698, -0.006610247306525707, 0.00021450100757647306)
COS = (1.4142135381698608, -1.7447127103805542, 0.35871627926826477, -0.02943059243261814, 0.0012136250734329224)
"""Coefficients from the constant up, float32."""

LOG_OF_2 = -2 * math.log(2)
"""What a doubling of u adds to -2 ln u."""
SQRT_HALF = 0x3F3504F3
"""Bits of sqrt(1/2) as float32."""


def normals(radius: Tensor, angle: Tensor) -> Tensor:
    """Turn random words into normal numbers.

    Parameters
    ----------
    radius, angle : Tensor, int64, of one shape
        Words from 0 to 2**32 - 1.

    Returns
    -------
    Tensor, shape (*shape, 2), float32
    """
    u = radius.float().add_(0.5).mul_(2.0**-32)
    bits = u.view(torch.int32) - SQRT_HALF
    exponent = (bits >> 23).float()
    m = bits.bitwise_and_(0x7FFFFF).add_(SQRT_HALF).view(torch.float32)
    s = (m - 1.0).div_(m.add_(1.0))
    r = _polynomial(LOG, s * s).mul_(s).add_(exponent.mul_(LOG_OF_2)).sqrt_()
    x = (angle - 2**31).float().mul_(2.0**-31)
    square = x * x
    s = _polynomial(SIN, square).mul_(x)
    c = _polynomial(COS, square).mul_(s).mul_(r)
    return torch.stack([s.square_().neg_().add_(1.0).mul_(r), c], -1)


def _polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    value = x * coefficients[-1]
    for c in coefficients[-2:0:-1]:
        value.add_(c).mul_(x)
    return value.add_(coefficients[0])
