"""Two passes with different dropout masks that should agree."""

from typing import Any, ClassVar

import keras
from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register, serialized
from kopt._core.followed import Followed, same_step
from kopt.losses.objective import Objective, Plain, replica_share


@register
class RDrop(Objective):
    """Trains a classifier on two passes of each batch, with the distance between their predictions as a penalty.

    ```
    loss = (L(p) + L(q)) / 2 + alpha (KL(p || q) + KL(q || p)) / 2
    ```

    p and q are predictions for the same inputs, with different masks of dropout; L is the compiled loss, penalties of
    layers included. The paper adds the two L instead of taking their mean: an alpha of 1 there is 0.5 here. The
    divergence is the mean over the batch and all positions, without sample weights. Metrics see the first pass.

    The model is trained in place, by Keras' train step. Compute: two passes, forward and backward. Layers that follow
    schedules count one step; batch statistics are updated twice.

    Args:
        model: A Keras model with one output, whose last axis holds the classes.
        alpha: Weight of the divergence, >= 0, or a schedule of it.
        from_logits: Whether predictions are logits; else they are probabilities.
        name: Of this model.

    Raises:
        ValueError: An argument is out of its range, or `model` has a `train_step` or `compute_loss` of its own.

    Example:

    ```python
    trained = kopt.losses.RDrop(model, alpha=1.0, from_logits=True)
    trained.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    trained.fit(x, y, epochs=10)
    model.save("model.keras")
    ```

    References:
        Wu et al. 2021, https://arxiv.org/abs/2106.14448.
    """

    prefix: ClassVar[str] = "r_drop"

    def __init__(
        self, model: keras.Model, alpha: Hyperparameter, *, from_logits: bool = False, name: str | None = None
    ) -> None:
        super().__init__(model, name)
        self.followed = (Followed("alpha", alpha, checks.non_negative, 0.0),)
        self.from_logits = checks.flag("from_logits", from_logits)

    def objective(self, plain: Plain, x: Any, y_pred: Any, *, training: bool) -> Any:
        first = super().objective(plain, x, y_pred, training=training)
        if not training:
            return first
        if keras.tree.is_nested(y_pred):
            raise checks.fail("model", "a model with one output", keras.tree.map_structure(lambda y: y.shape, y_pred))
        with same_step():
            again = self.model(x, training=True)
        second = super().objective(plain, x, again, training=True)
        log_p, log_q = self._log_probabilities(y_pred), self._log_probabilities(again)
        divergence = 0.5 * ops.sum((ops.exp(log_p) - ops.exp(log_q)) * (log_p - log_q), axis=-1)
        alpha = self.followed[0].now("RDrop")
        return 0.5 * (first + second) + alpha * replica_share() * ops.mean(divergence)

    def _log_probabilities(self, y_pred: Any) -> Any:
        y_pred = ops.cast(y_pred, "float32")
        if self.from_logits:
            return ops.log_softmax(y_pred, axis=-1)
        return ops.log(ops.clip(y_pred, keras.config.epsilon(), 1.0))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "alpha": serialized(self.followed[0].argument),
            "from_logits": self.from_logits,
        }
