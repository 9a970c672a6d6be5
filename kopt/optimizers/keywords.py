"""The keywords that every named optimizer takes, written once."""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import keras

from kopt._core import checks
from kopt._core.configured import Hyperparameter
from kopt.optimizers.group import Group
from kopt.transforms import ClipByGlobalNorm, ClipByNorm, ClipByValue, Transform

LearningRate = float | keras.optimizers.schedules.LearningRateSchedule | Callable[[], float]


class KeywordsWithoutDecay(TypedDict, total=False):
    """`Keywords` for an optimizer whose signature names `weight_decay` itself."""

    groups: Sequence[Group] | None
    before: Sequence[Transform] | None
    after: Sequence[Transform] | None
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    loss_scale_factor: float | None
    gradient_accumulation_steps: int | None
    name: str | None


class Keywords(KeywordsWithoutDecay, total=False):
    """What `**keywords` stands for in the signature of a named optimizer; `ComposedOptimizer` says what each means."""

    weight_decay: Hyperparameter | None


def clipping(clipnorm: float | None, clipvalue: float | None, global_clipnorm: float | None) -> tuple[Transform, ...]:
    """Returns the clipping keywords as transforms; at most one may be given."""
    limits = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
    kinds: dict[str, Any] = {"clipnorm": ClipByNorm, "clipvalue": ClipByValue, "global_clipnorm": ClipByGlobalNorm}
    given = {name: checks.positive(name, limit) for name, limit in limits.items() if limit is not None}
    if len(given) > 1:
        raise ValueError(f"Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set. Received: {given}.")
    return tuple(kinds[name](limit) for name, limit in given.items())


def checked_rate(learning_rate: Any) -> Any:
    """Returns `learning_rate`: a schedule or another callable as it is, a number as a float that is 0 or above."""
    if isinstance(learning_rate, type):
        raise checks.fail(
            "learning_rate", "an instance of a schedule", learning_rate, f"Call it: {learning_rate.__name__}(...)."
        )
    if callable(learning_rate):
        return learning_rate
    return checks.non_negative("learning_rate", learning_rate)
