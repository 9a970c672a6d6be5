"""One schedule of a space: its class, and what each of its arguments may be, in shares of the run."""

import inspect
from collections.abc import Callable
from typing import Any

import keras

import kopt.schedules as named
from kopt._core import checks
from kopt._core.configured import unknown_argument
from kopt.schedules import Warmup
from kopt.tuning.space.default_ranges import SCHEDULES
from kopt.tuning.space.named import arguments_of, checked_label, find
from kopt.tuning.space.ranges import checked_numbers, declared, ends

Made = keras.optimizers.schedules.LearningRateSchedule

_KNOWN: dict[str, type] = {label: getattr(named, label) for label in SCHEDULES}


class ScheduleSpace:
    """A schedule whose arguments are searched; its learning rate is that of the chosen optimizer.

    kopt's schedules count in fractions of the run (`by="fraction"`): the arguments mean the same for any batch size and
    any number of epochs. Hyperparameters are called `<name>/<argument>`, and are active only while this schedule is the
    chosen one.

    Args:
        kind: The name of one of kopt's schedules (`"cosine_decay"` or `"CosineDecay"`), a class of schedules whose
            first argument is the learning rate, or a function `(learning_rate, **arguments)` that returns a schedule
            or a number.
        name: What the choice is called; the name of the class or function for None.
        **ranges: For any argument a `Float`, `Int`, `Choice`, `Maybe` or one value. None takes a range away. `warmup`
            may be among them: the share of the run, in [0, 1], over which `kopt.schedules.Warmup` raises the rate.

    Raises:
        ValueError: The name is unknown, or a range leaves what the argument may be.
        TypeError: The schedule has no such argument.

    Example:

    ```python
    kopt.tuning.ScheduleSpace("CosineDecay", warmup=kopt.tuning.Float(0.0, 0.1), alpha=0.01)
    ```
    """

    def __init__(self, kind: str | Callable[..., Any], *, name: str | None = None, **ranges: Any) -> None:
        self.kind = _checked_kind(kind)
        own = getattr(self.kind, "__name__", type(self.kind).__name__)
        self.name = checked_label(own if name is None else name)
        known, is_open = arguments_of(self.kind)
        self._in_fractions = _in_fractions(self.kind)
        taken = [argument for argument in known[1:] if argument != "by"]
        for argument in ranges:
            if argument not in (*taken, "warmup") and not is_open:
                raise unknown_argument(own, argument, [*taken, "warmup"])
        usual = SCHEDULES.get(own, {}) if self.kind in _KNOWN.values() else {}
        merged = usual | ranges
        checked_numbers("warmup", merged.get("warmup"), _share)
        self.ranges = {argument: values for argument, values in merged.items() if values is not None}
        for end in (0, 1):  # What the schedule itself refuses is to be known before a search begins.
            self.make(1e-3, {argument: ends(values)[end] for argument, values in self.ranges.items()})

    def declare(self, hp: Any) -> dict[str, Any]:
        """Returns the arguments that `hp` has for this schedule; None for those that are inactive.

        Args:
            hp: A `keras_tuner.HyperParameters`.
        """
        return {argument: declared(hp, f"{self.name}/{argument}", values) for argument, values in self.ranges.items()}

    def make(self, learning_rate: float, arguments: dict[str, Any]) -> Any:
        """Returns the schedule at a learning rate with these arguments; None stands for their own defaults.

        Args:
            learning_rate: That of the optimizer, >= 0.
            arguments: Values by name.
        """
        given = {argument: value for argument, value in arguments.items() if value is not None}
        warmup = given.pop("warmup", 0.0)
        if self.kind is named.WarmupStableDecay:
            given = {"warmup_steps": 0.0, "decay_steps": 0.2} | given
            rest = 1.0 - given["warmup_steps"] - given["decay_steps"]
            given.setdefault("stable_steps", max(0.0, rest))
        given = self._in_fractions | given
        schedule = self.kind(learning_rate, **given)
        if self.kind is named.Constant and not warmup:
            return learning_rate
        return Warmup(schedule, warmup, by="fraction") if warmup else schedule

    def __repr__(self) -> str:
        ranges = "".join(f", {argument}={values!r}" for argument, values in self.ranges.items())
        return f"ScheduleSpace({self.name!r}{ranges})"


def as_schedule(kind: Any) -> ScheduleSpace:
    """Returns a name, class or function as a space with the usual ranges."""
    return kind if isinstance(kind, ScheduleSpace) else ScheduleSpace(kind)


def _share(name: str, value: Any) -> float:
    return checks.fraction(name, value, one=True)


def _in_fractions(kind: Any) -> dict[str, Any]:
    """Returns the arguments with which a schedule of kopt takes the whole run, where its length has to be said."""
    if not isinstance(kind, type) or not issubclass(kind, named.Schedule):
        return {}
    parameters = inspect.signature(kind).parameters
    needed = [name for name in ("decay_steps", "total_steps") if name in parameters]
    lengths = {name: 1.0 for name in needed if parameters[name].default is inspect.Parameter.empty}
    return lengths | {"by": "fraction"} if "by" in parameters else {}


def _checked_kind(kind: Any) -> Any:
    rule = "the name of one of kopt's schedules, a class of schedules, or a function (learning_rate, ...)"
    if isinstance(kind, str):
        plain = kind.replace("_", "")
        return find("schedule", plain, (_KNOWN,), "the name of one of kopt's schedules that are made of a rate")
    if isinstance(kind, Made):
        advice = f"Give the class, `{type(kind).__name__}`, and what is to be searched: `ScheduleSpace(...)`."
        raise checks.fail("schedule", rule, kind, advice)
    if not callable(kind) or (isinstance(kind, type) and not issubclass(kind, Made)):
        raise checks.fail("schedule", rule, kind)
    return kind
