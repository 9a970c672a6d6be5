"""Schedules that go up and down."""

import keras
import oracles_schedules as oracles
import references.schedules as reference

from catalog.case import ScheduleCase
from kopt import schedules

KERAS_SCHEDULES = keras.optimizers.schedules
TRIANGLES = {"base_lr": 0.02, "max_lr": 0.3, "step_size_up": 7, "step_size_down": 5, "cycle_momentum": False}


def straight(share):
    return share


CASES = [
    # optax rises until p T and falls until T, Keras has no one-cycle schedule.
    ScheduleCase(
        schedules.OneCycle,
        {"max_learning_rate": 0.5, "total_steps": 50, "pct_start": 0.25, "div_factor": 20.0, "final_div_factor": 300.0},
        lambda t: reference.one_cycle(t, [0.025, 0.5, 0.025 / 300], [11.5, 49]),
        {"torch": oracles.torch_one_cycle(50, max_lr=0.5, pct_start=0.25, div_factor=20.0, final_div_factor=300.0)},
    ),
    ScheduleCase(
        schedules.OneCycle,
        {"max_learning_rate": 0.5, "total_steps": 50},
        lambda t: reference.one_cycle(t, [0.02, 0.5, 2e-6], [14, 49]),
        {"torch": oracles.torch_one_cycle(50, max_lr=0.5)},
    ),
    ScheduleCase(
        schedules.OneCycle,
        {"max_learning_rate": 0.5, "total_steps": 41, "pct_start": 0.4, "anneal": "linear", "final_div_factor": 100.0},
        lambda t: reference.one_cycle(t, [0.02, 0.5, 2e-4], [15.4, 40], straight),
        {
            "torch": oracles.torch_one_cycle(
                41, max_lr=0.5, pct_start=0.4, anneal_strategy="linear", final_div_factor=100.0
            )
        },
    ),
    ScheduleCase(
        schedules.OneCycle,
        {"max_learning_rate": 0.5, "total_steps": 50, "anneal": "linear", "div_factor": 10.0, "three_phase": True},
        lambda t: reference.one_cycle(t, [0.05, 0.5, 0.05, 5e-6], [14, 28, 49], straight),
        {"torch": oracles.torch_one_cycle(50, max_lr=0.5, anneal_strategy="linear", div_factor=10.0, three_phase=True)},
    ),
    ScheduleCase(
        schedules.OneCycle,
        {"max_learning_rate": 0.5, "total_steps": 45, "pct_start": 0.45, "three_phase": True},
        lambda t: reference.one_cycle(t, [0.02, 0.5, 0.02, 2e-6], [19.25, 38.5, 44]),
        {"torch": oracles.torch_one_cycle(45, max_lr=0.5, pct_start=0.45, three_phase=True)},
    ),
    ScheduleCase(
        schedules.OneCycle,
        {"max_learning_rate": 0.5, "total_steps": 1.0, "by": "fraction"},
        lambda t: reference.one_cycle(t, [0.02, 0.5, 2e-6], [14, 49]),
        {"torch": oracles.torch_one_cycle(50, max_lr=0.5)},
        run_steps=50,
    ),
    # optax and Keras have no triangles.
    ScheduleCase(
        schedules.Cyclic,
        {"initial_learning_rate": 0.02, "max_learning_rate": 0.3, "up_steps": 41},
        lambda t: reference.triangles(t, 0.02, 0.3, 41, 41, lambda t, c: 1),
        {
            "torch": oracles.torch_schedule(
                "CyclicLR", 0.1, **(TRIANGLES | {"step_size_up": 41, "step_size_down": None})
            )
        },
        steps=180,
    ),
    ScheduleCase(
        schedules.Cyclic,
        {
            "initial_learning_rate": 0.02,
            "max_learning_rate": 0.3,
            "up_steps": 7,
            "down_steps": 5,
            "mode": "triangular2",
        },
        lambda t: reference.triangles(t, 0.02, 0.3, 7, 5, lambda t, c: 0.5**c),
        {"torch": oracles.torch_schedule("CyclicLR", 0.1, mode="triangular2", **TRIANGLES)},
    ),
    ScheduleCase(
        schedules.Cyclic,
        {
            "initial_learning_rate": 0.02,
            "max_learning_rate": 0.3,
            "up_steps": 7,
            "down_steps": 5,
            "mode": "exp_range",
            "decay_rate": 0.97,
        },
        lambda t: reference.triangles(t, 0.02, 0.3, 7, 5, lambda t, c: 0.97**t),
        {"torch": oracles.torch_schedule("CyclicLR", 0.1, mode="exp_range", gamma=0.97, **TRIANGLES)},
    ),
    ScheduleCase(
        schedules.Cyclic,
        {
            "initial_learning_rate": 0.02,
            "max_learning_rate": 0.3,
            "up_steps": 0.14,
            "down_steps": 0.1,
            "by": "fraction",
        },
        lambda t: reference.triangles(t, 0.02, 0.3, 7, 5, lambda t, c: 1),
        {"torch": oracles.torch_schedule("CyclicLR", 0.1, **TRIANGLES)},
        run_steps=50,
    ),
    ScheduleCase(
        schedules.CosineRestarts,
        {"initial_learning_rate": 0.3, "first_decay_steps": 7, "t_mul": 3.0, "alpha": 0.1},
        lambda t: reference.restarts(t, 0.3, 7, 3, 1, 0.1),
        {
            "torch": oracles.torch_schedule("CosineAnnealingWarmRestarts", 0.3, T_0=7, T_mult=3, eta_min=0.03),
            "keras": lambda: KERAS_SCHEDULES.CosineDecayRestarts(0.3, 7, 3.0, alpha=0.1),
        },
        steps=100,
        float32_atol=0.3 * 3e-6,  # Keras takes powers and logarithms in float32
    ),
    # torch and optax have no `m_mul`; optax spells each cycle out.
    ScheduleCase(
        schedules.CosineRestarts,
        {"initial_learning_rate": 0.3, "first_decay_steps": 8, "t_mul": 1.5, "m_mul": 0.6, "alpha": 0.05},
        lambda t: reference.restarts(t, 0.3, 8, 1.5, 0.6, 0.05),
        {
            "optax": oracles.optax_schedule(
                "sgdr_schedule",
                [
                    {
                        "init_value": 0.0,
                        "peak_value": 0.3 * (0.95 * 0.6**i + 0.05),
                        "warmup_steps": 0,
                        "decay_steps": steps,
                        "end_value": 0.015,
                    }
                    for i, steps in enumerate([8, 12, 18, 27])
                ],
            )
        },
    ),
    ScheduleCase(
        schedules.CosineRestarts,
        {"initial_learning_rate": 0.3, "first_decay_steps": 11, "t_mul": 1.0, "m_mul": 0.8},
        lambda t: reference.restarts(t, 0.3, 11, 1, 0.8, 0.0),
        {"keras": lambda: KERAS_SCHEDULES.CosineDecayRestarts(0.3, 11, 1.0, 0.8)},
        float32_atol=0.3 * 3e-6,
    ),
    ScheduleCase(
        schedules.CosineRestarts,
        {"initial_learning_rate": 0.3, "first_decay_steps": 0.1, "by": "fraction"},
        lambda t: reference.restarts(t, 0.3, 5, 2, 1, 0.0),
        {"torch": oracles.torch_schedule("CosineAnnealingWarmRestarts", 0.3, T_0=5, T_mult=2)},
        run_steps=50,
    ),
]
