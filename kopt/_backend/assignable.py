"""Numbers outside of any model that compiled steps use, and that may be assigned between steps."""

from typing import Any

import keras


class Assignable:
    """A number that a compiled step reads anew at each call, as it stands in a variable.

    TensorFlow's graphs read variables that no model tracks; PyTorch computes at once.
    """

    def __init__(self, number: float) -> None:
        options = {"trainable": False, "autocast": False, "aggregation": "only_first_replica"}
        self._variable = keras.Variable(number, dtype="float32", **options)

    def value(self) -> Any:
        """Returns the number, to compute with."""
        return self._variable.value

    def assign(self, number: float) -> None:
        """Puts another number in its place."""
        self._variable.assign(number)


class Baked:
    """A number that is a constant of compiled steps: when it changes, JAX is told to compile them again.

    A variable that the model does not track would be a constant of them as well, and stay on one device.
    """

    def __init__(self, number: float) -> None:
        self._number = number
        self._may_be_compiled = False

    def value(self) -> Any:
        """Returns the number, to compute with."""
        self._may_be_compiled = True
        return self._number

    def assign(self, number: float) -> None:
        """Puts another number in its place."""
        import jax

        if self._may_be_compiled and number != self._number:
            jax.clear_caches()
            self._may_be_compiled = False
        self._number = number


assignable = Baked if keras.backend.backend() == "jax" else Assignable
