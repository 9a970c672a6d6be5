"""Defazio et al. 2024 in float64, with the average as a weighted mean over the whole history of z."""

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
