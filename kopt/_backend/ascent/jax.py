"""JAX: the second pass is one more gradient of the same pure function."""

from typing import Any

import jax
import keras

from kopt._backend import watch
from kopt._backend.ascent.trainer import Tensors, TwoGradientModel, filled, pairs


class AscentTrainer(TwoGradientModel):
    """The JAX step."""

    def train_step(self, state: Any, data: Any) -> Any:
        original, memories = self.optimizer.stateless_apply, []

        def stateless_apply(optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
            new, own = self._stepped(state, data, list(grads), list(trainable_variables), optimizer_variables)
            memories.append(own)
            return original(optimizer_variables, new, trainable_variables)

        with watch.overriding(self.optimizer, "stateless_apply", stateless_apply):
            logs, (trainable, non_trainable, optimizer, metrics) = super().train_step(state, data)
        if self.count is not None:
            values = memories[-1]
            variables = self.non_trainable_variables
            non_trainable = [values.get(id(v), value) for v, value in zip(variables, non_trainable, strict=True)]
        return logs, (trainable, non_trainable, optimizer, metrics)

    def _stepped(
        self, state: Any, data: Any, gradients: Tensors, values: Tensors, optimizer_variables: Any
    ) -> tuple[Tensors, dict[int, Any]]:
        kept, first, _ = pairs(gradients, values)

        def ascend() -> tuple[Tensors, Tensors]:
            return self.combined(first, self._second(state, data, kept, first, values, optimizer_variables))

        if self.count is None:
            return filled(ascend()[0], kept, len(values)), {}
        now = dict(zip(map(id, self.non_trainable_variables), state[1], strict=True))
        names = [id(self.memory[i]) for i in kept]
        memory, count = [now[name] for name in names], now[id(self.count)]
        new, memory = jax.lax.cond(self.is_due(count), ascend, lambda: (self.reused(first, memory), memory))
        return filled(new, kept, len(values)), {**dict(zip(names, memory, strict=True)), id(self.count): count + 1}

    def _second(
        self, state: Any, data: Any, kept: list[int], first: Tensors, values: Tensors, optimizer_variables: Any
    ) -> Tensors:
        _, non_trainable, _, metrics = state
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        shifted = list(values)
        for i, offset in zip(kept, self.offsets(first, [values[i] for i in kept]), strict=True):
            shifted[i] = values[i] + offset.astype(values[i].dtype)
        gradients, _ = jax.grad(self.compute_loss_and_updates, has_aux=True)(
            shifted,
            non_trainable,
            metrics,
            x,
            y,
            sample_weight,
            training=True,
            optimizer_variables=optimizer_variables,
        )
        return [gradients[i] for i in kept]
