"""Evidence that a batch's gradient is noise only, so that there is nothing left to learn from the training data."""

from collections.abc import Callable, Mapping
from typing import Any

from keras import ops

from kopt._backend import derivatives
from kopt._core import checks
from kopt.monitoring.quantity import Kept, Quantity


class Evidence(Quantity):
    """How far the batch's gradient is within what chance makes of it: above 0 there is nothing but noise. Experimental.

    ```
    g_1 ... g_k: gradients of k equal parts of the batch
    m = mean of g_i                        v = (sum of (g_i - m)^2) / (k - 1) / k       by element; v estimates var(m)
    evidence = 1 - (k - 3) / (k - 1) mean of m^2 / v                                    over elements with v > 0
    ```

    With B examples and the variance of one example's gradient in place of B v this is the paper's criterion. A variance
    from k parts makes m^2 / v too large on average by (k - 1) / (k - 3), if noise is normal: the factor takes this out.
    Elements without a gradient in all parts say nothing and are left out, where the paper adds a small number to v.

    Tags: `evidence/noise_only` (of this look) and `evidence/noise_only_smoothed`. The parts cost one more pass forward
    and backward. The loss must be a mean over examples. Under gradient accumulation the last micro-batch is looked at.
    A unit that few examples reach (sparse inputs, rare classes) has gradients that are not normal, and counts as noise.

    Attributes:
        looks: How many looks have been taken in this `fit`.
        smoothed: The average of the evidence; NaN before the first look.

    Args:
        parts: Into how many parts to cut a batch, >= 4; more estimate better. A smaller batch gives nothing.
        smoothing: What the average keeps of its past at each look, in [0, 1).
        when: Rule or interval of its own; by default that of the monitor.

    References:
        Mahsereci et al. 2017, "Early stopping without a validation set", https://arxiv.org/abs/1703.09580.
    """

    def __init__(self, parts: int = 8, smoothing: float = 0.9, when: Callable[[int], bool] | int | None = None) -> None:
        super().__init__(when)
        self.parts = checks.count("parts", parts, least=4)
        self.smoothing = checks.fraction("smoothing", smoothing)
        self._start = derivatives.compiled(lambda first: (first, [ops.zeros_like(g) for g in first]))
        self._add = derivatives.compiled(_with_another)
        self._mean_ratio = derivatives.compiled(_mean_ratio)
        self._forget()

    def _forget(self) -> None:
        self.looks, self._average, self.smoothed = 0, 0.0, float("nan")

    def keeps(self, accumulation: int) -> frozenset[str]:
        return frozenset({"loss"})

    def begin(self, model: Any) -> None:
        self._forget()

    def after_step(self, numbers: Mapping[str, float], kept: Kept) -> dict[str, float]:
        loss, k = kept.loss, self.parts
        assert loss is not None
        b = loss.batch_size // k
        if b < 1:
            return {}
        means, squares = self._start(loss.gradient_of_part(0, b))
        for i in range(1, k):
            gradient = loss.gradient_of_part(i * b, (i + 1) * b)
            means, squares = self._add(means, squares, gradient, ops.convert_to_tensor(i + 1.0))
        ratio = float(ops.convert_to_numpy(self._mean_ratio(means, squares, ops.convert_to_tensor(float(k)))))
        evidence = 1 - (k - 3) / (k - 1) * ratio
        self.looks += 1
        self._average += (1 - self.smoothing) * (evidence - self._average)
        self.smoothed = self._average / (1 - self.smoothing**self.looks)
        return {"evidence/noise_only": evidence, "evidence/noise_only_smoothed": self.smoothed}

    @property
    def says_stop(self) -> bool:
        """Whether the average is above 0, over as many looks as it remembers, which is `1 / (1 - smoothing)`."""
        return self.looks >= round(1 / (1 - self.smoothing)) and self.smoothed > 0


def _with_another(means: Any, squares: Any, gradient: Any, count: Any) -> tuple[list[Any], list[Any]]:
    """Returns the means and sums of squared deviations with one more gradient (Welford)."""
    new = [mean + (g - mean) / count for mean, g in zip(means, gradient, strict=True)]
    spread = [s + (g - mean) * (g - after) for s, g, mean, after in zip(squares, gradient, means, new, strict=True)]
    return new, spread


def _mean_ratio(means: Any, squares: Any, count: Any) -> Any:
    """Returns the mean over all elements of the squared mean by its variance, where there is any."""
    total, elements = ops.convert_to_tensor(0.0), ops.convert_to_tensor(0.0)
    for mean, square in zip(means, squares, strict=True):
        variance = ops.cast(square, "float32") / (count * (count - 1))
        varies = variance > 0
        ratio = ops.square(ops.cast(mean, "float32")) / ops.where(varies, variance, ops.ones_like(variance))
        total += ops.sum(ops.where(varies, ratio, ops.zeros_like(ratio)))
        elements += ops.sum(ops.cast(varies, "float32"))
    return total / ops.maximum(elements, 1.0)
