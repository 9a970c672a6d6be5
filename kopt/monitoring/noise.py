"""Gradient noise: how much gradients differ from batch to batch, and which batch size that asks for."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from keras import ops

from kopt._backend import adapter_module, derivatives
from kopt._core import checks
from kopt.monitoring.batch_loss import BatchLoss
from kopt.monitoring.direction import inner_products
from kopt.monitoring.quantity import Kept, Quantity


class NoiseScale(Quantity):
    """Gradient noise scale, critical batch size and signal-to-noise ratio, from parts of the step's own batch.

    ```
    |G|^2 and tr(S): unbiased estimates from gradients g_1 ... g_k of k parts with b examples each
        m     = mean of g_i;  s = mean of |g_i|^2
        |G|^2 = (k |m|^2 - s) / (k - 1)
        tr(S) = b k (s - |m|^2) / (k - 1)
    critical batch size = average of tr(S) / average of |G|^2, over the looks so far
    ```

    G is the gradient without noise, S the covariance of one example's gradient. Far below the critical batch size,
    doubling the batch halves the steps that a run needs; far above it, hardly any are saved.

    Tags: `noise/gradient_squared` and `noise/variance` (of this look; being unbiased, they may be below 0),
    `noise/critical_batch_size` (examples; from averages of both that forget by `smoothing`; not given while one of
    them is not above 0), `noise/gradient_snr` (|G|^2 / tr(S): of one example's gradient) and `gradient_snr/<path>`.

    Under gradient accumulation, the last micro-batch against the others (b and (k - 1) b examples) gives these for
    free. Otherwise the batch is cut into `parts`, which together cost one more pass forward and backward; what does
    not divide is left out. The loss must be a mean over examples, as Keras' are. Batch normalization makes parts differ
    more than examples do: the estimate is then too high.

    Where this differs from Liu et al.: they average the ratios of single elements, whose mean is infinite with so few
    parts; here it is the ratio of sums over a variable's elements.

    Args:
        parts: Into how many parts to cut a batch; >= 2. A batch that is smaller gives nothing.
        smoothing: What an average keeps of its past at each look; in [0, 1).
        when: Rule or interval of its own; by default that of the monitor.

    References:
        McCandlish et al. 2018, "An empirical model of large-batch training", appendix A.
        Liu et al. 2020, "Understanding why neural networks generalize well through GSNR of parameters".
    """

    def __init__(self, parts: int = 4, smoothing: float = 0.9, when: Callable[[int], bool] | int | None = None) -> None:
        super().__init__(when)
        self.parts = checks.count("parts", parts, least=2)
        self.smoothing = checks.fraction("smoothing", smoothing)
        self._averages = np.zeros(2)
        self._square_sums = derivatives.compiled(adapter_module.square_sums)
        self._add = derivatives.compiled(lambda a, b: [x + y for x, y in zip(a, b, strict=True)])
        self._of_two = derivatives.compiled(_of_two)

    def keeps(self, accumulation: int) -> frozenset[str]:
        return frozenset({"gradients", "last_gradients"} if accumulation > 1 else {"loss"})

    def after_step(self, numbers: Mapping[str, float], kept: Kept) -> dict[str, float]:
        found = self.of_parts(kept.loss) if kept.loss is not None else self._from_micro_batches(kept)
        if found is None:
            return {}
        squared, variance = found
        total = np.array([squared.sum(), variance.sum()])
        result = {"noise/gradient_squared": total[0], "noise/variance": total[1], "noise/gradient_snr": _ratio(*total)}
        if np.isfinite(total).all():
            self._averages += (1 - self.smoothing) * (total - self._averages)
        if (self._averages > 0).all():
            result["noise/critical_batch_size"] = self._averages[1] / self._averages[0]
        for i, path in enumerate(kept.paths if kept.loss is None else kept.trained):
            if path in {kept.paths[j] for j in kept.chosen}:
                result[f"gradient_snr/{path}"] = _ratio(squared[i], variance[i])
        return {tag: float(value) for tag, value in result.items()}

    def of_parts(self, loss: BatchLoss) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns estimates of |G|^2 and tr(S) for each variable from parts of a batch; None if it is too small."""
        k = self.parts
        b = loss.batch_size // k
        if b < 1:
            return None
        total: Any = None
        squares: Any = 0.0
        for i in range(k):
            gradient = loss.gradient_of_part(i * b, (i + 1) * b)
            squares = squares + _doubles(self._square_sums(gradient)) / k
            total = gradient if total is None else self._add(total, gradient)
        of_mean = _doubles(self._square_sums(total)) / k**2
        return (k * of_mean - squares) / (k - 1), b * k * (squares - of_mean) / (k - 1)

    def _from_micro_batches(self, kept: Kept) -> tuple[np.ndarray, np.ndarray]:
        k, b = kept.accumulation, kept.examples
        products, distances = self._of_two(kept.tensors["gradients"], kept.tensors["last_gradients"], float(k))
        return _doubles(products), _doubles(distances) / (1 / b + 1 / ((k - 1) * b))


def _of_two(mean: Any, last: Any, count: Any) -> tuple[Any, Any]:
    """Returns inner products and squared distances, by variable, of the last of several gradients and the others."""
    others = [(count * m - g) / (count - 1) for m, g in zip(mean, last, strict=True)]
    return inner_products(last, others), adapter_module.square_sums([a - b for a, b in zip(last, others, strict=True)])


def _doubles(tensor: Any) -> np.ndarray:
    return ops.convert_to_numpy(tensor).astype("float64")


def _ratio(squared: float, variance: float) -> float:
    return squared / variance if variance > 0 else math.nan
