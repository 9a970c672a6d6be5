"""The space of a search, declared once, and what a trial has chosen from it."""

import dataclasses
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

import keras
import keras_tuner

from kopt._core import checks
from kopt.tuning.space import table
from kopt.tuning.space.optimizers import OptimizerSpace, as_optimizer
from kopt.tuning.space.ranges import Float, Maybe, checked_numbers, declared, ends
from kopt.tuning.space.schedules import ScheduleSpace, as_schedule

CLIPPINGS = ("clipnorm", "clipvalue", "global_clipnorm")
_NONE = "none"


def _share(name: str, value: Any) -> float:
    return checks.fraction(name, value)


_NUMBERS = {
    "l1": checks.non_negative,
    "l2": checks.non_negative,
    "dropout": _share,
    "drop_path": _share,
    "label_smoothing": _share,
    "batch_size": checks.count,
    "epochs": checks.count,
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a trial has chosen from a space; None stands for what the space does not have.

    Attributes:
        optimizer: The chosen optimizer's space.
        arguments: Those of the optimizer, the schedule of its rate and clipping included.
        values: The numbers of the other hyperparameters, by name.
    """

    optimizer: OptimizerSpace | None
    arguments: dict[str, Any]
    values: dict[str, Any]

    def make_optimizer(self, **more: Any) -> keras.optimizers.Optimizer:
        """Returns a new optimizer.

        Args:
            **more: Arguments that the space does not have.

        Raises:
            ValueError: The space has no optimizer.
        """
        if self.optimizer is None:
            raise ValueError("The space has no optimizer. Give `SearchSpace(optimizer=...)`.")
        return self.optimizer.make(more | self.arguments)


class SearchSpace:
    """What a search may try, besides what the model-building function asks of its `hp`.

    All are optional; what is not given is not searched. Wherever a range is asked for, one value fixes it. A
    hyperparameter of an optimizer or a schedule that a trial has not chosen does not exist in that trial.

    Args:
        optimizer: An optimizer or a list of them: each a name (`"adamw"`), a class of kopt or Keras, or an
            `OptimizerSpace` where the usual ranges are not what you want.
        schedule: A schedule or a list of them: each a name (`"cosine_decay"`), a class, a function, or a
            `ScheduleSpace`. It acts on the learning rate of the chosen optimizer, unless that keeps its own.
        learning_rate: Range for all optimizers that are not given one of their own, in place of the usual ones; >= 0.
        weight_decay: The same for the weight decay, >= 0.
        momentum: The same for those that have a `momentum`, in [0, 1).
        clipping: From a kind of clipping (`"global_clipnorm"`, `"clipnorm"`, `"clipvalue"`) to the range of its limit;
            `"none"` is a kind too, whose range is None. A kind is chosen, then its limit.
        l1: Range of the L1 penalty on kernels, >= 0.
        l2: Range of the L2 penalty on kernels, >= 0. With Adam and its like, `weight_decay` is what you want.
        dropout: Range of the rate of the model's dropout layers, in [0, 1).
        drop_path: Range of the largest rate of the model's `DropPath` layers, in [0, 1); the others keep their
            proportion to it.
        label_smoothing: Range of the smoothing of the loss, in [0, 1).
        batch_size: Range of the batch size, >= 1, for data in arrays.
        epochs: Range of the epochs of a trial, >= 1, for tuners that do not say how many.

    Raises:
        ValueError: A range is not one, leaves what its argument may be, two things have one name, or there is nothing
            to search.
        TypeError: An unknown argument.

    Example:

    ```python
    log = {"sampling": "log"}
    space = kopt.tuning.SearchSpace(
        optimizer=["adamw", kopt.tuning.OptimizerSpace("sgd", momentum=0.9)],
        schedule=["constant", "cosine_decay"],
        clipping={"none": None, "global_clipnorm": kopt.tuning.Float(0.1, 10.0, **log)},
        l2=kopt.tuning.Maybe(kopt.tuning.Float(1e-6, 1e-3, **log)),
        batch_size=kopt.tuning.Choice([32, 64, 128]),
    )
    rich.print(space)  # or print(space): a table
    ```
    """

    def __init__(
        self,
        *,
        optimizer: Any = None,
        schedule: Any = None,
        learning_rate: Any = None,
        weight_decay: Any = None,
        momentum: Any = None,
        clipping: Mapping[str, Any] | None = None,
        l1: Any = None,
        l2: Any = None,
        dropout: Any = None,
        drop_path: Any = None,
        label_smoothing: Any = None,
        batch_size: Any = None,
        epochs: Any = None,
    ) -> None:
        shared = {"learning_rate": learning_rate, "weight_decay": weight_decay, "momentum": momentum}
        self.optimizers = _with_shared([as_optimizer(kind) for kind in _listed("optimizer", optimizer)], shared)
        self.schedules = [as_schedule(kind) for kind in _listed("schedule", schedule)]
        self.clipping = _checked_clipping(clipping)
        given = {
            "l1": l1, "l2": l2, "dropout": dropout, "drop_path": drop_path,
            "label_smoothing": label_smoothing, "batch_size": batch_size, "epochs": epochs,
        }  # fmt: skip
        self.ranges: dict[str, Any] = {
            name: checked_numbers(name, values, _NUMBERS[name]) for name, values in given.items() if values is not None
        }
        self._check_parts()
        self._check_names()

    @classmethod
    def default(cls, **changes: Any) -> Self:
        """Returns a space for those who have no idea where to look: it fits any model, loss and data.

        AdamW or SGD with momentum, each with its rate and decay; a constant rate or cosine decay, with warm-up;
        clipping by the global norm, or none. Nine hyperparameters, of which a trial has seven or eight.

        Args:
            **changes: Arguments of `SearchSpace`, in place of these or in addition.

        Raises:
            ValueError: As in the constructor.
            TypeError: An unknown argument.

        Example:

        ```python
        space = kopt.tuning.SearchSpace.default(batch_size=kopt.tuning.Choice([32, 64, 128]))
        ```
        """
        arguments: dict[str, Any] = {
            "optimizer": [OptimizerSpace("AdamW", beta_2=None), "SGD"],
            "schedule": ["Constant", "CosineDecay"],
            "clipping": {_NONE: None, "global_clipnorm": Float(0.3, 10.0, sampling="log", default=1.0)},
        }
        return cls(**(arguments | changes))

    def declare(self, hp: Any) -> Settings:
        """Declares all hyperparameters, those of branches that are not chosen included, and returns what is chosen.

        Args:
            hp: A `keras_tuner.HyperParameters`.
        """
        optimizer, arguments = self._declare_optimizer(hp)
        values = {name: declared(hp, name, choices) for name, choices in self.ranges.items()}
        return Settings(optimizer, arguments, values)

    def hyperparameters(self) -> keras_tuner.HyperParameters:
        """Returns KerasTuner's record of the space, each hyperparameter at its default."""
        hp = keras_tuner.HyperParameters()
        self.declare(hp)
        return hp

    @property
    def names(self) -> list[str]:
        """The names of all hyperparameters, in the order in which they are declared."""
        return [entry.name for entry in self.hyperparameters().space]

    def largest(self, name: str) -> Any:
        """Returns the largest value that one of the numbers may have, or None if the space does not have it.

        Args:
            name: Such as `"batch_size"`.
        """
        return ends(self.ranges[name])[1] if name in self.ranges else None

    def __str__(self) -> str:
        return table.plain(table.rows(self.hyperparameters()))

    def __rich__(self) -> Any:
        return table.rich_table(table.rows(self.hyperparameters()))

    def __repr__(self) -> str:
        return f"<SearchSpace of {len(self.names)} hyperparameters: {', '.join(self.names)}>"

    def _declare_optimizer(self, hp: Any) -> tuple[OptimizerSpace | None, dict[str, Any]]:
        if not self.optimizers:
            return None, {}
        name, found = _choose(hp, "optimizer", {space.name: space.declare for space in self.optimizers})
        chosen = next(space for space in self.optimizers if space.name == name)
        arguments = dict(found[name])
        if self.schedules:
            with self._where_scheduled(hp):
                kind, numbers = _choose(hp, "schedule", {space.name: space.declare for space in self.schedules})
            if chosen.scheduled:
                schedule = next(space for space in self.schedules if space.name == kind)
                arguments["learning_rate"] = schedule.make(arguments["learning_rate"], numbers[kind])
        if self.clipping:
            limits = {kind: _limit(kind, values) for kind, values in self.clipping.items()}
            kind, numbers = _choose(hp, "clipping", limits)
            arguments |= {} if kind == _NONE else {kind: numbers[kind]}
        return chosen, arguments

    def _where_scheduled(self, hp: Any) -> AbstractContextManager[None]:
        names = [space.name for space in self.optimizers if space.scheduled]
        is_always = len(names) == len(self.optimizers)
        return nullcontext() if is_always else hp.conditional_scope("optimizer", names)

    def _check_parts(self) -> None:
        if not self.optimizers:
            for name, part in (("schedule", self.schedules), ("clipping", self.clipping)):
                if part:
                    raise checks.fail(name, "given with an `optimizer` to act on", part)
            if not self.ranges:
                advice = "`SearchSpace.default()` is one to begin with."
                raise ValueError(f"`SearchSpace` must have something to search. Received: no argument. {advice}")
        if self.schedules:
            scheduled = [space for space in self.optimizers if space.scheduled]
            if not scheduled:
                raise checks.fail("schedule", "None for optimizers that keep their own rate", self.schedules)
            for space in scheduled:
                if "learning_rate" not in space.ranges:
                    advice = "A schedule scales it: give a range or one value."
                    raise checks.fail("learning_rate", f"in the ranges of {space.name}", None, advice)
        for kind in self.clipping:
            for space in self.optimizers:
                if kind != _NONE and not space.takes(kind):
                    raise checks.fail("clipping", f"of a kind that {space.name} has", kind)

    def _check_names(self) -> None:
        taken = ["optimizer", "schedule", "clipping", *_NUMBERS]
        for part, spaces in (("optimizer", self.optimizers), ("schedule", self.schedules)):
            for space in spaces:
                if space.name in taken:
                    advice = 'It is taken. Tell them apart by `name="..."`.'
                    raise checks.fail(part, "of different names, also from other parts", space.name, advice)
                taken.append(space.name)


def _choose(hp: Any, part: str, branches: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Declares a choice and, each in its own scope, what every branch declares; returns the choice and all found."""
    labels = list(branches)
    if len(labels) == 1:
        name = hp.Fixed(part, labels[0])
        return name, {labels[0]: branches[labels[0]](hp)}
    name, found = hp.Choice(part, labels), {}
    for label, declare in branches.items():
        with hp.conditional_scope(part, [label]):
            found[label] = declare(hp)
    return name, found


def _limit(kind: str, values: Any) -> Any:
    return lambda hp: None if kind == _NONE else declared(hp, f"clipping/{kind}", values)


def _listed(name: str, given: Any) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, str | type | OptimizerSpace | ScheduleSpace) or not isinstance(given, Iterable):
        return [given]
    members = list(given)
    if not members:
        raise checks.fail(name, "one or a list of one or more", given)
    return members


def _with_shared(optimizers: list[OptimizerSpace], shared: dict[str, Any]) -> list[OptimizerSpace]:
    wanted = {argument: values for argument, values in shared.items() if values is not None}
    for argument, values in wanted.items():
        if not any(space.takes(argument) for space in optimizers):
            raise checks.fail(argument, "given with an `optimizer` that has it", values)
    return [space.with_ranges(**wanted) for space in optimizers] if wanted else optimizers


def _checked_clipping(clipping: Any) -> dict[str, Any]:
    rule = f'a dict from {", ".join(map(repr, CLIPPINGS))} to ranges, and perhaps from "none" to None'
    if clipping is None:
        return {}
    if not isinstance(clipping, Mapping) or not clipping:
        raise checks.fail("clipping", rule, clipping)
    for kind, values in clipping.items():
        if kind == _NONE:
            if values is not None:
                raise checks.fail("clipping", rule, clipping)
            continue
        if kind not in CLIPPINGS or values is None or isinstance(values, Maybe):
            raise checks.fail("clipping", rule, clipping, '"none" is how to have the choice of no clipping.')
        checked_numbers(f"clipping[{kind!r}]", values, checks.positive)
    return dict(clipping)
