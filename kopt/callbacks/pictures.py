"""Drawings for TensorBoard's "Images" page, as arrays of pixels from 0 to 1."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kopt._backend import watch
from kopt.optimizers import ComposedOptimizer
from kopt.schedules import Schedule

_POINTS = 500


def schedule_picture(optimizer: Any, batches: int, batches_done: int) -> np.ndarray:
    """Draws the learning-rate schedules of an optimizer over its run.

    Args:
        optimizer: With one or more schedules.
        batches: Of the whole run.
        batches_done: Where the fit begins; a line marks it if that is not 0.
    """
    figure = _figure(7, 4)
    axes = figure.add_subplot()
    for part, schedule in scheduled(optimizer):
        accumulation = watch.accumulation(part)
        # Keras shows its schedules the batches, also where it accumulates several into one step.
        per_step = accumulation if isinstance(part, ComposedOptimizer) else 1
        steps = np.unique(np.linspace(0, max(batches // per_step - 1, 0), _POINTS).astype("int64"))
        axes.plot(steps * per_step // accumulation, _rates(schedule, steps), label=part.name)
        if batches_done:
            axes.axvline(batches_done // accumulation, color="gray", linestyle=":", label="this fit begins")
    axes.set(xlabel="optimizer step", ylabel="learning rate")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.legend()
    return _pixels(figure)


def scheduled(optimizer: Any) -> list[tuple[Any, Any]]:
    """Returns the optimizers that follow a learning-rate schedule, each with its schedule."""
    parts = [] if optimizer is None else watch.inner_optimizers(optimizer)
    found = [(part, part._learning_rate) for part in parts]
    return [pair for pair in found if isinstance(pair[1], keras.optimizers.schedules.LearningRateSchedule)]


def confusion_picture(counts: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Draws how often each class (rows) was taken for each class (columns)."""
    size = min(4.0 + 0.4 * len(names), 16.0)
    figure = _figure(size + 1, size)
    axes = figure.add_subplot()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shown = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    figure.colorbar(shown, ax=axes, label="share of the true class")
    places = range(len(names))
    axes.set_xticks(places, names, rotation=90 if max(map(len, names)) > 3 else 0)
    axes.set_yticks(places, names)
    axes.set(xlabel="predicted class", ylabel="true class")
    if len(names) <= 20:
        for row in places:
            for column in places:
                color = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color)
    return _pixels(figure)


def predictions_picture(pictures: np.ndarray, titles: Sequence[str], *, right: Sequence[bool]) -> np.ndarray:
    """Draws samples that are pictures, each with a title: green where the prediction is right, red where it is not."""
    columns = min(len(pictures), 4)
    rows = -(-len(pictures) // columns)
    figure = _figure(2.2 * columns, 2.6 * rows)
    low, high = float(pictures.min()), float(pictures.max())
    for place, (picture, title, is_right) in enumerate(zip(pictures, titles, right, strict=True), start=1):
        axes = figure.add_subplot(rows, columns, place)
        scaled = (np.asarray(picture, "float32") - low) / ((high - low) or 1.0)
        axes.imshow(scaled.squeeze(-1) if scaled.shape[-1:] == (1,) else scaled, cmap="gray", vmin=0.0, vmax=1.0)
        axes.set_title(title, fontsize=9, color="tab:green" if is_right else "tab:red")
        axes.set_axis_off()
    return _pixels(figure)


def _rates(schedule: Any, steps: np.ndarray) -> np.ndarray:
    if isinstance(schedule, Schedule) and schedule.is_elementwise:
        return keras.ops.convert_to_numpy(schedule(steps))
    return np.array([float(keras.ops.convert_to_numpy(schedule(int(step)))) for step in steps])


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def _pixels(figure: Any) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3] / np.float32(255.0)
