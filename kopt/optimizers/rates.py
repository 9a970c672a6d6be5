"""The learning rate of each variable in one step: the optimizer's, its group's factor, and what was estimated."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

Tensor = Any


class Rates:
    """Rates by variable; variables with the same rate are in one lane, whose scalars are computed once.

    Attributes:
        base: The optimizer's rate of the step.

    Args:
        factors: The factor of each variable's group.
        base: A float32 scalar tensor.
    """

    def __init__(self, factors: Mapping[int, float], base: Tensor) -> None:
        self.base = base
        self._lanes: dict[int, Hashable] = dict(factors)
        self._rates: dict[Hashable, Tensor] = {
            factor: base if factor == 1.0 else base * factor for factor in dict.fromkeys(factors.values())
        }

    def lane(self, i: int) -> Hashable:
        """Returns the lane of a variable."""
        return self._lanes[i]

    def lanes(self, members: Iterable[int]) -> dict[Hashable, Tensor]:
        """Returns the rates of the lanes that some variables are in."""
        return {lane: self._rates[lane] for lane in dict.fromkeys(self._lanes[i] for i in members)}

    def multiply(self, members: Iterable[int], factor: Tensor, stage: int) -> None:
        """Multiplies the rates of some variables by what a stage has estimated."""
        for i in members:
            old, self._lanes[i] = self._lanes[i], (stage, self._lanes[i])
            self._rates[self._lanes[i]] = self._rates[old] * factor
