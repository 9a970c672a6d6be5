"""The optimizer that trains in an experiment, in the place of the model's own, which is not touched."""

from typing import Any

import keras

from kopt._backend import undisturbed, watch
from kopt._core import checks
from kopt.optimizers import ComposedOptimizer
from kopt.transforms import ScaleByCocob, ScaleByLBFGS, Transform

_ESTIMATES = {"distance", "scale"}


def checked_model(model: Any) -> Any:
    """Returns a model that is compiled with one optimizer, and built; otherwise raises `ValueError`."""
    if not isinstance(model, keras.Model):
        raise checks.fail("model", "a `keras.Model`", model)
    if not model.compiled or getattr(model, "optimizer", None) is None:
        raise checks.fail("model", "compiled with an optimizer", model.name, "Call `model.compile(...)` first.")
    if not undisturbed.is_built(model):
        advice = "Give it a `keras.Input`, call `model.build(shape)`, or call it on one batch first."
        raise checks.fail("model", "built: an experiment must not draw its first weights", model.name, advice)
    return model


def refuse_without_rate(optimizer: Any) -> None:
    """Raises `ValueError` for an optimizer whose learning rate is not what a range test would look for."""
    inner = watch.innermost(optimizer)
    if hasattr(inner, "optimizers"):
        advice = "Test a model that is compiled with one of them."
        raise checks.fail("optimizer", "one optimizer with one learning rate", type(inner).__name__, advice)
    found = inner._assignment.transforms() if isinstance(inner, ComposedOptimizer) else []
    kinds = [type(transform).__name__ for transform in found if _finds_its_rate(transform)]
    if kinds:
        advice = "Its learning rate is a factor on what it finds by itself: leave it at 1."
        rule = f"one whose steps are as long as its learning rate says, without {kinds[0]}"
        raise checks.fail("optimizer", rule, type(inner).__name__, advice)


def _finds_its_rate(transform: Transform) -> bool:
    return bool(_ESTIMATES & set(transform.estimates)) or isinstance(transform, ScaleByCocob | ScaleByLBFGS)


def twin_of(optimizer: Any, model: Any) -> Any:
    """Returns another optimizer with the same settings and state, built, whose learning rate is a number.

    Args:
        optimizer: The model's own, built or not; it is only read.
        model: The model, whose trainable variables it is for.

    Raises:
        ValueError: The optimizer cannot be made from its config.
    """
    config = _with_number(optimizer)
    try:
        twin = type(optimizer).from_config(config)
    except TypeError as error:
        advice = f"Its `get_config` must return what its constructor takes ({error})."
        raise checks.fail(
            "optimizer", "one that `from_config` can make again", type(optimizer).__name__, advice
        ) from error
    twin.build(list(model.trainable_variables))
    if optimizer.built:
        undisturbed.copy_state(optimizer, twin)
    return twin


def _with_number(optimizer: Any) -> dict[str, Any]:
    with watch.without_tensorflow():
        config = dict(optimizer.get_config())
    inner = watch.innermost(optimizer)
    if inner is not optimizer:
        config["inner_optimizer"] = {**config["inner_optimizer"], "config": _with_number(inner)}
        return config
    config["learning_rate"] = 1.0
    if isinstance(inner, ComposedOptimizer):
        # Functions that nobody registered are saved by their names only: the twin takes the functions.
        config["groups"] = list(inner.groups) or None
        config |= {name: value for name, value in inner.arguments.items() if callable(value) and name in config}
        config["learning_rate"] = 1.0
    return config
