"""What stands around a recipe: changes of the gradient, masks, and averages of the weights."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from references.first import moving_average


def centralized(g: np.ndarray) -> np.ndarray:
    """Yong et al. 2020, eq. 1, for kernels whose columns are the outputs."""
    if g.ndim < 2:
        return g
    columns = g.reshape(-1, g.shape[-1])
    return (columns - columns.mean(axis=0)).reshape(g.shape)


def clipped_by_units(g: np.ndarray, x: np.ndarray, factor: float, least: float) -> np.ndarray:
    """Brock et al. 2021, eq. 3, unit by unit."""
    units = [(g, x)] if g.ndim < 2 else [(g[..., i], x[..., i]) for i in range(g.shape[-1])]
    clipped = []
    for gradient, weights in units:
        limit = factor * max(np.linalg.norm(weights), least)
        norm = np.linalg.norm(gradient)
        clipped.append(gradient * limit / norm if norm > limit else gradient)
    return clipped[0] if g.ndim < 2 else np.stack(clipped, axis=-1)


@dataclass
class AdaptivelyClipped:
    """Another reference whose gradients are clipped by the size of the weights."""

    inner: Any
    factor: float
    least: float

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        return self.inner.step(x, clipped_by_units(g, x, self.factor, self.least))


@dataclass
class Grokfast:
    """Lee et al. 2024, algorithm 2: the average starts at the first gradient."""

    inner: Any
    momentum: float
    amplification: float
    gradients: list = field(default_factory=list)

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        self.gradients.append(g)
        rest = [past - self.gradients[0] for past in self.gradients]
        slow = self.gradients[0] + moving_average(rest, self.momentum)
        return self.inner.step(x, g + self.amplification * slow)


@dataclass
class CautiousMomentum:
    """Liang et al. 2024, algorithm 1, on heavy-ball momentum; decay is not masked."""

    learning_rate: float
    momentum: float
    weight_decay: float = 0.0
    velocity: np.ndarray | float = 0.0

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        self.velocity = self.momentum * self.velocity + g
        agrees = np.sign(self.velocity) * np.sign(g) > 0
        longer = agrees.size / (np.count_nonzero(agrees) + 1)
        return x - self.learning_rate * (np.where(agrees, longer * self.velocity, 0.0) + self.weight_decay * x)


@dataclass
class Lookahead:
    """Zhang et al. 2019, algorithm 1: an outer loop around k steps of another reference."""

    inner: Any
    sync_period: int
    slow_step_size: float
    slow: np.ndarray | None = None
    steps: int = 0

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        self.slow = x if self.slow is None else self.slow
        x = self.inner.step(x, g)
        self.steps += 1
        if self.steps < self.sync_period:
            return x
        self.steps = 0
        self.slow = (1 - self.slow_step_size) * self.slow + self.slow_step_size * x
        return self.slow


def averaged(path: Sequence[np.ndarray], start: np.ndarray, momentum: float, *, warmup: bool) -> np.ndarray:
    """The exponential average of a path of weights."""
    average = start
    for t, x in enumerate(path, start=1):
        keep = min(momentum, (1 + t) / (10 + t)) if warmup else momentum
        average = keep * average + (1 - keep) * x
    return average


def stochastic_average(path: Sequence[np.ndarray], start: int, period: int) -> np.ndarray:
    """Izmailov et al. 2018: the mean of every `period`-th set of weights from step `start` on."""
    return np.mean(path[start - 1 :: period], axis=0) if len(path) >= start else path[-1]
