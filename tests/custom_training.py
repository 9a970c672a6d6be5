"""What users write themselves: an optimizer, a model that builds at its first call, a train step, a loss."""

import contextlib
from typing import Any

import keras
from keras import ops
from monitored import BACKEND, layers


class SignDescent(keras.optimizers.Optimizer):
    """A user's optimizer: the sign of a momentum."""

    def __init__(self, learning_rate: float = 0.02, **keywords: Any) -> None:
        super().__init__(learning_rate=learning_rate, **keywords)

    def build(self, variables: Any) -> None:
        if not self.built:
            super().build(variables)
            self.momenta = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        momentum = self.momenta[self._get_variable_index(variable)]
        self.assign(momentum, 0.9 * ops.convert_to_tensor(momentum) + gradient)
        step = ops.cast(learning_rate, variable.dtype) * ops.sign(ops.convert_to_tensor(momentum))
        self.assign_sub(variable, step)


class Subclassed(keras.Model):
    """Two layers that are built at the first call."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = layers()

    def call(self, x: Any) -> Any:
        return self.second(self.first(x))


def _functional(kind: type) -> Any:
    inputs = keras.Input((4,))
    first, second = layers()
    return kind(inputs, second(first(inputs)))


class TensorFlowStep(keras.Model):
    """The train step of Keras' guide for TensorFlow."""

    def train_step(self, data: Any) -> Any:
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        for metric in self.metrics:
            metric.update_state(loss) if metric.name == "loss" else metric.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}


class TorchStep(keras.Model):
    """The train step of Keras' guide for PyTorch."""

    def train_step(self, data: Any) -> Any:
        import torch

        x, y = data
        self.zero_grad()
        y_pred = self(x, training=True)
        loss = self.compute_loss(y=y, y_pred=y_pred)
        loss.backward()
        trainable_weights = list(self.trainable_weights)
        gradients = [variable.value.grad for variable in trainable_weights]
        with torch.no_grad():
            self.optimizer.apply(gradients, trainable_weights)
        for metric in self.metrics:
            metric.update_state(loss) if metric.name == "loss" else metric.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}


class JaxStep(keras.Model):
    """The train step of Keras' guide for JAX."""

    def loss_and_state(self, trainable: Any, non_trainable: Any, x: Any, y: Any) -> Any:
        y_pred, non_trainable, losses = self.stateless_call(trainable, non_trainable, x, True, return_losses=True)
        # Not `compute_loss`: here it would ask the variables for their penalty, whose values are not theirs now.
        return ops.mean(ops.square(y - y_pred)) + sum(losses), (y_pred, non_trainable)

    def train_step(self, state: Any, data: Any) -> Any:
        import jax

        trainable, non_trainable, optimizer_variables, metrics_variables = state
        x, y = data
        gradient = jax.value_and_grad(self.loss_and_state, has_aux=True)
        (loss, (y_pred, non_trainable)), gradients = gradient(trainable, non_trainable, x, y)
        trainable, optimizer_variables = self.optimizer.stateless_apply(optimizer_variables, gradients, trainable)
        logs, new_metrics_variables = {}, []
        for metric in self.metrics:
            count = len(metric.variables)
            values = metrics_variables[len(new_metrics_variables) : len(new_metrics_variables) + count]
            arguments = (loss,) if metric.name == "loss" else (y, y_pred)
            values = metric.stateless_update_state(values, *arguments)
            logs[metric.name] = metric.stateless_result(values)
            new_metrics_variables += values
        return logs, (trainable, non_trainable, optimizer_variables, new_metrics_variables)


def with_own_train_step() -> Any:
    """Returns a model with the train step that its author wrote for this backend."""
    return _functional({"tensorflow": TensorFlowStep, "torch": TorchStep, "jax": JaxStep}[BACKEND])


class OwnLoss(keras.Model):
    """The model in the documentation of `compute_loss`: it tracks its loss inside the gradient."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.own_tracker = keras.metrics.Mean(name="loss")

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True) -> Any:
        loss = ops.mean(ops.square(y_pred - y)) + sum(self.losses)
        self.own_tracker.update_state(loss)
        return loss

    @property
    def metrics(self) -> list[Any]:
        return [self.own_tracker]


def with_own_loss() -> Any:
    """Returns a model that computes and tracks its loss itself."""
    return _functional(OwnLoss)


def without_its_optimizer() -> Any:
    """Returns a model whose train step takes its steps with an optimizer that Keras does not know of."""

    class Elsewhere(keras.Model):
        """Does not train at all: for the monitor that is the same."""

        def train_step(self, *arguments: Any) -> Any:
            if BACKEND != "jax":
                return self.test_step(*arguments)
            state, data = arguments
            trainable, non_trainable, optimizer_variables, metrics = state
            logs, (_, non_trainable, metrics) = self.test_step((trainable, non_trainable, metrics), data)
            return logs, (trainable, non_trainable, optimizer_variables, metrics)

    return _functional(Elsewhere)


def without_gradients() -> Any:
    """Returns the context in which a step is taken."""
    if BACKEND != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()


class Adversarial(keras.Model):
    """A GAN that compares means, as users write one for TensorFlow or PyTorch."""

    def __init__(self, generator: Any, discriminator: Any) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.noise = keras.random.SeedGenerator(5)

    def compile(self, d_optimizer: Any, g_optimizer: Any) -> None:
        super().compile()
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer

    def call(self, x: Any) -> Any:
        return self.discriminator(x)

    def losses_of(self, real: Any) -> tuple[Any, Any]:
        fake = self.generator(keras.random.normal((8, 2), seed=self.noise), training=True)
        judged = ops.mean(self.discriminator(fake, training=True))
        return judged - ops.mean(self.discriminator(real, training=True)), -judged

    def train_step(self, data: Any) -> Any:
        real = data[0] if isinstance(data, tuple | list) else data
        turns = ((self.discriminator, self.d_optimizer, 0), (self.generator, self.g_optimizer, 1))
        for part, optimizer, place in turns:
            variables = part.trainable_variables
            gradients = self.gradients_of(real, variables, place)
            with without_gradients():
                optimizer.apply(gradients, variables)
        return {"loss": ops.mean(real)}

    def gradients_of(self, real: Any, variables: Any, place: int) -> list[Any]:
        if BACKEND == "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                loss = self.losses_of(real)[place]
            return tape.gradient(loss, variables)
        self.zero_grad()
        self.losses_of(real)[place].backward()
        return [variable.value.grad for variable in variables]
