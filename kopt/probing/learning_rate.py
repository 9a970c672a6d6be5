"""The learning-rate range test: one short training in which the rate rises from step to step."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from kopt._backend import undisturbed, watch
from kopt._core import checks
from kopt.probing.batches import Batch, batches_of
from kopt.probing.optimizer import checked_model, refuse_without_rate, twin_of
from kopt.probing.range_test import SUGGESTIONS, RangeTest

_LEAST_STEPS, _FEWEST = 10, 3


def find_learning_rate(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    batch_size: int = 32,
    lowest: float = 1e-7,
    highest: float = 10.0,
    steps: int = 100,
    stop: float = 4.0,
    smoothing: float = 0.8,
    suggest: str = "valley",
    seed: int = 0,
) -> RangeTest:
    """Tests a range of learning rates in one short training, and suggests one; the model stays as it is.

    `RangeTest` says how, and what the suggestions are.

    Args:
        model: Compiled and built. Its learning rate may be a number or a schedule; it is not used.
        x: Inputs as `fit` takes them: arrays, or what makes batches (also with weights) each time it is iterated over.
        y: Targets, if `x` is arrays.
        batch_size: Rows in a batch of arrays, >= 1: that of the training, as the best rate depends on it.
        lowest: The first rate, > 0.
        highest: The last rate, > `lowest`.
        steps: How many rates, an integer >= 10.
        stop: The test ends at so many times the lowest smoothed loss, >= 1.
        smoothing: Of the running mean of the losses, in [0, 1).
        suggest: "valley", "steepest" or "minimum".
        seed: Of the order of the rows of arrays, an integer >= 0.

    Raises:
        ValueError: An argument is out of its range; the model is not compiled or not built; its optimizer finds its
            rate by itself; the loss is not finite from the start, or never falls by more than 5 % and chance.
    """
    size, seed = checks.count("batch_size", batch_size), checks.count("seed", seed, least=0)
    suggest, smoothing = checks.choice("suggest", suggest, SUGGESTIONS), checks.fraction("smoothing", smoothing)
    rates, stop = _ramp(lowest, highest, steps), checks.at_least_one("stop", stop)
    refuse_without_rate(checked_model(model).optimizer)
    with undisturbed.undisturbed(model):
        losses, why = _tried(model, batches_of(x, y, size, seed), rates, stop, smoothing)
    found = RangeTest(rates[: len(losses)], np.array(losses), smoothing, suggest, why)
    found.check()
    return found


def _ramp(lowest: float, highest: float, steps: int) -> np.ndarray:
    lowest, highest = checks.positive("lowest", lowest), checks.positive("highest", highest)
    if highest <= lowest:
        raise checks.fail("highest", f"above `lowest` ({lowest})", highest)
    return np.geomspace(lowest, highest, checks.count("steps", steps, least=_LEAST_STEPS))


def _tried(
    model: Any, batches: Iterator[Batch], rates: np.ndarray, stop: float, smoothing: float
) -> tuple[list[float], str]:
    """Takes one step at each rate; returns the losses, and why the test ended before the last of them."""
    twin = twin_of(model.optimizer, model)
    undisturbed.put_optimizer(model, twin)
    per_rate = watch.accumulation(twin)
    losses: list[float] = []
    mean, lowest = 0.0, math.inf
    for number, rate in enumerate(rates.tolist(), start=1):
        twin.learning_rate = rate
        loss = float(np.mean([_step(model, next(batches)) for _ in range(per_rate)]))
        if not math.isfinite(loss):
            _refuse_nothing(model, len(losses), rates[0])
            return losses, f"stopped: the loss was not finite at {rate:.1e}"
        losses.append(loss)
        mean = smoothing * mean + (1 - smoothing) * loss
        now = mean / (1 - smoothing**number)
        lowest = min(lowest, now)
        if now > lowest + (stop - 1) * abs(lowest):
            return losses, f"stopped: the loss rose to {stop:g} times its lowest"
    return losses, ""


def _refuse_nothing(model: Any, steps: int, lowest: float) -> None:
    if steps < _FEWEST:
        raise ValueError(
            f"The loss of {model.name} is not finite after {steps} steps at rates of {lowest:.1e} and above. "
            "Look for NaN or infinity in the data and in the weights, or begin with a lower `lowest`."
        )


def _step(model: Any, batch: Batch) -> float:
    x, y, sample_weight = batch
    logs = model.train_on_batch(x, y, sample_weight, return_dict=True)
    if "loss" not in logs:
        raise checks.fail("model", "one whose `train_step` returns a `loss`", sorted(logs))
    return float(logs["loss"])
