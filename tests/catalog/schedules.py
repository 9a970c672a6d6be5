"""Schedules."""

import keras
import numpy as np
import oracles
import references.first as reference

from catalog.case import ScheduleCase
from kopt import schedules

KERAS_SCHEDULES = keras.optimizers.schedules
SCHEDULE_CASES = [
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
            "keras": lambda: KERAS_SCHEDULES.ExponentialDecay(0.4, 7, 0.5, staircase=True),
        },
    ),
    ScheduleCase(
        schedules.ExponentialDecay,
        {"initial_learning_rate": 0.2, "decay_rate": 0.93},
        lambda t: 0.2 * 0.93**t,
        {
            "optax": oracles.optax_schedule("exponential_decay", 0.2, 1, 0.93),
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
        atol=0.3 * 1.2e-7,  # 1 + cos(x) cancels near the end
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
]
