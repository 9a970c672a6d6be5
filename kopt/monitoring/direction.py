"""Where steps lead: distance from the start, angles between successive steps, where a step lands in its valley."""

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from keras import ops

from kopt._backend import adapter_module, derivatives, watch
from kopt.monitoring.quantity import Kept, Quantity, difference


def inner_products(first: Any, second: Any) -> Any:
    """Returns the inner product of two lists of tensors, tensor by tensor, as a float32 vector."""
    pairs = zip(first, second, strict=True)
    return ops.stack([ops.sum(ops.cast(a, "float32") * ops.cast(b, "float32")) for a, b in pairs])


class Distance(Quantity):
    """How far the weights are from where the run began.

    Tags: `distance/from_start`, the Euclidean norm over all trained variables, and `distance_from_start/<path>`.

    The start is where the first `fit` with this object begins; it costs a copy of the weights. After a restart of the
    process it is where that process began.

    Args:
        when: Rule or interval of its own; by default that of the monitor.
    """

    def __init__(self, when: Callable[[int], bool] | int | None = None) -> None:
        super().__init__(when)
        self._start: dict[str, Any] = {}
        self._squares = derivatives.compiled(
            lambda start, now: adapter_module.square_sums([difference(a, b) for a, b in zip(start, now, strict=True)])
        )

    def keeps(self, accumulation: int) -> frozenset[str]:
        return frozenset({"after"})

    def begin(self, model: Any) -> None:
        variables = list(model.trainable_variables)
        for path, variable in zip(watch.unique_paths(model, variables), variables, strict=True):
            self._start.setdefault(path, ops.copy(ops.convert_to_tensor(variable)))

    def after_step(self, numbers: Mapping[str, float], kept: Kept) -> dict[str, float]:
        known = [i for i, path in enumerate(kept.paths) if path in self._start]
        start, now = [self._start[kept.paths[i]] for i in known], [kept.tensors["after"][i] for i in known]
        squares = dict(zip(known, ops.convert_to_numpy(self._squares(start, now)).tolist(), strict=True))
        each = {f"distance_from_start/{kept.paths[i]}": math.sqrt(squares[i]) for i in kept.chosen if i in squares}
        return {"distance/from_start": math.sqrt(sum(squares.values())), **each}


class Cosines(Quantity):
    """Cosines of the angles between a step and the one before it, over all variables.

    Tags: `gradients/cosine_to_last`, `updates/cosine_to_last`. Near 1 the way goes straight on, and the learning rate
    may be too low; near -1 it goes to and fro across a valley.

    The step before each look is looked at as well, and its gradients and updates are held until then.

    Args:
        when: Rule or interval of its own; by default that of the monitor.
    """

    pairs: ClassVar[bool] = True

    def __init__(self, when: Callable[[int], bool] | int | None = None) -> None:
        super().__init__(when)
        self._last: tuple[int, list[str], Any, Any] | None = None
        self._products = derivatives.compiled(
            lambda a, b: ops.stack([ops.sum(inner_products(x, y)) for x, y in ((a, b), (a, a), (b, b))])
        )
        self._updates = derivatives.compiled(
            lambda before, after: [difference(x, new) for x, new in zip(before, after, strict=True)]
        )

    def keeps(self, accumulation: int) -> frozenset[str]:
        return frozenset({"gradients", "before", "after"})

    def begin(self, model: Any) -> None:
        self._last = None

    def after_step(self, numbers: Mapping[str, float], kept: Kept) -> dict[str, float]:
        tensors = kept.tensors
        gradients, updates = list(tensors["gradients"]), list(self._updates(tensors["before"], tensors["after"]))
        last, self._last = self._last, (kept.step, kept.paths, gradients, updates)
        if last is None or last[0] != kept.step - 1 or last[1] != kept.paths:
            return {}
        return {
            "gradients/cosine_to_last": self._cosine(last[2], gradients),
            "updates/cosine_to_last": self._cosine(last[3], updates),
        }

    def _cosine(self, first: Any, second: Any) -> float:
        product, one, other = ops.convert_to_numpy(self._products(first, second)).astype("float64").tolist()
        return product / math.sqrt(one * other) if one * other > 0 else math.nan


class Alpha(Quantity):
    """Where the step landed in the valley that it crosses, for the loss of its own batch.

    ```
    f(s) = a + b s + c s^2 along the step, from s = 0 (before) to s = 1 (after): least squares on both losses and slopes
    alpha = 1 / s_min - 1 = -2 c / b - 1
    ```

    Tag: `step/alpha`. -1: hardly a move, the slope is as before; 0: at the minimum; 1: as high on the other side;
    above 1: higher than before. Not given where the step leads uphill on its own batch. Costs two passes forward and
    backward, and copies of the weights.

    Args:
        when: Rule or interval of its own; by default that of the monitor.

    References:
        Schneider et al. 2021, "Cockpit: a practical debugging tool for the training of deep neural networks".
    """

    def __init__(self, when: Callable[[int], bool] | int | None = None) -> None:
        super().__init__(when)
        self._slope = derivatives.compiled(
            lambda gradient, before, after: ops.sum(
                inner_products(gradient, [difference(new, x) for x, new in zip(before, after, strict=True)])
            )
        )

    def keeps(self, accumulation: int) -> frozenset[str]:
        return frozenset({"loss"})

    def after_step(self, numbers: Mapping[str, float], kept: Kept) -> dict[str, float]:
        loss = kept.loss
        assert loss is not None
        observed = []
        for weights in (loss.before, loss.after):
            value, gradient = loss.value_and_gradient(weights)
            slope = float(ops.convert_to_numpy(self._slope(gradient, loss.before, loss.after)))
            observed += [value, slope]
        alpha = alpha_of(*observed)
        return {} if alpha is None else {"step/alpha": alpha}


def alpha_of(start: float, start_slope: float, end: float, end_slope: float) -> float | None:
    """Returns where a step lands in the parabola through losses and slopes at its ends; None if it leads uphill.

    Args:
        start: Loss before the step.
        start_slope: Its derivative along the step; the step has length 1.
        end: Loss after the step.
        end_slope: Its derivative there.
    """
    observed = np.array([start, start_slope, end, end_slope])
    if not np.isfinite(observed).all():
        return None
    rows = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 2.0]])
    _, slope, bend = np.linalg.lstsq(rows, observed, rcond=None)[0]
    if slope >= 0:
        return None
    return float(-2 * max(bend, 0.0) / slope - 1)
