"""Which penalties a model has, what they add to the loss, and how much of it that is."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
from keras import ops

from kopt._backend import watch
from kopt._core import checks
from kopt._core.tables import aligned

BATCH = 32  # As in `evaluate`.


class PenaltyRow(NamedTuple):
    """One penalty of a model.

    Attributes:
        layer: Path of the layer.
        weight: Name of the weight, or "outputs".
        penalty: What it is, with its numbers.
        value: What it adds to the loss now: 0.0 if the weight is frozen; None if it follows a schedule, or if it is on
            outputs and no data are given.
        share: Of the whole loss; None if that is not known.
    """

    layer: str
    weight: str
    penalty: str
    value: float | None
    share: float | None


@dataclass(frozen=True)
class RegularizationReport:
    """A table of a model's penalties: `print` it, or read its `rows`, of which `pandas.DataFrame(rows)` makes a frame.

    Args:
        rows: One for each penalty, as named tuples: layer, weight, penalty, value and share of the loss.
        loss: The whole loss, penalties included; None if it is not known.
    """

    rows: tuple[PenaltyRow, ...]
    loss: float | None

    @property
    def total(self) -> float:
        """What all penalties together add to the loss, as far as that is known."""
        return sum(row.value or 0.0 for row in self.rows)

    def __str__(self) -> str:
        if not self.rows:
            return "no penalties"
        cells = [(row.layer, row.weight, row.penalty, _number(row.value), _percent(row.share)) for row in self.rows]
        share = "" if self.loss is None else f", {_percent(_share(self.total, self.loss))} of a loss of {self.loss:.4g}"
        table = aligned((*PenaltyRow._fields[:4], "share of the loss"), cells)
        return "\n".join([*table, f"{len(cells)} penalties, {self.total:.4g} together{share}"])


def regularization_report(
    model: keras.Model, x: Any = None, y: Any = None, *, loss: float | None = None
) -> RegularizationReport:
    """Returns a table of a model's penalties: on which weight, what they add to the loss, and which share of it.

    Args:
        model: A built model.
        x: Inputs to evaluate the model on, as `evaluate` takes them, for the share of the loss, and for penalties on
            outputs, which are those of the first batch. None does without.
        y: Targets.
        loss: The whole loss, penalties included, as `fit` shows it, > 0: for the share without data.

    Returns:
        A `RegularizationReport`.

    Raises:
        ValueError: The model is not built, `x` is given to a model that is not compiled, or together with `loss`.

    Example:

    ```python
    print(kopt.regularizers.regularization_report(model, x_val, y_val))
    ```
    """
    if not isinstance(model, keras.Model) or not model.built:
        raise checks.fail("model", "a built keras.Model", getattr(model, "name", model))
    if x is not None and (loss is not None or not model.compiled):
        what = "given without `loss`, which it stands for" if loss is not None else "None if the model is not compiled"
        raise checks.fail("x", what, type(x).__name__)
    whole = checks.optional(checks.positive, "loss", loss)
    found = [*_on_weights(model), *_on_outputs(model, x)]
    if x is not None:
        whole = float(model.evaluate(x, y, verbose=0, return_dict=True)["loss"])
    return RegularizationReport(tuple(PenaltyRow(*row, _share(row[3], whole)) for row in found), whole)


def _on_weights(model: keras.Model) -> list[tuple[str, str, str, float | None]]:
    variables = [variable for variable in model.variables if getattr(variable, "regularizer", None) is not None]
    found = []
    for path, variable in zip(watch.unique_paths(model, variables), variables, strict=True):
        layer, _, weight = path.rpartition("/")
        penalty, is_frozen = variable.regularizer, not variable.trainable
        value = None if _follows(penalty) else 0.0 if is_frozen else _float(penalty(variable))
        found.append((layer, weight, _text(penalty) + (" (frozen)" if is_frozen else ""), value))
    return found


def _on_outputs(model: keras.Model, x: Any) -> list[tuple[str, str, str, float | None]]:
    layers = [layer for layer in watch.flat_layers(model) if getattr(layer, "activity_regularizer", None) is not None]
    if layers and x is not None:
        model(_first_batch(x), training=False)
    found = []
    for layer in layers:
        path = watch.unique_paths(model, [layer])[0]
        of_weights = [variable for variable in layer.trainable_variables if variable.regularizer is not None]
        losses = layer.losses[: len(layer.losses) - len(of_weights)] if x is not None else []
        unknown = _follows(layer.activity_regularizer) or x is None
        value = None if unknown else sum(map(_float, losses))
        found.append((path, "outputs", _text(layer.activity_regularizer), value))
    return found


def _first_batch(x: Any) -> Any:
    is_array = all(hasattr(leaf, "shape") and len(leaf.shape) for leaf in keras.tree.flatten(x))
    if is_array:
        return keras.tree.map_structure(lambda leaf: ops.convert_to_tensor(leaf[:BATCH]), x)
    batch = x[0] if hasattr(x, "__getitem__") else next(iter(x))
    inputs = batch[0] if isinstance(batch, tuple | list) else batch
    return keras.tree.map_structure(lambda leaf: ops.convert_to_tensor(keras.ops.convert_to_numpy(leaf)), inputs)


def _follows(penalty: Any) -> bool:
    return any(number.schedule is not None for number in getattr(penalty, "followed", ()))


def _text(penalty: Any) -> str:
    if not hasattr(penalty, "get_config"):
        return str(getattr(penalty, "__name__", type(penalty).__name__))
    numbers = {name: value for name, value in penalty.get_config().items() if not isinstance(value, dict)}
    follows = [f"{name}=a schedule" for name, value in penalty.get_config().items() if isinstance(value, dict)]
    listed = [f"{k}={v:g}" if isinstance(v, int | float) and not isinstance(v, bool) else f"{k}={v}"
              for k, v in numbers.items()]  # fmt: skip
    return f"{type(penalty).__name__}({', '.join([*listed, *follows])})"


def _float(value: Any) -> float:
    return float(ops.convert_to_numpy(value))


def _share(value: float | None, loss: float | None) -> float | None:
    return None if value is None or not loss else value / loss


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.4g}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
