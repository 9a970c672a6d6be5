"""Defazio et al. 2024 in float64, with the average as a weighted mean over the whole history of z; and L-BFGS."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from references.first import Rate, rate_at


@dataclass
class ScheduleFreeSGD:
    """Algorithm 1 with the weights of section 4.3: x is the mean of all z, each with the weight of its step."""

    learning_rate: Rate
    momentum: float = 0.9
    warmup_steps: int = 0
    weight_power: float = 2.0
    step_power: float = 0.0
    weight_decay: float = 0.0
    points: list = field(default_factory=list)
    rates: list = field(default_factory=list)

    def step(self, x: np.ndarray, g: np.ndarray) -> np.ndarray:
        y, t = x, len(self.rates) + 1
        z = self.points[-1] if self.points else y
        self.rates.append(rate_at(self.learning_rate, t - 1) * (t / self.warmup_steps if t < self.warmup_steps else 1))
        self.points.append(z - self.rates[-1] * (self.direction(g, t) + self.weight_decay * y))
        return self.momentum * self.average() + (1 - self.momentum) * self.points[-1]

    def direction(self, g: np.ndarray, t: int) -> np.ndarray:
        return g

    def average(self) -> np.ndarray:
        steps = np.arange(1, len(self.rates) + 1)
        weights = steps**self.step_power * np.maximum.accumulate(self.rates) ** self.weight_power
        return np.average(self.points, axis=0, weights=weights)


class ScheduleFreeAdamW(ScheduleFreeSGD):
    """Algorithm 2: the same with the gradient over the root of its corrected mean square."""

    def __init__(
        self, learning_rate: Rate, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8, **rest: float
    ) -> None:
        super().__init__(learning_rate, beta_1, **rest)
        self.beta_2, self.epsilon, self.squares = beta_2, epsilon, []

    def direction(self, g: np.ndarray, t: int) -> np.ndarray:
        self.squares.append(g**2)
        ages = np.arange(t)[::-1]
        return g / (np.sqrt(np.average(self.squares, axis=0, weights=self.beta_2**ages)) + self.epsilon)


def two_loops(pairs: Sequence[tuple[np.ndarray, np.ndarray]], g: np.ndarray) -> np.ndarray:
    """Returns H g by Nocedal and Wright 2006, algorithm 7.4; pairs (s, y) in the order of time."""
    q, alphas = g, []
    for s, y in reversed(pairs):
        alphas.append(s @ q / (s @ y))
        q = q - alphas[-1] * y
    r = q if not pairs else q * (pairs[-1][0] @ pairs[-1][1]) / (pairs[-1][1] @ pairs[-1][1])
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        r = r + s * (alpha - y @ r / (s @ y))
    return r


@dataclass
class LBFGS:
    """Liu and Nocedal 1989, with the slopes of Hager and Zhang 2005, eq. (4), deciding on one trial point a step."""

    learning_rate: Rate
    memory: int = 10
    decrease: float = 0.1
    curvature: float = 0.9
    epsilon: float = 1e-8
    line_search: bool = True
    weight_decay: float = 0.0
    joint: bool = True
    pairs: list = field(default_factory=list)
    trials: list = field(default_factory=list)
    t: int = 0

    def step(self, xs: list[np.ndarray], gradients: list[np.ndarray]) -> list[np.ndarray]:
        x = np.concatenate([v.ravel() for v in xs])
        g = np.concatenate([v.ravel() for v in gradients]) + self.weight_decay * x
        if self.t == 0:
            self.begin(x, g, min(1.0, 1.0 / np.abs(g).sum()))
        else:
            self.trials.append((self.alpha, float(g @ self.d)))
            if not self.line_search or self.is_good_enough():
                s, y = x - self.x, g - self.g
                if s @ y > self.epsilon * np.linalg.norm(s) * np.linalg.norm(y):
                    self.pairs = [*self.pairs, (s, y)][-self.memory :]
                self.begin(x, g, 1.0)
            else:
                self.alpha = self.next_trial()
        self.t += 1
        new = self.x + self.alpha * self.d
        ends = np.cumsum([v.size for v in xs])[:-1]
        return [part.reshape(v.shape) for part, v in zip(np.split(new, ends), xs, strict=True)]

    def begin(self, x: np.ndarray, g: np.ndarray, alpha: float) -> None:
        self.x, self.g, self.alpha = x, g, alpha
        self.d = -rate_at(self.learning_rate, self.t) * two_loops(self.pairs, g)
        self.trials = [(0.0, float(g @ self.d))]

    def is_good_enough(self) -> bool:
        slope_0, slope = self.trials[0][1], self.trials[-1][1]
        return self.curvature * slope_0 <= slope <= (2 * self.decrease - 1) * slope_0 or len(self.trials) > 21

    def next_trial(self) -> float:
        """Returns a point by the secant through the ends of the bracket, or beyond the last one without a bracket."""
        limit = self.curvature * self.trials[0][1]
        short = [self.trials[0]] + [trial for trial in self.trials[1:] if trial[1] < limit]
        long = [trial for trial in self.trials[1:] if trial[1] >= limit]
        (low, low_slope) = short[-1]
        if long:
            high, high_slope = long[-1]
            root = np.interp(0.0, [low_slope, high_slope], [low, high])
            return float(np.clip(root, low + 0.1 * (high - low), low + 0.9 * (high - low)))
        before, slope_before = short[-2]
        rise = (low_slope - slope_before) / (low - before)
        leap = -low_slope / rise if rise > 0 else np.inf
        return float(low + np.clip(leap, low - before, 10 * (low - before)))
