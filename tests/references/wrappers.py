"""What stands around a recipe: changes of the gradient, masks, and averages of the weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

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


@dataclass
class Unfrozen:
    """Howard and Ruder 2018, section 3.3: each variable is another reference, whose steps count from its turn on."""

    make: Callable[[], Any]
    turns: Sequence[int]
    inner: list = field(default_factory=list)
    steps: int = 0
    joint: ClassVar[bool] = True

    def step(self, xs: Sequence[np.ndarray], gs: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.inner = self.inner or [self.make() for _ in xs]
        moved = [inner.step(x, g) for inner, x, g in zip(self.inner, xs, gs, strict=True)]
        self.steps += 1
        return [new if self.steps > turn else x for new, x, turn in zip(moved, xs, self.turns, strict=True)]


ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24]


def threefry(key: tuple[int, int], counter: tuple[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Salmon et al. 2011, section 4.3: Threefish's mixing on two words of 32 bits, 20 rounds, in 64-bit integers."""
    word = 2**32
    keys = [*key, key[0] ^ key[1] ^ 0x1BD11BDA]
    a, b = ((np.asarray(c, "int64") + k) % word for c, k in zip(counter, key, strict=True))
    for n in range(20):
        a = (a + b) % word
        b = a ^ ((b * 2 ** ROTATIONS[n % 8]) % word + b // 2 ** (32 - ROTATIONS[n % 8]))
        if n % 4 == 3:
            block = n // 4 + 1
            a, b = (a + keys[block % 3]) % word, (b + keys[(block + 1) % 3] + block) % word
    return a, b


def noise(size: int, seed: int, step: int, place: int) -> np.ndarray:
    """Box and Muller 1958, on the upper 24 bits of two words per counter; first all cosines, then all sines."""
    counters = np.arange(-(-size // 2))
    first, second = (
        words // 256 / 2**24 for words in threefry((seed, step), (counters, np.full_like(counters, place)))
    )
    radius = np.sqrt(-2 * np.log(1 - first))
    angle = 2 * np.pi * second
    return np.append(radius * np.cos(angle), radius * np.sin(angle))[:size]


@dataclass
class Noisy:
    """Neelakantan et al. 2015, eq. 1, in front of another reference for each variable."""

    make: Callable[[], Any]
    eta: float
    gamma: float
    seed: int
    inner: list = field(default_factory=list)
    steps: int = 0
    joint: ClassVar[bool] = True

    def step(self, xs: Sequence[np.ndarray], gs: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.inner = self.inner or [self.make() for _ in xs]
        deviation = (self.eta / (1 + self.steps) ** self.gamma) ** 0.5
        self.steps += 1
        noisy = [
            g + deviation * noise(g.size, self.seed, self.steps, place).reshape(g.shape) for place, g in enumerate(gs)
        ]
        return [inner.step(x, g) for inner, x, g in zip(self.inner, xs, noisy, strict=True)]


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
