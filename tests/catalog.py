"""The tables that tests are crossed over: a new optimizer or schedule adds rows here, not tests elsewhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import oracles
import reference

from kopt import optimizers, schedules, transforms


@dataclass(frozen=True)
class Case:
    """One optimizer at hyperparameters that are not its defaults.

    Attributes:
        optimizer_class: The class under test.
        kwargs: Its arguments.
        reference: Called with `kwargs`; returns an object whose `step(x, g)` is the next x, in float64 NumPy.
        oracles: Other people's implementations of the same definition, called with `kwargs`. `"optax"` returns a
            `GradientTransformation`, `"keras"` an object with `apply(gradients, variables)`. One that is missing
            differs by definition, and the row says how.
        supports: As in `kopt.testing.OptimizerContract`: `"fixed_point"` (without weight decay, zero gradients from the
            start leave the weights as they are), `"independent"` (no variable's step depends on another variable),
            `"sparse"` (repeated rows in TensorFlow's IndexedSlices count as their sum).
    """

    optimizer_class: type[optimizers.ComposedOptimizer]
    kwargs: Mapping[str, Any]
    reference: Callable[..., Any]
    oracles: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    supports: frozenset[str] = frozenset({"fixed_point", "independent", "sparse"})

    def make(self, **changes: Any) -> optimizers.ComposedOptimizer:
        """Returns a new optimizer, with some arguments changed or added."""
        return self.optimizer_class(**{**self.kwargs, **changes})

    @property
    def id(self) -> str:
        return "-".join([self.optimizer_class.__name__, *map(str, filter(None, map(_spelled, self.kwargs.items())))])


def _spelled(argument: tuple[str, Any]) -> str:
    name, value = argument
    if isinstance(value, list):
        return "+".join(type(item).__name__ for item in value)
    return "" if name == "learning_rate" else name if value is True else f"{name}={value}"


SGD_ORACLES = {"optax": oracles.optax_sgd, "keras": keras.optimizers.SGD}
RMSPROP_ORACLES = {"optax": oracles.optax_rmsprop, "keras": keras.optimizers.RMSprop}
ADAM_ORACLES = {"optax": oracles.optax_adam, "keras": oracles.KerasAdam}


# A row without a Keras or optax oracle says why in a comment.
CASES = [
    Case(optimizers.SGD, {"learning_rate": 0.03}, reference.SGD, SGD_ORACLES),
    Case(optimizers.SGD, {"learning_rate": 0.03, "momentum": 0.8}, reference.SGD, SGD_ORACLES),
    Case(optimizers.SGD, {"learning_rate": 0.02, "momentum": 0.7, "nesterov": True}, reference.SGD, SGD_ORACLES),
    Case(optimizers.SGD, {"learning_rate": 0.05, "weight_decay": 0.3}, reference.SGD, SGD_ORACLES),
    Case(
        optimizers.SGD,
        {"learning_rate": 0.02, "momentum": 0.6, "nesterov": True, "weight_decay": 0.2},
        reference.SGD,
        SGD_ORACLES,
    ),
    Case(optimizers.RMSprop, {"learning_rate": 0.02, "rho": 0.8}, reference.RMSprop, RMSPROP_ORACLES),
    Case(optimizers.RMSprop, {"learning_rate": 0.02, "rho": 0.85, "epsilon": 1e-3}, reference.RMSprop, RMSPROP_ORACLES),
    Case(
        optimizers.RMSprop,
        {"learning_rate": 0.03, "rho": 0.8, "epsilon": 1e-2, "centered": True},
        reference.RMSprop,
        RMSPROP_ORACLES,
    ),
    Case(
        optimizers.RMSprop,
        {"learning_rate": 0.02, "rho": 0.7, "momentum": 0.6, "epsilon": 1e-3},
        reference.RMSprop,
        RMSPROP_ORACLES,
    ),
    Case(
        optimizers.RMSprop,
        {"learning_rate": 0.02, "rho": 0.75, "momentum": 0.5, "epsilon": 1e-2, "centered": True, "weight_decay": 0.2},
        reference.RMSprop,
        RMSPROP_ORACLES,
    ),
    Case(
        optimizers.Adam,
        {"learning_rate": 0.03, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
        reference.Adam,
        ADAM_ORACLES,
    ),
    Case(
        optimizers.Adam,
        {"learning_rate": 0.02, "beta_1": 0.0, "beta_2": 0.9, "epsilon": 1e-2},
        reference.Adam,
        ADAM_ORACLES,
    ),
    # Keras and optax take 1 - beta^t in float32, which is off by 1e-4 at such betas.
    Case(
        optimizers.Adam,
        {"learning_rate": 0.05, "beta_1": 0.99, "beta_2": 0.9999, "epsilon": 1e-5},
        reference.Adam,
    ),
    # optax takes the maximum of the bias-corrected average.
    Case(
        optimizers.Adam,
        {"learning_rate": 0.03, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-2, "amsgrad": True},
        reference.Adam,
        {"keras": oracles.KerasAdam},
    ),
    # optax has no Adam without bias correction.
    Case(
        optimizers.Adam,
        {"learning_rate": 0.02, "beta_1": 0.75, "beta_2": 0.93, "epsilon": 1e-3, "bias_correction": False},
        reference.Adam,
        {"keras": oracles.KerasAdam},
    ),
    Case(
        optimizers.Adam,
        {
            "learning_rate": 0.02,
            "beta_1": 0.6,
            "beta_2": 0.92,
            "amsgrad": True,
            "bias_correction": False,
            "epsilon": 1e-3,
        },
        reference.Adam,
        {"keras": oracles.KerasAdam},
    ),
    Case(
        optimizers.Adam,
        {"learning_rate": 0.03, "beta_1": 0.8, "beta_2": 0.97, "epsilon": 1e-3, "weight_decay": 0.3},
        reference.Adam,
        ADAM_ORACLES,
    ),
    Case(
        optimizers.AdamW,
        {"learning_rate": 0.03, "beta_1": 0.85, "beta_2": 0.96, "epsilon": 1e-3, "weight_decay": 0.4},
        reference.AdamW,
        ADAM_ORACLES,
    ),
    # The default decay is part of what is promised; Keras has the same one.
    Case(
        optimizers.AdamW,
        {"learning_rate": 0.3, "beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-2, "amsgrad": True},
        reference.AdamW,
        {"keras": lambda **kwargs: oracles.KerasAdam(weight_decay=0.004, **kwargs)},
    ),
    # Keras has no chains.
    Case(
        optimizers.Composed,
        {
            "transforms": [transforms.ClipByValue(0.5), transforms.Momentum(0.7)],
            "learning_rate": 0.05,
            "weight_decay": 0.2,
        },
        lambda transforms, **rest: reference.After(
            lambda g: reference.clipped_by_value([g], 0.5)[0], reference.SGD(momentum=0.7, **rest)
        ),
        {"optax": oracles.optax_clip_momentum},
    ),
    # With the decay behind the learning rate, the weights shrink by `weight_decay` whatever the rate.
    Case(
        optimizers.Composed,
        {
            "transforms": [
                transforms.ScaleByAdam(0.8, 0.95, 1e-3),
                transforms.ScaleByLearningRate(),
                transforms.AddDecayedWeights(0.01),
            ],
            "learning_rate": 0.05,
        },
        lambda transforms, learning_rate: reference.Adam(0.05, 0.8, 0.95, 1e-3, weight_decay=0.01 / 0.05),
        {"optax": lambda transforms, learning_rate: oracles.optax_adam(0.05, 0.8, 0.95, 1e-3, 0.01 / 0.05)},
        supports=frozenset({"independent", "sparse"}),
    ),
]


@dataclass(frozen=True)
class ScheduleCase:
    """One schedule.

    Attributes:
        schedule_class: The class under test.
        kwargs: Its arguments.
        reference: The closed form: a float64 array of steps -> rates.
        oracles: `"optax"` and `"keras"`: called without arguments, each returns a function of one step.
        steps: How long a run to compare, beyond the end of the schedule.
        atol: Absolute error granted where terms of the size of the rate cancel; float32 keeps 6e-8 of each.
    """

    schedule_class: type[schedules.Schedule]
    kwargs: Mapping[str, Any]
    reference: Callable[[np.ndarray], np.ndarray]
    oracles: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    steps: int = 60
    atol: float = 0.0

    def make(self) -> schedules.Schedule:
        return self.schedule_class(**self.kwargs)

    @property
    def id(self) -> str:
        spelled = [v.__class__.__name__ if hasattr(v, "get_config") else str(v) for v in self.kwargs.values()]
        return "-".join([self.schedule_class.__name__, *spelled])


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
