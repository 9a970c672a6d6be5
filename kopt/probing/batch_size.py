"""How fast a model trains at which batch size, where memory ends, and what its gradients ask for."""

import math
import statistics
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from kopt._backend import adapter_module, undisturbed
from kopt._core import checks
from kopt.monitoring import NoiseScale
from kopt.monitoring.batch_loss import BatchLoss, LossFunctions
from kopt.probing.batch_sizes import BatchSizes
from kopt.probing.batches import Batch, Rows, is_rows
from kopt.probing.memory import is_out_of_memory
from kopt.probing.optimizer import checked_model, twin_of

_PARTS = 16
_FLAT = 1.1


def find_batch_size(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    smallest: int = 8,
    largest: int | None = None,
    steps: int = 5,
    seed: int = 0,
) -> BatchSizes:
    """Measures training steps with ever larger batches; the model stays as it is.

    The size is doubled until memory runs out, until twice in a row it brings less than 10 % more examples per second,
    or until it reaches `largest`. Steps are real ones, at a learning rate of 0, each size compiled first. Afterwards
    all is restored as by `kopt.find_learning_rate`, also if memory ran out. (A process that the operating system kills
    for its memory cannot be helped: on a CPU, give `largest`.) `BatchSizes` says what to make of the numbers.

    Args:
        model: Compiled and built.
        x: Inputs: an array, or a list, tuple or dict of arrays.
        y: Targets: the same.
        smallest: The first size, >= 1.
        largest: The last size, >= `smallest`; None for the number of rows.
        steps: Steps to time at each size, >= 1, after one that is not timed.
        seed: Of the order of the rows, an integer >= 0.

    Raises:
        ValueError: An argument is out of its range; the model is not compiled or not built; or even the smallest batch
            does not fit into memory.
    """
    checked_model(model)
    if not is_rows(x):
        raise checks.fail("x", "arrays, from which batches of any size can be made", x)
    rows, seed = Rows(x, y), checks.count("seed", seed, least=0)
    first, steps = checks.count("smallest", smallest), checks.count("steps", steps)
    last = max(rows.count, first) if largest is None else checks.count("largest", largest, least=first)
    with undisturbed.undisturbed(model):
        critical = _critical(model, rows, seed)
        sizes, seconds, too_large, why = _measured(model, rows, _doubled(first, last), steps, seed)
    return BatchSizes(np.array(sizes), np.array(seconds), too_large, critical, why)


def _doubled(size: int, last: int) -> Iterator[int]:
    while size <= last:
        yield size
        size *= 2


def _measured(
    model: Any, rows: Rows, candidates: Iterator[int], steps: int, seed: int
) -> tuple[list[int], list[float], int | None, str]:
    twin = twin_of(model.optimizer, model)
    twin.learning_rate = 0.0
    undisturbed.put_optimizer(model, twin)
    sizes: list[int] = []
    seconds: list[float] = []
    for size in candidates:
        try:
            taken = _step_seconds(model, rows.batches(size, seed), steps)
        except adapter_module.DEVICE_ERRORS as error:
            if not is_out_of_memory(error):
                raise
            if not sizes:
                said = str(error).strip().split("\n")[0]
                advice = f"Begin with a smaller one. The backend said: {said}"
                raise checks.fail("smallest", "a batch that fits into memory", size, advice) from error
            return sizes, seconds, size, f"A batch of {size} did not fit into memory."
        sizes.append(size)
        seconds.append(taken)
        rates = [n / s for n, s in zip(sizes, seconds, strict=True)][-3:]
        if len(rates) == 3 and rates[1] < _FLAT * rates[0] and rates[2] < _FLAT * max(rates[:2]):
            return sizes, seconds, None, "Larger batches bring no more examples per second."
    return sizes, seconds, None, ""


def _step_seconds(model: Any, batches: Iterator[Batch], steps: int) -> float:
    """Returns the median time of a step; the first one, which compiles, is not timed."""
    taken = []
    for batch in (next(batches) for _ in range(steps + 1)):
        started = time.perf_counter()
        model.train_on_batch(*batch, return_dict=True)  # The loss as a number: the device is done.
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def _critical(model: Any, rows: Rows, seed: int) -> float:
    """Returns tr(S) / |G|^2 at the present weights; NaN where one of them is not above 0."""
    part = min(64, rows.count // _PARTS)
    if part < 1:
        return math.nan
    x, y, _ = next(rows.batches(part * _PARTS, seed))
    data = keras.tree.map_structure(ops.convert_to_tensor, (x, y))
    structure = keras.tree.map_structure(lambda _: 0, data)
    trained, other = (
        [ops.copy(v.value) for v in group] for group in (model.trainable_variables, model.non_trainable_variables)
    )
    loss = BatchLoss(LossFunctions(model), structure, keras.tree.flatten(data), trained, trained, other)
    found = NoiseScale(_PARTS).of_parts(loss)
    if found is None:
        return math.nan
    squared, variance = (float(total.sum()) for total in found)
    return variance / squared if squared > 0 and variance > 0 else math.nan
