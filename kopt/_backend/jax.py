"""JAX: slots share the layout of their variable, so that sharded weights have sharded state."""

from typing import Any

import keras

from kopt._backend.driven import DrivenOptimizer


class Adapter(DrivenOptimizer):
    """The JAX seam: Keras runs `apply` inside a stateless scope, so writes are pure already."""

    def add_slot(self, variable: Any, name: str, shape: tuple[int, ...], dtype: str, start: float) -> Any:
        layout = getattr(variable, "_layout", None) if tuple(variable.shape) == tuple(shape) else None
        return self.add_variable(shape, keras.initializers.Constant(start), dtype, layout=layout, name=name)
