"""The seam between Keras' optimizer base class and kopt's driver, shared by the three adapters."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

_LUGGAGE = "beside_"


def filled_with(start: float) -> Any:
    """Returns the initializer of a slot; Keras' zeros are much faster to build under JAX than a constant of zero."""
    return keras.initializers.Constant(start) if start else "zeros"


class DrivenOptimizer(keras.optimizers.Optimizer):
    """A Keras optimizer whose whole step is one pure function plus one list of writes.

    Three private Keras methods are replaced here: `_backend_apply_gradients` (Keras runs the whole update at each
    micro-batch under JAX, and `ops.cond` around assignments fails under `tf.distribute`), `_get_current_learning_rate`
    (Keras shows schedules the micro-batches, kopt the optimizer steps) and, in the adapters, how a slot is created.
    `tests/test_keras_seam.py` fails when Keras changes any of them.
    """

    def advance(self, indices: Sequence[int], gradients: Sequence[Any]) -> list[tuple[Any, Any]]:
        """Computes one step for the variables at `indices`; returns (variable, new value) pairs and writes nothing."""
        raise NotImplementedError(f"{type(self).__name__} must define `advance`.")

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Applies one list of gradients, one per variable; sparse gradients are made dense first."""
        super().apply([self.densify(gradient) for gradient in grads], trainable_variables)
        if not self.is_traced():
            self.look_back()

    def is_traced(self) -> bool:
        """Returns whether the step that runs is being compiled, so that it has no numbers yet."""
        return False

    def look_back(self) -> None:
        """Looks at the numbers of the step that was taken, on the host."""

    @property
    def luggage(self) -> dict[str, Any]:
        """Arrays by name that are saved and loaded beside the optimizer's variables, when there are any."""
        # Not an attribute: Keras would track it.
        return self.__dict__.setdefault("_luggage", {})

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        for name, array in self.luggage.items():
            store[_LUGGAGE + name] = array

    def load_own_variables(self, store: Any) -> None:
        names = list(store.keys())
        self.luggage.clear()
        self.luggage.update({n.removeprefix(_LUGGAGE): np.array(store[n]) for n in names if n.startswith(_LUGGAGE)})
        super().load_own_variables({name: store[name] for name in names if not name.startswith(_LUGGAGE)})

    def _backend_apply_gradients(self, grads: Any, trainable_variables: Any) -> None:
        indices = [self._get_variable_index(variable) for variable in trainable_variables]
        self.write(self.advance(indices, self.reduce_over_replicas(grads)))

    def _get_current_learning_rate(self) -> Any:
        if isinstance(self._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            return self._learning_rate(self.iterations)
        return super()._get_current_learning_rate()

    def densify(self, gradient: Any) -> Any:
        """Returns the gradient as a dense tensor."""
        return gradient

    def reduce_over_replicas(self, gradients: Sequence[Any]) -> Sequence[Any]:
        """Returns the gradients summed over the replicas of a distribution strategy."""
        return gradients

    def add_slot(self, variable: Any, name: str, shape: tuple[int, ...], dtype: str, start: float) -> Any:
        """Creates one variable of state that lives beside `variable`."""
        raise NotImplementedError(f"{type(self).__name__} must define `add_slot`.")

    def write(self, writes: Sequence[tuple[Any, Any]]) -> None:
        """Assigns each new value to its variable: the only side effect of a step."""
        for variable, value in writes:
            variable.assign(value)
