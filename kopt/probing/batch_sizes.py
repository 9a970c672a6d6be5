"""What was measured at several batch sizes, and what it says about the one to train with."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kopt.probing.drawing import new_figure, saved

SHARE = 0.8


@dataclass(frozen=True)
class BatchSizes:
    """How fast a model trains at several batch sizes, and how large a batch its gradients ask for.

    Two numbers that answer two questions. The `knee` is about the machine: the smallest size with 80 % of the highest
    number of examples per second; below it the device waits, above it larger batches cost what they bring. The
    `critical` batch size is about the gradients (`kopt.monitoring.NoiseScale` has the formula): far below it, doubling
    the batch halves the number of steps; far above it, hardly any are saved. It is that of the present weights, and
    grows as a model learns. A size at the knee or above that does not exceed the critical one is a good choice; the
    learning rate has to be found for that size.

    Args:
        sizes: Batch sizes that were measured, rising, of shape (n,).
        seconds: Of one training step at each, the median, of shape (n,).
        too_large: The smallest size at which memory ran out; None if it never did.
        critical: The critical batch size in examples; NaN if noise and gradient could not be told apart.
        stopped: Why larger sizes were not tried.
    """

    sizes: np.ndarray
    seconds: np.ndarray
    too_large: int | None = None
    critical: float = math.nan
    stopped: str = ""

    @property
    def throughput(self) -> np.ndarray:
        """Examples per second at each size, of shape (n,)."""
        return self.sizes / self.seconds

    @property
    def knee(self) -> int:
        """The smallest size with 80 % of the highest throughput."""
        return int(self.sizes[int(np.argmax(self.throughput >= SHARE * self.throughput.max()))])

    @property
    def suggestion(self) -> int:
        """The knee; or the measured size next below the critical one if that is larger."""
        fitting = [int(size) for size in self.sizes if size <= self.critical]
        return max([self.knee, *fitting])

    def plot(self) -> Any:
        """Draws examples per second over the batch size.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ImportError: matplotlib is not installed; it comes with `pip install "keras-kopt[recipes]"`.
        """
        figure = new_figure()
        axes = figure.add_subplot()
        axes.plot(self.sizes, self.throughput, marker="o", label="examples per second")
        axes.axvline(self.knee, color="tab:green", label=f"knee: {self.knee}")
        if math.isfinite(self.critical):
            axes.axvline(self.critical, color="tab:orange", linestyle="--", label=f"critical: {self.critical:.0f}")
        if self.too_large is not None:
            axes.axvline(self.too_large, color="tab:red", label=f"out of memory: {self.too_large}")
        axes.set(xlabel="batch size", ylabel="examples per second", ylim=(0, None))
        axes.set_xscale("log", base=2)
        axes.legend(fontsize=8)
        return figure

    def save(self, path: str | Path) -> Path:
        """Writes the picture of `plot` to a file.

        Args:
            path: Of the file, whose ending says the format.

        Returns:
            The path.
        """
        return saved(self.plot(), path)

    def __str__(self) -> str:
        """Returns a table, and the two sizes."""
        lines = ["batch size   ms per step   examples per second"]
        for size, seconds, rate in zip(self.sizes, self.seconds, self.throughput, strict=True):
            mark = "  <- knee" if size == self.knee else ""
            lines.append(f"{size:>10}   {1e3 * seconds:>11.2f}   {rate:>19.0f}{mark}")
        if self.too_large is not None:
            lines.append(f"{self.too_large:>10}   out of memory")
        known = (
            f"{self.critical:.0f}" if math.isfinite(self.critical) else "not known (too little gradient in the noise)"
        )
        lines.append(f"critical batch size (gradient noise): {known}")
        return "\n".join([*lines, self.stopped] if self.stopped else lines)
