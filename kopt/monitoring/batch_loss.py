"""The loss of one kept batch as a pure function of the weights, with its gradients and Hessian-vector products."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kopt._backend import adapter_module, derivatives, watch

Tensors = Sequence[Any]


class LossFunctions:
    """The compiled functions behind `BatchLoss`: one set for each model.

    The model is called in training mode, its random state (dropout's masks) and statistics being those of the step, so
    that all calls for one batch see the same function. Nothing is written.

    Args:
        model: A compiled and built model.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._by_structure: dict[str, tuple[Callable[..., Any], ...]] = {}

    def of(self, structure: Any) -> tuple[Callable[..., Any], ...]:
        """Returns loss, gradient and Hessian-vector product for batches of one structure."""
        key = repr(structure)
        if key not in self._by_structure:

            def loss(weights: Tensors, state: Tensors, leaves: Tensors) -> Any:
                return self._loss(weights, state, keras.tree.pack_sequence_as(structure, list(leaves)))

            made = derivatives.compiled(loss), derivatives.gradient_of(loss), derivatives.product_of(loss)
            self._by_structure[key] = tuple(_taking_no_chance(function) for function in made)
        return self._by_structure[key]

    def _loss(self, weights: Tensors, state: Tensors, data: Any) -> Any:
        model = self.model
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        metrics = [(variable, ops.zeros(variable.shape, variable.dtype)) for variable in model.metrics_variables]
        mapping = [
            *zip(model.trainable_variables, weights, strict=True),
            *zip(model.non_trainable_variables, state, strict=True),
        ]
        with keras.StatelessScope(state_mapping=[*mapping, *metrics], collect_losses=True):
            y_pred = model(x, training=True) if watch.takes_training(model) else model(x)
            loss = model.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
        return ops.cast(loss, "float32")


def _taking_no_chance(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function after which random generators outside of the model are where they were.

    Without a seed, Keras' dropout takes its masks from PyTorch's own generator, as the shuffling of the data does.
    """

    def called(*arguments: Any) -> Any:
        restore = adapter_module.random_state()
        try:
            return function(*arguments)
        finally:
            restore()

    return called


class BatchLoss:
    """The loss of one batch, at weights of one's choice.

    Args:
        functions: Of the model.
        structure: Of the batch: what `fit` hands to `train_step`, with anything for leaves.
        leaves: The batch's tensors.
        before: Values of the trainable variables before the step.
        after: Their values after it.
        state: Values of the other variables before the step.
    """

    def __init__(
        self, functions: LossFunctions, structure: Any, leaves: Tensors, before: Tensors, after: Tensors, state: Tensors
    ) -> None:
        self._value, self._gradient, self._product = functions.of(structure)
        self._functions = functions
        self.leaves = list(leaves)
        self.before, self.after = list(before), list(after)
        self.state = list(state)

    @property
    def batch_size(self) -> int:
        """Examples in the batch."""
        return int(self.leaves[0].shape[0])

    def value_and_gradient(self, weights: Tensors) -> tuple[float, list[Any]]:
        """Returns the loss and its gradient."""
        value, gradient = self._gradient(list(weights), self.state, self.leaves)
        return float(ops.convert_to_numpy(value)), list(gradient)

    def gradient_of_part(self, start: int, end: int) -> list[Any]:
        """Returns the gradient, at the weights before the step, of the loss of some of the examples."""
        part = [leaf[start:end] for leaf in self.leaves]
        return list(self._gradient(self.before, self.state, part)[1])

    def hessian_product(self, direction: Tensors) -> list[Any]:
        """Returns the Hessian at the weights before the step, times a direction."""
        return list(self._product(list(direction), self.before, self.state, self.leaves))
