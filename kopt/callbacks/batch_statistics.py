"""Statistics of batch normalization, computed anew for the weights that a model holds."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kopt._backend import adapter_module, watch
from kopt._core import checks
from kopt.optimizers import ComposedOptimizer

_STEP = "statistics_step"


def normalizations(model: Any) -> list[Any]:
    """Returns the `BatchNormalization` layers anywhere in a model, in an order that survives saving."""
    return [part for part in watch.flat_layers(model) if isinstance(part, keras.layers.BatchNormalization)]


def recomputed(model: Any, batches: Iterator[Any]) -> list[tuple[Any, Any]]:
    """Returns what the statistics of batch normalization are over some data, with the weights that the model holds.

    ```
    statistic <- mean over the batches of the batch's mean, and of its variance (biased, as Keras has it)
    ```

    The model is called in training mode, and nothing is written. A layer that no call reaches in training mode is left
    out; one that several inputs pass, as in siamese networks, averages over all of them.

    Args:
        model: A built model.
        batches: Inputs of the model, one batch after the other; at least one.

    Returns:
        Pairs of a variable and its value.
    """
    layers = [layer for layer in normalizations(model) if layer.built and layer.trainable]
    averages = [_Averages(layer) for layer in layers]
    with contextlib.ExitStack() as stack:
        stack.enter_context(adapter_module.without_gradients())
        stack.enter_context(keras.StatelessScope())  # What a call assigns ends with it.
        for layer, average in zip(layers, averages, strict=True):
            stack.enter_context(watch.overriding(layer, "call", average.watching(layer.call)))
        empty = True
        for batch in batches:
            model(batch, training=True)
            empty = False
        if empty:
            raise checks.fail("batch_norm_data", "at least one batch of inputs", "no batch")
    return [pair for average in averages for pair in average.values()]


class _Averages:
    """Cumulative averages of what one layer sees."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.variables = [layer.moving_mean, layer.moving_variance]
        self.calls = 0
        self.means: list[Any] = [0.0, 0.0]

    def watching(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Returns a `call` for the layer that notes the statistics of each batch."""

        def call(inputs: Any, training: Any = None, mask: Any = None) -> Any:
            if not training:
                return original(inputs, training=training, mask=mask)
            for variable in self.variables:
                variable.assign(ops.zeros(variable.shape, variable.dtype))  # 0 * NaN would be NaN.
            momentum, self.layer.momentum = self.layer.momentum, 0.0
            try:
                outputs = original(inputs, training=training, mask=mask)
            finally:
                self.layer.momentum = momentum
            self.calls += 1
            for i, variable in enumerate(self.variables):
                self.means[i] += (_at_least_float32(variable) - self.means[i]) / self.calls
            return outputs

        return call

    def values(self) -> list[tuple[Any, Any]]:
        """Returns the variables with their averages; nothing if the layer was not called."""
        return list(zip(self.variables, self.means, strict=True)) if self.calls else []


def exchange(model: Any, keeper: ComposedOptimizer, batches: Iterator[Any]) -> Callable[[], None]:
    """Puts recomputed statistics into the model, and gives those of training to an optimizer to keep.

    Args:
        model: Holds the weights that the statistics are to fit.
        keeper: Saves the statistics of training beside its state, for a `fit` after loading.
        batches: Inputs.

    Returns:
        A function that puts the statistics of training back, except where something else has been put by then.
    """
    new = recomputed(model, batches)
    variables = _statistics(model)
    before, kept = _read(variables), dict(keeper.luggage)
    for variable, value in new:
        variable.assign(value)
    put = _read(variables)
    if kept.get(_STEP) != watch.micro_steps(keeper):  # Else the model already holds an average, as after `fit`.
        keeper.luggage[_STEP] = np.array(watch.micro_steps(keeper))
        keeper.luggage.update({f"statistic_{i}": value for i, value in enumerate(before)})

    def go_back() -> None:
        for variable, old, ours, now in zip(variables, before, put, _read(variables), strict=True):
            if np.array_equal(now, ours, equal_nan=True):
                variable.assign(old)
        keeper.luggage.clear()
        keeper.luggage.update(kept)

    return go_back


def restore(model: Any, keeper: ComposedOptimizer) -> None:
    """Puts the statistics of training back that `exchange` gave to an optimizer, unless it has taken steps since."""
    luggage = dict(keeper.luggage)
    keeper.luggage.clear()
    if luggage.pop(_STEP, None) != watch.micro_steps(keeper):
        return
    variables = _statistics(model)
    values = [luggage[f"statistic_{i}"] for i in range(len(luggage))]
    if [v.shape for v in values] == [tuple(v.shape) for v in variables]:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)


def _statistics(model: Any) -> list[Any]:
    built = [layer for layer in normalizations(model) if layer.built]
    return [variable for layer in built for variable in (layer.moving_mean, layer.moving_variance)]


def _read(variables: Sequence[Any]) -> list[np.ndarray]:
    # Copies: some backends show their own memory.
    return [np.array(ops.convert_to_numpy(_at_least_float32(variable))) for variable in variables]


def _at_least_float32(variable: Any) -> Any:
    return ops.cast(ops.convert_to_tensor(variable), keras.backend.result_type(variable.dtype, "float32"))


def batches_of(data: Any, count: int | None, size: int) -> Iterator[Any]:
    """Yields batches of inputs.

    Args:
        data: Arrays, cut into batches; or an iterable of batches, of which targets and sample weights are left out.
        count: At most so many batches; None for all.
        size: Samples in a batch of arrays; the last one may be smaller.
    """
    return itertools.islice(_cut(data, size) if is_arrays(data) else _inputs(data), count)


def is_arrays(data: Any) -> bool:
    """Returns whether data is an array, or a structure of arrays as a model with several inputs takes it."""
    leaves = keras.tree.flatten(data)
    return bool(leaves) and all(len(getattr(leaf, "shape", ())) > 0 for leaf in leaves)


def _cut(data: Any, size: int) -> Iterator[Any]:
    samples = int(keras.tree.flatten(data)[0].shape[0])
    for start in range(0, samples, size):
        yield keras.tree.map_structure(lambda leaf, at=start: _tensor(leaf[at : at + size]), data)


def _by_index(data: keras.utils.PyDataset) -> Iterator[Any]:
    for i in itertools.count():
        if data.num_batches is not None and i >= data.num_batches:
            return
        yield data[i]


def _inputs(data: Any) -> Iterator[Any]:
    is_indexed = isinstance(data, keras.utils.PyDataset)
    for batch in _by_index(data) if is_indexed else data:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
        yield keras.tree.map_structure(_tensor, x)


def _tensor(leaf: Any) -> Any:
    array = leaf if ops.is_tensor(leaf) else np.asarray(leaf)
    is_float = keras.backend.is_float_dtype(keras.backend.standardize_dtype(array.dtype))
    return ops.convert_to_tensor(array, keras.config.floatx() if is_float else None)
