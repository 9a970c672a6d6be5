"""What a batch of the real step holds, and what the model makes of it: inputs, targets and predictions in figures."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kopt._backend import adapter_module
from kopt.monitoring.quantity import Numbers, Quantity

_MOST_CLASSES = 32


class Batches(Quantity):
    """Figures of a batch's inputs and targets, and of the model's predictions for it.

    Tags, where `<input>` and `<output>` are names in a dict or numbers, or `all` if there is one only:
    `inputs_mean|std|absmax|nonfinite_fraction/<input>`, the same with `targets_` and `predictions_` and with
    `/<output>`; `targets_min|max|spread`, `predictions_min|max|spread` (the standard deviation over examples, as a mean
    over units: 0 where all examples get the same prediction), `predictions_sum_error/<output>` (by how much rows of
    predictions miss 1 in total, at most). With up to 32 classes or labels, `targets_share/<output>/<class>` and
    `predictions_share/<output>/<class>`: the share of the examples that have the class, and to which the model gives
    it; and `predictions_right/<output>`, the share of those that it gets right, where each has one class.
    `batch_examples`: how many there are.

    No second forward pass: these are the predictions of the step itself, dropout included. A model whose own
    `train_step` does not call `compute_loss` shows none, nor does any model under `torch.compile`.

    Args:
        when: Rule or interval of its own; by default that of the monitor.
    """

    def __init__(self, when: Callable[[int], bool] | int | None = None) -> None:
        super().__init__(when)

    def unsupported(self, model: Any) -> str | None:
        if adapter_module.rounds_anew(model):
            return "`torch.compile` would fuse the loss in another way, and the weights would differ in a last digit."
        return super().unsupported(model)

    def in_loss(self, x: Any, y: Any, y_pred: Any) -> Numbers:
        found: Numbers = {}
        leaves = [values for _, values in _named(x) if ops.is_tensor(values) and len(values.shape)]
        if leaves:
            found["batch_examples"] = ops.cast(ops.shape(leaves[0])[0], "float32")
        for name, values in _named(x):
            if _is_float(values):
                found |= _spread_of("inputs", name, values)
        targets, predictions = _named(y), _named(y_pred)
        if len(targets) != len(predictions):
            targets = [(name, None) for name, _ in predictions]
        for (_, target), (name, prediction) in zip(targets, predictions, strict=True):
            found |= _output(name, target, prediction)
        return found

    def in_step(self, seen: Any) -> Numbers:
        mine = ("inputs_", "targets_", "predictions_", "batch_examples")
        return {t: v for t, v in seen.numbers.items() if (t if isinstance(t, str) else t[0]).startswith(mine)}


def _named(values: Any) -> list[tuple[str, Any]]:
    if values is None:
        return []
    found = keras.tree.flatten_with_path(values)
    return [("_".join(map(str, path)) or "all", leaf) for path, leaf in found if leaf is not None]


def _is_float(values: Any) -> bool:
    return ops.is_tensor(values) and keras.backend.is_float_dtype(keras.backend.standardize_dtype(values.dtype))


def _spread_of(family: str, name: str, values: Any) -> Numbers:
    values = ops.cast(values, "float32")
    mean = ops.mean(values)
    return {
        f"{family}_mean/{name}": mean,
        f"{family}_std/{name}": ops.sqrt(ops.mean(ops.square(values - mean))),
        f"{family}_absmax/{name}": ops.max(ops.absolute(values)),
        f"{family}_nonfinite_fraction/{name}": ops.mean(ops.cast(ops.logical_not(ops.isfinite(values)), "float32")),
    }


def _output(name: str, target: Any, prediction: Any) -> Numbers:
    """Returns the figures of one output; the last axis is that of its units."""
    if not _is_float(prediction) or len(prediction.shape) < 1:
        return {}
    prediction = _rows(prediction)
    found = _spread_of("predictions", name, prediction) | _ends("predictions", name, prediction)
    sums = ops.sum(prediction, axis=-1)
    found[f"predictions_sum_error/{name}"] = ops.max(ops.absolute(sums - 1.0))
    if target is None or not ops.is_tensor(target):
        return found
    units = prediction.shape[-1]
    rows = _rows(ops.cast(target, "float32"), alone=units == 1 or len(target.shape) < 2)
    found |= _spread_of("targets", name, rows) | _ends("targets", name, rows)
    if units is None or not 1 < units <= _MOST_CLASSES:
        return found
    chosen = ops.one_hot(ops.argmax(prediction, axis=-1), units)
    if rows.shape[-1] == units:
        classes = rows
    elif rows.shape[-1] == 1 and not _is_float(target):
        classes = ops.one_hot(ops.cast(rows[:, 0], "int32"), units)
    else:
        return found
    for family, shares in (("targets", classes), ("predictions", chosen)):
        found[tuple(f"{family}_share/{name}/{k}" for k in range(units))] = ops.mean(shares, axis=0)
    found[f"predictions_right/{name}"] = ops.mean(ops.sum(chosen * classes, axis=-1))
    return found


def _rows(values: Any, *, alone: bool = False) -> Any:
    """Returns a tensor as float32 of shape (rows, units)."""
    if alone or len(values.shape) == 1:
        return ops.reshape(ops.cast(values, "float32"), (-1, 1))
    return ops.reshape(ops.cast(values, "float32"), (-1, values.shape[-1]))


def _ends(family: str, name: str, rows: Any) -> Numbers:
    spread = ops.mean(ops.sqrt(ops.mean(ops.square(rows - ops.mean(rows, axis=0)), axis=0)))
    ends = {"min": ops.min(rows), "max": ops.max(rows), "spread": spread}
    return {f"{family}_{name_of}/{name}": value for name_of, value in ends.items()}
