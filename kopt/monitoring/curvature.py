"""Curvature of the loss of the step's own batch: largest eigenvalue and trace of its Hessian."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from keras import ops

from kopt._backend import derivatives
from kopt._core import checks, random_numbers
from kopt.monitoring.batch_loss import BatchLoss
from kopt.monitoring.direction import inner_products
from kopt.monitoring.quantity import Kept, Quantity


class HessianEigenvalue(Quantity):
    """The largest eigenvalue of the loss' Hessian (sharpness), and times the learning rate.

    Tags: `curvature/largest_eigenvalue`, `curvature/smallest_eigenvalue` (a bound from above, far looser than that of
    the largest), and `curvature/sharpness_times_learning_rate`. For gradient descent without momentum 2 is the edge of
    stability: above it, the loss grows along that eigenvector; training tends to hover there. With momentum beta the
    edge is at 2 (1 + beta); adaptive optimizers have theirs in the scaled metric (Cohen et al. 2022), which this does
    not measure.

    Lanczos' method from a random start: each iteration costs one Hessian-vector product, about two passes forward and
    backward, and three copies of the weights are held. The model runs in training mode on the batch of the step.

    Args:
        iterations: At most so many products; >= 2.
        tolerance: Ends when an iteration changes the eigenvalue by less than this fraction of it; > 0.
        when: Rule or interval of its own; by default that of the monitor.

    References:
        Cohen et al. 2021, "Gradient descent on neural networks typically occurs at the edge of stability".
        Cohen et al. 2022, "Adaptive gradient methods at the edge of stability".
    """

    def __init__(
        self, iterations: int = 20, tolerance: float = 1e-3, when: Callable[[int], bool] | int | None = None
    ) -> None:
        super().__init__(when)
        self.iterations = checks.count("iterations", iterations, least=2)
        self.tolerance = checks.positive("tolerance", tolerance)
        self._start = derivatives.compiled(_unit)
        self._next = derivatives.compiled(_next_direction)

    def keeps(self, accumulation: int) -> frozenset[str]:
        return frozenset({"loss"})

    def after_step(self, numbers: Mapping[str, float], kept: Kept) -> dict[str, float]:
        assert kept.loss is not None
        smallest, largest = self.extremes(kept.loss, kept.step)
        found = {"curvature/largest_eigenvalue": largest, "curvature/smallest_eigenvalue": smallest}
        if "learning_rate" in numbers:
            found["curvature/sharpness_times_learning_rate"] = largest * numbers["learning_rate"]
        return found

    def extremes(self, loss: BatchLoss, seed: int) -> tuple[float, float]:
        """Returns estimates of the smallest and the largest eigenvalue at the weights before the step."""
        q, before, beta = self._start(_normals(loss.before, seed)), None, 0.0
        diagonal: list[float] = []
        beside: list[float] = []
        found = np.zeros(1)
        for _ in range(self.iterations):
            product = loss.hessian_product(q)
            alpha, norm, following = self._next(q, q if before is None else before, _scalar(beta), product)
            diagonal.append(float(ops.convert_to_numpy(alpha)))
            last, found = found[-1], np.linalg.eigvalsh(_tridiagonal(diagonal, beside)) if _finite(diagonal) else found
            beta = float(ops.convert_to_numpy(norm))
            if not math.isfinite(diagonal[-1] + beta):
                return math.nan, math.nan
            is_settled = len(diagonal) > 2 and abs(found[-1] - last) <= self.tolerance * abs(found[-1])
            if is_settled or beta <= 1e-6 * max(abs(found[0]), abs(found[-1]), 1e-30):
                break
            beside.append(beta)
            before, q = q, following
        return float(found[0]), float(found[-1])


class HessianTrace(Quantity):
    """The trace of the loss' Hessian: the sum of its curvatures, by Hutchinson's estimator.

    ```
    trace ~ mean of v' H v over random vectors v of signs
    ```

    Tags: `curvature/trace`, and `curvature/trace_standard_error` with more than one sample. Each sample costs one
    Hessian-vector product, about two passes forward and backward.

    Args:
        samples: Random vectors at each look; >= 1.
        when: Rule or interval of its own; by default that of the monitor.

    References:
        Hutchinson 1990, "A stochastic estimator of the trace of the influence matrix".
    """

    def __init__(self, samples: int = 4, when: Callable[[int], bool] | int | None = None) -> None:
        super().__init__(when)
        self.samples = checks.count("samples", samples)
        self._signs = derivatives.compiled(_signs)
        self._product = derivatives.compiled(lambda a, b: ops.sum(inner_products(a, b)))

    def keeps(self, accumulation: int) -> frozenset[str]:
        return frozenset({"loss"})

    def after_step(self, numbers: Mapping[str, float], kept: Kept) -> dict[str, float]:
        loss = kept.loss
        assert loss is not None
        found = []
        for sample in range(self.samples):
            v = list(self._signs(_normals(loss.before, kept.step, sample + 1)))
            found.append(float(ops.convert_to_numpy(self._product(v, loss.hessian_product(v)))))
        result = {"curvature/trace": float(np.mean(found))}
        if self.samples > 1:
            result["curvature/trace_standard_error"] = float(np.std(found, ddof=1) / math.sqrt(self.samples))
        return result


def _normals(weights: Any, *key: int) -> list[Any]:
    """Returns standard normal numbers of the weights' shapes, the same for the same key; nobody's generator is used."""
    words = (ops.convert_to_tensor(key[0] % 2**31, "int32"), ops.convert_to_tensor(sum(key[1:]), "int32"))
    return list(_drawn(weights, words))


def _draw(weights: Any, words: Any) -> list[Any]:
    drawn = []
    for stream, weight in enumerate(weights):
        numbers = random_numbers.normals(math.prod(weight.shape), words, ops.convert_to_tensor(stream, "int32"))
        drawn.append(ops.cast(ops.reshape(numbers, weight.shape), weight.dtype))
    return drawn


_drawn = derivatives.compiled(_draw)


def _unit(vectors: Any) -> list[Any]:
    norm = ops.sqrt(ops.sum(inner_products(vectors, vectors)))
    return [v / ops.cast(norm, v.dtype) for v in vectors]


def _signs(vectors: Any) -> list[Any]:
    return [ops.where(v < 0, ops.cast(-1.0, v.dtype), ops.cast(1.0, v.dtype)) for v in vectors]


def _next_direction(q: Any, before: Any, beta: Any, product: Any) -> tuple[Any, Any, list[Any]]:
    """Returns Lanczos' numbers of one iteration, alpha and the next beta, and the next direction."""
    alpha = ops.sum(inner_products(q, product))
    rest = [
        p - ops.cast(alpha, p.dtype) * a - ops.cast(beta, p.dtype) * b
        for p, a, b in zip(product, q, before, strict=True)
    ]
    norm = ops.sqrt(ops.sum(inner_products(rest, rest)))
    return alpha, norm, [r / ops.cast(ops.maximum(norm, 1e-30), r.dtype) for r in rest]


def _scalar(value: float) -> Any:
    return ops.convert_to_tensor(value, "float32")


def _finite(values: list[float]) -> bool:
    return all(math.isfinite(value) for value in values)


def _tridiagonal(diagonal: list[float], beside: list[float]) -> np.ndarray:
    return np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
