"""How to train a small model with some quantities in sight, and read what was seen, step by step."""

from typing import Any

import keras
import numpy as np

from kopt import callbacks

BACKEND = keras.backend.backend()


class Numbers(callbacks.TensorBoard):
    """A monitor that keeps all numbers that it is shown: tag -> step -> number."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: dict[str, dict[int, float]] = {}

    def _deliver(self, step: int, scalars: dict[str, float], counts: dict[str, np.ndarray]) -> None:
        super()._deliver(step, scalars, counts)
        for tag, value in scalars.items():
            self.seen.setdefault(tag, {})[step] = value


def linear(outputs: int = 1, inputs: int = 4, *, bias: bool = False) -> Any:
    """Returns a linear model with one kernel."""
    return keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(outputs, use_bias=bias, name="line")])


def regression(examples: int = 32, inputs: int = 4, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs of different scales, and noisy targets."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(examples, inputs)) * np.array([3.0, 1.0, 0.5, 0.1])[:inputs]
    y = x @ rng.normal(size=(inputs, 1)) + rng.normal(size=(examples, 1))
    return x.astype("float32"), y.astype("float32")


def watched(
    log_dir: Any,
    monitor: Any,
    *,
    model: Any = None,
    optimizer: Any = None,
    data: Any = None,
    epochs: int = 1,
    batch_size: int = 8,
    every: Any = 1,
    loss: Any = "mse",
    compiling: Any = None,
    **options: Any,
) -> tuple[dict[str, dict[int, float]], Any]:
    """Trains a model without shuffling; returns the numbers seen, and the model."""
    model = model or linear()
    x, y = data or regression()
    model.compile(optimizer or keras.optimizers.SGD(0.02), loss, **(compiling or {}))
    board = Numbers(log_dir, monitor=monitor, every=every, **options)
    model.fit(x, y, batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0, callbacks=[board])
    return board.seen, model
