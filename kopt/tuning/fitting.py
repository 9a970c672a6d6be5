"""What a trial's `fit` needs beyond the user's arguments: batch size, epochs, the length of the run, averages."""

import inspect
from collections.abc import Iterable
from typing import Any

import keras
import keras_tuner

from kopt._backend import watch
from kopt.callbacks import AveragedWeights
from kopt.callbacks.run_length import tell_run_length

_DATASETS = "a dataset makes its batches itself"
Fatal = keras_tuner.errors.FatalValueError


class TellRunLength(keras.callbacks.Callback):
    """Tells schedules in fractions how long the run is.

    Args:
        epochs: Of the whole run, if `fit` is one part of it; None for those of `fit`.
    """

    def __init__(self, epochs: int | None = None) -> None:
        super().__init__()
        self.epochs = epochs

    def on_train_begin(self, logs: Any = None) -> None:
        params = dict(self.params or {})
        try:
            tell_run_length(self.model, params | ({} if self.epochs is None else {"epochs": self.epochs}))
        except ValueError as error:
            raise Fatal(str(error)) from error


def with_needed(callbacks: Any, model: keras.Model, run_epochs: int | None) -> list[Any]:
    """Returns the callbacks with those in front that the model's optimizer needs.

    Args:
        callbacks: The user's and the tuner's, or None.
        model: A compiled model.
        run_epochs: Of the whole run, if `fit` is one part of it.
    """
    given = list(callbacks or [])
    needed: list[Any] = [TellRunLength(run_epochs)]
    averages = any(getattr(part, "averages", False) for part in watch.inner_optimizers(model.optimizer))
    if averages and not any(isinstance(callback, AveragedWeights) for callback in given):
        needed.append(AveragedWeights())  # Validation has to see the weights that the trial ends with.
    return [*needed, *given]


def bound(args: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of `fit` by name.

    Raises:
        FatalTypeError: `fit` has no such argument.
    """
    signature = inspect.signature(keras.Model.fit)
    try:
        arguments = dict(signature.bind(None, *args, **keywords).arguments)
    except TypeError as error:
        raise keras_tuner.errors.FatalTypeError(f"`fit` takes no such arguments: {error}.") from error
    arguments.pop("self")
    return arguments


def check_batch_size(arguments: dict[str, Any], largest: int | None) -> None:
    """Raises unless the batch sizes of a space suit the data.

    Args:
        arguments: Of `fit`, by name.
        largest: Batch size that may be drawn; None if the space has none.

    Raises:
        FatalValueError: The data is not in arrays, has fewer rows, or `fit` is given a batch size of its own.
    """
    if largest is None:
        return
    if arguments.get("batch_size") is not None:
        raise Fatal(
            "`batch_size` must be in the space or an argument of the search, not both. Received: "
            f"batch_size={arguments['batch_size']!r} and one in the space."
        )
    x = arguments.get("x")
    rows = rows_of(x)
    if rows is None:
        raise Fatal(
            f"`batch_size` must not be in the space where {_DATASETS}. Received: x of class {type(x).__name__}. "
            "Leave it out of the space, or give arrays."
        )
    share = arguments.get("validation_split") or 0.0
    trained = int(rows * (1 - share))
    if largest > trained:
        left = f", of which {trained} are left by validation_split={share}" if share else ""
        raise Fatal(
            f"The space's `batch_size` must be at most the number of rows. Received: up to {largest} for data of "
            f"{rows} rows{left}."
        )


def rows_of(x: Any) -> int | None:
    """Returns the number of rows of arrays, or None for anything else."""
    if isinstance(x, keras.utils.PyDataset):
        return None
    is_nested = isinstance(x, dict | list | tuple)
    if not is_nested and not hasattr(x, "shape"):
        return None
    leaves: Iterable[Any] = keras.tree.flatten(x) if is_nested else [x]
    shapes = [getattr(leaf, "shape", None) for leaf in leaves]
    return min(int(shape[0]) for shape in shapes if shape) if shapes and all(shapes) else None
