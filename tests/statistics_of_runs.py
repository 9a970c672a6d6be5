"""Statistics of a healthy run, written by hand, and what to change in them for each thing that can be wrong."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kopt.diagnosis import Look, Statistics

EPOCHS, LOOKS = 8, 6
"""Of the run, and in each epoch; a look at every third step."""


def healthy() -> Statistics:
    """Returns what a classifier of three classes with two hidden layers shows when all is well."""
    kernel = {"gain": 1.0, "gain_backward": 1.0, "units": 16, "units_are_equal": False, "is_zero": False,
              "is_output": False, "is_recurrent": False, "has_other_shape": False}  # fmt: skip
    layer = {"kind": "Dense", "activation": "relu", "trainable": True, "has_weights": True, "is_output": False}
    model = {
        "is_graph": True, "weights": 500, "trainable_weights": 500, "optimizer": "Adam", "steps_done": 0,
        "inputs_are_scaled": False, "is_normalized": False,
        "trainable": ["one/kernel", "one/bias", "two/kernel", "two/bias", "end/kernel", "end/bias"],
        "layers": [layer | {"path": "one"}, layer | {"path": "two"},
                   layer | {"path": "end", "activation": "softmax", "is_output": True}],
        "kernels": {"one/kernel": dict(kernel), "two/kernel": dict(kernel), "end/kernel": kernel | {"is_output": True}},
        "outputs": [{"layer": "end", "activation": "softmax", "softmax_twice": False, "units": 3, "trainable": True,
                     "seen_as": "all", "loss": "sparse_categorical_crossentropy", "from_logits": False}],
    }  # fmt: skip
    spread = {"dtype": "float32", "shape": [8], "nonfinite_rows": 0, "first_nonfinite_row": None, "mean": 0.0,
              "std": 1.0, "rms": 1.0, "min": -3.0, "max": 3.0, "feature_mean_max": 0.1,
              "feature_std_max": 1.1}  # fmt: skip
    labels = {"dtype": "int32", "shape": [], "nonfinite_rows": 0, "first_nonfinite_row": None, "mean": 1.0, "std": 0.8,
              "rms": 1.3, "min": 0.0, "max": 2.0, "rarest": 60,
              "classes": {"0": 0.3, "1": 0.3, "2": 0.4}}  # fmt: skip
    data = {"rows": 200, "inputs": {"all": spread}, "targets": {"all": labels}, "leaks": [],
            "duplicates": {"rows": 50, "in_both": 0}}  # fmt: skip
    stats = Statistics(data, model, is_over=True)
    for epoch in range(EPOCHS):
        loss = 1.1 * 0.7**epoch
        stats.epochs.append({"epoch": epoch, "loss": loss, "val_loss": 1.1 * loss, "val_accuracy": 0.5 + 0.05 * epoch})
        for place in range(LOOKS):
            stats.add(Look(1 + 3 * (epoch * LOOKS + place), epoch, _numbers(loss)))
    return stats


def _numbers(loss: float) -> dict[str, float]:
    found = {"loss/total": loss, "gradients/global_norm": 1.0, "learning_rate": 1e-3, "batch_examples": 32.0,
             "inputs_mean/all": 0.0, "inputs_std/all": 1.0, "targets_mean/all": 1.0, "targets_std/all": 0.8,
             "targets_min/all": 0.0, "targets_max/all": 2.0, "targets_spread/all": 0.8, "predictions_min/all": 0.1,
             "predictions_max/all": 0.8, "predictions_sum_error/all": 0.0, "predictions_spread/all": 0.2}  # fmt: skip
    for k, share in enumerate((0.3, 0.3, 0.4)):
        found |= {f"targets_share/all/{k}": share, f"predictions_share/all/{k}": share}
    for layer in ("one", "two", "end"):
        for part in ("kernel", "bias"):
            found |= {f"gradients_norm/{layer}/{part}": 0.1, f"weights_norm/{layer}/{part}": 2.0}
            found |= {f"updates_norm/{layer}/{part}": 0.006, f"update_to_weight/{layer}/{part}": 0.003}
    for layer in ("one", "two"):
        found[f"activations_dead_fraction/{layer}"] = 0.1
        found[f"activations_saturated_fraction/{layer}"] = 0.05
    return found


@dataclass(frozen=True)
class Row:
    """What to change in a healthy run's statistics, and the finding that must come of it.

    Attributes:
        code: Of the finding that must be told first.
        change: Changes the statistics.
        severity: Of the finding.
        where: What it is about.
        id: Of the row.
    """

    code: str
    change: Callable[[Statistics], None]
    severity: str = "error"
    where: str | None = None
    id: str = ""

    def statistics(self) -> Statistics:
        """Returns the statistics of the sick run."""
        stats = copy.deepcopy(healthy())
        self.change(stats)
        return stats


def output(**facts: Any) -> Callable[[Statistics], None]:
    """Returns a change of the output's facts."""
    return lambda stats: stats.model["outputs"][0].update(facts)


def numbers(
    start: str, value: Callable[[Look], float], extra: Callable[[Statistics], None] = lambda stats: None
) -> Callable[[Statistics], None]:
    """Returns a change of the numbers whose tags begin so, in all steps."""

    def change(stats: Statistics) -> None:
        for look in stats.looks:
            tags = [tag for tag in look.numbers if tag.startswith(start)] or [start]
            look.numbers |= {tag: value(look) for tag in tags}
        extra(stats)

    return change


def losses(*values: float, held: tuple[float, ...] | None = None) -> Callable[[Statistics], None]:
    """Returns a change of the epochs' losses: the values, the last of which stays."""

    def change(stats: Statistics) -> None:
        for place, epoch in enumerate(stats.epochs):
            epoch["loss"] = values[min(place, len(values) - 1)]
            epoch["val_loss"] = epoch["loss"] if held is None else held[min(place, len(held) - 1)]
            epoch["val_accuracy"] = 0.4
        for look in stats.looks:
            look.numbers["loss/total"] = stats.epochs[look.epoch]["loss"]

    return change


def both(*changes: Callable[[Statistics], None]) -> Callable[[Statistics], None]:
    """Returns several changes, one after the other."""

    def change(stats: Statistics) -> None:
        for each in changes:
            each(stats)

    return change


def facts(*path: str, **values: Any) -> Callable[[Statistics], None]:
    """Returns a change of facts inside `data` or `model`."""

    def change(stats: Statistics) -> None:
        place = getattr(stats, path[0])
        for key in path[1:]:
            place = place[key]
        place.update(values)

    return change


def without_arrays(stats: Statistics) -> None:
    """Leaves the steps to show what the data are like."""
    stats.data = {}


_REGRESSION = output(loss="mean_squared_error", activation="linear", units=1)
_STILL = losses(1.1)
ROWS = [
    Row("NONFINITE_INPUT", facts("data", "inputs", "all", nonfinite_rows=2, first_nonfinite_row=7), where="all"),
    Row("NONFINITE_INPUT", both(without_arrays, numbers("inputs_nonfinite_fraction/all", lambda look: 0.1)), id="step"),
    Row("NONFINITE_TARGET", facts("data", "targets", "all", nonfinite_rows=1, first_nonfinite_row=0)),
    Row("INPUT_SCALE", facts("data", "inputs", "all", feature_mean_max=700.0), "warning"),
    Row("INPUT_SCALE", facts("data", "inputs", "all", rms=1e-5), "warning", id="tiny"),
    Row("INPUT_SCALE", both(without_arrays, numbers("inputs_mean/all", lambda look: 120.0)), "warning", id="step"),
    Row("TARGET_SCALE", both(_REGRESSION, facts("data", "targets", "all", rms=170.0)), "warning"),
    Row("TARGET_RANGE", facts("data", "targets", "all", max=3.0)),
    Row("TARGET_RANGE", both(output(loss="binary_crossentropy", activation="sigmoid", units=1),
                             facts("data", "targets", "all", min=-1.0, max=1.0)), id="binary"),
    Row("LABEL_LEAK", facts("data", leaks=[{"input": "all", "feature": [4], "target": "all", "strength": 1.0}]),
        "warning"),
    Row("DUPLICATES", facts("data", duplicates={"rows": 50, "in_both": 5}), "warning"),
    Row("IMBALANCE", facts("data", "targets", "all", classes={"0": 0.01, "1": 0.5, "2": 0.49}), "warning"),
    Row("DOUBLE_SOFTMAX", output(from_logits=True), where="end"),
    Row("DOUBLE_SOFTMAX", output(softmax_twice=True), id="layer"),
    Row("DOUBLE_SOFTMAX", output(from_logits=True, activation=None), id="seen"),
    Row("LOGITS_AS_PROBABILITIES", output(activation="linear"), where="end"),
    Row("LOGITS_AS_PROBABILITIES", both(output(activation=None), numbers("predictions_min", lambda look: -4.0)),
        id="seen"),
    Row("OUTPUT_ACTIVATION", output(units=1), "error", "end", id="softmax of one"),
    Row("OUTPUT_ACTIVATION", output(activation="tanh"), id="tanh for classes"),
    Row("OUTPUT_ACTIVATION", both(output(loss="binary_crossentropy"),
                                  facts("data", "targets", "all", several=2.1, max=1.0)), id="softmax of several"),
    Row("OUTPUT_ACTIVATION", both(_REGRESSION, output(activation="relu"), facts("data", "targets", "all", min=-2.0)),
        id="relu for negative"),
    Row("NOT_TRAINABLE", facts("model", trainable_weights=0)),
    Row("NOT_TRAINABLE", output(trainable=False), "warning", id="output"),
    Row("SYMMETRIC_INIT", facts("model", "kernels", "one/kernel", units_are_equal=True, units_stay_equal=True)),
    Row("INIT_SCALE", facts("model", "kernels", "one/kernel", gain=24.0), "warning", "one/kernel"),
    Row("INIT_SCALE", facts("model", "kernels", "two/kernel", gain=0.01, gain_backward=0.02), "warning", "two/kernel",
        "small"),
    Row("NAN", numbers("gradients_norm/two/kernel", lambda look: math.nan if look.step > 20 else 0.1), "error",
        "two/kernel"),
    Row("NAN", numbers("loss/total", lambda look: math.inf), id="loss"),
    Row("NAN", losses(1.0, math.nan), id="epoch"),
    Row("LOSS_SCALE", numbers("loss_scale", lambda look: 2.0 ** (15 - look.step))),
    Row("EXPLODING", both(losses(1.1, 9.0),
                          numbers("gradients/global_norm", lambda look: 1.0 + 50 * look.epoch))),
    Row("LEARNING_RATE_HIGH", both(losses(9.0),
                                   numbers("update_to_weight/", lambda look: 2.0 if look.step < 5 else 0.0))),
    Row("LEARNING_RATE_HIGH", both(_STILL, numbers("update_to_weight/", lambda look: 0.15)), id="steady"),
    Row("LEARNING_RATE_HIGH", both(_STILL, numbers("activations_dead_fraction/two", lambda look: float(look.step > 3))),
        "error", "two", "killed"),
    Row("LEARNING_RATE_LOW", both(_STILL, numbers("update_to_weight/", lambda look: 1e-6)), "warning"),
    Row("DEAD_UNITS", both(_STILL, numbers("activations_dead_fraction/one", lambda look: 1.0)), "warning", "one"),
    Row("SATURATED", numbers("activations_saturated_fraction/two", lambda look: 0.9), "warning", "two"),
    Row("VANISHING", both(_STILL, numbers("gradients_norm/one", lambda look: 1e-6)), "warning", "one/kernel"),
    Row("NO_GRADIENT", numbers("gradients_norm/one", lambda look: 0.0), "warning", "one"),
    Row("NO_GRADIENT", numbers("gradients_norm/", lambda look: 0.0), id="none"),
    Row("RANDOM_LABELS", losses(1.1, 1.0, 0.9, held=(1.1, 1.2)), "warning"),
    Row("OVERFIT", losses(1.1, 0.5, 0.01, held=(1.1, 0.8, 0.9, 1.0, 1.3)), "warning"),
    Row("COLLAPSE", both(_STILL, numbers("predictions_share/all/", lambda look: 0.0),
                         numbers("predictions_share/all/2", lambda look: 1.0)), "warning", "end"),
    Row("NOT_LEARNING", _STILL, "warning"),
    Row("PLATEAU", lambda stats: stats.epochs.extend(
        [{"epoch": n, "loss": 0.2, "val_loss": 0.2} for n in range(8, 8 + 40)]), "info"),
    Row("BATCH_SIZE", numbers("noise/critical_batch_size", lambda look: 5000.0), "info"),
]  # fmt: skip
