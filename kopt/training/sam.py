"""Sharpness-aware minimisation."""

import contextlib
from typing import Any

import keras
from keras import ops

from kopt._backend.ascent import AscentTrainer
from kopt._core import checks
from kopt._core.configured import register
from kopt._core.followed import counting
from kopt.losses.objective import Objective, checked_model

Tensors = list[Any]
_TINY = 1e-12  # Lengths below it count as it.
_TINY_SQUARED = 1e-24  # Gradients of 1e-6 are not small yet.


@register
class SAM(AscentTrainer):
    """Trains a model with the gradient of the worst point nearby: for flat minima, at two gradients a step.

    ```
    e = rho g / |g|                                 g: gradient at x, |.| over all weights together
    e = rho x^2 g / |x g|                           adaptive
    x <- optimizer(x, gradient at x + e)
    ```

    With `every=k` only each k-th step takes the second gradient s. What it adds to the first one changes slowly and is
    kept: v = s - (s.g / |g|^2) g, and on the steps between the optimizer gets g + alpha (|g| / |v|) v (LookSAM).

    The model is trained in place: after `fit`, use it, save it, or go on with it without SAM. `fit`, `evaluate`,
    metrics, losses, callbacks, mixed precision and accumulation (one second gradient per micro-batch) are Keras' own.
    The second pass sees the same dropout masks as the first and leaves batch statistics and metrics as that one did.

    Compute: twice that of a plain step; 1 + 1/k times with `every=k`. Memory: one copy of the weights during the step;
    4 bytes per parameter of state with `every` > 1.

    Args:
        model: A Keras model, or one of the models in `kopt.losses` around one. With a `train_step` or `compute_loss` of
            its own it is refused: they would not be used.
        rho: Radius of the neighbourhood, > 0; 0.05 is usual, 0.5 to 2 with `adaptive`.
        adaptive: Whether the neighbourhood scales with each weight (ASAM), which makes it blind to rescaled layers.
        every: Take the second gradient every so many steps, >= 1.
        alpha: Weight of the reused part on the steps between, >= 0.
        name: Of this model.

    Raises:
        ValueError: An argument is out of its range, or `model` has a `train_step` or `compute_loss` of its own.
        NotImplementedError: At the first step, under a TensorFlow distribution strategy with several replicas.

    Example:

    ```python
    sam = kopt.SAM(model, rho=0.05)
    sam.compile(kopt.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    sam.fit(x, y, epochs=10)
    model.save("model.keras")  # or sam.save(...), to go on with SAM after loading
    ```

    References:
        Foret et al. 2021, https://arxiv.org/abs/2010.01412; Kwon et al. 2021 (ASAM), https://arxiv.org/abs/2102.11600
        (without its offset to |x|); Liu et al. 2022 (LookSAM), https://arxiv.org/abs/2203.02714.
    """

    def __init__(
        self,
        model: keras.Model,
        rho: float = 0.05,
        *,
        adaptive: bool = False,
        every: int = 1,
        alpha: float = 0.7,
        name: str | None = None,
    ) -> None:
        checked_model(model, "SAM")
        super().__init__(name=name or f"sam_{model.name}")
        self.model = model
        self.rho = checks.positive("rho", rho)
        self.adaptive = checks.flag("adaptive", adaptive)
        self.every = checks.count("every", every)
        self.alpha = checks.non_negative("alpha", alpha)
        self._memory: list[Any] = []
        self._count: Any = None

    def build(self, input_shape: Any) -> None:
        """Builds the model, and the memory that `every` > 1 needs."""
        if not self.model.built:
            self.model.build(input_shape)
        if self.every > 1:
            self._count = self.add_weight(shape=(), dtype="int32", trainable=False, initializer="zeros", name="steps")
            self._memory = [
                self.add_weight(
                    shape=v.shape, dtype="float32", trainable=False, initializer="zeros", name=f"ascent_{i}"
                )
                for i, v in enumerate(self.model.trainable_variables)
            ]
        self.built = True

    def call(self, inputs: Any, training: Any = None) -> Any:
        """Returns the model's prediction."""
        return self.model(inputs, training=training)

    @property
    def losses(self) -> list[Any]:
        """The penalties, those of regularizers with a schedule at the step that an objective inside counts."""
        inner = self.model
        with counting(inner.steps.value) if isinstance(inner, Objective) else contextlib.nullcontext():
            return super().losses

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,  # noqa: FBT001, FBT002
    ) -> Any:
        """Returns the compiled loss, or the objective that the model inside makes of it."""
        compiled = super().compute_loss

        def plain(prediction: Any) -> Any:
            return compiled(x, y, prediction, sample_weight, training)

        inner = self.model
        return inner.counted(plain, x, y_pred, training=training) if isinstance(inner, Objective) else plain(y_pred)

    def get_config(self) -> dict[str, Any]:
        return {
            "model": keras.saving.serialize_keras_object(self.model),
            "rho": self.rho,
            "adaptive": self.adaptive,
            "every": self.every,
            "alpha": self.alpha,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "SAM":
        config = dict(config)
        model = keras.saving.deserialize_keras_object(config.pop("model"), custom_objects=custom_objects)
        return cls(model, **config)

    @property
    def memory(self) -> list[Any]:
        """The slowly changing part of the second gradient; empty with `every=1`."""
        return self._memory

    @property
    def count(self) -> Any:
        """The number of steps taken; None with `every=1`."""
        return self._count

    def is_due(self, count: Any) -> Any:
        return ops.equal(count % self.every, 0)

    def offsets(self, gradients: Tensors, values: Tensors) -> Tensors:
        g, x = _in_float32(gradients), _in_float32(values)
        if self.adaptive:
            scale = self.rho / ops.maximum(_norm([a * b for a, b in zip(x, g, strict=True)]), _TINY)
            return [ops.square(a) * b * scale for a, b in zip(x, g, strict=True)]
        scale = self.rho / ops.maximum(_norm(g), _TINY)
        return [b * scale for b in g]

    def combined(self, first: Tensors, second: Tensors) -> tuple[Tensors, Tensors]:
        if self.every == 1:
            return second, []
        g, s = _in_float32(first), _in_float32(second)
        share = _dot(s, g) / ops.maximum(_dot(g, g), _TINY_SQUARED)
        # Kept at length 1: the gradients of the steps between may have another loss scale.
        across = [b - share * a for a, b in zip(g, s, strict=True)]
        size = ops.maximum(_norm(across), _TINY)
        return second, [v / size for v in across]

    def reused(self, first: Tensors, memory: Tensors) -> Tensors:
        size = self.alpha * _norm(_in_float32(first))
        return [g + ops.cast(size * v, g.dtype) for g, v in zip(first, memory, strict=True)]


def _in_float32(tensors: Tensors) -> Tensors:
    return [ops.cast(tensor, "float32") for tensor in tensors]


def _dot(a: Tensors, b: Tensors) -> Any:
    return ops.sum(ops.stack([ops.sum(x * y) for x, y in zip(a, b, strict=True)]))


def _norm(tensors: Tensors) -> Any:
    return ops.sqrt(_dot(tensors, tensors))
