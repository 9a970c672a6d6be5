"""Layers around a layer that train it with disturbed weights."""

from typing import Any, ClassVar

import keras
from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, deserialized, register, serialized
from kopt.layers.following import FollowingLayer, kept_or_zero


class PerturbedLayer(FollowingLayer):
    """A layer around a layer, some of whose weights are disturbed anew in each training pass.

    The gradient is taken at the disturbed weights and changes the weights themselves. In inference the layer inside is
    called as it is.
    """

    def begin(self, layer: Any, names: Any, seed: int | None) -> None:
        """Checks and keeps what all of them are given."""
        if not isinstance(layer, keras.layers.Layer):
            raise checks.fail("layer", "a Keras layer", layer)
        if layer.activity_regularizer is not None:
            advice = "Put an ActivityRegularization layer behind this one."
            raise checks.fail("layer", "a layer without an activity regularizer", layer.activity_regularizer, advice)
        if not isinstance(names, list | tuple) or not names:
            raise checks.fail("names", "a list of one or more names of weights", names)
        self.names = tuple(checks.text(f"names[{i}]", name) for i, name in enumerate(names))
        self.layer = layer
        self.seed = checks.optional(checks.count, "seed", seed, least=0)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def perturbed(self, value: Any, number: Any) -> Any:
        """Returns what stands for a weight in this pass."""
        raise NotImplementedError

    def build(self, input_shape: Any) -> None:
        """Builds the layer inside."""
        if not self.layer.built:
            self.layer.build(input_shape)
            self.layer.built = True
        if not self._targets():
            found = sorted({weight.name for weight in self.layer.weights})
            raise checks.fail("names", f"names of weights of {self.layer.name}, which has {found}", self.names)
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Returns what the layer inside makes of the inputs, in training with disturbed weights."""
        if not training:
            return self.layer(inputs)
        number, targets = self.number(training=True), self._targets()
        values = [(v, self.perturbed(v.value, number) if id(v) in targets else v.value) for v in self.layer.variables]
        with keras.StatelessScope(state_mapping=values) as scope:
            outputs = self.layer(inputs)
        for variable in self.layer.variables:
            if not variable.trainable and id(variable) not in targets:
                variable.assign(scope.get_current_value(variable))
        return outputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the outputs of the layer inside."""
        return self.layer.compute_output_shape(input_shape)

    def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Returns shape and dtype of the outputs of the layer inside."""
        return self.layer.compute_output_spec(inputs)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config() | {
            "layer": serialized(self.layer),
            "names": list(self.names),
            "seed": self.seed,
        }
        del config["dtype"]  # That of the layer inside counts.
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FollowingLayer":
        return super().from_config(config | {"layer": deserialized(config["layer"])})

    def _targets(self) -> set[int]:
        return {id(weight) for weight in self.layer.weights if weight.name in self.names}


@register
class DropConnect(PerturbedLayer):
    """Dropout of weights: each element of a layer's kernel is 0 with probability `rate`, else divided by 1 - rate.

    One mask serves the whole batch; the paper draws one per sample. Inference uses the weights as they are, which are
    the mean of those in training; the paper samples there.

    Args:
        layer: A Keras layer.
        rate: Share of the elements that is dropped, in [0, 1), or a schedule of it: as in `ScheduledDropout`.
        names: Names of the weights: ["kernel"], or ["recurrent_kernel"] for the recurrent connections of an LSTM.
        seed: Of the random numbers, an integer or None.
        **options: `name` and `trainable` of a Keras layer.

    Raises:
        ValueError: An argument is out of its range, the schedule leaves [0, 1) at a step that is looked at, or the
            layer has no such weight.

    Example:

    ```python
    x = kopt.layers.DropConnect(keras.layers.Dense(256, "relu"), 0.3)(x)
    x = kopt.layers.DropConnect(keras.layers.LSTM(128), 0.5, names=["recurrent_kernel"])(x)  # as AWD-LSTM has it
    ```

    References:
        Wan et al. 2013, https://proceedings.mlr.press/v28/wan13.html; Merity et al. 2018 (recurrent weights),
        https://arxiv.org/abs/1708.02182.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        rate: Hyperparameter,
        names: list[str] | tuple[str, ...] = ("kernel",),
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(dtype="float32", autocast=False, **options)
        self.begin(layer, names, seed)
        self.follow(rate, checks.fraction)

    @property
    def rate(self) -> keras.Variable:
        """The rate, a float32 variable."""
        return self._number

    def perturbed(self, value: Any, number: Any) -> Any:
        drawn = keras.random.uniform(ops.shape(value), dtype="float32", seed=self.seed_generator)
        return kept_or_zero(value, drawn < 1.0 - number, 1.0 - number)


@register
class WeightNoise(PerturbedLayer):
    """Adds Gaussian noise to a layer's kernel in each training pass: `kernel + stddev * N(0, 1)`.

    Args:
        layer: A Keras layer.
        stddev: Standard deviation of the noise, >= 0, in the unit of the weights, or a schedule of it: as the rate of
            `ScheduledDropout`. A kernel of n inputs starts at a deviation of about 1 / sqrt(n).
        names: Names of the weights, such as ["kernel"].
        seed: Of the random numbers, an integer or None.
        **options: `name` and `trainable` of a Keras layer.

    Raises:
        ValueError: An argument is out of its range, the schedule gives a number below 0 at a step that is looked at, or
            the layer has no such weight.

    Example:

    ```python
    x = kopt.layers.WeightNoise(keras.layers.Dense(256, "relu"), kopt.schedules.Linear(0.05, 10_000, 0.0))(x)
    ```

    References:
        Graves 2011, https://papers.nips.cc/paper/4329-practical-variational-inference-for-neural-networks.
    """

    number_name: ClassVar[str] = "stddev"

    def __init__(
        self,
        layer: keras.layers.Layer,
        stddev: Hyperparameter,
        names: list[str] | tuple[str, ...] = ("kernel",),
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(dtype="float32", autocast=False, **options)
        self.begin(layer, names, seed)
        self.follow(stddev, checks.non_negative)

    @property
    def stddev(self) -> keras.Variable:
        """The standard deviation, a float32 variable."""
        return self._number

    def perturbed(self, value: Any, number: Any) -> Any:
        noise = keras.random.normal(ops.shape(value), dtype="float32", seed=self.seed_generator)
        return value + ops.cast(number * noise, value.dtype)
