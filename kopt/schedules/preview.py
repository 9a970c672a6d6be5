"""A look at a schedule before it is used."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kopt._core import checks
from kopt.schedules.resolve import fractional, runs
from kopt.schedules.schedule import Schedule, as_schedule


def preview(schedule: keras.optimizers.schedules.LearningRateSchedule | float, steps: int) -> np.ndarray:
    """Returns the learning rates of steps 0 to `steps - 1`.

    Args:
        schedule: A schedule of kopt or Keras, or a number. One in fractions that does not know its run yet is shown
            as in a run of `steps`, and still does not know it.
        steps: How many, >= 1.

    Returns:
        A float32 array of shape `(steps,)`.

    Raises:
        ValueError: `steps` is not an integer >= 1, or `schedule` is no schedule.
    """
    schedule = as_schedule("schedule", schedule)
    every = np.arange(checks.count("steps", steps))
    if None in runs(schedule):
        schedule = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
        for member in fractional(schedule):
            member.run_steps = member.run_steps or steps
    if isinstance(schedule, Schedule) and schedule.is_elementwise:
        return ops.convert_to_numpy(schedule(every))
    return np.array([float(ops.convert_to_numpy(schedule(step))) for step in every], "float32")


def plot(
    schedules: Any | Sequence[Any] | Mapping[str, Any],
    steps: int,
    path: str | None = None,
) -> Any:
    """Draws one or several schedules on one picture.

    Args:
        schedules: A schedule, a list of them, or a dict from label to schedule.
        steps: How many steps to show, >= 1.
        path: Where to save the picture; None only returns it.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ImportError: matplotlib is not installed; it comes with `pip install "keras-kopt[recipes]"`.
        ValueError: As for `preview`.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('`plot` needs matplotlib: pip install "keras-kopt[recipes]".') from error
    if not isinstance(schedules, Mapping):
        several = schedules if isinstance(schedules, Sequence) else [schedules]
        schedules = {
            f"{i + 1}. {type(s).__name__}" if len(several) > 1 else type(s).__name__: s for i, s in enumerate(several)
        }
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for label, schedule in schedules.items():
        axes.plot(preview(schedule, steps), label=label)
    axes.set(xlabel="optimizer step", ylabel="learning rate")
    axes.legend()
    if path is not None:
        figure.savefig(path)
    return figure
