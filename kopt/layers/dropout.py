"""Dropout whose rate is a variable, and may follow a schedule."""

from typing import Any

import keras
from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.layers.following import FollowingLayer, kept_or_zero


@register
class ScheduledDropout(FollowingLayer):
    """Dropout whose rate can change during training: `y = x m / (1 - rate)`, with m = 1 with probability 1 - rate.

    Keras' own rate is compiled into the step: a change after the first batch does nothing. Here it is a variable, which
    can be assigned between steps (`layer.rate.assign(0.1)`), or follows a schedule of kopt or Keras:

    ```
    early dropout       Linear(0.3, 5_000, 0.0)                        against under-fitting: off after 5,000 batches
    late dropout        Join([Constant(0.0), Constant(0.3)], [5_000])  against over-fitting: on after 5,000 batches
    curriculum dropout  0.5 - ExponentialDecay(0.5, 0.999)             from 0 up to 0.5: (1 - gamma^t) 0.5
    ```

    Steps are calls in training, so batches; with gradient accumulation, micro-batches. A layer that is called twice in
    one pass counts once, and both calls have the same rate. The count is saved: a loaded model goes on where it was,
    but with other random numbers, as Keras does not save the state of its generators.

    Args:
        rate: Share of the inputs that is dropped, in [0, 1), or a schedule of it. Schedules with `by="fraction"` learn
            the length of the run from any kopt callback, or from `kopt.schedules.resolve(model, ...)`. With `rate=0.0`
            the layer can still be given another rate later on.
        noise_shape: Shape of the mask: None for that of the inputs, else a list with an integer or None (as in the
            inputs) for each axis; 1 makes one decision for a whole axis.
        seed: Of the random numbers, an integer or None.
        **options: `name`, `dtype`, `trainable` of a Keras layer.

    Raises:
        ValueError: An argument is out of its range, or the schedule leaves [0, 1) at a step that is looked at.

    Example:

    ```python
    s = kopt.schedules
    early = kopt.layers.ScheduledDropout(s.Linear(0.2, 0.3, 0.0, by="fraction"))  # off after 30 % of the run
    model = keras.Sequential([keras.layers.Dense(256, "relu"), early, keras.layers.Dense(10)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, epochs=20, callbacks=[kopt.callbacks.Report()])
    ```

    References:
        Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html; Liu et al. 2023 (early and late),
        https://arxiv.org/abs/2303.01500; Morerio et al. 2017 (curriculum), https://arxiv.org/abs/1703.06229.
    """

    def __init__(
        self,
        rate: Hyperparameter,
        noise_shape: list[int | None] | tuple[int | None, ...] | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.noise_shape = checks.optional(_checked_shape, "noise_shape", noise_shape)
        self.seed = checks.optional(checks.count, "seed", seed, least=0)
        self.follow(rate, checks.fraction)
        self.seed_generator = keras.random.SeedGenerator(seed)

    @property
    def rate(self) -> keras.Variable:
        """The rate, a float32 variable."""
        return self._number

    def call(self, inputs: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Returns the inputs, in training with a part of them dropped."""
        if not training:
            return inputs
        share = 1.0 - self.number(training=True)
        shape = ops.shape(inputs)
        if self.noise_shape is not None:
            if len(self.noise_shape) != len(shape):
                raise checks.fail("noise_shape", f"a list of {len(shape)} entries, as the inputs", self.noise_shape)
            shape = tuple(b if a is None else a for a, b in zip(self.noise_shape, shape, strict=True))
        is_kept = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator) < share
        return kept_or_zero(inputs, is_kept, share)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"noise_shape": self.noise_shape, "seed": self.seed}


def _checked_shape(name: str, value: Any) -> tuple[int | None, ...]:
    if not isinstance(value, list | tuple):
        raise checks.fail(name, "a list of integers >= 1 and None, or None", value)
    return tuple(None if size is None else checks.count(f"{name}[{i}]", size) for i, size in enumerate(value))
