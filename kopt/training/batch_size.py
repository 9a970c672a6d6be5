"""Batches whose size changes during training."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from kopt._core import checks

_REMEMBERED = 8  # Keras asks for the first batches twice on TensorFlow, to see what they look like.
_CHUNK = 1024


class BatchSizeSchedule(keras.utils.PyDataset):
    """Any data, in batches whose size follows a schedule: larger batches instead of lower rates.

    The rows of the data come pass after pass, without end and without a smaller batch between two passes. Keras counts
    a fixed number of batches as an epoch, so `fit` needs `steps_per_epoch`; `steps` says how many batches some passes
    over the data make.

    Each size is compiled once where steps are compiled. Batches are made in order, in one worker.

    Args:
        dataset: An array, or a tuple (x, y) or (x, y, sample_weight) of arrays or of structures of arrays; or batches:
            an iterable that starts anew each time, such as a `PyDataset`, a `tf.data.Dataset` or a torch `DataLoader`.
            The rows of its batches are put together anew.
        sizes: The sizes, by where they begin: `{0: 32, 1000: 128}`. Or a callable that returns the size there.
        by: Whether `sizes` counts batches (`"step"`) or passes over the data (`"epoch"`). A batch over the end of a
            pass has the size of the pass that it begins in.
        shuffle: Whether to shuffle arrays, anew in each pass. Batches come in their own order.
        seed: Of the shuffling; a new one each time for None.
        initial_step: How many batches to leave out at the start, for a run that goes on.

    Raises:
        ValueError: An argument is out of its range, or (when batches are made) the data has no rows, or its batches
            come only once.

    Example:

    ```python
    data = kopt.training.BatchSizeSchedule((x, y), {0: 32, 10: 64, 20: 128}, by="epoch", seed=0)
    model.fit(data, epochs=30, steps_per_epoch=data.steps(30) // 30)
    ```

    References:
        Smith et al. 2018, Don't Decay the Learning Rate, Increase the Batch Size, https://arxiv.org/abs/1711.00489.
    """

    def __init__(
        self,
        dataset: Any,
        sizes: Mapping[int, int] | Callable[[int], int],
        by: str = "step",
        *,
        shuffle: bool = True,
        seed: int | None = None,
        initial_step: int = 0,
    ) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._size_at = sizes if callable(sizes) else _steps_of(sizes)
        self.by = checks.choice("by", by, ("step", "epoch"))
        self.shuffle = checks.flag("shuffle", shuffle)
        self.initial_step = checks.count("initial_step", initial_step, least=0)
        seed = checks.optional(checks.count, "seed", seed, least=0)
        self._seed = int(np.random.default_rng(seed).integers(2**62))
        is_one = isinstance(dataset, dict | tuple | list) or hasattr(dataset, "shape")
        self._arrays = _checked_arrays(dataset) if is_one else None
        if not is_one and not isinstance(dataset, Iterable) and not hasattr(dataset, "__getitem__"):
            raise checks.fail("dataset", "arrays, or an iterable of batches", dataset)
        self._batches = self._shuffled_chunks if is_one else _passes_over(dataset)
        self._lock = threading.Lock()
        self._start()

    @property
    def num_batches(self) -> None:
        """None: the batches do not end."""
        return

    def __getitem__(self, index: int) -> Any:
        """Returns the batch at `index`; they are made in order, and index 0 starts anew."""
        with self._lock:
            if index not in self._recent:
                if index == 0:
                    self._start()
                if index != self._made - self.initial_step:
                    raise IndexError(f"Batches are made in order: asked for {index}, after {self._made - 1}.")
                self._recent[index] = self._next()
                self._recent.pop(index - _REMEMBERED, None)
            return self._recent[index]

    def steps(self, epochs: int) -> int:
        """Returns how many batches so many passes over the data make, those before `initial_step` included.

        Args:
            epochs: Number of passes, >= 1.

        Raises:
            ValueError: The data is not in arrays, so that nobody knows how many rows it has.
        """
        checks.count("epochs", epochs)
        if self._arrays is None:
            raise checks.fail("dataset", "in arrays, for its rows to be known", "batches")
        rows, seen, step = _rows(self._arrays), 0, 0
        while seen < rows * epochs:
            seen += self._size(step, seen // rows)
            step += 1
        return step

    def _size(self, step: int, epoch: int) -> int:
        return checks.count("sizes", self._size_at(step if self.by == "step" else epoch))

    def _start(self) -> None:
        self._recent: dict[int, Any] = {}
        self._made, self._stream = 0, _Stream(self._batches)
        while self._made < self.initial_step:
            self._next()

    def _next(self) -> Any:
        batch = self._stream.take(self._size(self._made, self._stream.epoch()))
        self._made += 1
        return batch

    def _shuffled_chunks(self, epoch: int) -> Iterator[Any]:
        rows = _rows(self._arrays)
        order = np.random.default_rng([self._seed, epoch]).permutation(rows) if self.shuffle else np.arange(rows)
        for begin in range(0, rows, _CHUNK):
            chunk = order[begin : begin + _CHUNK]
            yield keras.tree.map_structure(lambda array, chunk=chunk: array[chunk], self._arrays)


class _Stream:
    """The rows of all passes as one stream, from which batches of any size are taken."""

    def __init__(self, batches: Callable[[int], Iterator[Any]]) -> None:
        self._batches = batches
        self._pass, self._iterator = 0, batches(0)
        self._pieces: list[tuple[int, Any]] = []  # with the pass that each is of
        self._found = 0  # rows in this pass

    def epoch(self) -> int:
        """Returns which pass the next row is of."""
        while not self._pieces:
            self._fetch()
        return self._pieces[0][0]

    def take(self, rows: int) -> Any:
        taken: list[Any] = []
        while rows:
            epoch = self.epoch()
            _, piece = self._pieces.pop(0)
            have = _rows(piece)
            taken.append(_cut(piece, 0, rows))
            if have > rows:
                self._pieces.insert(0, (epoch, _cut(piece, rows, have)))
            rows -= min(rows, have)
        return taken[0] if len(taken) == 1 else keras.tree.map_structure(lambda *parts: np.concatenate(parts), *taken)

    def _fetch(self) -> None:
        batch = next(self._iterator, None)
        if batch is not None:
            piece = keras.tree.map_structure(keras.ops.convert_to_numpy, batch)
            piece = tuple(piece) if isinstance(piece, list) else piece
            self._found += _rows(piece)
            self._pieces += [(self._pass, piece)] if _rows(piece) else []
            return
        if not self._found:
            again = " the second time: a generator ends once; give an iterable that starts anew" if self._pass else ""
            raise ValueError(f"`dataset` must have rows. Received: none{again}.")
        self._pass, self._found = self._pass + 1, 0
        self._iterator = self._batches(self._pass)


def _steps_of(sizes: Any) -> Callable[[int], int]:
    rule = "a dict of integers >= 0, 0 among them, and integers >= 1; or a callable"
    if not isinstance(sizes, Mapping) or 0 not in sizes:
        raise checks.fail("sizes", rule, sizes)
    for start, size in sizes.items():
        for value, least in ((start, 0), (size, 1)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise checks.fail("sizes", rule, sizes)
    return lambda at: sizes[max(start for start in sizes if start <= at)]


def _checked_arrays(dataset: Any) -> Any:
    arrays = tuple(dataset) if isinstance(dataset, list) else dataset
    if isinstance(arrays, tuple) and not 1 <= len(arrays) <= 3:
        raise checks.fail("dataset", "(x,), (x, y) or (x, y, sample_weight)", f"{len(arrays)} parts")
    arrays = keras.tree.map_structure(np.asarray, arrays)
    lengths = [array.shape[0] if array.ndim else None for array in keras.tree.flatten(arrays)]
    if len(set(lengths)) != 1 or not lengths[0]:
        raise checks.fail("dataset", "arrays with the same number of rows, at least 1", f"rows: {lengths}")
    return arrays


def _passes_over(dataset: Any) -> Callable[[int], Iterator[Any]]:
    def batches(epoch: int) -> Iterator[Any]:
        if epoch and isinstance(dataset, keras.utils.PyDataset):
            dataset.on_epoch_end()
        return iter(dataset)

    return batches


def _rows(batch: Any) -> int:
    return len(keras.tree.flatten(batch)[0])


def _cut(batch: Any, begin: int, end: int) -> Any:
    return keras.tree.map_structure(lambda array: array[begin:end], batch)
