"""What a search is after: metrics of the training, and measures of the model itself, one or several at once."""

import math
import numbers
import re
from collections.abc import Sequence
from typing import Any

import keras
import keras_tuner
import numpy as np

from kopt._core import checks


class ModelObjective(keras_tuner.Objective):
    """An objective that is measured of a trial's model, once, rather than after each epoch; subclasses say how.

    It stands in the list of objectives beside at least one metric of the training:
    `kopt.tuning.Tuner(build, objective=["val_loss", Latency()])`. Its value is a metric of the trial like any other.

    Args:
        name: Of the column in the table; no metric may have it.
        direction: "min" or "max".

    Raises:
        ValueError: An argument is out of its range.

    Example:

    ```python
    class Latency(kopt.tuning.ModelObjective):
        def __init__(self, batch):
            super().__init__("latency")
            self.batch = batch

        def measure(self, model):
            model.predict_on_batch(self.batch)  # Compiles.
            begin = time.perf_counter()
            for _ in range(20):
                model.predict_on_batch(self.batch)
            return (time.perf_counter() - begin) / 20
    ```
    """

    def __init__(self, name: str, direction: str = "min") -> None:
        super().__init__(checks.text("name", name), checks.choice("direction", direction, ("min", "max")))

    def measure(self, model: keras.Model) -> float:
        """Returns the value of a model.

        It is called before the first training of a trial, or at its beginning if the model is not built before. An
        exception fails the trial, as does what is not finite.

        Args:
            model: Built and compiled; not to be changed.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `measure(model)`.")

    def measured(self, model: keras.Model) -> float:
        """Returns what `measure` returns, checked.

        Args:
            model: A model.

        Raises:
            TypeError: It is no number: ends the search.
            keras_tuner.errors.FailedTrialError: It is not finite.
        """
        value = self.measure(model)
        if isinstance(value, bool) or not isinstance(value, numbers.Real | np.number):
            raise keras_tuner.errors.FatalTypeError(
                f"`{type(self).__name__}.measure` must return a number. Received: {value!r} of class "
                f"{type(value).__name__}."
            )
        if not math.isfinite(value):
            raise keras_tuner.errors.FailedTrialError(f"The objective {self.name!r} is {value}.")
        return float(value)


class ModelSize(ModelObjective):
    """The size of a model's weights, trainable or not, to be minimised.

    Its name, in the table and for `best_model(by=...)`, is "model_parameters" or "model_bytes".

    Args:
        unit: "parameters" counts numbers; "bytes" is what they take in memory, in the dtypes that the variables have.
            The optimizer's state, the metrics' and that of random generators are not counted.

    Raises:
        ValueError: The unit is another one.

    Example:

    ```python
    tuner = kopt.tuning.Tuner(build, objective=["val_loss", kopt.tuning.ModelSize()], max_trials=50)
    tuner.search(x, y, validation_split=0.2, epochs=20)
    tuner.pareto_front()  # the trials that none beats in both
    ```
    """

    def __init__(self, unit: str = "parameters") -> None:
        self.unit = checks.choice("unit", unit, ("parameters", "bytes"))
        super().__init__(f"model_{unit}")

    def measure(self, model: keras.Model) -> float:
        sizes = [math.prod(variable.shape) for variable in model.weights]
        if self.unit == "bytes":
            widths = [_bits(keras.backend.standardize_dtype(variable.dtype)) for variable in model.weights]
            return sum(size * width for size, width in zip(sizes, widths, strict=True)) / 8
        return float(sum(sizes))


def _bits(dtype: str) -> int:
    """Returns the width that is in the name of a dtype: 16 for "bfloat16"; a bool takes a byte."""
    found = re.search(r"\d+", dtype)
    return int(found.group()) if found else 8


class Measures(keras.callbacks.Callback):
    """What is measured of a trial's model: taken once, and written into the logs of each epoch of each training.

    Attributes:
        values: By name, empty before there was a built model.

    Args:
        objectives: To be measured.
    """

    def __init__(self, objectives: Sequence[ModelObjective]) -> None:
        super().__init__()
        self._objectives = list(objectives)
        self.values: dict[str, float] = {}

    def take(self, model: Any, *, must: bool = False) -> None:
        """Measures a model, unless that was done before or it is not built yet.

        Args:
            model: Of the trial.
            must: Whether a model that is not built is an error.

        Raises:
            ValueError: It is: ends the search.
        """
        if self.values or not self._objectives:
            return
        if model.built:
            self.values = {objective.name: objective.measured(model) for objective in self._objectives}
        elif must:
            raise keras_tuner.errors.FatalValueError(
                f"`objective` has {self._objectives[0].name!r}, which is measured of a model that is built. Received: "
                "a model that is not, also after `HyperModel.fit`. Give it an `Input`, or call `model.build`."
            )

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.take(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.take(self.model)
        if logs is not None:
            logs.update(self.values)


def directed(objective: Any) -> Any:
    """Returns objectives as KerasTuner takes them, with a direction where it does not see it: `val_plain_loss`.

    Args:
        objective: A metric's name, an objective, or several of these.

    Raises:
        ValueError: A list is empty or has a name twice, or there is a class in place of an instance.
    """
    if isinstance(objective, list | tuple):
        found = [directed(one) for one in objective]
        names = [getattr(one, "name", one) for one in found]
        if not names or len(set(map(str, names))) < len(names):
            raise checks.fail("objective", "a metric, or a list of different ones", names)
        return found if len(found) > 1 else found[0]
    if isinstance(objective, type):
        raise checks.fail(
            "objective", "a name or an instance", objective.__name__, f"Call it: {objective.__name__}(...)."
        )
    if isinstance(objective, str) and objective.endswith("loss"):
        return keras_tuner.Objective(objective, "min")
    return objective
