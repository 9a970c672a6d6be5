"""PyTorch: the step runs without autograd, whoever calls it."""

from typing import Any

import keras
import torch

from kopt._backend.driven import DrivenOptimizer


class Adapter(DrivenOptimizer):
    """The PyTorch seam: Keras' variables write in place already."""

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        with torch.no_grad():
            super().apply(grads, trainable_variables)

    def add_slot(self, variable: Any, name: str, shape: tuple[int, ...], dtype: str, start: float) -> Any:
        return self.add_variable(shape, keras.initializers.Constant(start), dtype, name=name)
