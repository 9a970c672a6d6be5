"""Numbers that float32 gets wrong when they are written the obvious way."""

import math
from typing import Any

from keras import ops


def one_minus_power(beta: float, t: Any) -> Any:
    """Returns 1 - beta**t as a float32 tensor, exact to float32 rounding also for beta close to 1.

    The obvious form loses digits twice: float32 holds 0.999 with a relative error of 1e-8, and 1 - 0.999 then has one
    of 1e-5. Here the logarithm is taken in float64 and `expm1` keeps the digits.

    Args:
        beta: Decay rate in [0, 1), a Python float, or a float32 scalar tensor, which has the error of its rounding.
        t: Step, a float32 scalar tensor that is >= 1.
    """
    return ops.negative(ops.expm1(ops.multiply(t, logarithm(beta))))


def logarithm(x: Any) -> Any:
    """Returns the natural logarithm, of a Python number >= 0 in float64; of a tensor, in its dtype."""
    if not isinstance(x, float | int):
        return ops.log(x)
    return math.log(x) if x else -math.inf


def eigen(matrix: Any) -> tuple[Any, Any]:
    """Returns the eigenvalues of symmetric matrices in ascending order, and their eigenvectors as columns.

    What is not finite counts as 0: LAPACK, which PyTorch and TensorFlow call, would end the training with an error.

    Args:
        matrix: Of the shape (..., n, n), float32 or float64: no backend decomposes 16-bit floats.
    """
    return ops.eigh(ops.where(ops.isfinite(matrix), matrix, ops.zeros_like(matrix)))


def orthonormal(columns: Any) -> Any:
    """Returns orthonormal columns that span what the given ones span, each leaning to the side of its own column.

    These are the Q factors of which R has a positive diagonal; libraries differ in the signs otherwise.

    Args:
        columns: Of the shape (..., n, k) with k <= n, float32 or float64.
    """
    q, r = ops.qr(columns)
    return q * leaning(ops.diagonal(r, axis1=-2, axis2=-1))[..., None, :]


def leaning(x: Any) -> Any:
    """Returns -1 where x is below 0, otherwise 1, in the dtype of x."""
    return ops.where(x < 0, -ops.ones_like(x), ops.ones_like(x))
