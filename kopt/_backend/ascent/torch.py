"""PyTorch: the second pass is one more backward, on the variables themselves."""

from typing import Any

import keras
import torch

from kopt._backend import watch
from kopt._backend.ascent.trainer import Tensors, TwoGradientModel, filled, pairs


class AscentTrainer(TwoGradientModel):
    """The PyTorch step."""

    def train_step(self, data: Any) -> Any:
        changing = [*self.non_trainable_variables, *self.metrics_variables]
        start = [(variable, variable.value.detach().clone()) for variable in changing]
        original = self.optimizer.apply

        def apply(grads: Any, trainable_variables: Any = None) -> Any:
            variables = list(trainable_variables or self.trainable_variables)
            kept, first, chosen = pairs(list(grads), variables)
            new = self._stepped(data, kept, [gradient.clone() for gradient in first], chosen, start)
            return original(filled(new, kept, len(variables)), variables)

        with watch.overriding(self.optimizer, "apply", apply):
            return super().train_step(data)

    def _stepped(
        self, data: Any, kept: list[int], first: Tensors, variables: list[Any], start: list[tuple[Any, Any]]
    ) -> Tensors:
        if self.count is None:
            return self.combined(first, self._second(data, first, variables, start))[0]
        kept_memory = [self.memory[i] for i in kept]
        memory = [variable.value.detach() for variable in kept_memory]
        if self.is_due(self.count.value):
            new, memory = self.combined(first, self._second(data, first, variables, start))
        else:
            new = self.reused(first, memory)
        for variable, value in zip(kept_memory, memory, strict=True):
            variable.assign(value)
        self.count.assign_add(1)
        return new

    def _second(self, data: Any, first: Tensors, variables: list[Any], start: list[tuple[Any, Any]]) -> Tensors:
        values = [variable.value.detach().clone() for variable in variables]
        after = [variable.value.detach().clone() for variable, _ in start]
        offsets = self.offsets(first, values)
        with torch.no_grad():
            for variable, offset in zip(variables, offsets, strict=True):
                variable.value.add_(offset.to(variable.value.dtype))
            for variable, value in start:
                variable.value.copy_(value)
        self.zero_grad()
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with torch.enable_grad():
            prediction = self(x, training=True)
            loss = self._compute_loss(x=x, y=y, y_pred=prediction, sample_weight=sample_weight, training=True)
            self.optimizer.scale_loss(loss).backward()
        second = [variable.value.grad.clone() for variable in variables]
        with torch.no_grad():
            for variable, value in zip(variables, values, strict=True):
                variable.value.copy_(value)
            for (variable, _), value in zip(start, after, strict=True):
                variable.value.copy_(value)
        return second
