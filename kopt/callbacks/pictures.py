"""Drawings for TensorBoard's "Images" page, as arrays of pixels from 0 to 1."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from kopt._backend import watch
from kopt.optimizers import ComposedOptimizer
from kopt.schedules import Schedule

_POINTS = 500


class Curve(NamedTuple):
    """A learning-rate schedule over a run: its rates at some optimizer steps, and whose it is."""

    name: str
    steps: np.ndarray
    rates: np.ndarray


def curves(optimizer: Any, batches: int) -> list[Curve]:
    """Returns the learning-rate schedules of an optimizer, or of those inside it, over a run of so many batches."""
    found = []
    for part in [] if optimizer is None else watch.inner_optimizers(optimizer):
        schedule, accumulation = part._learning_rate, watch.accumulation(part)
        if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            continue
        # Keras shows its schedules the batches, also where it accumulates several into one step.
        per_step = accumulation if isinstance(part, ComposedOptimizer) else 1
        steps = np.unique(np.linspace(0, max(batches // per_step - 1, 0), _POINTS).astype("int64"))
        found.append(Curve(part.name, steps * per_step // accumulation, _rates(schedule, steps)))
    return found


def schedule_picture(drawn: Sequence[Curve], begin: int) -> np.ndarray:
    """Draws schedules over a run; a line marks the optimizer step at which a fit begins, if that is not 0."""
    figure = _figure(5, 3.2)
    axes = figure.add_subplot()
    for curve in drawn:
        axes.plot(curve.steps, curve.rates, label=curve.name)
    if begin:
        axes.axvline(begin, color="gray", linestyle=":", label="this fit begins")
    axes.set(xlabel="optimizer step", ylabel="learning rate")
    axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
    axes.legend()
    return pixels(figure)


def confusion_picture(counts: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Draws how often each class (rows) was taken for each class (columns)."""
    size = min(2.5 + 0.35 * len(names), 14.0)
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
    return pixels(figure)


def predictions_picture(pictures: np.ndarray, titles: Sequence[str], *, right: Sequence[bool]) -> np.ndarray:
    """Draws samples that are pictures, each with a title: green where the prediction is right, red where it is not."""
    columns = min(len(pictures), 4)
    rows = -(-len(pictures) // columns)
    figure = _figure(1.5 * columns, 1.8 * rows)
    low, high = float(pictures.min()), float(pictures.max())
    for place, (picture, title, is_right) in enumerate(zip(pictures, titles, right, strict=True), start=1):
        axes = figure.add_subplot(rows, columns, place)
        scaled = (np.asarray(picture, "float32") - low) / ((high - low) or 1.0)
        axes.imshow(scaled.squeeze(-1) if scaled.shape[-1:] == (1,) else scaled, cmap="gray", vmin=0.0, vmax=1.0)
        axes.set_title(title, fontsize=9, color="tab:green" if is_right else "tab:red")
        axes.set_axis_off()
    return pixels(figure)


def _rates(schedule: Any, steps: np.ndarray) -> np.ndarray:
    if isinstance(schedule, Schedule) and schedule.is_elementwise:
        return keras.ops.convert_to_numpy(schedule(steps))
    return np.array([float(keras.ops.convert_to_numpy(schedule(int(step)))) for step in steps])


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def pixels(figure: Any) -> np.ndarray:
    """Returns a matplotlib figure as an array of shape (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3] / np.float32(255.0)
