"""Numbers of layers, losses and regularizers that may follow a schedule, and the step at which they do.

A layer counts its training passes in a variable of its own. A loss or regularizer has no variables that a model knows
of: JAX would bake them into the compiled step. It asks `current_step`, which a model around the user's model answers
(`kopt.losses`).
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras.optimizers.schedules import LearningRateSchedule

from kopt._backend import passes, watch
from kopt._core.configured import PROBED, number_at

Check = Callable[..., float]


class Followed:
    """A number that stays, or the schedule that it follows.

    Args:
        name: Of the argument.
        value: What the user gave: a number or a schedule.
        check: From `kopt._core.checks`: raises if a number breaks the rule. A schedule's values are checked at the
            steps 0, 1, 10, ... 1,000,000, and those of a schedule in fractions once the length of the run is known.
        default: Stands for the value of a schedule that does not know the run yet, where no number is computed.
    """

    def __init__(self, name: str, value: Any, check: Check, default: float) -> None:
        self.name = name
        self.argument = value
        self.schedule = value if isinstance(value, LearningRateSchedule) else None
        self.first = default
        self._check = check
        self._default = default
        if self.schedule is None:
            advice = f"Call it: {value.__name__}(...)." if isinstance(value, type) else ""
            self.argument = self.first = check(name, value, advice)
        elif not self.waits:
            self.check()
            self.first = number_at(self.schedule, 0)

    @property
    def waits(self) -> bool:
        """Whether a schedule has to be told the length of the run."""
        return getattr(self.schedule, "waits_for_length", False)

    def check(self, run_steps: int = 0) -> None:
        """Raises if the schedule gives a number that breaks the rule, here and at quarters of the run."""
        for step in sorted({*PROBED, *(run_steps * quarter // 4 for quarter in range(5))}):
            try:
                self._check(self.name, number_at(self.schedule, step))
            except ValueError as error:
                raise ValueError(f"{error} This is what the schedule gives at step {step}.") from error

    def at(self, step: Any) -> Any:
        """Returns the number at a step: as a float if it stays, else as a float32 tensor."""
        if self.schedule is None:
            return self.first
        if self.waits and passes.is_symbolic():
            return keras.ops.convert_to_tensor(self._default, "float32")
        return keras.ops.cast(self.schedule(step), "float32")

    def now(self, owner: str) -> Any:
        """Returns the number at the step under way, for a loss."""
        return self.at(None if self.schedule is None else current_step(owner, self.name))


_thread = threading.local()


@contextlib.contextmanager
def counting(step: Any) -> Iterator[None]:
    """Says which step is under way, to the losses that are called inside."""
    before, _thread.step = getattr(_thread, "step", None), step
    try:
        yield
    finally:
        _thread.step = before


def current_step(owner: str, name: str) -> Any:
    """Returns the step under way: an int32 tensor of the number of training steps before it."""
    step = getattr(_thread, "step", None)
    if step is None:
        raise ValueError(
            f"`{name}` of {owner} follows a schedule, and losses and regularizers do not know the step. Train "
            "`kopt.losses.ScheduledLoss(model)` in place of the model: it counts the steps and trains the model inside."
        )
    return step


def knows_step() -> bool:
    """Returns whether a model around the user's model says which step is under way."""
    return getattr(_thread, "step", None) is not None


@contextlib.contextmanager
def same_step() -> Iterator[None]:
    """Says that a further pass through the model belongs to the training step under way: layers do not count it."""
    before, _thread.again = getattr(_thread, "again", False), True
    try:
        yield
    finally:
        _thread.again = before


def begins_step(layer: Any) -> bool:
    """Returns whether a layer's call is its first one in a training step, as far as the passes tell."""
    return passes.is_first_in_pass(layer) and not getattr(_thread, "again", False)


def followed_in(model: keras.Model) -> list[Followed]:
    """Returns the numbers in a model's layers, penalties and compiled loss that may follow schedules, each once."""
    layers = [model, *watch.flat_layers(model)]
    penalties = [layer.activity_regularizer for layer in layers] + [w.regularizer for w in model.weights]
    owners = [*layers, *penalties, *keras.tree.flatten(getattr(model, "loss", None))]
    found = [number for owner in owners for number in getattr(owner, "followed", ()) if isinstance(number, Followed)]
    return list({id(number): number for number in found}.values())
