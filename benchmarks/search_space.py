"""A search problem for the benchmarks: parameters with conditions, and what is minimised over them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

NO_YES = (False, True)
Values = Mapping[str, Any]
Under = tuple[str, tuple[Any, ...]] | None


@dataclass(frozen=True)
class Row:
    """One parameter.

    Attributes:
        name: Unique in its problem.
        kind: "float", "int" or "choice".
        low: Lower end of a range.
        high: Upper end of a range, inclusive.
        log: Whether the range is logarithmic.
        choices: Of a "choice".
        under: The parent and its values under which the parameter exists.
    """

    name: str
    kind: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    choices: tuple[Any, ...] = ()
    under: Under = None


@dataclass(frozen=True)
class Problem:
    """What is minimised over what.

    Attributes:
        rows: Parameters, parents first.
        truth: Values of the active parameters to the number that counts.
        noise: Standard deviation of what is added to it when a trial is told.
        held_out: Whether the sampler's settings were frozen before the first run on it.
    """

    rows: tuple[Row, ...]
    truth: Callable[[Values], float]
    noise: float = 0.0
    held_out: bool = False


def real(name: str, low: float, high: float, under: Under = None, *, log: bool = False) -> Row:
    """Returns a real parameter."""
    return Row(name, "float", low, high, log, under=under)


def whole(name: str, low: int, high: int, under: Under = None, *, log: bool = False) -> Row:
    """Returns a whole parameter."""
    return Row(name, "int", low, high, log, under=under)


def choice(name: str, *choices: Any, under: Under = None) -> Row:
    """Returns a categorical parameter."""
    return Row(name, "choice", choices=choices, under=under)
