"""Schedules of several phases."""

import keras
import numpy as np
import oracles_schedules as oracles
import references.first as first
import references.schedules as reference

from catalog.case import ScheduleCase
from kopt import schedules

KERAS_SCHEDULES = keras.optimizers.schedules

CASES = [
    ScheduleCase(
        schedules.Join,
        {
            "schedules": [schedules.Linear(0.02, 6, 0.2), schedules.StepDecay(0.2, 4, 0.5)],
            "boundaries": [6],
        },
        lambda t: reference.joined(
            t, [lambda s: np.interp(s, [0, 6], [0.02, 0.2]), lambda s: 0.2 * 0.5 ** (s // 4)], [6]
        ),
        {
            "optax": oracles.optax_joined(
                [
                    oracles.optax_schedule("linear_schedule", 0.02, 0.2, 6),
                    oracles.optax_schedule("exponential_decay", 0.2, 4, 0.5, staircase=True),
                ],
                [6],
            ),
            "torch": oracles.torch_sequence(
                0.2,
                [6],
                ("LinearLR", {"start_factor": 0.1, "total_iters": 6}),
                ("StepLR", {"step_size": 4, "gamma": 0.5}),
            ),
        },
    ),
    ScheduleCase(
        schedules.Join,
        {
            "schedules": [
                schedules.AdamStepSize(0.1, 0.8, 0.9),
                0.15,
                KERAS_SCHEDULES.CosineDecay(0.15, 20, 0.1),
                schedules.Polynomial(0.015, 12, power=2.0),
            ],
            "boundaries": [7, 16, 36],
        },
        lambda t: reference.joined(
            t,
            [
                lambda s: 0.1 * np.sqrt(1 - 0.9 ** (s + 1)) / (1 - 0.8 ** (s + 1)),
                lambda s: np.full_like(s, 0.15),
                lambda s: first.cosine(s, 0.15, 20, 0.1),
                lambda s: reference.polynomial(s, 0.015, 12, 0.0, 2.0),
            ],
            [7, 16, 36],
        ),
    ),
    # Fractions inside are of the whole run of 50: the cosine has 20 steps.
    ScheduleCase(
        schedules.Join,
        {
            "schedules": [0.1, schedules.CosineDecay(0.1, 0.4, 0.2, by="fraction")],
            "boundaries": [0.53],
            "by": "fraction",
        },
        lambda t: reference.joined(t, [lambda s: np.full_like(s, 0.1), lambda s: first.cosine(s, 0.1, 20, 0.2)], [26]),
        {
            "optax": oracles.optax_joined(
                [
                    oracles.optax_schedule("constant_schedule", 0.1),
                    oracles.optax_schedule("cosine_decay_schedule", 0.1, 20, 0.2),
                ],
                [26],
            )
        },
        run_steps=50,
    ),
    # Keras' PiecewiseConstantDecay changes one step later.
    ScheduleCase(
        schedules.MultiStep,
        {"initial_learning_rate": 0.4, "boundaries": [5, 6, 41], "factor": 0.3},
        lambda t: reference.stairs(t, 0.4, [5, 6, 41], 0.3),
        {
            "optax": oracles.optax_schedule("piecewise_constant_schedule", 0.4, {5: 0.3, 6: 0.3, 41: 0.3}),
            "torch": oracles.torch_schedule("MultiStepLR", 0.4, milestones=[5, 6, 41], gamma=0.3),
        },
    ),
    ScheduleCase(
        schedules.MultiStep,
        {"initial_learning_rate": 0.4, "boundaries": [0.51, 0.75, 1.0], "factor": 0.2, "by": "fraction"},
        lambda t: reference.stairs(t, 0.4, [24, 35, 47], 0.2),
        {"optax": oracles.optax_schedule("piecewise_constant_schedule", 0.4, {24: 0.2, 35: 0.2, 47: 0.2})},
        run_steps=47,
    ),
    ScheduleCase(
        schedules.WarmupStableDecay,
        {"learning_rate": 0.3, "warmup_steps": 7, "stable_steps": 13, "decay_steps": 29, "alpha": 0.2},
        lambda t: reference.trapezoid(t, 0.3, (7, 13, 29), 0.2),
        {
            "optax": oracles.optax_joined(
                [
                    oracles.optax_schedule("linear_schedule", 0.3 / 7, 0.3, 6),
                    oracles.optax_schedule("linear_schedule", 0.3, 0.06, 29, 13),
                ],
                [7],
            )
        },
    ),
    ScheduleCase(
        schedules.WarmupStableDecay,
        {"learning_rate": 0.3, "warmup_steps": 9, "stable_steps": 12, "decay_steps": 30},
        lambda t: reference.trapezoid(t, 0.3, (9, 12, 30), 0.0),
        {"torch": oracles.other_trapezoid(0.3, 9, 12, 30, 0.0, "linear")},
    ),
    ScheduleCase(
        schedules.WarmupStableDecay,
        {
            "learning_rate": 0.3,
            "warmup_steps": 9,
            "stable_steps": 0,
            "decay_steps": 41,
            "alpha": 0.1,
            "shape": "cosine",
        },
        lambda t: reference.trapezoid(t, 0.3, (9, 0, 41), 0.1, lambda p: np.cos(np.pi / 2 * p) ** 2),
        {"torch": oracles.other_trapezoid(0.3, 9, 0, 41, 0.1, "cosine")},
    ),
    ScheduleCase(
        schedules.WarmupStableDecay,
        {"learning_rate": 0.3, "warmup_steps": 0, "stable_steps": 17, "decay_steps": 31, "shape": "sqrt"},
        lambda t: reference.trapezoid(t, 0.3, (0, 17, 31), 0.0, lambda p: 1 - np.sqrt(p)),
        {"torch": oracles.other_trapezoid(0.3, 0, 17, 31, 0.0, "1-sqrt")},
    ),
    ScheduleCase(
        schedules.WarmupStableDecay,
        {"learning_rate": 0.3, "warmup_steps": 4, "stable_steps": 17, "decay_steps": 31, "shape": "square"},
        lambda t: reference.trapezoid(t, 0.3, (4, 17, 31), 0.0, lambda p: 1 - p**2),
        {"torch": oracles.other_trapezoid(0.3, 4, 17, 31, 0.0, "1-square")},
    ),
    # Of 47 steps: the phases end at 4.7, 37.6 and 47, at the nearest whole steps.
    ScheduleCase(
        schedules.WarmupStableDecay,
        {"learning_rate": 0.3, "warmup_steps": 0.1, "stable_steps": 0.7, "decay_steps": 0.2, "by": "fraction"},
        lambda t: reference.trapezoid(t, 0.3, (5, 33, 9), 0.0),
        {"torch": oracles.other_trapezoid(0.3, 5, 33, 9, 0.0, "linear")},
        run_steps=47,
    ),
]
