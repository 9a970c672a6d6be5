"""The curve of a learning-rate range test, and the rates that it suggests."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kopt.probing.drawing import new_figure, saved

SUGGESTIONS = ("valley", "steepest", "minimum")
LEAST_FALL = 0.05
_BY_CHANCE = 10.0  # Losses that only vary by chance fall by more than this many errors in 1 test of 100 or fewer.
_SHARE = 2 / 3


@dataclass(frozen=True)
class RangeTest:
    """What a learning-rate range test saw: `print` it, `plot()` it, or take its `suggestion`.

    `kopt.find_learning_rate` trains for a moment with a rate that rises from step to step.

    ```
    rate_t  = lowest (highest / lowest)^(t / (steps - 1))           t = 0 ... steps - 1
    mean_t  = smoothing mean_(t-1) + (1 - smoothing) loss_t,  divided by 1 - smoothing^(t+1)
    ends where loss_t is not finite or mean_t > stop * the lowest mean so far
    ```

    "valley" is the rate at which the smoothed loss has done two thirds of its largest fall, "steepest" that of the
    fastest fall, "minimum" a tenth of the rate with the lowest loss. What a rate is good for over a whole training, one
    short test cannot say: take the suggestion as the highest rate of a schedule, and try a third of it as well. Where
    the loss falls by less than 5 %, or by less than its noise can make it fall, nothing is suggested.

    Another optimizer, made from the config of the model's own and with its state, takes the steps. When the test is
    over, weights, statistics, seeds, metrics, optimizer and all random states are, bit by bit, what they were, so that
    a training afterwards is the one without a test. That cannot be said of data that shuffles by itself (`tf.data`,
    a `DataLoader` with a generator of its own): it goes on where the test left it. With `gradient_accumulation_steps`
    each rate is tried on as many batches. Factors of groups act as in training.

    Args:
        rates: Learning rates that were tried, rising, of shape (n,).
        losses: The loss of the batch before the step with that rate was taken, of shape (n,).
        smoothing: What the running mean of `smoothed` keeps of its past at each step, in [0, 1).
        suggest: Which suggestion `suggestion` is.
        stopped: Why the test ended before the highest rate; empty if it did not.

    Example:

    ```python
    model.compile(kopt.optimizers.AdamW(1e-3), "sparse_categorical_crossentropy")
    found = kopt.find_learning_rate(model, x, y, batch_size=64)
    found.save("rates.png")
    model.optimizer.learning_rate = found.suggestion
    ```

    References:
        Smith 2017, "Cyclical learning rates for training neural networks", https://arxiv.org/abs/1506.01186.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothing: float = 0.8
    suggest: str = "valley"
    stopped: str = ""

    @cached_property
    def smoothed(self) -> np.ndarray:
        """The running mean of the losses, with Adam's bias correction, of shape (n,)."""
        return smoothed(self.losses, self.smoothing)

    @cached_property
    def fall(self) -> tuple[int, int]:
        """Where the smoothed loss begins and ends its largest fall, as positions in `rates`.

        The first `1 / (1 - smoothing)` means are over too few losses to begin one.
        """
        first = min(round(1 / (1 - self.smoothing)), len(self.rates) // 4)
        later = self.smoothed[first:]
        highest = np.maximum.accumulate(later)
        end = int(np.argmax(highest - later))
        return first + int(np.flatnonzero(later[: end + 1] == highest[end])[-1]), first + end

    @property
    def share(self) -> float:
        """The largest fall of the smoothed loss, as a share of the loss that it began at."""
        start, end = self.fall
        return float(self.smoothed[start] - self.smoothed[end]) / max(abs(float(self.smoothed[start])), 1e-30)

    @property
    def valley(self) -> float:
        """The rate at which the smoothed loss has done two thirds of its largest fall."""
        start, end = self.fall
        level = self.smoothed[start] - _SHARE * (self.smoothed[start] - self.smoothed[end])
        return float(self.rates[start + int(np.argmax(self.smoothed[start : end + 1] <= level))])

    @property
    def steepest(self) -> float:
        """The rate at which the smoothed loss falls fastest in its largest fall, over the logarithm of the rate."""
        start, end = self.fall
        slopes = np.gradient(self.smoothed, np.log(self.rates))[start : end + 1]
        return float(self.rates[start + int(np.argmin(slopes))])

    @property
    def minimum(self) -> float:
        """A tenth of the rate at which the fall of the smoothed loss ends."""
        return float(self.rates[self.fall[1]]) / 10

    @property
    def suggestions(self) -> dict[str, float]:
        """All suggestions by name."""
        return {name: getattr(self, name) for name in SUGGESTIONS}

    @property
    def suggestion(self) -> float:
        """The suggestion that was asked for."""
        return float(getattr(self, self.suggest))

    def plot(self) -> Any:
        """Draws the losses over the rates, and where the suggestions are.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ImportError: matplotlib is not installed; it comes with `pip install "keras-kopt[recipes]"`.
        """
        figure = new_figure()
        axes = figure.add_subplot()
        axes.plot(self.rates, self.losses, color="tab:blue", alpha=0.3, label="loss")
        axes.plot(self.rates, self.smoothed, color="tab:blue", label="smoothed")
        for name, color in zip(SUGGESTIONS, ("tab:green", "tab:orange", "tab:purple"), strict=True):
            rate = getattr(self, name)
            is_chosen = name == self.suggest
            label = f"{'minimum / 10' if name == 'minimum' else name}: {rate:.2g}"
            axes.axvline(rate, color=color, linestyle="-" if is_chosen else ":", label=label)
        low, high = float(np.quantile(self.losses, 0.05)), float(self.smoothed[: self.fall[1] + 1].max())
        room = (high - low) or 1.0
        axes.set_ylim(low - 0.1 * room, high + 0.5 * room)
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss of the batch")
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
        """Returns the suggestions, one in a line."""
        start, end = self.fall
        lines = [f"Range test: {len(self.rates)} rates from {self.rates[0]:.1e} to {self.rates[-1]:.1e}"]
        lines[0] += f" ({self.stopped})" if self.stopped else ""
        lines.append(
            f"Loss: {self.smoothed[start]:.4g} -> {self.smoothed[end]:.4g} at {self.rates[end]:.2e} (smoothed)"
        )
        what = {
            "valley": "two thirds of the fall",
            "steepest": "fastest fall",
            "minimum": "a tenth of the lowest point",
        }
        for name, rate in self.suggestions.items():
            mark = "*" if name == self.suggest else " "
            lines.append(f"{mark} {name:<9} {rate:.2e}  {what[name]}")
        return "\n".join(lines)

    def check(self) -> None:
        """Raises `ValueError` if the loss falls too little for a suggestion to mean anything."""
        noise = _noise(self.losses[: self.fall[1] + 1], self.smoothing)
        start, end = self.fall
        drop = float(self.smoothed[start] - self.smoothed[end])
        if self.share >= LEAST_FALL and drop > _BY_CHANCE * noise:
            return
        raise ValueError(
            f"No learning rate can be suggested: from {self.rates[0]:.1e} to {self.rates[-1]:.1e} the smoothed loss "
            f"falls by {100 * max(self.share, 0.0):.1f} % at most, from {self.smoothed[start]:.4g} to "
            f"{self.smoothed[end]:.4g}. It has to fall by {100 * LEAST_FALL:.0f} %, and by {_BY_CHANCE:.0f} standard "
            f"errors of the mean ({noise:.2g} each). A model that has learnt already shows no more: keep its rate. "
            "Otherwise larger batches or more `steps` give a smoother curve, or another range may be the right one."
        )


def smoothed(losses: np.ndarray, smoothing: float) -> np.ndarray:
    """Returns the running mean of losses, with bias correction."""
    mean, means = 0.0, []
    for number, loss in enumerate(losses, start=1):
        mean = smoothing * mean + (1 - smoothing) * float(loss)
        means.append(mean / (1 - smoothing**number))
    return np.array(means)


def _noise(losses: np.ndarray, smoothing: float) -> float:
    """Returns the standard error of a running mean, from how much neighbouring losses differ by chance."""
    if len(losses) < 3:
        return 0.0
    deviation = float(np.median(np.abs(np.diff(losses)))) / (0.6745 * math.sqrt(2))
    return deviation * math.sqrt((1 - smoothing) / (1 + smoothing))
