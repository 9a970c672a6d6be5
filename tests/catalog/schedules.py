"""Schedules."""

import keras
import numpy as np
import oracles_schedules as oracles
import references.first as reference

from catalog.case import ScheduleCase
from catalog.rules import (
    AT_LEAST_ONE,
    COUNT,
    FLAG,
    FRACTION,
    NON_NEGATIVE,
    POSITIVE,
    SCHEDULE,
    ZERO_OR_MORE,
    one_of,
)
from kopt import schedules

KERAS_SCHEDULES = keras.optimizers.schedules
CASES = [
    ScheduleCase(
        schedules.Constant,
        {"learning_rate": 0.03},
        lambda t: np.full_like(t, 0.03),
        {"optax": oracles.optax_schedule("constant_schedule", 0.03)},
    ),
    ScheduleCase(
        schedules.StepDecay,
        {"initial_learning_rate": 0.4, "decay_steps": 7, "decay_rate": 0.5},
        lambda t: 0.4 * 0.5 ** (t // 7),
        {
            "optax": oracles.optax_schedule("exponential_decay", 0.4, 7, 0.5, staircase=True),
            "torch": oracles.torch_schedule("StepLR", 0.4, step_size=7, gamma=0.5),
            "keras": lambda: KERAS_SCHEDULES.ExponentialDecay(0.4, 7, 0.5, staircase=True),
        },
    ),
    ScheduleCase(
        schedules.ExponentialDecay,
        {"initial_learning_rate": 0.2, "decay_rate": 0.93},
        lambda t: 0.2 * 0.93**t,
        {
            "optax": oracles.optax_schedule("exponential_decay", 0.2, 1, 0.93),
            "torch": oracles.torch_schedule("ExponentialLR", 0.2, gamma=0.93),
            "keras": lambda: KERAS_SCHEDULES.ExponentialDecay(0.2, 1, 0.93),
        },
    ),
    ScheduleCase(
        schedules.ExponentialDecay,
        {"initial_learning_rate": 0.2, "decay_rate": 0.6, "decay_steps": 9, "staircase": True},
        lambda t: 0.2 * 0.6 ** (t // 9),
        {
            "optax": oracles.optax_schedule("exponential_decay", 0.2, 9, 0.6, staircase=True),
            "keras": lambda: KERAS_SCHEDULES.ExponentialDecay(0.2, 9, 0.6, staircase=True),
        },
    ),
    ScheduleCase(
        schedules.CosineDecay,
        {"initial_learning_rate": 0.3, "decay_steps": 41, "alpha": 0.1},
        lambda t: reference.cosine(t, 0.3, 41, 0.1),
        {
            "optax": oracles.optax_schedule("cosine_decay_schedule", 0.3, 41, 0.1),
            "keras": lambda: KERAS_SCHEDULES.CosineDecay(0.3, 41, 0.1),
        },
    ),
    ScheduleCase(
        schedules.CosineDecay,
        {"initial_learning_rate": 0.3, "decay_steps": 50},
        lambda t: reference.cosine(t, 0.3, 50, 0.0),
        {
            "optax": oracles.optax_schedule("cosine_decay_schedule", 0.3, 50),
            "keras": lambda: KERAS_SCHEDULES.CosineDecay(0.3, 50),
        },
        float32_atol=0.3 * 1.2e-7,  # 1 + cos(x) cancels near the end
    ),
    # Neither optax nor Keras has it.
    ScheduleCase(
        schedules.AdamStepSize,
        {"initial_learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.97},
        lambda t: 0.05 * np.sqrt(1 - 0.97 ** (t + 1)) / (1 - 0.8 ** (t + 1)),
    ),
    ScheduleCase(
        schedules.AdamStepSize,
        {"initial_learning_rate": 0.05, "beta_1": 0.95, "beta_2": 0.9999},
        lambda t: 0.05 * np.sqrt(1 - 0.9999 ** (t + 1)) / (1 - 0.95 ** (t + 1)),
    ),
    # Keras' CosineDecay(warmup_target=...) ramps from step 0 and shifts the decay.
    ScheduleCase(
        schedules.Warmup,
        {"schedule": schedules.CosineDecay(0.3, 41, 0.1), "steps": 12, "initial_factor": 0.2},
        lambda t: reference.ramp(t, 12, 0.2) * reference.cosine(t, 0.3, 41, 0.1),
        {
            "optax": oracles.optax_warmed(
                oracles.optax_schedule("linear_schedule", 0.2 + 0.8 / 12, 1.0, 11),
                oracles.optax_schedule("cosine_decay_schedule", 0.3, 41, 0.1),
            )
        },
    ),
    ScheduleCase(
        schedules.Warmup,
        {"schedule": KERAS_SCHEDULES.ExponentialDecay(0.2, 5, 0.7), "steps": 9},
        lambda t: reference.ramp(t, 9, 0.0) * 0.2 * 0.7 ** (t / 5),
        {
            "optax": oracles.optax_warmed(
                oracles.optax_schedule("linear_schedule", 1 / 9, 1.0, 8),
                oracles.optax_schedule("exponential_decay", 0.2, 5, 0.7),
            )
        },
    ),
    ScheduleCase(
        schedules.Warmup,
        {"schedule": 0.05, "steps": 1},
        lambda t: np.full_like(t, 0.05),
        {"optax": oracles.optax_schedule("constant_schedule", 0.05)},
    ),
    # Fractions: what the others have is the same number of steps, written out.
    ScheduleCase(
        schedules.StepDecay,
        {"initial_learning_rate": 0.4, "decay_steps": 0.14, "decay_rate": 0.5, "by": "fraction"},
        lambda t: 0.4 * 0.5 ** (t // 7),
        {"optax": oracles.optax_schedule("exponential_decay", 0.4, 7, 0.5, staircase=True)},
        run_steps=50,
    ),
    # A third of 50 is 16.67 steps: stairs fall at the nearest whole step.
    ScheduleCase(
        schedules.StepDecay,
        {"initial_learning_rate": 0.4, "decay_steps": 1 / 3, "decay_rate": 0.5, "by": "fraction"},
        lambda t: 0.4 * 0.5 ** np.searchsorted([17, 33, 50], t, side="right"),
        {"optax": oracles.optax_schedule("piecewise_constant_schedule", 0.4, {17: 0.5, 33: 0.5, 50: 0.5})},
        run_steps=50,
    ),
    ScheduleCase(
        schedules.ExponentialDecay,
        {"initial_learning_rate": 0.2, "decay_rate": 0.01, "by": "fraction"},
        lambda t: 0.2 * 0.01 ** (t / 50),
        {"optax": oracles.optax_schedule("exponential_decay", 0.2, 50, 0.01)},
        run_steps=50,
    ),
    ScheduleCase(
        schedules.CosineDecay,
        {"initial_learning_rate": 0.3, "decay_steps": 0.9, "alpha": 0.1, "by": "fraction"},
        lambda t: reference.cosine(t, 0.3, 45, 0.1),
        {"optax": oracles.optax_schedule("cosine_decay_schedule", 0.3, 45, 0.1)},
        run_steps=50,
    ),
    ScheduleCase(
        schedules.Warmup,
        {"schedule": schedules.CosineDecay(0.3, 1.0, 0.1, by="fraction"), "steps": 0.2, "by": "fraction"},
        lambda t: reference.ramp(t, 10, 0.0) * reference.cosine(t, 0.3, 50, 0.1),
        {
            "optax": oracles.optax_warmed(
                oracles.optax_schedule("linear_schedule", 1 / 10, 1.0, 9),
                oracles.optax_schedule("cosine_decay_schedule", 0.3, 50, 0.1),
            )
        },
        run_steps=50,
    ),
    ScheduleCase(
        schedules.Combination,
        {"operation": "multiply", "first": 0.25, "second": schedules.CosineDecay(0.3, 41, 0.1)},
        lambda t: 0.25 * reference.cosine(t, 0.3, 41, 0.1),
        {"optax": oracles.optax_schedule("cosine_decay_schedule", 0.075, 41, 0.1)},
    ),
    # Others have no sums and bounds.
    ScheduleCase(
        schedules.Combination,
        {
            "operation": "add",
            "first": schedules.StepDecay(0.2, 7, 0.5),
            "second": KERAS_SCHEDULES.ExponentialDecay(0.1, 5, 0.7),
        },
        lambda t: 0.2 * 0.5 ** (t // 7) + 0.1 * 0.7 ** (t / 5),
    ),
    ScheduleCase(
        schedules.Combination,
        {"operation": "subtract", "first": 0.5, "second": schedules.StepDecay(0.3, 7, 0.5)},
        lambda t: 0.5 - 0.3 * 0.5 ** (t // 7),
    ),
    ScheduleCase(
        schedules.Combination,
        {"operation": "divide", "first": schedules.StepDecay(0.3, 7, 0.5), "second": 3},
        lambda t: 0.1 * 0.5 ** (t // 7),
    ),
    ScheduleCase(
        schedules.Combination,
        {"operation": "minimum", "first": schedules.ExponentialDecay(0.3, 0.9), "second": 0.1},
        lambda t: np.where(0.3 * 0.9**t < 0.1, 0.3 * 0.9**t, 0.1),
    ),
    ScheduleCase(
        schedules.Combination,
        {"operation": "maximum", "first": 0.05, "second": schedules.ExponentialDecay(0.3, 0.9)},
        lambda t: np.where(0.3 * 0.9**t < 0.05, 0.05, 0.3 * 0.9**t),
    ),
]

BOUNDARIES = (
    "a list of one or more integers >= 1, each larger than the one before",
    [5, "5", None, [], [0], [5, 5], [6, 3], [2.0], [True], ["5"], {"5": 1}],
)
OPERATIONS = one_of("add", "subtract", "multiply", "divide", "minimum", "maximum")

RULES = {
    "anneal": one_of("cosine", "linear"),
    "boundaries": BOUNDARIES,
    "by": one_of("step", "fraction"),
    "cycle": FLAG,
    "div_factor": POSITIVE,
    "down_steps": COUNT,
    "end_learning_rate": NON_NEGATIVE,
    "final_div_factor": POSITIVE,
    "first": SCHEDULE,
    "first_decay_steps": COUNT,
    "m_mul": POSITIVE,
    "max_learning_rate": NON_NEGATIVE,
    "mode": one_of("triangular", "triangular2", "exp_range"),
    "operation": OPERATIONS,
    "pct_start": FRACTION,
    "power": POSITIVE,
    "schedules": ("a list of schedules or numbers", [0.1, None, "abc", {"a": 0.1}]),
    "second": SCHEDULE,
    "shape": one_of("linear", "cosine", "sqrt", "square"),
    "stable_steps": ZERO_OR_MORE,
    "t_mul": AT_LEAST_ONE,
    "three_phase": FLAG,
    "total_steps": COUNT,
    "up_steps": COUNT,
    "warmup_steps": ZERO_OR_MORE,
}

GOOD = {
    "boundaries": [5],
    "first": 0.1,
    "first_decay_steps": 5,
    "max_learning_rate": 0.2,
    "operation": "add",
    "schedules": [0.1, 0.2],
    "second": 0.2,
    "stable_steps": 3,
    "total_steps": 20,
    "up_steps": 3,
    "warmup_steps": 2,
}
