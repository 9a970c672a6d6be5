"""Making a model anew with the penalties and rates of a trial."""

from typing import Any

import keras

from kopt._core.rebuild import parts, remade
from kopt.tuning.wanted import Wanted

_ADVICE = (
    "Give a function that builds the model instead, with what is searched taken from its `hp`: "
    '`hp.get("dropout")`, `hp.get("l2")`.'
)


def rebuilt(model: keras.Model, wanted: Wanted, *, keep_weights: bool = False) -> keras.Model:
    """Returns a new model with the layers of `model`, uncompiled, with the numbers that are wanted in place of its own.

    Args:
        model: Any model whose config says how to make it.
        wanted: Numbers to put in.
        keep_weights: Whether to begin with the weights of `model`.

    Raises:
        ValueError: The model cannot be made anew from its config, has no layer for a number that is wanted, or has
            layers that the number does not reach.
    """

    def edit(config: dict[str, Any]) -> None:
        for part in parts(config):
            wanted.edit(part)

    rule = "a model that can be made anew from its config, or a function"
    new = remade(model, edit, argument="build", rule=rule, advice=_ADVICE, keep_weights=keep_weights)
    wanted.check(new)
    return new
