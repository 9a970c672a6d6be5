"""Lengths: in steps, or in fractions of a run whose length the schedule is told before training.

With `by="step"` a length is a whole number of optimizer steps. With `by="fraction"` it is a share f of the run, in
(0, 1]. A run of N steps then makes it f N steps, at least 1, which need not be whole: a cosine over a third of 100
steps ends between steps 33 and 34. What changes at once (boundaries, stairs) does so at the nearest whole step.
Fractions are always of the whole run, also inside `Join`.

N is set once, by `resolve`. The kopt callbacks call that when `fit` starts. N is a Python number that is compiled into
the train function: this is why it cannot change later, and it is saved with the schedule, so that a loaded model goes
on as planned.
"""

import itertools
import numbers
from collections.abc import Iterable
from typing import Any, Literal

from kopt._core import checks

By = Literal["step", "fraction"]
ADVICE = 'With `by="fraction"` it is a share of the run.'


def checked_by(by: Any) -> By:
    """Returns `by`, which is "step" or "fraction"."""
    checks.choice("by", by, ("step", "fraction"))
    return by


def checked_length(name: str, value: Any, by: By, least: int = 1) -> float:
    """Returns a length: an int of at least `least` steps, or a fraction of the run, which is 0 only if `least` is."""
    if by == "step":
        advice = ADVICE if isinstance(value, float) and 0 < value < 1 else ""
        return checks.count(name, value, least, advice)
    rule = f'a number in {"(" if least else "["}0, 1], as `by` is "fraction"'
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise checks.fail(name, rule, value)
    share = float(value)
    if not 0 <= share <= 1 or (least and not share):
        raise checks.fail(name, rule, value)
    return share


def checked_boundaries(name: str, values: Any, by: By) -> tuple[float, ...]:
    """Returns one or more lengths, each larger than the one before."""
    kind = "integers >= 1" if by == "step" else "numbers in (0, 1]"
    rule = f"a list of one or more {kind}, each larger than the one before"
    if isinstance(values, str | bytes | dict) or not isinstance(values, Iterable):
        raise checks.fail(name, rule, values)
    try:
        lengths = [checked_length(name, value, by) for value in values]
    except ValueError as error:
        raise checks.fail(name, rule, values) from error
    if not lengths or any(later <= earlier for earlier, later in itertools.pairwise(lengths)):
        raise checks.fail(name, rule, values)
    return tuple(lengths)


def unresolved(name: str) -> ValueError:
    """Returns the error for a schedule that is asked for a rate before it knows the run."""
    return ValueError(
        f'{name} has `by="fraction"` and does not know yet how many steps the run has. Either train with one of '
        "kopt's callbacks, such as `kopt.callbacks.TensorBoard`, which says so when `fit` starts, or call "
        "`kopt.schedules.resolve(optimizer, epochs=..., steps_per_epoch=...)` before training, with the model in place "
        "of the optimizer if the schedule is a layer's or a loss's."
    )
