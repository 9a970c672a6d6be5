"""Batches for an experiment: from arrays in an order of their own, or as a loader makes them."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from kopt._core import checks

Batch = tuple[Any, Any, Any]
_REPEAT = (
    "It is used up by the test: pass arrays, or what can be iterated again (`PyDataset`, `tf.data`, `DataLoader`)."
)


class Rows:
    """Arrays whose rows make batches of any size, in the order of permutations that belong to a seed.

    Args:
        x: An array, or a list, tuple or dict of arrays, of equally many rows.
        y: The same, or None.
    """

    def __init__(self, x: Any, y: Any = None) -> None:
        self._data = keras.tree.map_structure(_array, (x, y, None))
        lengths = {len(leaf) for leaf in keras.tree.flatten(self._data) if leaf is not None}
        if len(lengths) != 1 or not min(lengths):
            raise checks.fail("x", "arrays with as many rows as `y`, and at least one", sorted(lengths))
        self.count = lengths.pop()

    def batches(self, size: int, seed: int) -> Iterator[Batch]:
        """Yields batches without end, all of one size: the rows, pass after pass, each pass shuffled anew."""
        generator, waiting = np.random.default_rng(seed), np.zeros(0, "int64")
        while True:
            while len(waiting) < size:
                waiting = np.concatenate([waiting, generator.permutation(self.count)])
            chosen, waiting = waiting[:size], waiting[size:]
            yield self.take(chosen)

    def take(self, chosen: np.ndarray) -> Batch:
        """Returns the rows at some places as a batch."""
        return keras.tree.map_structure(lambda leaf: None if leaf is None else leaf[chosen], self._data)


def is_rows(x: Any) -> bool:
    """Returns whether data is arrays, and not something that makes batches."""
    return isinstance(x, dict | tuple | list) or hasattr(x, "shape")


def batches_of(x: Any, y: Any, size: int, seed: int) -> Iterator[Batch]:
    """Yields batches (x, y, sample_weight) without end.

    Args:
        x: Arrays; or an iterable of batches, which starts anew each time.
        y: Arrays; None if `x` makes batches.
        size: Rows in a batch of arrays; fewer if there are not as many rows.
        seed: Of the order of rows.

    Raises:
        ValueError: The data is of no use, or can be had only once.
    """
    if is_rows(x):
        rows = Rows(x, y)
        yield from rows.batches(min(size, rows.count), seed)
    if isinstance(x, Iterator):
        raise checks.fail("x", "data that can be had again and again", x, _REPEAT)
    if y is not None:
        raise checks.fail("y", "None if `x` makes batches", type(y).__name__)
    if not isinstance(x, Iterable) and not hasattr(x, "__getitem__"):
        raise checks.fail("x", "arrays, or an iterable of batches", x)
    yield from _passes(x)


def _passes(data: Any) -> Iterator[Batch]:
    for number in itertools.count():
        empty = True
        for batch in _one_pass(data):
            empty = False
            parts = keras.utils.unpack_x_y_sample_weight(batch)
            yield keras.tree.map_structure(_array, parts)
        if empty:
            raise checks.fail("x", "data with at least one batch" if not number else "data that begins anew", data)


def _one_pass(data: Any) -> Iterable[Any]:
    if isinstance(data, keras.utils.PyDataset) and data.num_batches is not None:
        return (data[i] for i in range(data.num_batches))
    return data


def _array(leaf: Any) -> Any:
    if leaf is None or isinstance(leaf, np.ndarray):
        return leaf
    if not hasattr(leaf, "shape"):
        raise checks.fail("x", "made of arrays", leaf)
    return np.asarray(keras.ops.convert_to_numpy(leaf) if keras.ops.is_tensor(leaf) else leaf)
