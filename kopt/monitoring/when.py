"""When to look: functions from the number of an optimizer step to True or False."""

import math
from collections.abc import Callable, Iterable

from kopt._core import checks


class When:
    """A rule that says at which optimizer steps to look; `a | b` looks where either does.

    The first step has the number 1. Any function from a number to True or False serves as well; this one prints.

    Args:
        rule: Gets the number of an optimizer step; returns whether to look there.
        name: What the rule is called in messages.
    """

    def __init__(self, rule: Callable[[int], bool], name: str) -> None:
        self.rule = rule
        self.name = name

    def __call__(self, step: int) -> bool:
        return bool(self.rule(step))

    def __or__(self, other: Callable[[int], bool]) -> "When":
        return When(lambda step: self(step) or bool(other(step)), f"{self} | {other}")

    def __repr__(self) -> str:
        return self.name


def every(steps: int) -> When:
    """Looks at step 1, and at each multiple of an interval.

    Args:
        steps: The interval in optimizer steps, >= 1.
    """
    steps = checks.count("steps", steps)
    return When(lambda step: step == 1 or step % steps == 0, f"every({steps})")


def first(steps: int) -> When:
    """Looks at each of the first steps, and never again.

    Args:
        steps: How many, >= 1.
    """
    steps = checks.count("steps", steps)
    return When(lambda step: step <= steps, f"first({steps})")


def at(steps: Iterable[int]) -> When:
    """Looks at the steps that are named.

    Args:
        steps: Their numbers, each >= 1.
    """
    if isinstance(steps, str | bytes | dict) or not isinstance(steps, Iterable):
        raise checks.fail("steps", "a list of integers >= 1", steps)
    numbers = frozenset(checks.count("steps", step) for step in steps)
    return When(numbers.__contains__, f"at({sorted(numbers)})")


def logarithmic(per_decade: int = 10) -> When:
    """Looks often at first and ever more rarely: at steps that are evenly spaced on a logarithmic axis.

    Args:
        per_decade: Looks from one power of ten to the next, >= 1. The first steps are whole numbers, so that there are
            fewer: with 10 these are 1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, ...
    """
    per_decade = checks.count("per_decade", per_decade)

    def is_mark(step: int) -> bool:
        if step < 1:
            return False
        nearest = round(per_decade * math.log10(step))
        return any(round(10 ** (mark / per_decade)) == step for mark in (nearest - 1, nearest, nearest + 1))

    return When(is_mark, f"logarithmic({per_decade})")


def as_when(name: str, value: object) -> Callable[[int], bool]:
    """Returns a rule: an interval becomes `every`, a function stays."""
    if callable(value) and not isinstance(value, type):
        return value
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise checks.fail(
            name,
            "an interval in optimizer steps >= 1, or a rule",
            value,
            "Rules are `kopt.monitoring.every`, `logarithmic`, `at`, `first`.",
        )
    return every(value)
