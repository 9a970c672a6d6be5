"""KerasTuner's hyperparameters as Optuna's distributions, and values of either as values of the other."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine import hyperparameters as kinds
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from kopt._core import checks
from kopt.tuning.sampler.axis import axis_of
from kopt.tuning.sampler.tree import Parameter, Tree

GRID_POINTS = 10  # For a parameter with a continuous range, as KerasTuner's own grid has.
LAST = 1 - 1e-9  # KerasTuner's cumulative probabilities end before 1.


class Item:
    """One hyperparameter and its twin.

    A range whose values are in steps, and a choice of numbers, becomes the index in the ordered list of values; a
    reverse-logarithmic range becomes the cumulative probability. All else has the same values on both sides.

    Args:
        hp: Of KerasTuner.
        key: The name for Optuna.
    """

    def __init__(self, hp: Any, key: str) -> None:
        self.hp, self.name, self.key = hp, hp.name, key
        self.listed: tuple[Any, ...] | None = None
        self.by_probability = False
        self.distribution = self._distribution()

    def _distribution(self) -> BaseDistribution:
        hp = self.hp
        if isinstance(hp, kinds.Fixed):
            return CategoricalDistribution((hp.value,))
        if isinstance(hp, kinds.Boolean):
            return CategoricalDistribution((False, True))
        if isinstance(hp, kinds.Choice):
            values = tuple(dict.fromkeys(hp.values))
            if not hp.ordered:
                return CategoricalDistribution(values)
            return self._indexed(tuple(sorted(values)))
        whole = isinstance(hp, kinds.Int)
        if whole and hp.sampling == "linear":
            steps = (hp.max_value - hp.min_value) // hp.step
            return IntDistribution(hp.min_value, hp.min_value + steps * hp.step, step=hp.step)
        if hp.step is not None:
            return self._indexed(tuple(int(value) if whole else float(value) for value in hp.values))
        if hp.sampling == "reverse_log":
            self.by_probability = True
            return FloatDistribution(0.0, 1.0)
        log = hp.sampling == "log"
        return IntDistribution(hp.min_value, hp.max_value, log=log) if whole else self._real(log=log)

    def _real(self, *, log: bool) -> FloatDistribution:
        return FloatDistribution(self.hp.min_value, self.hp.max_value, log=log)

    def _indexed(self, values: tuple[Any, ...]) -> IntDistribution:
        self.listed = values
        return IntDistribution(0, len(values) - 1)

    def value(self, internal: Any) -> Any:
        """Returns KerasTuner's value for Optuna's."""
        if self.listed is not None:
            return self.listed[internal]
        if self.by_probability:
            # The ends are kept: powers of a ratio miss them by a rounding error, and a whole number by one.
            value = self.hp.prob_to_value(min(internal, LAST))
            return min(max(value, self.hp.min_value), self.hp.max_value)
        return internal

    def internal(self, value: Any) -> Any:
        """Returns Optuna's value for KerasTuner's.

        Raises:
            ValueError: KerasTuner would not give this value.
        """
        if not self.allows(value):
            raise checks.fail(self.name, f"a value of {self.hp!r}", value)
        if self.listed is not None:
            return int(np.argmin([abs(known - value) for known in self.listed]))
        if self.by_probability:
            return float(min(max(self.hp.value_to_prob(value), 0.0), 1.0))
        return int(value) if isinstance(self.distribution, IntDistribution) else value

    def allows(self, value: Any) -> bool:
        """Returns whether the value is one that KerasTuner gives."""
        if isinstance(self.distribution, CategoricalDistribution):
            return value in self.distribution.choices
        if not isinstance(value, int | float):
            return False
        if self.listed is not None:  # KerasTuner makes 1 and 0 of the choices True and False.
            return any(abs(known - value) <= 1e-9 * max(1.0, abs(known)) for known in self.listed)
        if isinstance(value, bool):
            return False
        if isinstance(self.distribution, IntDistribution):
            twin = self.distribution
            return twin.low <= value <= twin.high and (value - twin.low) % twin.step == 0
        whole = isinstance(self.hp, kinds.Int)
        return self.hp.min_value <= value <= self.hp.max_value and (value == int(value) or not whole)

    def suggest(self, trial: Trial) -> Any:
        """Returns Optuna's value in a trial, suggested if it has none yet."""
        twin = self.distribution
        if isinstance(twin, CategoricalDistribution):
            return trial.suggest_categorical(self.key, twin.choices)
        if isinstance(twin, IntDistribution):
            return trial.suggest_int(self.key, twin.low, twin.high, step=twin.step, log=twin.log)
        assert isinstance(twin, FloatDistribution)
        return trial.suggest_float(self.key, twin.low, twin.high, log=twin.log)

    def grid(self) -> list[Any]:
        """Returns Optuna's values on a grid: all of them, or ten of a continuous or logarithmic range."""
        twin = self.distribution
        if isinstance(twin, CategoricalDistribution):
            return list(twin.choices)
        if isinstance(twin, IntDistribution) and not twin.log:
            return list(range(twin.low, twin.high + 1, twin.step))
        axis = axis_of(twin)
        return list(dict.fromkeys(axis.value((i + 0.5) / GRID_POINTS) for i in range(GRID_POINTS)))


class SpaceMap:
    """All hyperparameters of a KerasTuner space with their twins, parents first.

    The first hyperparameter of a name keeps it; others of that name, which KerasTuner has under other conditions, add
    their conditions to it. Where two of one name are active at once, the first one gives the value.

    Args:
        hyperparameters: The space.
    """

    def __init__(self, hyperparameters: keras_tuner.HyperParameters) -> None:
        self.items: list[Item] = []
        seen: set[str] = set()
        for hp in hyperparameters.space:
            key = hp.name if hp.name not in seen else f"{hp.name} {_described(hp.conditions)}"
            if key not in seen:
                seen.add(key)
                self.items.append(Item(hp, key))

    def tree(self) -> Tree:
        """Returns the space as the samplers of this package see it."""
        return Tree([Parameter(item.key, item.distribution, self._conditions(item)) for item in self.items])

    def _conditions(self, item: Item) -> tuple[dict[str, list[Any]], ...]:
        found = []
        for condition in item.hp.conditions:
            parents = itertools.takewhile(lambda other: other is not item, self.items)
            found.append({p.key: _allowed(p, condition.values) for p in parents if p.name == condition.name})
        return tuple(found)

    def walk(self, choose: Callable[[Item], Any]) -> dict[str, Any]:
        """Returns KerasTuner's values of the active hyperparameters, each chosen after its parents.

        Args:
            choose: Returns Optuna's value of an item.
        """
        values: dict[str, Any] = {}
        for item in self.items:
            if item.name not in values and _is_active(item, values):
                values[item.name] = item.value(choose(item))
        return values

    def internal(self, values: Mapping[str, Any], *, partly: bool = False) -> dict[str, Any]:
        """Returns Optuna's values for KerasTuner's, of the hyperparameters that these make active.

        Args:
            values: By name.
            partly: Whether some may be missing; then those under an unknown parent are kept as well.

        Raises:
            ValueError: A name is unknown, a value is not legal, or one is missing.
        """
        unknown = sorted(set(values) - {item.name for item in self.items})
        if unknown:
            names = ", ".join(dict.fromkeys(item.name for item in self.items))
            raise checks.fail("values", f"a dict with names from the space ({names})", unknown)
        found: dict[str, Any] = {}
        active: set[str] = set()
        for item in self.items:
            if item.name in active or not _is_active(item, values, assumed=partly):
                continue
            if item.name in values:
                if partly and not item.allows(values[item.name]) and self._is_allowed_elsewhere(item, values):
                    continue
                found[item.key] = item.internal(values[item.name])
            elif not partly:
                raise checks.fail("values", f"a dict with a value for {item.name!r}", dict(values))
            if not partly:
                active.add(item.name)
        return found

    def _is_allowed_elsewhere(self, item: Item, values: Mapping[str, Any]) -> bool:
        return any(other.name == item.name and other.allows(values[item.name]) for other in self.items)

    def grid(self) -> Iterator[dict[str, Any]]:
        """Yields Optuna's values of every configuration of the grid; the last parameter changes first."""
        yield from self._extended({}, {}, 0)

    def _extended(self, found: dict[str, Any], values: dict[str, Any], i: int) -> Iterator[dict[str, Any]]:
        if i == len(self.items):
            yield found
            return
        item = self.items[i]
        if item.name in values or not _is_active(item, values):
            yield from self._extended(found, values, i + 1)
            return
        for internal in item.grid():
            more = {**values, item.name: item.value(internal)}
            yield from self._extended({**found, item.key: internal}, more, i + 1)


def active_values(hyperparameters: keras_tuner.HyperParameters) -> dict[str, Any]:
    """Returns the values of the active hyperparameters, defaults for those that have none."""
    values: dict[str, Any] = {}
    for hp in hyperparameters.space:
        if hp.name not in values and all(condition.is_active(values) for condition in hp.conditions):
            values[hp.name] = hyperparameters.values.get(hp.name, hp.default)
    return values


def _is_active(item: Item, values: Mapping[str, Any], *, assumed: bool = False) -> bool:
    return all(
        condition.is_active(values) or (assumed and condition.name not in values) for condition in item.hp.conditions
    )


def _allowed(parent: Item, values: list[Any]) -> list[Any]:
    """Returns Optuna's values of a parent that stand for those that a condition names."""
    numbers = [float(value) if isinstance(value, bool) and not parent.allows(value) else value for value in values]
    return [parent.internal(value) for value in numbers if parent.allows(value)]


def _described(conditions: list[Any]) -> str:
    return "[" + ", ".join(f"{c.name}={'|'.join(map(str, c.values))}" for c in conditions) + "]"
