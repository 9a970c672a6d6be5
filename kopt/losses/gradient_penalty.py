"""A penalty on how fast a model's output changes with its input."""

from typing import Any, ClassVar

import keras
from keras import ops

from kopt._backend import derivatives
from kopt._core import checks
from kopt._core.configured import Hyperparameter, register, serialized
from kopt._core.followed import Followed, same_step
from kopt.losses.objective import Objective, Plain, replica_share

_TINY = 1e-12


@register
class GradientPenalty(Objective):
    """Trains a model with a penalty on the norm of the gradient of its outputs by its inputs, at the data.

    ```
    loss = L + weight mean((|g| - target)^2)              two-sided; g: gradient of the sum of a sample's outputs
    loss = L + weight mean(max(|g| - target, 0)^2)        one-sided
    ```

    A two-sided penalty keeps inputs apart that differ (as DUQ needs) and bounds the Lipschitz constant at the data; a
    target of 0 asks for flatness. What mixes samples of a batch, as batch normalisation does, mixes their gradients.

    The model is trained in place, by Keras' train step. Compute: one more pass, differentiated twice. That pass has
    dropout masks of its own and leaves no trace in batch statistics. It needs second derivatives of all layers: a ReLU
    network has them almost everywhere; fused attention kernels may not.

    Args:
        model: A Keras model of one tensor of floating-point inputs.
        weight: Of the penalty, >= 0, or a schedule of it.
        target: The norm that is aimed at, >= 0.
        two_sided: Whether norms below the target cost as well.
        name: Of this model.

    Raises:
        ValueError: An argument is out of its range, or `model` has a `train_step` or `compute_loss` of its own; in
            training, if the inputs are not one tensor of floating-point numbers.

    Example:

    ```python
    trained = kopt.losses.GradientPenalty(model, weight=0.1)
    trained.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    trained.fit(x, y, epochs=10)
    ```

    References:
        Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028 (there between data and samples of a generator); van
        Amersfoort et al. 2020 (DUQ), https://arxiv.org/abs/2003.02037.
    """

    prefix: ClassVar[str] = "gradient_penalty"

    def __init__(
        self,
        model: keras.Model,
        weight: Hyperparameter,
        target: float = 1.0,
        *,
        two_sided: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(model, name)
        self.followed = (Followed("weight", weight, checks.non_negative, 0.0),)
        self.target = checks.non_negative("target", target)
        self.two_sided = checks.flag("two_sided", two_sided)

    def objective(self, plain: Plain, x: Any, y_pred: Any, *, training: bool) -> Any:
        loss = super().objective(plain, x, y_pred, training=training)
        if not training:
            return loss
        if keras.tree.is_nested(x) or not keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype)):
            received = keras.tree.map_structure(lambda part: keras.backend.standardize_dtype(part.dtype), x)
            raise checks.fail(
                "x", "one tensor of floating-point inputs", received, "Penalise the model after embeddings."
            )
        weight = self.followed[0].now("GradientPenalty")
        return loss + weight * replica_share() * self._penalty(x)

    def _penalty(self, x: Any) -> Any:
        trainable = [variable.value for variable in self.model.trainable_variables]
        others = [variable.value for variable in self.model.non_trainable_variables]

        def outputs(points: Any) -> Any:
            # Without state: what this pass writes stays inside, and batch statistics see each batch once.
            y, _ = self.model.stateless_call(trainable, others, points, training=True)
            return sum(ops.sum(ops.cast(part, "float32")) for part in keras.tree.flatten(y))

        with same_step():
            gradient = ops.cast(derivatives.input_gradient(outputs, x), "float32")
        size = ops.sqrt(ops.sum(ops.square(gradient), axis=tuple(range(1, len(gradient.shape)))) + _TINY)
        excess = size - self.target
        return ops.mean(ops.square(excess if self.two_sided else ops.relu(excess)))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "weight": serialized(self.followed[0].argument),
            "target": self.target,
            "two_sided": self.two_sided,
        }
