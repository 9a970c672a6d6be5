"""The small problems that the contracts run on: bare variables with gradients, and models with data."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

Arrays = list[np.ndarray]

SHAPES: dict[str, tuple[int, ...]] = {
    "first/kernel": (4, 3),
    "first/bias": (3,),
    "second/kernel": (3, 1),
    "second/bias": (1,),
}


def start_values() -> Arrays:
    """Returns the values that `variables` starts with."""
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype("float32") for shape in SHAPES.values()]


def variables(dtype: str = "float32") -> list[keras.Variable]:
    """Returns two kernels and two biases, with the paths of two layers."""
    made = []
    for path, value in zip(SHAPES, start_values(), strict=True):
        layer, name = path.split("/")
        with keras.name_scope(layer):
            made.append(keras.Variable(value, dtype=dtype, name=name))
    return made


def gradients(step: int) -> Arrays:
    """Returns the gradients of one step, of different sizes: scales 0.1 to 10."""
    rng = np.random.default_rng([1, step])
    scales = (0.1, 1.0, 10.0, 0.5)
    return [(s * rng.normal(size=shape)).astype("float32") for s, shape in zip(scales, SHAPES.values(), strict=True)]


def values(tensors: Sequence[Any]) -> Arrays:
    """Returns variables or tensors as NumPy arrays, 16-bit floats as float32, integers as they are."""
    return [_array(tensor) for tensor in tensors]


def _array(tensor: Any) -> np.ndarray:
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return ops.convert_to_numpy(ops.cast(tensor, "float32") if dtype in ("bfloat16", "float16") else tensor)


def tensors(arrays: Sequence[np.ndarray | None], dtype: str = "float32") -> list[Any]:
    """Returns NumPy arrays as the backend's tensors; None stays None."""
    return [None if array is None else ops.convert_to_tensor(array, dtype) for array in arrays]


def has_dtype(dtype: str) -> bool:
    """Returns whether the backend has variables of `dtype` (JAX has float64 only when it is told so)."""
    return keras.backend.standardize_dtype(keras.Variable(0.0, dtype=dtype).value.dtype) == dtype


def computes_in(dtype: str) -> bool:
    """Returns whether Keras' operations keep `dtype` (on PyTorch, its `maximum` of two float64 is float32)."""
    one = keras.Variable(1.0, dtype=dtype).value
    return has_dtype(dtype) and keras.backend.standardize_dtype(ops.maximum(one, one).dtype) == dtype


def walk(
    optimizer: keras.optimizers.Optimizer,
    steps: int = 3,
    *,
    gradient: Callable[[int], Sequence[np.ndarray | None]] = gradients,
    on: Sequence[keras.Variable] | None = None,
) -> Arrays:
    """Applies the gradients of `steps` steps; returns the values that the variables end with."""
    trained = variables() if on is None else on
    for step in range(steps):
        optimizer.apply(tensors(gradient(step)), trained)
    return values(trained)


def assert_close(actual: Sequence[Any], expected: Sequence[Any], tolerance: float = 1e-6) -> None:
    """Fails unless all arrays agree to `tolerance`, relative to the largest number of each array or to 1.

    Float32 rounds sums to 6e-8 of their largest term: a small element beside large ones has that absolute error.
    """
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        size = float(np.max(np.abs(e), initial=1.0))
        np.testing.assert_allclose(a, e, rtol=0, atol=tolerance * size)


def assert_same(actual: Sequence[Any], expected: Sequence[Any]) -> None:
    """Fails unless all arrays agree bit for bit."""
    assert len(actual) == len(expected)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, e)


def data() -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs and targets of a regression: 12 samples, 4 features, 1 target."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(12, 4)).astype("float32")
    return x, (x @ rng.normal(size=(4, 1)) + 0.1).astype("float32")


def fit(
    model: keras.Model, epochs: int = 1, batch: int = 4, callbacks: Sequence[keras.callbacks.Callback] = ()
) -> list[float]:
    """Trains on `data`, always in the same order; returns the loss of each epoch."""
    x, y = data()
    seen = model.fit(x, y, batch_size=batch, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks))
    return seen.history["loss"]


def dense(units: int, name: str, seed: int, **options: Any) -> keras.layers.Layer:
    """Returns a dense layer that starts with the same weights each time."""
    return keras.layers.Dense(
        units, name=name, kernel_initializer=keras.initializers.RandomNormal(stddev=0.5, seed=seed), **options
    )


def sequential(**options: Any) -> keras.Model:
    """Returns a Sequential of two dense layers, named `first` and `second`."""
    first, second = dense(3, "first", 1, activation="tanh", **options), dense(1, "second", 2, **options)
    return keras.Sequential([keras.Input((4,)), first, second])


def functional(**options: Any) -> keras.Model:
    """Returns the same network as `sequential`, as a Functional model."""
    inputs = keras.Input((4,))
    hidden = dense(3, "first", 1, activation="tanh", **options)(inputs)
    return keras.Model(inputs, dense(1, "second", 2, **options)(hidden))


def nested(**options: Any) -> keras.Model:
    """Returns the same network as `sequential`, with a Sequential inside a Sequential that is not built yet."""
    inner = keras.Sequential([dense(3, "first", 1, activation="tanh", **options)], name="inner")
    return keras.Sequential([inner, dense(1, "second", 2, **options)], name="outer")


@keras.saving.register_keras_serializable(package="kopt")
class Subclassed(keras.Model):
    """The same network as `sequential`, as a class of its own that is built at the first call."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.first = dense(3, "first", 1, activation="tanh", **options)
        self.second = dense(1, "second", 2, **options)

    def call(self, inputs: Any) -> Any:
        """Returns the prediction."""
        return self.second(self.first(inputs))


MODELS: dict[str, Callable[..., keras.Model]] = {
    "sequential": sequential,
    "functional": functional,
    "nested": nested,
    "subclassed": Subclassed,
}


def traces() -> bool:
    """Returns whether the backend traces a training step once, instead of running its Python at each batch."""
    return keras.backend.backend() != "torch"
