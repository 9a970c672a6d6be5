"""Argument checks, all with one message shape: the argument, the rule, what was received."""

import math
import numbers
import re
from collections.abc import Iterable
from typing import Any


def fail(name: str, rule: str, received: Any, advice: str = "") -> ValueError:
    """Returns the error that every check raises: argument, rule, received, and advice where a mistake is common."""
    return ValueError(f"`{name}` must be {rule}. Received: {name}={received!r}.{' ' + advice if advice else ''}")


def _number(name: str, value: Any, rule: str, advice: str = "") -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise fail(name, rule, value, advice)
    return float(value)


def positive(name: str, value: Any, advice: str = "") -> float:
    """Returns `value` as a float above 0."""
    rule = "a finite number > 0"
    number = _number(name, value, rule, advice)
    if number <= 0:
        raise fail(name, rule, value, advice)
    return number


def non_negative(name: str, value: Any, advice: str = "") -> float:
    """Returns `value` as a float that is 0 or above."""
    rule = "a finite number >= 0"
    number = _number(name, value, rule, advice)
    if number < 0:
        raise fail(name, rule, value, advice)
    return number


def negative(name: str, value: Any, advice: str = "") -> float:
    """Returns `value` as a float below 0."""
    rule = "a finite number < 0"
    number = _number(name, value, rule, advice)
    if number >= 0:
        raise fail(name, rule, value, advice)
    return number


def at_least_one(name: str, value: Any, advice: str = "") -> float:
    """Returns `value` as a float that is 1 or above."""
    rule = "a finite number >= 1"
    number = _number(name, value, rule, advice)
    if number < 1:
        raise fail(name, rule, value, advice)
    return number


def fraction(name: str, value: Any, advice: str = "", *, zero: bool = True, one: bool = False) -> float:
    """Returns `value` as a float in [0, 1); without 0 if `zero=False`, with 1 if `one=True`."""
    rule = f"a number in {'[' if zero else '('}0, 1{']' if one else ')'}"
    number = _number(name, value, rule, advice)
    if not (0 < number < 1 or (zero and number == 0) or (one and number == 1)):
        raise fail(name, rule, value, advice)
    return number


def decay(name: str, value: Any) -> Any:
    """Returns a weight decay: a schedule as it is (its transform checks what it gives), or a float >= 0."""
    from keras.optimizers.schedules import LearningRateSchedule  # The command line checks arguments without Keras.

    if isinstance(value, LearningRateSchedule):
        return value
    advice = f"Call it: {value.__name__}(...)." if isinstance(value, type) else ""
    return non_negative(name, value, advice)


def count(name: str, value: Any, least: int = 1, advice: str = "") -> int:
    """Returns `value` as an int of at least `least`."""
    rule = f"an integer >= {least}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise fail(name, rule, value, advice)
    return int(value)


def choice(name: str, value: Any, options: Iterable[str]) -> str:
    """Returns `value`, which is one of the strings in `options`."""
    names = list(options)
    if not isinstance(value, str) or value not in names:
        raise fail(name, f"one of {', '.join(map(repr, names))}", value)
    return value


def text(name: str, value: Any) -> str:
    """Returns `value`, a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise fail(name, "a string that is not empty", value)
    return value


def file_name(name: str, value: Any) -> str:
    """Returns `value`, a string that can name a file or directory."""
    if not isinstance(value, str) or value in ("", ".", "..") or set(value) & set("/\\:\0"):
        raise fail(name, "a string that can name a directory, without `/`, `\\` and `:`", value)
    return value


def triple(name: str, value: Any) -> tuple[float, float, float]:
    """Returns `value` as a tuple of three floats."""
    rule = "a list of three finite numbers"
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise fail(name, rule, value)
    for number in value:
        if isinstance(number, bool) or not isinstance(number, numbers.Real) or not math.isfinite(number):
            raise fail(name, rule, value)
    return float(value[0]), float(value[1]), float(value[2])


def flag(name: str, value: Any) -> bool:
    """Returns `value`, which is True or False."""
    if not isinstance(value, bool):
        raise fail(name, "True or False", value)
    return value


def pattern(name: str, value: Any) -> re.Pattern[str]:
    """Returns `value` as a compiled regular expression."""
    if not isinstance(value, str):
        raise fail(name, "a regular expression (a string)", value)
    try:
        return re.compile(value)
    except re.error as error:
        raise fail(name, f"a valid regular expression ({error})", value) from error


def optional(check: Any, name: str, value: Any, **details: Any) -> Any:
    """Returns None for None, and otherwise what `check` returns."""
    return None if value is None else check(name, value, **details)


def instances(name: str, values: Iterable[Any], kind: type, advice: str = "") -> tuple[Any, ...]:
    """Returns `values` as a tuple whose members are all of class `kind` and are all different objects."""
    rule = f"a list of {kind.__module__.rsplit('.', 1)[0]}.{kind.__name__} instances"
    if isinstance(values, str | bytes | dict) or not isinstance(values, Iterable):
        raise fail(name, rule, values, advice)
    members = tuple(values)
    for member in members:
        if not isinstance(member, kind):
            hint = f"Call it: {member.__name__}(...)." if isinstance(member, type) else advice
            raise fail(name, rule, member, hint)
    if len({id(member) for member in members}) != len(members):
        raise fail(name, f"{rule}, each used once", list(members), "Make a second instance.")
    return members
