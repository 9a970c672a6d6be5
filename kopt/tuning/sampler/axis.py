"""One parameter as an axis from 0 to 1: even there is how values are drawn, and near there is similar."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

Array = np.ndarray


class Axis(ABC):
    """Translates between a parameter's values and positions in [0, 1].

    Attributes:
        count: How many values there are; None for infinitely many.
        categorical: Whether values differ without being near or far.
    """

    count: int | None
    categorical = False

    @abstractmethod
    def value(self, position: float) -> Any:
        """Returns the value at a position."""

    @abstractmethod
    def position(self, value: Any) -> float:
        """Returns the position of a value; of a value outside the range, the position of the nearest end."""

    def positions(self, values: Sequence[Any]) -> Array:
        """Returns the positions of several values."""
        return np.array([self.position(value) for value in values], float)

    @abstractmethod
    def snapped(self, positions: Array) -> Array:
        """Returns the positions of the values that are at `positions`."""


class Listed(Axis):
    """A finite list of values, each with an equal share of the axis."""

    def __init__(self, values: tuple[Any, ...], *, categorical: bool) -> None:
        self.values, self.categorical = values, categorical
        self.count = self._n = len(values)
        # The first of equal ones; 1, 1.0 and True are equal but for their types.
        self._places = {(type(value), value): i for i, value in reversed(list(enumerate(values)))}

    def value(self, position: float) -> Any:
        return self.values[min(int(position * self._n), self._n - 1)]

    def position(self, value: Any) -> float:
        place = self._places.get((type(value), value))
        if place is None:
            place = next((i for i, known in enumerate(self.values) if known == value), self._n // 2)
        return (place + 0.5) / self._n

    def snapped(self, positions: Array) -> Array:
        return (np.minimum(np.floor(positions * self._n), self._n - 1) + 0.5) / self._n


class Stepped(Axis):
    """Numbers from `low` in equal steps, each with an equal share of the axis."""

    def __init__(self, low: float, high: float, step: float, *, whole: bool) -> None:
        self.low, self.high, self.step, self.whole = low, high, step, whole
        self.count = self._n = round((high - low) / step) + 1

    def value(self, position: float) -> float:
        number = self.low + self.step * min(int(position * self._n), self._n - 1)
        return int(number) if self.whole else float(min(number, self.high))

    def position(self, value: float) -> float:
        return (min(max(round((value - self.low) / self.step), 0), self._n - 1) + 0.5) / self._n

    def snapped(self, positions: Array) -> Array:
        return (np.minimum(np.floor(positions * self._n), self._n - 1) + 0.5) / self._n


class Continuous(Axis):
    """Real numbers between two ends, on a linear or a logarithmic scale; whole ones of a logarithmic scale as well."""

    def __init__(self, low: float, high: float, *, log: bool, whole: bool = False) -> None:
        self.low, self.high, self.log, self.whole = low, high, log, whole
        # Each whole number owns what rounds to it, so that the two at the ends are drawn as often as their neighbours.
        ends = (low - 0.5, high + 0.5) if whole else (low, high)
        self.start, self.end = (math.log(ends[0]), math.log(ends[1])) if log else ends
        self.count = int(high - low) + 1 if whole else None

    def value(self, position: float) -> float:
        number = self.start + position * (self.end - self.start)
        number = min(max(math.exp(number) if self.log else number, self.low), self.high)
        return round(number) if self.whole else number

    def position(self, value: float) -> float:
        return float(self.positions([value])[0])

    def positions(self, values: Sequence[float]) -> Array:
        numbers = np.clip(np.array(values, float), self.low, self.high)
        return ((np.log(numbers) if self.log else numbers) - self.start) / ((self.end - self.start) or 1.0)

    def snapped(self, positions: Array) -> Array:
        if not self.whole:
            return positions
        numbers = np.clip(np.rint(np.exp(self.start + positions * (self.end - self.start))), self.low, self.high)
        return (np.log(numbers) - self.start) / (self.end - self.start)


def axis_of(distribution: BaseDistribution) -> Axis:
    """Returns the axis of an Optuna distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return Listed(distribution.choices, categorical=True)
    if isinstance(distribution, IntDistribution):
        if distribution.log:
            return Continuous(distribution.low, distribution.high, log=True, whole=True)
        return Stepped(distribution.low, distribution.high, distribution.step, whole=True)
    if isinstance(distribution, FloatDistribution):
        if distribution.step is not None:
            return Stepped(distribution.low, distribution.high, distribution.step, whole=False)
        return Continuous(distribution.low, distribution.high, log=distribution.log)
    raise TypeError(f"There is no axis for {type(distribution).__name__}.")
