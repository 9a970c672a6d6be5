"""Numbers that float32 gets wrong when they are written the obvious way."""

import math
from typing import Any

from keras import ops


def one_minus_power(beta: float, t: Any) -> Any:
    """Returns 1 - beta**t as a float32 tensor, exact to float32 rounding also for beta close to 1.

    The obvious form loses digits twice: float32 holds 0.999 with a relative error of 1e-8, and 1 - 0.999 then has one
    of 1e-5. Here the logarithm is taken in float64 and `expm1` keeps the digits.

    Args:
        beta: Decay rate, a Python float in [0, 1).
        t: Step, a float32 scalar tensor that is >= 1.
    """
    if beta == 0:
        return ops.ones_like(t)
    return ops.negative(ops.expm1(ops.multiply(t, math.log(beta))))
