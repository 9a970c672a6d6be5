"""Losses with the label smoothing that a trial has: which losses have any, and what to do with the others."""

import inspect
from typing import Any

import keras

import kopt.losses as own
from kopt._core import checks

SMOOTHING = "label_smoothing"
_ADVICE = (
    "Losses that can be smoothed are Keras' binary and categorical cross-entropies, plain or focal, any loss of yours "
    "whose constructor takes `label_smoothing`, and a function `label_smoothing -> loss`. For integer labels "
    "give a loss such as a `SparseCategoricalCrossentropy` that takes it, or one-hot labels with "
    '"categorical_crossentropy".'
)


def smoothed(loss: Any, amount: float) -> Any:
    """Returns a loss with `amount` of label smoothing.

    Args:
        loss: As for `compile`, or a function of `label_smoothing` that returns a loss; or a dict or list of those,
            where the ones without smoothing stay as they are.
        amount: In [0, 1).

    Raises:
        ValueError: No loss has label smoothing.
    """
    if isinstance(loss, dict | list | tuple):
        parts = list(loss.values()) if isinstance(loss, dict) else list(loss)
        if not any(_maker(part) for part in parts):
            raise _refused(loss)
        made = [smoothed(part, amount) if _maker(part) else part for part in parts]
        return dict(zip(loss, made, strict=True)) if isinstance(loss, dict) else made
    make = _maker(loss)
    if make is None:
        raise _refused(loss)
    return make(amount)


def unsmoothed(loss: Any) -> Any:
    """Returns a loss as `compile` takes it, without label smoothing where it is a function of that."""
    return loss(0.0) if is_factory(loss) else loss


def is_factory(loss: Any) -> bool:
    """Returns whether this is a function of `label_smoothing` that returns a loss."""
    if isinstance(loss, str | keras.losses.Loss | dict | list | tuple) or not callable(loss):
        return False
    names = list(inspect.signature(loss).parameters)
    return not isinstance(loss, type) and names[:1] == [SMOOTHING]


def _maker(loss: Any) -> Any:
    """Returns the function from an amount of smoothing to the loss, or None."""
    if is_factory(loss):
        return loss
    if isinstance(loss, str):
        kind = _class_named(loss)
        return None if kind is None else lambda amount: kind(label_smoothing=amount)
    if isinstance(loss, type) and _takes_smoothing(loss):
        return lambda amount: loss(label_smoothing=amount)
    if isinstance(loss, keras.losses.Loss) and _takes_smoothing(type(loss)):
        return lambda amount: type(loss).from_config(loss.get_config() | {SMOOTHING: amount})
    name = getattr(loss, "__name__", "")
    is_of_keras = callable(loss) and name and getattr(keras.losses, name, None) is loss
    return _maker(name) if is_of_keras else None


def _class_named(name: str) -> type | None:
    """Returns the class of a loss that a string means and that has smoothing, Keras' first."""
    plain = name.replace("_", "").lower()
    for place in (keras.losses, own):
        for label, kind in vars(place).items():
            is_loss = isinstance(kind, type) and issubclass(kind, keras.losses.Loss)
            if is_loss and label.lower() == plain and _takes_smoothing(kind):
                return kind
    return None


def _takes_smoothing(kind: type) -> bool:
    return SMOOTHING in inspect.signature(kind).parameters


def _refused(loss: Any) -> ValueError:
    rule = "a loss with label smoothing, as the space has `label_smoothing`"
    return checks.fail("loss", rule, loss, _ADVICE)
