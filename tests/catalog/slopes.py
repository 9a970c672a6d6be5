"""Schedules that go from one rate to another along one formula."""

import keras
import numpy as np
import oracles_schedules as oracles
import references.schedules as reference

from catalog.case import ScheduleCase
from kopt import schedules

KERAS_SCHEDULES = keras.optimizers.schedules

CASES = [
    ScheduleCase(
        schedules.Linear,
        {"initial_learning_rate": 0.3, "decay_steps": 41, "end_learning_rate": 0.06},
        lambda t: np.interp(t, [0, 41], [0.3, 0.06]),
        {
            "optax": oracles.optax_schedule("linear_schedule", 0.3, 0.06, 41),
            "keras": lambda: KERAS_SCHEDULES.PolynomialDecay(0.3, 41, 0.06),
            "torch": oracles.torch_schedule("LinearLR", 0.3, start_factor=1.0, end_factor=0.2, total_iters=41),
        },
    ),
    ScheduleCase(
        schedules.Linear,
        {"initial_learning_rate": 0.0, "decay_steps": 50, "end_learning_rate": 0.2},
        lambda t: np.interp(t, [0, 50], [0, 0.2]),
        {"optax": oracles.optax_schedule("linear_schedule", 0.0, 0.2, 50)},
    ),
    ScheduleCase(
        schedules.Linear,
        {"initial_learning_rate": 0.3, "decay_steps": 0.5, "by": "fraction"},
        lambda t: np.interp(t, [0, 23.5], [0.3, 0]),
        {"optax": oracles.optax_schedule("linear_schedule", 0.3, 0.0, 23.5)},
        run_steps=47,
    ),
    ScheduleCase(
        schedules.Polynomial,
        {"initial_learning_rate": 0.3, "decay_steps": 41, "end_learning_rate": 0.02, "power": 2.5},
        lambda t: reference.polynomial(t, 0.3, 41, 0.02, 2.5),
        {
            "optax": oracles.optax_schedule("polynomial_schedule", 0.3, 0.02, 2.5, 41),
            "keras": lambda: KERAS_SCHEDULES.PolynomialDecay(0.3, 41, 0.02, 2.5),
        },
        float32_atol=0.3 * 1.2e-7,
    ),
    ScheduleCase(
        schedules.Polynomial,
        {"initial_learning_rate": 0.3, "decay_steps": 41, "power": 0.5},
        lambda t: reference.polynomial(t, 0.3, 41, 0.0, 0.5),
        {
            "optax": oracles.optax_schedule("polynomial_schedule", 0.3, 0.0, 0.5, 41),
            "torch": oracles.torch_schedule("PolynomialLR", 0.3, total_iters=41, power=0.5),
        },
    ),
    # optax and torch have no cycles.
    ScheduleCase(
        schedules.Polynomial,
        {"initial_learning_rate": 0.3, "decay_steps": 7, "end_learning_rate": 0.02, "power": 1.5, "cycle": True},
        lambda t: reference.polynomial(t, 0.3, 7, 0.02, 1.5, cycle=True),
        {"keras": lambda: KERAS_SCHEDULES.PolynomialDecay(0.3, 7, 0.02, 1.5, cycle=True)},
        float32_atol=0.3 * 1.2e-7,
    ),
    ScheduleCase(
        schedules.Polynomial,
        {"initial_learning_rate": 0.3, "decay_steps": 0.25, "power": 2.0, "cycle": True, "by": "fraction"},
        lambda t: reference.polynomial(t, 0.3, 12, 0.0, 2.0, cycle=True),
        {"keras": lambda: KERAS_SCHEDULES.PolynomialDecay(0.3, 12, 0.0, 2.0, cycle=True)},
        run_steps=48,
        float32_atol=0.3 * 1.2e-7,
    ),
    # Neither optax, Keras nor torch has it.
    ScheduleCase(
        schedules.InverseSqrt,
        {"initial_learning_rate": 0.3, "decay_steps": 11},
        lambda t: 0.3 * np.where(t + 1 <= 11, 1, ((t + 1) / 11) ** -0.5),
    ),
    ScheduleCase(
        schedules.InverseSqrt,
        {"initial_learning_rate": 0.3, "decay_steps": 0.2, "by": "fraction"},
        lambda t: 0.3 * np.where(t + 1 <= 10, 1, ((t + 1) / 10) ** -0.5),
        run_steps=50,
    ),
    ScheduleCase(
        schedules.Warmup,
        {"schedule": schedules.InverseSqrt((64 * 13) ** -0.5, 13), "steps": 13},
        lambda t: reference.transformer(t, 64, 13),
    ),
    # optax and torch have no inverse time.
    ScheduleCase(
        schedules.InverseTime,
        {"initial_learning_rate": 0.3, "decay_rate": 0.7, "decay_steps": 9},
        lambda t: 0.3 * 9 / (9 + 0.7 * t),
        {"keras": lambda: KERAS_SCHEDULES.InverseTimeDecay(0.3, 9, 0.7)},
    ),
    ScheduleCase(
        schedules.InverseTime,
        {"initial_learning_rate": 0.3, "decay_rate": 0.7, "decay_steps": 41, "staircase": True},
        lambda t: 0.3 / (1 + 0.7 * (t // 41)),
        {"keras": lambda: KERAS_SCHEDULES.InverseTimeDecay(0.3, 41, 0.7, staircase=True)},
        steps=140,
    ),
    ScheduleCase(
        schedules.InverseTime,
        {"initial_learning_rate": 0.3, "decay_rate": 9.0, "by": "fraction"},
        lambda t: 0.3 * 50 / (50 + 9 * t),
        {"keras": lambda: KERAS_SCHEDULES.InverseTimeDecay(0.3, 50, 9.0)},
        run_steps=50,
    ),
    # pytorch_optimizer's counts as ours; optax and Keras have none.
    ScheduleCase(
        schedules.REX,
        {"initial_learning_rate": 0.3, "decay_steps": 41},
        lambda t: reference.rex(t, 0.3, 41, 0.0),
        {"torch": oracles.other_rex(0.3, 41, 0.0)},
    ),
    ScheduleCase(
        schedules.REX,
        {"initial_learning_rate": 0.3, "decay_steps": 0.8, "alpha": 0.15, "by": "fraction"},
        lambda t: reference.rex(t, 0.3, 40, 0.15),
        {"torch": oracles.other_rex(0.3, 40, 0.15)},
        run_steps=50,
    ),
]
