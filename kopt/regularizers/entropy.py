"""A penalty on the confidence of a classifier's outputs."""

from typing import Any, ClassVar

import keras
from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.regularizers.penalty import Penalty


@register
class EntropyPenalty(Penalty):
    """Confidence penalty `-factor * H(p)`, H the entropy of the predicted classes: an activity regularizer.

    Predictions with nearly all probability on one class cost more. The value is <= 0. It is the mean over samples, and
    over positions where outputs have several, as Keras' cross-entropies take it; masks and sample weights are not seen.

    Args:
        factor: Strength (beta in the paper), >= 0, or a schedule of it: as in `L1`.
        from_logits: Whether the layer's outputs are logits; else they are probabilities.
        axis: Of the classes, an integer.

    Raises:
        ValueError: `factor` is as `L1` refuses it, `from_logits` is no bool, or `axis` no integer.

    Example:

    ```python
    keras.layers.Dense(10, "softmax", activity_regularizer=kopt.regularizers.EntropyPenalty(0.1))
    ```

    References:
        Pereyra et al. 2017, https://arxiv.org/abs/1701.06548.
    """

    extra: ClassVar[tuple[str, ...]] = ("from_logits", "axis")

    def __init__(self, factor: Hyperparameter = 0.1, *, from_logits: bool = False, axis: int = -1) -> None:
        self.begin(factor=factor)
        self.from_logits = checks.flag("from_logits", from_logits)
        if isinstance(axis, bool) or not isinstance(axis, int):
            raise checks.fail("axis", "an integer", axis)
        self.axis = axis

    def penalty(self, x: Any) -> Any:
        if len(x.shape) < 2:
            raise checks.fail(
                "x", "outputs of two or more dimensions", tuple(x.shape), "Make it an activity regularizer."
            )
        if self.from_logits:
            log_p = ops.log_softmax(x, axis=self.axis)
            p = ops.exp(log_p)
        else:
            p, log_p = x, ops.log(ops.maximum(x, keras.config.epsilon()))
        negative_entropies = ops.sum(p * log_p, axis=self.axis)
        # Keras divides what an activity regularizer returns by the size of the batch.
        return ops.mean(negative_entropies) * ops.cast(ops.shape(x)[0], x.dtype)
