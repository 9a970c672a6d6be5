"""Methods that estimate their learning rate, in float64, from the papers' sums over all steps and all variables."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from references.first import Rate, fading_sum, moving_average, rate_at

Arrays = list[np.ndarray]


@dataclass
class Joint:
    """A method for one long vector, which all variables are parts of.

    `factors` and `decays` are those of each variable's group; None for 1 and for `weight_decay`.
    """

    learning_rate: Rate = 1.0
    weight_decay: float = 0.0
    factors: Sequence[float] | None = None
    decays: Sequence[float] | None = None
    positions: Arrays = field(default_factory=list)
    gradients: Arrays = field(default_factory=list)
    distances: list[float] = field(default_factory=list)

    joint: ClassVar[bool] = True

    def step(self, xs: Arrays, gs: Arrays) -> Arrays:
        sizes = [x.size for x in xs]
        x, g = (np.concatenate([part.ravel() for part in parts]) for parts in (xs, gs))
        self.positions.append(x)
        self.gradients.append(g)
        factors = np.repeat(self.factors or [1.0] * len(xs), sizes)
        decays = np.repeat(self.decays or [self.weight_decay] * len(xs), sizes)
        x = x - factors * self.direction(decays * x)
        parts = np.split(x, np.cumsum(sizes)[:-1])
        return [part.reshape(old.shape) for part, old in zip(parts, xs, strict=True)]

    def direction(self, decay: np.ndarray) -> np.ndarray:
        """Returns the step to subtract; `decay` is what the weights lose per unit of rate."""
        raise NotImplementedError

    @property
    def rate(self) -> float:
        return rate_at(self.learning_rate, len(self.gradients) - 1)

    def travelled(self) -> float:
        """Returns the largest distance from the first position so far."""
        return max(float(np.linalg.norm(x - self.positions[0])) for x in self.positions)


def adams_factor(beta_1: float, beta_2: float, t: int) -> float:
    return math.sqrt(1 - beta_2**t) / (1 - beta_1**t)


@dataclass
class Prodigy(Joint):
    """Mishchenko and Defazio 2023, algorithm 4, with the options of the authors' code."""

    beta_1: float = 0.9
    beta_2: float = 0.999
    distance_beta: float | None = None
    epsilon: float = 1e-8
    d0: float = 1e-6
    d_coef: float = 1.0
    growth_rate: float | None = None
    safeguard_warmup: bool = False
    bias_correction: bool = False
    used: list[float] = field(default_factory=list)
    gains: list[float] = field(default_factory=list)
    pulls: Arrays = field(default_factory=list)
    candidates: list[float] = field(default_factory=list)

    def direction(self, decay: np.ndarray) -> np.ndarray:
        d = self.distances[-1] if self.distances else self.d0
        factor = adams_factor(self.beta_1, self.beta_2, len(self.gradients)) if self.bias_correction else 1.0
        length = d * factor * self.rate
        g, fade = self.gradients[-1], self.distance_beta
        fade = self.beta_2**0.5 if fade is None else fade
        self.used.append(d)
        self.gains.append(d / self.d0 * length * float(g @ (self.positions[0] - self.positions[-1])))
        self.pulls.append(d / self.d0 * (d if self.safeguard_warmup else length) * g)
        pull = float(np.abs(fading_sum(self.pulls, fade)).sum())
        self.candidates.append(self.d_coef * fading_sum(self.gains, fade) / pull if pull else 0.0)
        self.distances.append(self.grown(d))
        scaled = [past * g for past, g in zip(self.used, self.gradients, strict=True)]
        mean = moving_average(scaled, self.beta_1)
        root = np.sqrt(moving_average([g**2 for g in scaled], self.beta_2))
        return length * (mean / (root + self.distances[-1] * self.epsilon) + decay)

    def grown(self, d: float) -> float:
        largest = max(self.d0, *self.candidates)
        has_grown = d != self.d0
        return min(largest, self.growth_rate * d) if self.growth_rate and has_grown else largest


@dataclass
class DAdaptAdam(Joint):
    """Defazio and Mishchenko 2023, algorithm 5, with the options of the authors' code; the rate outside the average."""

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    d0: float = 1e-6
    growth_rate: float | None = None
    bias_correction: bool = False
    used: list[float] = field(default_factory=list)
    gains: list[float] = field(default_factory=list)
    pulls: Arrays = field(default_factory=list)

    def direction(self, decay: np.ndarray) -> np.ndarray:
        d = self.distances[-1] if self.distances else self.d0
        factor = adams_factor(self.beta_1, self.beta_2, len(self.gradients)) if self.bias_correction else 1.0
        fade, g = self.beta_2**0.5, self.gradients[-1]
        gain = 0.0
        if self.pulls:
            root = np.sqrt(moving_average([g**2 for g in self.gradients[:-1]], self.beta_2))
            gain = float(g @ (moving_average(self.pulls, fade) / (root + self.epsilon)))
        self.used.append(d * factor)
        self.gains.append(d * factor * self.rate * gain)
        self.pulls.append(d * factor * self.rate * g)
        # Numerator and denominator are averages with the same weights; the denominator is one (1 - fade) smaller.
        pull = (1 - fade) * float(np.abs(moving_average(self.pulls, fade)).sum())
        estimate = moving_average(self.gains, fade) / pull if pull else 0.0
        limit = math.inf if self.growth_rate is None else self.growth_rate * d
        self.distances.append(max(d, min(estimate, limit)))
        mean = moving_average([past * g for past, g in zip(self.used, self.gradients, strict=True)], self.beta_1)
        root = np.sqrt(moving_average([g**2 for g in self.gradients], self.beta_2))
        return self.rate * (mean / (root + self.epsilon) + d * factor * decay)


@dataclass
class DoG(Joint):
    """Ivgi et al. 2023, section 1 and appendix (the first distance relative to the weights)."""

    d0: float = 1e-6
    epsilon: float = 1e-8
    relative: bool = True

    def direction(self, decay: np.ndarray) -> np.ndarray:
        first = self.d0 * (1 + np.linalg.norm(self.positions[0])) if self.relative else self.d0
        self.distances.append(max(first, self.travelled()))
        norm = np.sqrt(sum(g @ g for g in self.gradients) + self.epsilon)
        return self.rate * self.distances[-1] / norm * (self.gradients[-1] + decay)


@dataclass
class DoWG(Joint):
    """Khaled et al. 2023, algorithm 1, with the authors' epsilon."""

    d0: float = 1e-2
    epsilon: float = 1e-4

    def direction(self, decay: np.ndarray) -> np.ndarray:
        self.distances.append(max(self.d0, self.travelled()))
        norm = np.sqrt(sum(d**2 * (g @ g) for d, g in zip(self.distances, self.gradients, strict=True)))
        return self.rate * self.distances[-1] ** 2 / (norm + self.epsilon) * (self.gradients[-1] + decay)


@dataclass
class COCOB:
    """Orabona and Tommasi 2017, algorithm 2: bets on each coordinate."""

    learning_rate: Rate = 1.0
    bet_divisor: float = 100.0
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    start: np.ndarray | None = None
    gradients: Arrays = field(default_factory=list)
    reward: np.ndarray | float = 0.0

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        self.start = x if self.start is None else self.start
        rate = rate_at(self.learning_rate, len(self.gradients))
        g = g + self.weight_decay * x
        self.gradients.append(g)
        sizes = np.abs(np.array(self.gradients))
        bound, spent = np.maximum(sizes.max(axis=0), self.epsilon), sizes.sum(axis=0)
        self.reward = np.clip(self.reward + g * (self.start - x), 0.0, None)
        wealth = bound + self.reward
        fraction = -np.sum(self.gradients, axis=0) / (
            bound * np.where(spent + bound > self.bet_divisor * bound, spent + bound, self.bet_divisor * bound)
        )
        return (1 - rate) * x + rate * (self.start + fraction * wealth)


@dataclass
class Tuner:
    """One of Mechanic's: Cutkosky et al. 2023, algorithm 1, lines 9 to 12; `h` is clipped as their code does."""

    beta: float
    first: float
    epsilon: float
    products: list[float] = field(default_factory=list)
    gains: list[float] = field(default_factory=list)
    largest: float = 0.0

    @property
    def scale(self) -> float:
        reward = fading_sum(self.gains, self.beta) if self.gains else 0.0
        squares = fading_sum([h**2 for h in self.products], self.beta**2) if self.products else 0.0
        wealth = self.first * self.largest + max(reward, 0.0)
        below = math.sqrt(squares) + self.epsilon
        return wealth / below if below else self.first

    def see(self, h: float) -> None:
        self.gains.append(float(np.clip(h, -self.largest, self.largest)) * self.scale)
        self.products.append(h)
        self.largest = max([abs(h) + self.epsilon, self.beta * self.largest])


@dataclass
class Mechanic:
    """Cutkosky et al. 2023, algorithm 1, around another reference for each variable."""

    make: Callable[[], Any]
    s_init: float = 1e-6
    weight_decay: float = 1e-2
    num_betas: int = 6
    epsilon: float = 1e-8
    inner: list = field(default_factory=list)
    start: np.ndarray | None = None
    steps: Arrays = field(default_factory=list)
    scales: list[float] = field(default_factory=list)
    joint: ClassVar[bool] = True

    def __post_init__(self) -> None:
        first = self.s_init / self.num_betas
        self.tuners = [Tuner(1 - 10.0**-i, first, self.epsilon) for i in range(1, self.num_betas + 1)]

    def step(self, xs: Arrays, gs: Arrays) -> Arrays:
        self.inner = self.inner or [self.make() for _ in xs]
        x, g = (np.concatenate([part.ravel() for part in parts]) for parts in (xs, gs))
        self.start = x if self.start is None else self.start
        base = [x - inner.step(x, g) for inner, x, g in zip(self.inner, xs, gs, strict=True)]
        so_far = sum(self.steps) if self.steps else np.zeros_like(x)
        scale = self.scales[-1] if self.scales else self.s_init
        length = np.linalg.norm(x) + self.epsilon
        pull = self.weight_decay * scale * np.linalg.norm(g) / length * x if length else 0.0
        for tuner in self.tuners:
            tuner.see(float(so_far @ (g + pull)))
        self.steps.append(np.concatenate([part.ravel() for part in base]))
        self.scales.append(sum(tuner.scale for tuner in self.tuners))
        new = self.start - self.scales[-1] * sum(self.steps)
        parts = np.split(new, np.cumsum([part.size for part in xs])[:-1])
        return [part.reshape(old.shape) for part, old in zip(parts, xs, strict=True)]
