"""TensorFlow: the second pass runs between the tape and the optimizer, on the variables themselves."""

from typing import Any

import keras
import tensorflow as tf

from kopt._backend import watch
from kopt._backend.ascent.trainer import Tensors, TwoGradientModel, filled, pairs


class AscentTrainer(TwoGradientModel):
    """The TensorFlow step."""

    def train_step(self, data: Any) -> Any:
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise NotImplementedError(
                "A second gradient at shifted weights is not available under a distribution strategy: the weights of "
                "all replicas would have to be shifted together. Train on one device."
            )
        changing = [*self.non_trainable_variables, *self.metrics_variables]
        start = [tf.identity(variable.value) for variable in changing]
        original = self.optimizer.apply

        def apply(grads: Any, trainable_variables: Any = None) -> Any:
            variables = list(trainable_variables or self.trainable_variables)
            kept, dense, chosen = pairs([None if g is None else tf.convert_to_tensor(g) for g in grads], variables)
            new = self._stepped(data, kept, dense, chosen, list(zip(changing, start, strict=True)))
            return original(filled(new, kept, len(variables)), variables)

        with watch.overriding(self.optimizer, "apply", apply):
            return super().train_step(data)

    def _stepped(
        self, data: Any, kept: list[int], first: Tensors, variables: list[Any], start: list[tuple[Any, Any]]
    ) -> Tensors:
        def ascend() -> Tensors:
            new, memory = self.combined(first, self._second(data, first, variables, start))
            return [*new, *memory]

        if self.count is None:
            return ascend()
        kept_memory = [self.memory[i] for i in kept]
        memory = [tf.identity(variable.value) for variable in kept_memory]
        due = self.is_due(tf.identity(self.count.value))
        results = tf.cond(due, ascend, lambda: [*self.reused(first, memory), *memory])
        for variable, value in zip(kept_memory, results[len(first) :], strict=True):
            variable.assign(value)
        self.count.assign_add(1)
        return results[: len(first)]

    def _second(self, data: Any, first: Tensors, variables: list[Any], start: list[tuple[Any, Any]]) -> Tensors:
        values = [tf.identity(variable.value) for variable in variables]
        after = [tf.identity(variable.value) for variable, _ in start]
        for variable, value, offset in zip(variables, values, self.offsets(first, values), strict=True):
            variable.value.assign(value + tf.cast(offset, value.dtype))
        for variable, value in start:
            variable.value.assign(value)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            prediction = self(x, training=True)
            loss = self._compute_loss(x=x, y=y, y_pred=prediction, sample_weight=sample_weight, training=True)
            loss = self.optimizer.scale_loss(loss)
        second = tape.gradient(loss, [variable.value for variable in variables])
        for variable, value in zip(variables, values, strict=True):
            variable.value.assign(value)
        for (variable, _), value in zip(start, after, strict=True):
            variable.value.assign(value)
        return [tf.convert_to_tensor(gradient) for gradient in second]
