"""The numbers that Adam's relatives share: how fast two averages that start at 0 follow, and what corrects them."""

from typing import Any

from keras import ops

from kopt._core.numerics import one_minus_power
from kopt.transforms.transform import Tensor


def moment_scalars(beta_1: float, beta_2: float, epsilon: float, t: Tensor) -> dict[str, Any]:
    """Returns the scalars of (m / (1 - beta_1^t)) / (sqrt(v / (1 - beta_2^t)) + epsilon).

    With c1 and c2 for the corrections, that is (sqrt(c2) / c1) m / (sqrt(v) + sqrt(c2) epsilon): two passes over memory
    fewer.

    Args:
        beta_1: Decay rate of m, in [0, 1).
        beta_2: Decay rate of v, in [0, 1).
        epsilon: Compared with the corrected root.
        t: The step, 1 at the first.

    Returns:
        `weight_1` and `weight_2`, with which new values enter m and v; `root`, which is sqrt(c2); `scale`, which is
        sqrt(c2) / c1; and `epsilon`, which is to be added to sqrt(v).
    """
    root = ops.sqrt(one_minus_power(beta_2, t))
    return {
        "weight_1": 1 - beta_1,
        "weight_2": 1 - beta_2,
        "root": root,
        "scale": root / one_minus_power(beta_1, t),
        "epsilon": root * epsilon,
    }


def estimator_scalars(
    beta_1: float, beta_2: float, growth_rate: float | None, t: Tensor, learning_rate: Tensor, *, bias_correction: bool
) -> dict[str, Any]:
    """Returns the scalars that Adam's direction shares under an estimated distance, whoever estimates it.

    Returns:
        `learning_rate`; `correction`, Adam's factor sqrt(1 - beta_2^t) / (1 - beta_1^t), or 1 without
        `bias_correction`; `weight_1` and `weight_2`; and `growth_rate`, if there is one.
    """
    correction = ops.sqrt(one_minus_power(beta_2, t)) / one_minus_power(beta_1, t) if bias_correction else 1.0
    limit = {} if growth_rate is None else {"growth_rate": growth_rate}
    weights = {"weight_1": 1 - beta_1, "weight_2": 1 - beta_2}
    return {"learning_rate": learning_rate, "correction": correction, **weights, **limit}
