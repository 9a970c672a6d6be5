"""How schedules in fractions of a run learn how many steps it has."""

from collections.abc import Iterator
from typing import Any

import keras

from kopt._backend import watch
from kopt._core import checks
from kopt._core.followed import Followed, followed_in
from kopt.schedules.schedule import Schedule


def resolve(optimizer: Any, epochs: int, steps_per_epoch: int) -> None:
    """Tells the schedules of an optimizer or model that count in fractions (`by="fraction"`) how long the run is.

    The run has `epochs * steps_per_epoch` batches; where gradients are accumulated, kopt's optimizers make one step of
    several (Keras' own show their schedules the batches, and so their schedules count batches). Schedules inside
    `Warmup`, `Join` and `Combination`, and optimizers inside `LossScaleOptimizer` and `MultiOptimizer`, are found; a
    `MultiOptimizer` that chooses by a function has to be built before. Schedules that count in steps stay as they are.
    Of a model, those of its optimizer, its layers and its loss are told; layers and losses count batches.

    The kopt callbacks call this when `fit` starts. Once told, a schedule keeps its length: it is compiled into the
    train function, and saved with the model.

    Args:
        optimizer: A kopt or Keras optimizer, a schedule by itself, or a model.
        epochs: Of the whole run, counted from its first step, as `fit` counts its `epochs`; >= 1.
        steps_per_epoch: Batches in an epoch, >= 1.

    Raises:
        ValueError: An argument is out of its range, a schedule was told another length before, or a schedule leaves the
            range of its argument.

    Example:

    ```python
    schedule = kopt.schedules.CosineDecay(1e-3, 1.0, by="fraction")
    optimizer = kopt.optimizers.AdamW(kopt.schedules.Warmup(schedule, 0.05, by="fraction"))
    kopt.schedules.resolve(optimizer, epochs=10, steps_per_epoch=500)
    ```
    """
    advice = "Data without a length needs `steps_per_epoch`, here and in `fit`."
    batches = checks.count("epochs", epochs) * checks.count("steps_per_epoch", steps_per_epoch, advice=advice)
    lengths = list(_lengths(optimizer, batches))
    for schedule, steps in lengths:
        if schedule.run_steps not in (None, steps):
            raise ValueError(
                f"{type(schedule).__name__} was made for a run of {schedule.run_steps} steps, which is compiled into "
                f"the train function and cannot become {steps}. For another run, compile the model with a new schedule."
            )
    _refuse_two_lengths(lengths)
    _tell(optimizer, lengths, batches)


def runs(optimizer: Any) -> list[int | None]:
    """Returns the lengths that the fractional schedules of an optimizer or model know of, None for one that waits."""
    return [schedule.run_steps for schedule, _ in _lengths(optimizer, 1)]


def fractional(schedule: Any) -> Iterator[Schedule]:
    """Yields the schedules that count in fractions: this one and those inside it."""
    if isinstance(schedule, Schedule):
        if schedule.by == "fraction":
            yield schedule
        for part in schedule.parts:
            yield from fractional(part)


def _refuse_two_lengths(lengths: list[tuple[Schedule, int]]) -> None:
    told: dict[int, int] = {}
    for schedule, steps in lengths:
        if told.setdefault(id(schedule), steps) != steps:
            raise ValueError(
                f"One {type(schedule).__name__} serves both an optimizer, which accumulates gradients, and a layer or "
                f"loss, which counts batches: runs of {told[id(schedule)]} and {steps} steps. Make a second schedule."
            )


def _tell(target: Any, lengths: list[tuple[Schedule, int]], batches: int) -> None:
    """Sets the lengths, or none of them if a schedule then leaves the range of its argument."""
    waiting = [schedule for schedule, _ in lengths if schedule.run_steps is None]
    for schedule, steps in lengths:
        schedule.run_steps = steps
    try:
        for number in _followed(target):
            if any(member in waiting for member in fractional(number.schedule)):
                number.check(batches)
    except ValueError:
        for schedule in waiting:
            schedule.run_steps = None
        raise


def _followed(target: Any) -> list[Followed]:
    return followed_in(target) if isinstance(target, keras.Model) else []


def _lengths(target: Any, batches: int) -> Iterator[tuple[Schedule, int]]:
    for schedule, batches_per_step in _owned(target):
        for member in fractional(schedule):
            yield member, max(1, batches // batches_per_step)


def _owned(target: Any) -> list[tuple[Any, int]]:
    """Returns the schedules of an optimizer or model, each with the batches to one of the steps that it counts."""
    kinds = keras.optimizers
    if isinstance(target, keras.Model):
        own = [] if target.optimizer is None else _owned(target.optimizer)
        return [*own, *((number.schedule, 1) for number in _followed(target) if number.schedule is not None)]
    if isinstance(target, kinds.Optimizer):
        return watch.owned_schedules(target)
    if not isinstance(target, kinds.schedules.LearningRateSchedule):
        raise checks.fail("optimizer", "an optimizer of kopt or Keras, a schedule, or a model", target)
    return [(target, 1)]
