"""What a row of the catalogue says about an optimizer, a transform or a schedule."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kopt import optimizers, schedules, transforms

SHAPES: Mapping[str, tuple[int, ...]] = {"kernel": (3, 4), "bias": (5,), "gain": ()}


def tensors(count: int, extra: int = 0) -> Callable[[tuple[int, ...]], int]:
    """Returns the `state` of an optimizer that keeps `count` tensors of the variable's shape and `extra` numbers."""
    return lambda shape: count * math.prod(shape) + extra


@dataclass(frozen=True)
class Case:
    """One optimizer at hyperparameters that are not its defaults.

    Attributes:
        optimizer_class: The class under test.
        kwargs: Its arguments.
        reference: Called with `kwargs`; returns an object whose `step(x, g)` is the next x, in float64 NumPy. If it has
            `joint = True`, it trains all variables at once: lists of arrays in and out, in the order of `shapes`.
        oracles: Other people's implementations of the same definition, called with `kwargs`. `"optax"` returns a
            `GradientTransformation`, `"keras"` an object with `apply(gradients, variables)`, `"torch"` (called with
            float64 `torch` parameters first) a `torch.optim.Optimizer`, whose path is kept as a file: see
            `torch_golden.py`. One that is missing differs by definition, and the row says how.
        state: Shape of a variable -> how many numbers of state are kept for it; by default one tensor of its shape.
        own_state: How many numbers of state are kept once for all variables.
        rounding: As in `kopt.testing.OptimizerContract`.
        slow_start: As in `kopt.testing.OptimizerContract`.
        parity_only: Why the contract cannot be asked of this row, whose numbers an oracle wants; empty if it can.
        shapes: Of the variables in the parity tests, by name.
        transposed: Whether the torch oracle wants matrices as (out, in), as torch's layers have them.
        supports: As in `kopt.testing.OptimizerContract`: `"fixed_point"` (without weight decay, zero gradients from the
            start leave the weights as they are), `"independent"` (no variable's step depends on another variable),
            `"sparse"` (repeated rows in TensorFlow's IndexedSlices count as their sum).
    """

    optimizer_class: type[optimizers.ComposedOptimizer]
    kwargs: Mapping[str, Any]
    reference: Callable[..., Any]
    oracles: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    supports: frozenset[str] = frozenset({"fixed_point", "independent", "sparse"})
    state: Callable[[tuple[int, ...]], int] = math.prod
    own_state: int = 0
    rounding: float = 1e-6
    slow_start: bool = False
    parity_only: str = ""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: SHAPES)
    transposed: bool = False

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


@dataclass(frozen=True)
class TransformCase:
    """One transform at hyperparameters that are not its defaults.

    Attributes:
        kind: The class under test.
        kwargs: Its arguments, for the contract.
        copies: Functions of k = 0 ... 7, each returning the transform that copy k of a population has: every
            hyperparameter that is a number must vary with k. One for each form of the transform.
        shapes: Of the variables that it is run on.
    """

    kind: type[transforms.Transform]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    copies: Sequence[Callable[[int], transforms.Transform]] = ()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: SHAPES)

    def make(self, **changes: Any) -> transforms.Transform:
        """Returns a new transform, with some arguments changed or added."""
        return self.kind(**{**self.kwargs, **changes})


@dataclass(frozen=True)
class ScheduleCase:
    """One schedule.

    Attributes:
        schedule_class: The class under test.
        kwargs: Its arguments.
        reference: The closed form: a float64 array of steps -> rates.
        oracles: `"optax"` and `"keras"`: called without arguments, each returns a function of one step. `"torch"`: a
            function from a number of steps to a list of rates, which is kept as a file: see `torch_schedules.py`.
        steps: How long a run to compare, beyond the end of the schedule.
        run_steps: Told to schedules in fractions of the run.
        float32_atol: Absolute error granted to Keras, where terms of the size of the rate cancel.
    """

    schedule_class: type[schedules.Schedule]
    kwargs: Mapping[str, Any]
    reference: Callable[[np.ndarray], np.ndarray]
    oracles: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    steps: int = 60
    run_steps: int | None = None
    float32_atol: float = 0.0

    def make(self) -> schedules.Schedule:
        """Returns a new schedule, which knows its run."""
        schedule = self.schedule_class(**self.kwargs)
        if self.run_steps is not None:
            schedules.resolve(schedule, epochs=1, steps_per_epoch=self.run_steps)
        return schedule

    @property
    def id(self) -> str:
        return "-".join([self.schedule_class.__name__, *map(_short, self.kwargs.values())])


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(_short, value))
    return type(value).__name__ if hasattr(value, "get_config") else str(value)
