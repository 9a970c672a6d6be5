"""The keywords that every named optimizer takes, written once."""

from collections.abc import Callable, Sequence
from typing import TypedDict

import keras

from kopt.optimizers.group import Group
from kopt.transforms import Transform

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

    weight_decay: float | None
