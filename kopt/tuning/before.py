"""What is checked before the first trial trains: the hypermodel, its ranges, what `search` is given, the objective."""

import contextlib
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import keras_tuner

from kopt._core import checks
from kopt._core.configured import unknown_argument
from kopt.tuning.fitting import rows_of
from kopt.tuning.folds import Arguments
from kopt.tuning.watching import missing_objective

_OWN = ("keras.", "kopt.")
_STEPS = ("fit", "evaluate", "train_step", "test_step")


def check_hypermodel(hypermodel: Any, *, needed: bool) -> None:
    """Raises a ValueError unless it is a `HyperModel` or a function of `hp`.

    Args:
        hypermodel: What a tuner is given.
        needed: Whether None is an error.
    """
    if hypermodel is None:
        if needed:
            raise checks.fail("hypermodel", "given, unless a subclass defines `run_trial`", None)
        return
    rule = "a function of `hp` that returns a compiled keras.Model, or a keras_tuner.HyperModel"
    if isinstance(hypermodel, keras.Model):
        advice = "For a search around a model there is `kopt.tuning.make_hypermodel(model, space)`."
        raise checks.fail("hypermodel", rule, hypermodel, advice)
    if isinstance(hypermodel, type):
        advice = f"Call it: {hypermodel.__name__}(...)." if issubclass(hypermodel, keras_tuner.HyperModel) else ""
        raise checks.fail("hypermodel", rule, hypermodel, advice)
    if isinstance(hypermodel, keras_tuner.HyperModel):
        return
    if not callable(hypermodel):
        raise checks.fail("hypermodel", rule, hypermodel)
    parameters = inspect.signature(hypermodel).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if len(names) > 1 or not (positional or any(p.kind is p.VAR_POSITIONAL for p in parameters)):
        found = f"It needs {', '.join(names)}." if names else "It takes no argument."
        raise checks.fail("hypermodel", rule, hypermodel, found)


def check_ranges(space: Iterable[Any]) -> None:
    """Raises a ValueError for a range that is not finite, or has a step that leads nowhere.

    KerasTuner itself refuses ranges whose ends are in the wrong order, logarithmic ones that reach 0, and their steps.

    Args:
        space: Hyperparameters.
    """
    for hp in space:
        ends = [getattr(hp, name, 0) for name in ("min_value", "max_value")]
        if not all(math.isfinite(end) for end in ends):
            raise checks.fail(hp.name, "a hyperparameter with a finite range", ends)
        step = getattr(hp, "step", None)
        if step is not None and step <= 0:
            raise checks.fail(hp.name, "a hyperparameter whose step is greater than 0", step)


def check_batch_sizes(space: Iterable[Any], x: Any) -> None:
    """Raises a ValueError if a hyperparameter `batch_size` has a value that is greater than the number of rows.

    Args:
        space: Hyperparameters.
        x: Of `fit`.
    """
    rows = rows_of(x)
    for hp in space:
        largest = max(getattr(hp, "values", None) or [0]) if hp.name == "batch_size" else 0
        if rows is not None and isinstance(largest, int) and largest > rows:
            raise ValueError(
                f"The space's `batch_size` must be at most the number of rows. Received: up to {largest} for data of "
                f"{rows} rows."
            )


def check_fit(given: Arguments, model: type) -> None:
    """Raises an error for arguments of `fit` that fail every trial.

    Args:
        given: What `search` was given.
        model: The class of the models; arguments of a `fit` of its own are not known.

    Raises:
        TypeError: `fit` has no such argument.
        ValueError: An argument is out of its range, the data differ in their number of rows, or there are none.
    """
    if model.fit is not keras.Model.fit:  # type: ignore[attr-defined]
        return
    names = [name for name in inspect.signature(keras.Model.fit).parameters if name != "self"]
    for name in given.kwargs:
        if name not in names:
            raise unknown_argument("search", name, names)
    if given.get("x") is None:
        raise checks.fail("x", "given", None)
    checks.optional(checks.count, "epochs", given.get("epochs"))
    checks.optional(checks.count, "batch_size", given.get("batch_size"))
    checks.optional(checks.fraction, "validation_split", given.get("validation_split"))
    rows = {name: rows_of(given.get(name)) for name in ("x", "y", "sample_weight")}
    counts = {name: count for name, count in rows.items() if count is not None}
    if len(set(counts.values())) > 1:
        raise ValueError(f"All data must have the same number of rows. Received: {counts}.")
    batch_size, count = given.get("batch_size"), counts.get("x")
    if batch_size is not None and count is not None and batch_size > count:
        raise checks.fail("batch_size", f"at most the number of rows, {count}", batch_size)


class FirstBatch(keras.callbacks.Callback):
    """Looks at the metrics of a search's first batch, so that a misspelt objective does not cost an epoch.

    Nothing is said where a train step or a callback of the user's may add metrics of its own.

    Args:
        objectives: Metrics of the training.
        callbacks: Of the training, and what else may add metrics.
        validated: Whether there are data to validate with.
    """

    def __init__(self, objectives: Iterable[Any], callbacks: Iterable[Any], *, validated: bool) -> None:
        super().__init__()
        self._objectives = list(objectives)
        self._validated = validated
        self._is_plain = all(_is_known(callback) for callback in callbacks)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        objectives, self._objectives = self._objectives, []
        is_own = any(getattr(type(self.model), name) is not getattr(keras.Model, name) for name in _STEPS)
        if not self._is_plain or not logs or is_own:
            return
        known = [*logs, *(f"val_{name}" for name in logs if self._validated)]
        for objective in objectives:
            if not objective.has_value(dict.fromkeys([*known, "learning_rate"], 0.0)):
                raise missing_objective(objective, known)


def is_model(made: Any) -> Any:
    """Returns what a build function returned, if it is a Keras model."""
    if not isinstance(made, keras.Model):
        raise keras_tuner.errors.FatalTypeError(
            "`hypermodel` must be a function that returns a compiled keras.Model, or a HyperModel whose `build` does. "
            f"It returned {made!r} of class {type(made).__name__}."
        )
    return made


@contextlib.contextmanager
def checked_builds(hypermodel: Any) -> Iterator[list[Any]]:
    """Checks, while the space is explored, that what is built are models; yields the last one."""
    build: Callable[..., Any] = hypermodel.build
    built: list[Any] = []

    def checked(*args: Any, **kwargs: Any) -> Any:
        built[:] = [is_model(build(*args, **kwargs))]
        return built[0]

    hypermodel.build = checked
    try:
        yield built
    finally:
        hypermodel.build = build


def _is_known(callback: Any) -> bool:
    """Returns whether a callback adds no metric; a `LambdaCallback` does what the user's functions do."""
    is_lambda = isinstance(callback, keras.callbacks.LambdaCallback)
    return type(callback).__module__.startswith(_OWN) and not is_lambda
