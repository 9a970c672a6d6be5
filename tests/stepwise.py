"""A transform outside of any optimizer, told one gradient after another: each number of its state is at hand."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kopt.testing.transform_contract import scalars_of
from kopt.transforms import Transform


def tensor(array: Any) -> Any:
    """Returns a float32 tensor of the backend."""
    return ops.convert_to_tensor(np.asarray(array, "float32"))


def array(of: Any) -> np.ndarray:
    """Returns a copy of a tensor."""
    return np.array(ops.convert_to_numpy(of))


class Stepwise:
    """Variables under one transform, whose update is subtracted as it is.

    Args:
        transform: The transform.
        starts: What the variables start at, by name.
        rate: The learning rate that `scalars` is shown.
    """

    def __init__(self, transform: Transform, starts: Mapping[str, Any], rate: float = 1.0) -> None:
        self.transform, self.rate, self.t = transform, rate, 0
        self.variables = [keras.Variable(np.asarray(x, "float32"), name=name) for name, x in starts.items()]
        decided = transform.decide(self.variables) or [0.0] * len(self.variables)
        self.x = [tensor(x) for x in starts.values()]
        self.slots = []
        for variable, x, number in zip(self.variables, self.x, decided, strict=True):
            state = {"variable": x, "decided": tensor(number)}
            slots = {s.name: (s, variable.shape if s.shape is None else s.shape) for s in transform.slots(variable)}
            self.slots.append(
                {
                    name: state[s.start] if isinstance(s.start, str) else tensor(np.full(tuple(shape), s.start))
                    for name, (s, shape) in slots.items()
                }
            )
        self.own = {s.name: tensor(np.full(s.shape, s.start)) for s in transform.own_slots()}

    def scalars(self) -> dict[str, Any]:
        """Returns the scalars of the step that was taken last, or of the first one."""
        return scalars_of(self.transform.at(tensor(max(self.t, 1))), max(self.t, 1), self.rate)

    def told(self, *gradients: Any) -> list[np.ndarray]:
        """Takes a step; returns the updates."""
        self.t += 1
        u, h = [tensor(g) for g in gradients], self.scalars()
        if self.transform.sees_gradient:
            self.slots = [state | {"gradient": g} for state, g in zip(self.slots, u, strict=True)]
        common, self.own = self.transform.shared(u, self.x, self.slots, self.own, h)
        results = [self.transform.update(*each, h | common) for each in zip(u, self.x, self.slots, strict=True)]
        self.slots = [state for _, state in results]
        self.x = [x - update for x, (update, _) in zip(self.x, results, strict=True)]
        return [array(update) for update, _ in results]

    def number(self, name: str) -> float:
        """Returns a number that is kept once for all variables."""
        return float(array(self.own[name]))

    def array(self, name: str, variable: int = 0) -> np.ndarray:
        """Returns state of one variable, or of all."""
        return array((self.slots[variable] | self.own)[name])
