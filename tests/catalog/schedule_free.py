"""Optimizers without schedules, and the full-batch method."""

from typing import Any

import oracles
import references.schedule_free as reference

from catalog.case import Case, TransformCase, tensors
from catalog.rules import COUNT, FLAG, FRACTION, FRACTION_WITHOUT_ZERO, NON_NEGATIVE
from kopt import optimizers, transforms

SGD_ORACLES = {"optax": oracles.optax_schedule_free_sgd, "torch": oracles.torch_schedule_free_sgd}
ADAMW_ORACLES = {"optax": oracles.optax_schedule_free_adamw, "torch": oracles.torch_schedule_free_adamw}
# What is kept for all variables together: the sum of weights, and the largest rate. For each: whether it is averaged.
OWN_STATE = 2

SECANT = 1e-4
"""A secant divides by the difference of two gradients, of which their rounding errors are a large part."""

CASES: list[Case] = [
    Case(
        optimizers.ScheduleFreeSGD,
        {"learning_rate": 0.05, "momentum": 0.7},
        reference.ScheduleFreeSGD,
        SGD_ORACLES,
        state=tensors(1, 1),
        own_state=OWN_STATE,
    ),
    Case(
        optimizers.ScheduleFreeSGD,
        {"learning_rate": 0.04, "momentum": 0.8, "warmup_steps": 6, "weight_power": 1.5, "weight_decay": 0.3},
        reference.ScheduleFreeSGD,
        SGD_ORACLES,
        state=tensors(1, 1),
        own_state=OWN_STATE,
    ),
    # optax has no power of the step.
    Case(
        optimizers.ScheduleFreeSGD,
        {"learning_rate": 0.03, "momentum": 0.6, "warmup_steps": 9, "weight_power": 1.0, "step_power": 1.5},
        reference.ScheduleFreeSGD,
        {"torch": oracles.torch_schedule_free_sgd},
        state=tensors(1, 1),
        own_state=OWN_STATE,
    ),
    Case(
        optimizers.ScheduleFreeAdamW,
        {"learning_rate": 0.03, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
        reference.ScheduleFreeAdamW,
        ADAMW_ORACLES,
        state=tensors(2, 1),
        own_state=OWN_STATE,
    ),
    Case(
        optimizers.ScheduleFreeAdamW,
        {
            "learning_rate": 0.05,
            "beta_1": 0.7,
            "beta_2": 0.9,
            "epsilon": 1e-2,
            "warmup_steps": 7,
            "weight_power": 1.0,
            "weight_decay": 0.2,
        },
        reference.ScheduleFreeAdamW,
        ADAMW_ORACLES,
        state=tensors(2, 1),
        own_state=OWN_STATE,
    ),
    # optax has no power of the step.
    Case(
        optimizers.ScheduleFreeAdamW,
        {
            "learning_rate": 0.04,
            "beta_1": 0.85,
            "beta_2": 0.93,
            "epsilon": 1e-3,
            "warmup_steps": 5,
            "weight_power": 0.5,
            "step_power": 2.0,
            "weight_decay": 0.3,
        },
        reference.ScheduleFreeAdamW,
        {"torch": oracles.torch_schedule_free_adamw},
        state=tensors(2, 1),
        own_state=OWN_STATE,
    ),
    Case(
        optimizers.LBFGS,
        {"learning_rate": 0.05, "memory": 4, "line_search": False, "epsilon": 1e-7},
        reference.LBFGS,
        {"torch": oracles.torch_lbfgs},
        supports=frozenset({"fixed_point", "sparse"}),
        rounding=SECANT,
        state=tensors(2 * 4 + 3),
        own_state=7 + 2 * 4**2,
    ),
    # Here the first gradient is so long that it is shortened.
    Case(
        optimizers.LBFGS,
        {"learning_rate": 0.2, "memory": 2, "line_search": False, "epsilon": 1e-6},
        reference.LBFGS,
        {"torch": oracles.torch_lbfgs},
        supports=frozenset({"fixed_point", "sparse"}),
        rounding=SECANT,
        state=tensors(2 * 2 + 3),
        own_state=7 + 2 * 2**2,
        shapes={"kernel": (40, 12), "bias": (5,)},
    ),
    # Others look at the loss in their line search, and torch's method has no weight decay.
    Case(
        optimizers.LBFGS,
        {"learning_rate": 0.1, "memory": 3, "decrease": 0.2, "curvature": 0.7, "weight_decay": 0.3},
        reference.LBFGS,
        supports=frozenset({"fixed_point", "sparse"}),
        state=tensors(2 * 3 + 3),
        own_state=7 + 2 * 3**2,
    ),
]

TRANSFORMS: list[TransformCase] = [
    TransformCase(
        transforms.ScaleByLBFGS,
        {"memory": 3, "decrease": 0.2, "curvature": 0.7, "epsilon": 1e-6},
        [
            lambda k: transforms.ScaleByLBFGS(3, k / 20, 0.5 + k / 20, 1e-3 * k),
            lambda k: transforms.ScaleByLBFGS(3, k / 20, 0.5 + k / 20, 1e-3 * k, line_search=False),
        ],
    ),
    TransformCase(
        transforms.ScheduleFree,
        {"beta": 0.8, "warmup_steps": 7, "weight_power": 1.5, "step_power": 0.5},
        [lambda k: transforms.ScheduleFree((k + 1) / 9, k + 2, weight_power=k / 4, step_power=k / 3)],
    ),
]
RULES: dict[str, Any] = {
    "curvature": FRACTION,
    "decrease": FRACTION,
    "line_search": FLAG,
    "memory": COUNT,
    "beta": FRACTION_WITHOUT_ZERO,
    "step_power": NON_NEGATIVE,
    "weight_power": NON_NEGATIVE,
}
GOOD: dict[str, Any] = {}
