"""A conditional search space: parameters, and under which values of others each of them is active."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution

from kopt._core import checks
from kopt.tuning.sampler.axis import axis_of

Array = np.ndarray
Condition = Mapping[str, Sequence[Any]]
DIGITS = 12


@dataclass(frozen=True)
class Parameter:
    """One parameter of a search space.

    Attributes:
        name: Unique in its space.
        distribution: Of Optuna.
        conditions: The parameter is active when all of them hold. A condition holds when one of the parameters that it
            names is active and has one of the values given for it.
    """

    name: str
    distribution: BaseDistribution
    conditions: tuple[Condition, ...] = ()


class Tree:
    """Parameters in an order in which each comes after those that decide about it.

    Rows are positions on the parameters' axes (`axis_of`), NaN where a parameter is inactive.

    Args:
        parameters: The parameters.

    Raises:
        ValueError: Two have one name, or one depends on a parameter that does not come before it.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = tuple(parameters)
        self.names = [parameter.name for parameter in self.parameters]
        self.index = {name: i for i, name in enumerate(self.names)}
        if len(self.index) != len(self.names):
            raise checks.fail("space", "a list of parameters with different names", self.names)
        self.axes = [axis_of(parameter.distribution) for parameter in self.parameters]
        self.conditions = [self._positions(i) for i in range(len(self.parameters))]

    def _positions(self, i: int) -> list[list[tuple[int, Array]]]:
        """Returns the conditions of parameter i with indices for names and positions for values."""
        found = []
        for condition in self.parameters[i].conditions:
            options = []
            for name, values in condition.items():
                if self.index.get(name, i) >= i:
                    rule = f"in an order in which {name!r} comes before {self.names[i]!r}, which depends on it"
                    raise checks.fail("space", rule, self.names)
                axis = self.axes[self.index[name]]
                known = [axis.position(v) for v in values if axis.value(axis.position(v)) == v]
                options.append((self.index[name], np.round(known, DIGITS)))
            found.append(options)
        return found

    def parent(self, i: int) -> int | None:
        """Returns the parameter below which parameter i hangs: the last one named by its last condition."""
        conditions = self.conditions[i]
        return conditions[-1][-1][0] if conditions else None

    def rows(self, positions: Array) -> Array:
        """Returns rows for positions that are given for all parameters: snapped, and NaN where inactive."""
        rows = np.empty_like(positions)
        rounded: dict[int, Array] = {}
        for i, axis in enumerate(self.axes):
            rows[:, i] = axis.snapped(positions[:, i])
            for condition in self.conditions[i]:
                holds = np.zeros(len(rows), bool)
                for parent, allowed in condition:
                    if parent not in rounded:
                        rounded[parent] = np.round(rows[:, parent, None], DIGITS)
                    # A NaN equals no position: below an inactive parent nothing is active.
                    holds |= (rounded[parent] == allowed).any(axis=1)
                rows[~holds, i] = np.nan
        return rows

    def table(self, trials: Sequence[Mapping[str, Any]]) -> Array:
        """Returns the rows of trials, of whose values by name they are made."""
        rows = np.full((len(trials), len(self.names)), np.nan)
        for i, (name, axis) in enumerate(zip(self.names, self.axes, strict=True)):
            having = [k for k, values in enumerate(trials) if name in values]
            rows[having, i] = axis.positions([trials[k][name] for k in having])
        return rows

    def row(self, values: Mapping[str, Any]) -> Array:
        """Returns the row of a trial's values."""
        return self.table([values])[0]

    def values(self, positions: Array) -> dict[str, Any]:
        """Returns the values at one row's positions, without those that are NaN."""
        known = zip(self.names, self.axes, positions, strict=True)
        return {name: axis.value(float(position)) for name, axis, position in known if not np.isnan(position)}

    def all_rows(self, limit: int) -> Array | None:
        """Returns the rows of all configurations, or None if there are more than `limit` of them or infinitely many."""
        if any(axis.count is None for axis in self.axes):
            return None
        rows = list(itertools.islice(self._extended([], 0), limit + 1))
        return np.array(rows) if len(rows) <= limit else None

    def _extended(self, start: list[float], i: int) -> Iterator[list[float]]:
        if i == len(self.axes):
            yield start
            return
        active = all(
            any(round(start[parent], DIGITS) in allowed for parent, allowed in condition)
            for condition in self.conditions[i]
        )
        for position in self._choices(i) if active else [np.nan]:
            yield from self._extended([*start, position], i + 1)

    def _choices(self, i: int) -> list[float]:
        axis = self.axes[i]
        if getattr(axis, "whole", False) and getattr(axis, "log", False):
            return [axis.position(v) for v in range(int(axis.value(0.0)), int(axis.value(1.0)) + 1)]
        return [(k + 0.5) / (axis.count or 1) for k in range(axis.count or 1)]


def key_of(row: Array) -> bytes:
    """Returns what tells a row from others: equal for equal values of the active parameters."""
    return np.round(np.where(np.isnan(row), -1.0, row), DIGITS).tobytes()
