"""The shapes that schedules are made of, in the forms that float32 keeps the digits of.

Near its end a schedule is small beside its start. So the way that is left is computed as (end - t) / length, which is
exact in whole steps and 0 at the end, and never as 1 - t / length.
"""

import math
from typing import Any

from keras import ops


def periods_done(step: Any, length: float) -> Any:
    """Returns how many whole periods a whole number of steps holds.

    XLA divides by multiplying with the reciprocal, and 41 * (1 / 41) is below 1: half a step keeps clear of the edge.
    A length that is no whole number of steps ends at the nearest whole step.
    """
    return ops.floor((step + 0.5) / length)


def periods_passed(step: Any, length: float, *, staircase: bool) -> Any:
    """Returns how many periods have passed, whole ones only with `staircase`."""
    return periods_done(step, length) if staircase else step / length


def share_done(step: Any, start: float, end: float) -> Any:
    """Returns how much of the way from step `start` to step `end` lies behind, from 0 to 1: exactly 1 at `end`.

    XLA multiplies by the reciprocal of a constant in place of dividing by it, which gives 0.99999994 there.
    """
    return ops.where(step >= end, 1.0, ops.clip((step - start) / (end - start), 0.0, 1.0))


def share_left(step: Any, start: float, end: float) -> Any:
    """Returns how much of the way from step `start` to step `end` lies ahead, from 1 to 0: exactly 1 at `start`."""
    return ops.where(step <= start, 1.0, ops.clip((end - step) / (end - start), 0.0, 1.0))


def half_cosine(share: Any) -> Any:
    """Returns (1 - cos(pi share)) / 2, which rises from 0 to 1, without the cancellation of that formula at 0."""
    return ops.square(ops.sin(0.5 * math.pi * share))


def kept(share: Any, alpha: float) -> Any:
    """Returns a share that ends at `alpha` in place of 0."""
    return (1 - alpha) * share + alpha
